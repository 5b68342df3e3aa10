"""Checkpoints: equal when loaded, strict about damage, complete after a kill at any moment, never code."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from hyperx import checkpoint
from hyperx.checkpoint import BEST, CONFIG, STATE, WEIGHTS
from hyperx.config import HypernetworkOptions
from hyperx.encoders.loading import load_encoder
from hyperx.errors import CheckpointError, HyperXError
from hyperx.files import write_json
from hyperx.method.hypernetwork import Hypernetwork
from hyperx.model import HyperX
from hyperx.plan.model import apply_freezing
from hyperx.training.loop import Progress, State
from tiny import LABELS, model_config, randomise, tiny_batch, write_tiny_bert

SHAPE = HypernetworkOptions(
    adapter_dim=4,
    projected_source_embedding_dim=6,
    source_hidden_dim=5,
    add_layer_norm_after_adapter=True,
    conditional_layer_norm=True,
)
IDS, MASK = tiny_batch([6, 4], vocabulary=16)
PAIRS = ["ner#en", "pos#de"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny BERT and its tokenizer."""
    return write_tiny_bert(tmp_path_factory.mktemp("encoders") / "encoder")


def new_model(encoder: Path, *, seed: int = 1, **fields: Any) -> HyperX:
    loaded = load_encoder(encoder)
    config = {
        "encoder": str(encoder),
        "encoder_hash": loaded.content_hash,
        "kinds": {"ner": "ner", "pos": "pos"},
        "labels": LABELS,
        "languages": ("en", "tr", "de"),
        "trained_pairs": ("ner#en", "pos#tr"),
        "hypernetwork": SHAPE,
    }
    model = HyperX(loaded.model, model_config(**(config | fields)))
    randomise(model, seed=seed)
    model.tokenizer = loaded.tokenizer
    return model.eval()


@pytest.fixture
def saved(encoder: Path, tmp_path: Path) -> Path:
    """A checkpoint."""
    new_model(encoder).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def outputs(model: HyperX) -> Tensor:
    with torch.no_grad():
        return model(PAIRS, IDS, MASK).hidden


# Saving and loading -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"after_layer_output": True},
        {"head_layer": 1, "adapter_non_linearity": "gelu"},
        {"hypernetwork": HypernetworkOptions(condition_to_layer_id=False, generator_start="published", adapter_dim=3)},
    ],
)
def test_loaded_model_equals_the_saved_one(encoder: Path, tmp_path: Path, fields: dict[str, Any]) -> None:
    model = new_model(encoder, **fields)
    model.save_pretrained(tmp_path / "model")
    loaded = HyperX.from_pretrained(tmp_path / "model")
    assert not loaded.training
    assert outputs(loaded).equal(outputs(model))
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == [CONFIG, WEIGHTS]
    # Saved again, the same once more.
    loaded.save_pretrained(tmp_path / "again")
    for name in (CONFIG, WEIGHTS):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "model" / name).read_bytes()


def test_only_what_was_trained_is_saved(saved: Path) -> None:
    names = load_file(saved / WEIGHTS).keys()
    assert not any("dense" in name or "embeddings.weight" in name or "query" in name for name in names)
    assert sum(name.startswith("encoder.") for name in names) == 2 * 5


@pytest.mark.parametrize(
    ("freeze", "unfreeze"),
    [
        (r"encoder\.", None),
        (None, r"encoder\.encoder\.layer\.1"),
        (r"nothing|encoder\.embeddings", None),
        (".*", None),
    ],
)
def test_any_freezing_comes_back(encoder: Path, tmp_path: Path, freeze: str | None, unfreeze: str | None) -> None:
    model = new_model(encoder)
    model.encoder.load_state_dict(load_encoder(encoder).model.state_dict())
    apply_freezing(model, freeze, unfreeze)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.01
    model.save_pretrained(tmp_path / "model")
    assert outputs(HyperX.from_pretrained(tmp_path / "model")).equal(outputs(model))


def test_saving_over_anything_but_a_saved_model_is_refused(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, folder = new_model(encoder), tmp_path / "model"
    model.save_pretrained(folder)
    monkeypatch.chdir(folder)
    model.save_pretrained(".")
    monkeypatch.chdir(tmp_path)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match=r"model holds notes\.txt, which would be lost; name a new folder"):
        model.save_pretrained(folder)
    with pytest.raises(CheckpointError, match=r"holds notes\.txt"):
        model.save_pretrained(folder / "notes.txt")
    assert (folder / "notes.txt").read_text() == "mine"
    assert outputs(HyperX.from_pretrained(folder)).equal(outputs(model))


