"""Weights in few bytes: close to what they were, read by all commands, and told where they are damaged."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

import toy
from hyperx.cli import main
from hyperx.config import AddOnConfig
from hyperx.encoders.loading import load_encoder
from hyperx.errors import CheckpointError, HyperXError
from hyperx.model import HyperX
from hyperx.packing import LEVELS, in_2_bits, in_8_bits, packed, restored, unpacked
from tiny import model_config, randomise, tiny_batch, write_tiny_bert

WEIGHTS = "model.safetensors"
IDS, MASK = tiny_batch([6, 4], vocabulary=16)
QUERY = "encoder.encoder.layer.0.attention.self.query.weight"


# The numbers ----------------------------------------------------------------------------------------------------------


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(
    st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(FLOATS, min_size=n, max_size=n), min_size=1)),
    st.lists(st.sampled_from([0.0, 1e-45, 1e-30, 1.0]), min_size=1),
)
@settings(max_examples=300, deadline=None)
def test_every_entry_is_at_most_half_a_scale_away(rows: list[list[float]], powers: list[float]) -> None:
    matrix = torch.tensor(rows)
    matrix *= torch.tensor([powers[row % len(powers)] for row in range(len(rows))])[:, None]
    matrix.clamp_(-1e37, 1e37)
    numbers, scales = in_8_bits(matrix)
    assert (numbers.dtype, scales.dtype) == (torch.int8, torch.bfloat16)
    assert numbers.shape == matrix.shape
    assert scales.shape == (len(matrix), 1)
    back = unpacked({"w": numbers, "w.scale": scales}, [])["w"]
    assert back.dtype == torch.float32
    # The product of a number and a scale is rounded to 32 bits.
    assert ((back.double() - matrix.double()).abs() <= scales.double() * 0.50001).all()
    assert not back[(matrix == 0).all(1)].any()
    # A scale is hardly larger than it has to be.
    largest = matrix.abs().amax(1, keepdim=True).double()
    assert (scales.double() <= largest / 127 * 1.008 + 1.2e-38).all()


@given(st.integers(1, 3), st.integers(1, 9), st.sampled_from([0.0, 1e-30, 1.0, 1e30]), st.integers(0, 999))
@settings(max_examples=100, deadline=None)
def test_every_entry_becomes_the_nearest_of_four_levels(rows: int, columns: int, size: float, seed: int) -> None:
    matrix = size * torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))
    bytes_, scales = in_2_bits(matrix)
    assert (bytes_.dtype, bytes_.shape) == (torch.uint8, (rows, -(-columns // 4)))
    assert (scales.dtype, scales.shape) == (torch.bfloat16, (rows, 1))
    back = unpacked({"w": bytes_, "w.scale": scales}, [])["w"][:, :columns]
    levels = torch.tensor(LEVELS) * scales.float()
    distance = (matrix[..., None] - levels[:, None]).abs().amin(-1)
    torch.testing.assert_close((back - matrix).abs(), distance, rtol=1e-3, atol=1e-3 * size)


def test_of_normally_distributed_numbers_an_eighth_of_the_variance_is_lost() -> None:
    matrix = torch.randn(4, 100_000, generator=torch.Generator().manual_seed(0)) * torch.tensor([[1], [2], [3], [4.0]])
    back = unpacked(dict(zip(("w", "w.scale"), in_2_bits(matrix), strict=True)), [])["w"]
    lost = (back - matrix).pow(2).mean(1) / matrix.pow(2).mean(1)
    torch.testing.assert_close(lost, torch.full((4,), 0.1175), rtol=0.02, atol=0)  # Max (1960), table 1


def test_of_what_was_trained_the_change_is_stored() -> None:
    torch.manual_seed(0)
    before = {"encoder.wide": torch.randn(30, 20), "encoder.odd": torch.randn(4, 3, 5)}
    after = {name: weight + 0.01 * torch.randn_like(weight) for name, weight in before.items()}
    after["heads.bias"] = torch.randn(3)
    for bits in (2, 8, 32):
        stored = packed(after, before, bits=32, encoder_bits=bits)
        scales = set() if bits == 32 else {"encoder.wide.change.scale", "encoder.odd.change.scale"}
        assert set(stored) == {"encoder.wide.change", "encoder.odd.change", "heads.bias"} | scales
        back = restored(unpacked(stored, faults := []), before, faults)
        assert faults == []
        for name, weight in after.items():
            assert back[name].shape == weight.shape
            assert (back[name] - weight).abs().mean() < {2: 0.004, 8: 0.0002, 32: 1e-7}[bits]
    with pytest.raises(HyperXError, match="encoder_bits: the encoder's layers were not trained; leave it out"):
        packed(after, {}, bits=8, encoder_bits=2)


# Models ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path) -> HyperX:
    """A model whose encoder's layers were trained."""
    loaded = load_encoder(write_tiny_bert(tmp_path / "encoder"))
    config = model_config(
        encoder=str(tmp_path / "encoder"),
        encoder_hash=loaded.content_hash,
        kinds={"ner": "ner", "pos": "pos"},
        labels={"ner": ("O", "B-PER"), "pos": ("NOUN", "VERB")},
        languages=("en", "tr"),
        trained_pairs=("ner#en", "pos#tr"),
    )
    model = HyperX(loaded.model, config)
    model.train_encoder("layers")
    randomise(model, seed=3)
    return model.eval()


