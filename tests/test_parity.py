"""The published program's outputs, reproduced from its checkpoints by the real command."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from transformers import BertConfig

from hyperx.cli import main
from hyperx.model import HyperX
from hyperx.tasks.base import HeadInput
from hyperx.tasks.parsing import ParserLogits
from publishing import OPTIONS, Published

FILES = ["readme", "script_default", "no_layer_id", "after_layer_output"]


def read(path: Path) -> tuple[Published, dict[str, Tensor]]:
    """The run of a parity file, and its inputs and outputs."""
    with safe_open(path, "pt") as file:
        facts = {name: json.loads(value) for name, value in file.metadata().items()}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    by_task: dict[str, dict[str, Tensor]] = {task: {} for task in facts["options"]["tasks"]}
    for key, value in tensors.items():
        if key.startswith("weights/"):
            task, _, name = key.removeprefix("weights/").partition(".")
            by_task[task][name] = value
    shared = {name: value for name, value in by_task["ner"].items() if name.startswith("bert.")}
    heads = {task: {name: value for name, value in own.items() if name not in shared} for task, own in by_task.items()}
    return Published(OPTIONS | facts["options"], shared, heads, BertConfig(**facts["encoder"])), tensors


@pytest.mark.parametrize("name", FILES)
def test_published_outputs(shared: Path, isolated: Path, name: str) -> None:
    run, tensors = read(shared / "parity" / f"{name}.safetensors")
    run.write(isolated / "published")
    assert main(["import-published", "published", "--output", "imported"]) == 0
    model = HyperX.from_pretrained("imported")

    input_ids, mask = tensors["in_out/input_ids"], tensors["in_out/attention_mask"]
    words = words_of(tensors["in_out/word_starts"], input_ids.shape[1])
    compared = 0
    for task in ("ner", "pos", "dep"):
        if task == "dep":
            # Its scores go up to 17: in 64 bits, so that only the file's own rounding is left.
            model.double()
        for language in run.options["languages"]:
            place = f"in_out/{task}:{language}"
            with torch.no_grad():
                output = model(pairs=f"{task}#{language}", input_ids=input_ids, attention_mask=mask, words=words)
            assert_close(output.hidden[mask.bool()], tensors[f"{place}:hidden"][mask.bool()])
            if task == "dep":
                scores = tensors[f"{place}:arc_logits"], tensors[f"{place}:rel_logits"]
                given = HeadInput(tensors[f"{place}:hidden"].double(), words, model.word_embeddings)
                compare_trees(model.heads["dep"](given), *scores)
                # From the input on the file's rounding in the encoder counts: 1e-6 of scores that go up to 17.
                compare_trees(output.logits, *scores, atol=max(1e-5, 1e-6 * float(scores[1].abs().max())))
            else:
                assert_close(output.logits[mask.bool()], tensors[f"{place}:logits"][mask.bool()])
            compared += 1
    assert compared == 6


def assert_close(found: Tensor, wanted: Tensor, *, atol: float = 1e-5) -> None:
    torch.testing.assert_close(found, wanted.to(found.dtype), atol=atol, rtol=0)


def words_of(starts: Tensor, length: int) -> Tensor:
    """The word of each subword, -1 for none: of each row's starts the last is the end of its last word."""
    words = torch.full((len(starts), length), -1)
    for row, own in enumerate(starts):
        bounds = own[own >= 0].tolist()
        for word, (start, stop) in enumerate(itertools.pairwise(bounds)):
            words[row, start:stop] = word
    return words


def compare_trees(logits: ParserLogits, arcs: Tensor, relations: Tensor, *, atol: float = 1e-5) -> None:
    """Word against head, at every word and every head that the sentence has."""
    assert logits.count.tolist() == [5, 3, 9, 2]
    for row, count in enumerate(logits.count.tolist()):
        assert_close(logits.arcs[row, :count, : count + 1], arcs[row, :count, : count + 1], atol=atol)
        assert_close(logits.relations()[row, :count, : count + 1], relations[row, :count, : count + 1], atol=atol)
    heads = logits.arcs.argmax(dim=-1)
    chosen = logits.relations().gather(2, heads[..., None, None].expand(-1, -1, 1, relations.shape[-1])).squeeze(2)
    assert_close(logits.relations_to(heads), chosen)
