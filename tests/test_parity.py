"""The published program's outputs, reproduced from its weights."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor
from transformers import BertConfig, BertModel

from hyperx.config import HypernetworkOptions, ModelConfig
from hyperx.model import HyperX
from hyperx.tasks.base import HeadInput
from hyperx.tasks.parsing import ParserLogits

FILES = ["readme", "script_default", "no_layer_id", "after_layer_output"]
CONTROLLER = "ner.bert.encoder.hypernet_source_controller."
GENERATORS = {"down": "meta_down_sampler", "up": "meta_up_sampler"}


def read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a parity file."""
    with safe_open(path, "pt") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def build(options: dict[str, object], labels: dict[str, int], encoder: BertModel) -> HyperX:
    """A model of the published options, started as published."""
    shape = {name: options[name] for name in HypernetworkOptions.__dataclass_fields__ if name in options}
    config = ModelConfig(
        encoder="tiny",
        encoder_hash="",
        kinds={task: task for task in labels},
        labels={task: tuple(map(str, range(count))) for task, count in labels.items()},
        parser_projections=False,
        languages=tuple(options["languages"]),
        trained_languages=tuple(options["languages"]),
        hypernetwork=HypernetworkOptions(**shape, generator_start="published"),
        adapter_non_linearity=options["adapter_non_linearity"],
        after_layer_output=options["after_layer_output"],
    )
    return HyperX(encoder, config).eval()


def published_state(weights: dict[str, Tensor], options: dict[str, object], layers: int) -> dict[str, Tensor]:
    """Our names for the published hypernetwork's weights."""

    def stack(kind: str, names: list[str]) -> Tensor:
        return torch.stack([weights[f"{CONTROLLER}{kind}_embeddings.{name}"] for name in names])

    state = {
        "source.task": stack("task", options["tasks"]),
        "source.language": stack("lang", options["languages"]),
    }
    sets = [""]
    if options["condition_to_layer_id"]:
        state["source.layer"] = stack("layer_id", [f"layer:{layer}" for layer in range(layers)])
    else:
        sets = [f"{layer}." for layer in range(layers)]
    for index in "02":
        for part in ("weight", "bias"):
            state[f"projector.{index}.{part}"] = weights[f"{CONTROLLER}source_embedding_MLP.{index}.{part}"]
    names = {
        f"{ours}{suffix}": f"{theirs}.{kind}_generator.0"
        for ours, theirs in GENERATORS.items()
        for suffix, kind in (("", "weight"), ("_bias", "bias"))
    }
    if options["conditional_layer_norm"]:
        names |= {f"norm_post.{kind}": f"post_layernorm_hypernet.{kind}_generator" for kind in ("weight", "bias")}
    for ours, theirs in names.items():
        for part in ("weight", "bias"):
            state[f"{ours}.{part}"] = torch.stack(
                [weights[f"ner.bert.encoder.hypernet.{prefix}{theirs}.{part}"] for prefix in sets]
            )
    return state


@pytest.mark.parametrize("name", FILES)
def test_published_outputs(shared: Path, name: str) -> None:
    metadata, tensors = read(shared / "parity" / f"{name}.safetensors")
    options, labels = json.loads(metadata["options"]), json.loads(metadata["labels"])
    weights = {key.removeprefix("weights/"): value for key, value in tensors.items() if key.startswith("weights/")}
    encoder = BertModel(BertConfig(**json.loads(metadata["encoder"])), add_pooling_layer=False)
    own = {key.removeprefix("ner.bert."): value for key, value in weights.items() if key.startswith("ner.bert.")}
    encoder.load_state_dict({key: value for key, value in own.items() if key in encoder.state_dict()})
    model = build(options, labels, encoder)
    state = published_state(weights, options, encoder.config.num_hidden_layers)
    model.hypernetwork.load_state_dict(state)
    for task in ("ner", "pos"):
        model.heads[task].load_state_dict({part: weights[f"{task}.cls.{part}"] for part in ("weight", "bias")})

    for ours, theirs in (("arcs", "biaffine_arcs"), ("relations", "biaffine_rels")):
        model.heads["dep"].get_submodule(ours).load_state_dict({"weight": weights[f"dep.{theirs}.weight"]})

    # In 64 bits, so that only the file's own rounding is left.
    model.double()
    input_ids, mask = tensors["in_out/input_ids"], tensors["in_out/attention_mask"]
    words = words_of(tensors["in_out/word_starts"], input_ids.shape[1])
    compared = 0
    for task in ("ner", "pos", "dep"):
        for language in options["languages"]:
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