def outputs(model: HyperX) -> Tensor:
    with torch.no_grad():
        return model(["ner#en", "pos#tr"], IDS, MASK).hidden


@pytest.mark.parametrize(
    ("options", "stored", "apart"),
    [
        ({"bits": 8}, {"change", "change.scale"}, 0.02),
        ({"bits": 8, "encoder_bits": 2}, {"change", "change.scale"}, 0.5),
        ({"encoder_bits": 2}, {"change", "change.scale"}, 0.5),
    ],
)
def test_trained_layers_of_the_encoder_are_stored_as_what_changed(
    model: HyperX, tmp_path: Path, options: dict[str, int], stored: set[str], apart: float
) -> None:
    model.save_pretrained(tmp_path / "small", **options)
    names = load_file(tmp_path / "small" / WEIGHTS)
    assert {name for name in names if name.startswith(QUERY)} == {f"{QUERY}.{part}" for part in stored}
    again = HyperX.from_pretrained(tmp_path / "small")
    assert (outputs(again) - outputs(model)).abs().mean() < apart
    assert outputs(again).equal(outputs(HyperX.from_pretrained(tmp_path / "small")))
    # Vectors are as they were.
    own = dict(again.named_parameters())
    assert all(own[name].equal(one) for name, one in model.named_parameters() if one.dim() == 1)
    # What is read is stored whole again.
    again.save_pretrained(tmp_path / "whole")
    assert outputs(HyperX.from_pretrained(tmp_path / "whole")).equal(outputs(again))


def test_an_encoder_that_has_moved_is_compared_with_where_it_is(model: HyperX, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "encoder").rename(tmp_path / "moved")
    moved = HyperX.from_pretrained(tmp_path / "model", encoder=tmp_path / "moved")
    moved.save_pretrained(tmp_path / "small", bits=8)
    again = HyperX.from_pretrained(tmp_path / "small")
    assert (outputs(again) - outputs(model)).abs().mean() < 0.02


def test_wrong_numbers_are_told(model: HyperX, tmp_path: Path) -> None:
    with pytest.raises(HyperXError, match="bits: expected 8 or 32; found int 4"):
        model.save_pretrained(tmp_path / "small", bits=4)
    with pytest.raises(HyperXError, match=r"encoder_bits: expected 2, 8 or 32; found str 'x'"):
        model.save_pretrained(tmp_path / "small", encoder_bits="x")  # type: ignore[arg-type]
    assert not (tmp_path / "small").exists()