def test_compressed_model_is_saved(encoder: Path, tmp_path: Path) -> None:
    model = new_model(encoder)
    before = outputs(model)
    model.compress(2)
    found = outputs(model)
    assert not torch.allclose(found, before, atol=1e-4)
    model.save_pretrained(tmp_path / "compressed")
    again = HyperX.from_pretrained(tmp_path / "compressed")
    assert again.config.generator_rank == 2
    assert outputs(again).equal(found)


def test_plain_adapters_cannot_be_compressed(encoder: Path) -> None:
    with pytest.raises(HyperXError, match="only a hypernetwork can be compressed"):
        new_model(encoder, adapters="shared").compress(3)


def test_output_folder_stands_for_its_best_checkpoint(encoder: Path, tmp_path: Path) -> None:
    models = {step: new_model(encoder, seed=step) for step in (5, 10)}
    for step, model in models.items():
        model.save_pretrained(tmp_path / f"checkpoint-{step}")
    write_json(tmp_path / BEST, {"checkpoint": "checkpoint-5"})
    assert outputs(HyperX.from_pretrained(tmp_path)).equal(outputs(models[5]))


def test_moved_encoder_is_named(encoder: Path, saved: Path, tmp_path: Path) -> None:
    copy = write_tiny_bert(tmp_path / "elsewhere")
    edit(saved, lambda value: value.update(encoder=str(tmp_path / "gone")))
    with pytest.raises(HyperXError, match="gone"):
        HyperX.from_pretrained(saved)
    wanted = outputs(new_model(encoder))
    assert outputs(HyperX.from_pretrained(saved, encoder=str(copy))).equal(wanted)