DAMAGE: dict[str, Callable[[dict[str, Tensor]], Any]] = {
    r"heads\.ner\.weight\.scale: expected \(2, 1\) in torch\.bfloat16, one for each row of \(2, 32\); found none": (
        lambda found: found.pop("heads.ner.weight.scale")
    ),
    r"heads\.ner\.weight\.scale: expected .*; found \(3, 1\) in torch\.bfloat16": (
        lambda found: found.update({"heads.ner.weight.scale": torch.ones(3, 1).bfloat16()})
    ),
    r"heads\.ner\.weight\.scale: expected .*; found \(2, 1\) in torch\.float32": (
        lambda found: found.update({"heads.ner.weight.scale": torch.ones(2, 1)})
    ),
    r"is damaged: heads\.ner\.weight holds NaN or infinity": (
        lambda found: found["heads.ner.weight.scale"].fill_(torch.nan)
    ),
    r"heads\.ner\.weight: expected shape \(2, 32\), found \(2, 31\)": (
        lambda found: found.update({"heads.ner.weight": found["heads.ner.weight"][:, 1:].contiguous()})
    ),
    r"missing: heads\.ner\.weight\n  - unexpected: heads\.ner\.weight\.scale": (
        lambda found: found.pop("heads.ner.weight")
    ),
    r"query\.weight: expected \.change \(32, 32\); found \.change \(32, 28\)": (
        lambda found: found.update({f"{QUERY}.change": found[f"{QUERY}.change"][:, 1:].contiguous()})
    ),
    r"query\.weight\.change\.scale: expected .*; found none": lambda found: found.pop(f"{QUERY}.change.scale"),
}  # fmt: skip
"""What is said -> damage to the weights of a small checkpoint."""


@pytest.mark.parametrize("message", DAMAGE)
def test_damage_is_told(model: HyperX, tmp_path: Path, message: str) -> None:
    model.save_pretrained(tmp_path / "small", bits=8, encoder_bits=2)
    tensors = load_file(tmp_path / "small" / WEIGHTS)
    DAMAGE[message](tensors)
    save_file(tensors, tmp_path / "small" / WEIGHTS)
    with pytest.raises(CheckpointError, match=message):
        HyperX.from_pretrained(tmp_path / "small")


# The command ----------------------------------------------------------------------------------------------------------