def test_another_encoder_is_refused(saved: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_tiny_bert(other, seed=9)
    with pytest.raises(CheckpointError, match=r"was trained on the encoder .* with content .*--model_name_or_path"):
        HyperX.from_pretrained(saved, encoder=str(other))


# Damage -----------------------------------------------------------------------------------------------------------


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the configuration on disk."""
    value = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    change(value)
    (folder / CONFIG).write_text(json.dumps(value), encoding="utf-8")


def edit_tensors(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("heads.ner.weight"), r"missing: heads\.ner\.weight"),
        (lambda tensors: tensors.pop("hypernetwork.up.weight"), r"missing: hypernetwork\.up\.weight"),
        (lambda tensors: tensors.pop("encoder.embeddings.LayerNorm.bias"), r"missing: encoder\.embeddings\.LayerNorm"),
        (lambda tensors: tensors.update(more=torch.zeros(1)), "unexpected: more"),
        (
            lambda tensors: tensors.update({"encoder.encoder.layer.0.output.dense.bias": torch.zeros(32)}),
            r"unexpected: encoder\.encoder\.layer\.0\.output\.dense\.bias",
        ),
        (
            lambda tensors: tensors.update({"heads.pos.bias": torch.zeros(3)}),
            r"heads\.pos\.bias: expected shape \(4,\), found \(3,\)",
        ),
    ],
)
def test_tensors_must_fit(saved: Path, change: Callable[[dict[str, Tensor]], object], message: str) -> None:
    edit_tensors(saved, change)
    with pytest.raises(CheckpointError, match=f"the weights do not fit the model:\n  - {message}"):
        HyperX.from_pretrained(saved)


def test_all_misfits_are_told_together_and_nothing_is_loaded(saved: Path) -> None:
    model = HyperX.from_pretrained(saved)
    before = outputs(model)
    tensors = {name: tensor + 1 for name, tensor in load_file(saved / WEIGHTS).items()}
    tensors["more"] = tensors.pop("heads.ner.bias")
    with pytest.raises(CheckpointError, match=r"missing: heads\.ner\.bias\n  - unexpected: more"):
        model.load_tensors(tensors)
    assert outputs(model).equal(before)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / WEIGHTS).unlink(), f"not a complete checkpoint: it has no {WEIGHTS}"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b""), f"{WEIGHTS} is damaged"),
        (lambda folder: (folder / WEIGHTS).write_bytes(b"garbage" * 9), f"{WEIGHTS} is damaged"),
        (
            lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-9]),
            f"{WEIGHTS} is damaged",
        ),
        (lambda folder: (folder / CONFIG).write_text("{"), f"{CONFIG} is not JSON"),
        (lambda folder: (folder / CONFIG).write_bytes(b"\xff\xfe"), f"{CONFIG} is not JSON"),
        (lambda folder: (folder / CONFIG).write_text("[1]"), r"all of it: expected a table; found \[1\]"),
        (lambda folder: edit(folder, lambda value: value.update(format=1)), "expected a checkpoint of format 2"),
        (lambda folder: edit(folder, lambda value: value.pop("format")), "expected a checkpoint of format 2"),
        (
            lambda folder: edit(folder, lambda value: value.update(more=1)),
            "all of it: unknown key 'more'",
        ),
        (lambda folder: edit(folder, lambda value: value.pop("labels")), "labels: expected a value; found nothing"),
        (lambda folder: edit(folder, lambda value: value.update(labels=[])), "labels: expected a table; found"),
        (lambda folder: edit(folder, lambda value: value.update(languages=3)), "languages: expected names; found 3"),
        (
            lambda folder: edit(folder, lambda value: value["hypernetwork"].update(colour=1)),
            "hypernetwork: unknown key 'colour'",
        ),
        (lambda folder: edit(folder, lambda value: value["labels"].update(stance=["for", "against"])), "stance"),
        (lambda folder: edit(folder, lambda value: value["architecture"].update(adapter_non_linearity="wavy")), "wavy"),
        (lambda folder: edit(folder, lambda value: value["architecture"].update(head_layer="middle")), "middle"),
        (lambda folder: edit(folder, lambda value: value["architecture"].update(head_layer=3)), "3"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damaged_checkpoint_is_told(saved: Path, damage: Callable[[Path], object], message: str) -> None:
    damage(saved)
    with pytest.raises(HyperXError, match=message):
        HyperX.from_pretrained(saved)


def test_checkpoint_without_configuration(saved: Path) -> None:
    (saved / CONFIG).unlink()
    with pytest.raises(CheckpointError, match=r"holds no checkpoint: expected a folder with hyperx\.json"):
        HyperX.from_pretrained(saved)
    with pytest.raises(CheckpointError, match="does not exist"):
        HyperX.from_pretrained(saved / "nowhere")


# Writing ----------------------------------------------------------------------------------------------------------


def fill_with(text: str) -> Callable[[Path], None]:
    def fill(folder: Path) -> None:
        (folder / CONFIG).write_text(text, encoding="utf-8")
        (folder / WEIGHTS).write_text(text, encoding="utf-8")

    return fill


def content(folder: Path) -> set[str]:
    return {(folder / name).read_text(encoding="utf-8") for name in (CONFIG, WEIGHTS)}


def test_folder_is_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "model"
    checkpoint.write_folder(folder, fill_with("old"))
    (folder / "results.json").write_text("{}", encoding="utf-8")
    checkpoint.write_folder(folder, fill_with("new"))
    assert content(folder) == {"new"}
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG, WEIGHTS]
    assert list(folder.parent.iterdir()) == [folder]


def test_error_while_filling_leaves_the_older_folder(tmp_path: Path) -> None:
    checkpoint.write_folder(tmp_path / "model", fill_with("old"))

    def fill(folder: Path) -> None:
        (folder / CONFIG).write_text("new", encoding="utf-8")
        raise OSError("disk full")

    for target in ("model", "other"):
        with pytest.raises(OSError, match="disk full"):
            checkpoint.write_folder(tmp_path / target, fill)
    assert content(tmp_path / "model") == {"old"}
    assert not (tmp_path / "other").exists()
    checkpoint.write_folder(tmp_path / "model", fill_with("new"))
    assert content(tmp_path / "model") == {"new"}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("moment", [1, 2])
def test_kill_between_the_renames_leaves_a_complete_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: int
) -> None:
    """The old one stands aside and the new one is not yet in its place: reading finds one of them."""
    folder = tmp_path / "model"
    checkpoint.write_folder(folder, fill_with("old"))
    rename, calls = Path.rename, []

    def killed(path: Path, target: Path) -> Path:
        calls.append(path)
        if len(calls) == moment:
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.write_folder(folder, fill_with("new"))
    assert content(checkpoint.resolve(folder)) in ({"old"}, {"new"})
    # What is written next to it does not delete it either.
    checkpoint.write_folder(tmp_path / "sibling", fill_with("sibling"))
    assert content(checkpoint.resolve(folder)) in ({"old"}, {"new"})


def test_two_writers_side_by_side_do_not_meet(tmp_path: Path) -> None:
    def fill(folder: Path) -> None:
        fill_with("outer")(folder)
        checkpoint.write_folder(tmp_path / "inner", fill_with("inner"))

    checkpoint.write_folder(tmp_path / "outer", fill)
    assert content(tmp_path / "outer") == {"outer"}
    assert content(tmp_path / "inner") == {"inner"}


def test_json_that_is_not_there(tmp_path: Path) -> None:
    write_json(tmp_path / BEST, {"checkpoint": "ü"})
    assert checkpoint.read_json(tmp_path / BEST, dict[str, str]) == {"checkpoint": "ü"}
    with pytest.raises(CheckpointError, match=r"it has no data\.json"):
        checkpoint.read_json(tmp_path / "data.json", dict[str, str])


# Output folders ---------------------------------------------------------------------------------------------------


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """An output folder with five checkpoints and things that are none."""
    for step in (5, 10, 20, 100, 200):
        checkpoint.write_folder(tmp_path / f"checkpoint-{step}", fill_with(str(step)))
    for name in ("checkpoint-300", "checkpoint-x", "notes"):  # the first without files
        (tmp_path / name).mkdir()
    return tmp_path


def steps(output: Path) -> list[int]:
    return [int(path.name.partition("-")[2]) for path in checkpoint.checkpoints(output)]


def test_checkpoints_are_sorted_by_number(output: Path) -> None:
    assert steps(output) == [5, 10, 20, 100, 200]


def test_output_folder_resolves_to_the_best_else_the_last(output: Path) -> None:
    assert checkpoint.resolve(output).name == "checkpoint-200"
    write_json(output / BEST, {"checkpoint": "checkpoint-10"})
    assert checkpoint.resolve(output).name == "checkpoint-10"
    assert checkpoint.resolve(output / "checkpoint-5").name == "checkpoint-5"
    write_json(output / BEST, {"checkpoint": "checkpoint-300"})
    assert checkpoint.resolve(output).name == "checkpoint-200"
    write_json(output / BEST, {"checkpoint": "../../checkpoint-5"})
    assert checkpoint.resolve(output) == output / "checkpoint-5"


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"checkpoint": null}'])
def test_damaged_best_is_told(output: Path, text: str) -> None:
    (output / BEST).write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"best\.json"):
        checkpoint.resolve(output)


@pytest.mark.parametrize(
    ("limit", "best", "kept"),
    [
        (None, 5, [5, 10, 20, 100, 200]),
        (5, 5, [5, 10, 20, 100, 200]),
        (4, 5, [5, 20, 100, 200]),
        (2, 5, [5, 200]),
        (1, 5, [5, 200]),
        (1, 200, [200]),
        (2, 200, [100, 200]),
        (3, None, [20, 100, 200]),
        (1, None, [200]),
    ],
)
def test_pruning_keeps_the_best_and_the_last(
    output: Path, limit: int | None, best: int | None, kept: list[int]
) -> None:
    checkpoint.prune(output, limit, None if best is None else output / f"checkpoint-{best}")
    assert steps(output) == kept
    assert {path.name for path in output.iterdir()} == {
        *(f"checkpoint-{step}" for step in kept), "checkpoint-300", "checkpoint-x", "notes",
    }  # fmt: skip


def test_kill_while_pruning_leaves_nothing_that_looks_complete(output: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(path: Path) -> None:
        (path / WEIGHTS).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.prune(output, 2, None)
    assert steps(output) == [10, 20, 100, 200]
    for name in (".best.json.part-1-2", ".mine.part-1"):
        (output / name).touch()
    checkpoint.clean(output)
    assert [path.name for path in output.glob(".*")] == [".mine.part-1"]
    checkpoint.prune(output, 2, None)
    assert steps(output) == [100, 200]


# The state for resuming -------------------------------------------------------------------------------------------


def test_state_comes_back(tmp_path: Path) -> None:
    net = Hypernetwork(learnt=[[True]] * 2, layers=2, hidden_size=8, options=SHAPE)
    optimizer = torch.optim.AdamW(net.parameters())
    sum(parameter.sum() for parameter in net.parameters()).backward()
    optimizer.step()
    own = optimizer.state_dict()
    state = {
        "progress": {"step": 3, "best": 0.1 + 0.2},
        "losses": [1 / 3],
        "moments": own["state"],
        "groups": own["param_groups"],
        "scheduler": {"last_epoch": 3, "base_lrs": [1e-3]},
        "scaler": {},
        "fingerprint": {"number of processes": 1},
        "random": {0: {"cpu": torch.get_rng_state()}},
    }
    checkpoint.save_state(tmp_path, state)
    found = checkpoint.read_state(tmp_path, State)
    assert found.progress == Progress(3, 0.1 + 0.2)
    assert found.losses == [1 / 3]
    assert found.random[0]["cpu"].equal(torch.get_rng_state())
    for index, values in own["state"].items():
        for name, value in values.items():
            assert torch.equal(found.moments[index][name], value)
    new = torch.optim.AdamW(net.parameters())
    new.load_state_dict({"state": found.moments, "param_groups": found.groups})
    assert [{**group, "betas": tuple(group["betas"])} for group in new.state_dict()["param_groups"]] == own[
        "param_groups"
    ]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"progress": {"step": "many"}}, r"progress\.step: expected a whole number; found 'many'"),
        ({"losses": [{}]}, r"losses\.0: expected a number"),
        ({"more": 1}, "unknown key 'more'"),
        ({"random": {"x": {}}}, "random"),
    ],
)
def test_a_state_of_other_types_is_told(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    names = ("progress", "losses", "moments", "groups", "scheduler", "scaler", "fingerprint", "random")
    checkpoint.save_state(tmp_path, {name: [] if name in ("losses", "groups") else {} for name in names} | change)
    with pytest.raises(CheckpointError, match=f"is not as Hyper-X writes it:\n.*{expected}"):
        checkpoint.read_state(tmp_path, State)


def test_missing_state_is_told(saved: Path, tmp_path: Path) -> None:
    """Another checkpoint is of use only if it has the file."""
    for step in (2, 3):
        shutil.copytree(saved, tmp_path / "run" / f"checkpoint-{step}")
    last, other = tmp_path / "run" / "checkpoint-3", tmp_path / "run" / "checkpoint-2"
    anew = r"checkpoint-3 cannot be resumed: it has no state\.safetensors; start anew .* with --load_from_ckpt$"
    with pytest.raises(CheckpointError, match=anew):
        checkpoint.read_state(last, State)
    checkpoint.save_state(other, {})
    with pytest.raises(
        CheckpointError, match=rf"it has no state\.safetensors\. {other} beside it is whole: .*delete {last}$"
    ):
        checkpoint.read_state(last, State)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), PermissionError(13, "no"), MemoryError()])
def test_a_file_that_cannot_be_read_is_not_called_damaged(
    saved: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    checkpoint.save_state(saved, {})
    monkeypatch.setattr(Path, "open", fail)
    read = (
        checkpoint.read_config,
        checkpoint.read_tensors,
        checkpoint.read_sizes,
        partial(checkpoint.read_state, kind=State),
    )
    for one in read:
        with pytest.raises(CheckpointError if isinstance(error, OSError) else MemoryError) as caught:
            one(saved)
        assert isinstance(error, MemoryError) or f"cannot read {saved}/" in str(caught.value)


def test_sizes_are_read_of_whole_files_alone(saved: Path) -> None:
    assert checkpoint.read_sizes(saved).keys() == checkpoint.read_tensors(saved).keys()
    (saved / WEIGHTS).write_bytes(b"garbage" * 9)
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoint.read_sizes(saved)


class Attack:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_code_in_a_state_is_not_run(tmp_path: Path, form: str) -> None:
    made = tmp_path / "made"
    if form == "torch":
        torch.save({"progress": Attack(made)}, tmp_path / STATE)
    else:
        (tmp_path / STATE).write_bytes(pickle.dumps({"progress": Attack(made)}))
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoint.read_state(tmp_path, State)
    assert not made.exists()
    # The attack is real: whoever reads the file with code runs it.
    if form == "torch":
        torch.load(BytesIO((tmp_path / STATE).read_bytes()), weights_only=False)
    else:
        pickle.loads((tmp_path / STATE).read_bytes())
    assert made.exists()


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04"])
def test_damaged_state_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / STATE).write_bytes(content)
    with pytest.raises(CheckpointError, match=r"state\.safetensors is damaged"):
        checkpoint.read_state(tmp_path, State)