def tags(checkpoint: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    words = ["--language", "tr", "--input", str(data / "pos/tr/test.conllu"), "--output_format", "jsonl"]
    assert main(["predict", "--checkpoint", str(checkpoint), *words, *toy.QUIET]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_small_checkpoint_answers_as_the_original(
    trained: Path, base: list[str], data: Path, isolated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--output", "small", "--rank", "6"]
    assert main(["compress", str(trained), *words]) == 0
    out = capsys.readouterr().out
    parts = dict(re.findall(r"^│ ([\w ]+?) +│ +[\d,]+ │ +([\d,]+) │", out, re.MULTILINE))
    assert list(parts) == ["encoder", "heads", "hypernetwork", "all"]
    assert out.rstrip().endswith("Compressed. Evaluate it with: hyperx evaluate --eval_ckpt small")
    sizes = {name: int(size.replace(",", "")) for name, size in parts.items()}
    assert sizes["all"] == (isolated / "small" / WEIGHTS).stat().st_size
    assert sizes["all"] - sum(list(sizes.values())[:-1]) < 6000  # names, types and shapes
    assert {path.name for path in (isolated / "small").iterdir()} == {
        "hyperx.json",
        WEIGHTS,
        "data.json",
        "options.json",
        "run.json",
    }
    gold, found = tags(trained, data, capsys), tags(isolated / "small", data, capsys)
    every = [
        (one, other) for a, b in zip(gold, found, strict=True) for one, other in zip(a["pos"], b["pos"], strict=True)
    ]
    assert sum(one == other for one, other in every) >= 0.98 * len(every)
    # All that reads a checkpoint reads it.
    assert main(["evaluate", "--eval_ckpt", "small", "--disable_progress_bar"]) == 0
    scores = json.loads((isolated / "small" / "results.json").read_text(encoding="utf-8"))
    assert scores["test_pos:tr_accuracy"] > 0.9
    assert main(["train", *base, "--load_from_ckpt", "small", "--output_dir", "next", "--max_train_steps", "1"]) == 0


@pytest.mark.usefixtures("isolated")
def test_a_run_starts_from_a_change_in_2_bits(
    base: list[str], train_once: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = train_once(*base, "--train_encoder", "layers", "--max_train_steps", "2", "--learning_rate", "1e-2")
    assert main(["compress", str(run), "--output", "small", "--encoder_bits", "2"]) == 0
    small = dict(HyperX.from_pretrained("small").named_parameters())
    frozen = ["--train_encoder", "layers", "--max_train_steps", "1", "--learning_rate", "1e-12"]
    assert main(["train", *base, *frozen, "--load_from_ckpt", "small", "--output_dir", "next"]) == 0
    assert "taken: the hypernetwork;" in capsys.readouterr().err
    for name, weight in HyperX.from_pretrained("next").named_parameters():
        torch.testing.assert_close(weight, small[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize("options", [[], ["--bits", "32"], ["--encoder_bits", "8"]])
def test_what_is_small_stays_as_it_is_beside_an_add_on(
    model: HyperX, options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small, addon, merged = tmp_path / "small", tmp_path / "de.addon", tmp_path / "merged"
    model.save_pretrained(small, bits=8, encoder_bits=2)
    learner = HyperX.from_pretrained(small)
    learner.learn_language(AddOnConfig(language="de", pairs={"ner#de": 3}, rank=1, layer_rank=1))
    learner.save_add_on("de", addon)
    assert main(["compress", str(small), "--add_on", str(addon), "--output", str(merged), *options]) == 0
    assert "Written, and not smaller than before. Evaluate it" in " ".join(capsys.readouterr().out.split())
    before, after = load_file(small / WEIGHTS), load_file(merged / WEIGHTS)
    new = [name for name in after if name not in before]
    assert new
    assert all(name.startswith("add_ons.de.") for name in new)
    assert all(after[name].dtype == one.dtype and after[name].equal(one) for name, one in before.items())
    assert outputs(HyperX.from_pretrained(merged)).equal(outputs(HyperX.from_pretrained(small)))
    # In fewer bits than before it becomes smaller.
    model.save_pretrained(tmp_path / "large", bits=8)
    assert main(["compress", str(tmp_path / "large"), "--encoder_bits", "2", "--output", str(tmp_path / "two")]) == 0
    assert "Compressed. Evaluate it" in capsys.readouterr().out
    sizes = [(tmp_path / name / WEIGHTS).stat().st_size for name in ("two", "large")]
    assert sizes[0] < sizes[1]


def test_what_cannot_become_smaller_is_refused(
    trained: Path, base: list[str], train_once: Callable[..., Path], isolated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*words: str) -> str:
        assert main(["compress", *words]) == 1
        return " ".join(capsys.readouterr().err.split())

    (isolated / "full").mkdir()
    (isolated / "full" / "notes.txt").write_text("mine")
    words = ["--output", "full", "--bits", "32"]
    error = said(str(trained), *words)
    assert "2 problems with the options" in error
    assert "--output: full exists already; name a new folder" in error
    assert "--bits: with 32 alone nothing becomes smaller; use 8, or name --rank or --encoder_bits" in error
    error = said(str(trained), "--output", "new", "--bits", "4", "--encoder_bits", "3", "--rank", "0")
    assert "--bits: expected 8 or 32; found 4" in error
    assert "--encoder_bits: expected 2, 8 or 32; found 3" in error
    assert "--encoder_bits: the encoder's layers were not trained; leave it out" in error
    assert "--rank: expected 1 or more; found 0" in error
    assert "rank: expected 1 to 8, what the generators can tell apart; found 99" in said(
        str(trained), "--output", "new", "--rank", "99"
    )
    plain = train_once(*base, "--adapters", "task", "--max_train_steps", "1")
    expected = "--rank: the model's adapters are task: only a hypernetwork can be compressed; leave it out"
    assert expected in said(str(plain), "--output", "new", "--rank", "2")
    assert main(["compress", str(trained), "--output", "new", "--rank", "2"]) == 0
    expected = "--rank: the generators are mixtures of 2 matrices already; leave it out"
    assert expected in said("new", "--output", "newer", "--rank", "2")
    assert not (isolated / "newer").exists()
