"""Every reader of files that may be a stranger's, with files that it reads well, and ways of spoiling them.

A reader may refuse a file only with one of the package's own exceptions. `tests/test_fuzz.py` tries a few spoilt files
of each in the suite, `make fuzz` as many as there is time for.
"""

from __future__ import annotations

import json
import pickle
import random
import string
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from hyperx import checkpoint
from hyperx.add_on_file import AddOnHeader, read_header, read_tensors, write_add_on
from hyperx.config import AddOnConfig, EvaluateConfig, TrainConfig
from hyperx.data.locate.annotation import prepared
from hyperx.data.locate.spec import DataRecord
from hyperx.data.read.base import Request
from hyperx.data.read.formats import INPUT_FORMATS, endings, read_file, read_input
from hyperx.encoders.loading import load_encoder
from hyperx.model import HyperX
from hyperx.options import made
from hyperx.plan.options import plan_run
from hyperx.published.arguments import read_run
from hyperx.reporting.report import read_log
from hyperx.training.loop import State
from tiny import tiny_model, write_tiny_bert

CONLLU = b"""# text = Ada reads.
1-2\tAdareads\t_\t_\t_\t_\t_\t_\t_\t_
1\tAda\tAda\tPROPN\t_\t_\t2\tnsubj\t_\tNER=B-PER
2\treads\tread\tVERB\t_\t_\t0\troot\t_\tNER=O|SpaceAfter=No
2.1\tx\t_\t_\t_\t_\t_\t_\t_\t_
3\t.\t.\tPUNCT\t_\t_\t2\tpunct\t_\tNER=O

"""
COLUMNS = b"-DOCSTART- O\n\nAda\tB-PER\nreads\tO\n\nen:Ada\tB-PER\n"
TEXTS = "Ada reads.\n\n読む 人。 \u200bA\u0301da  reads\t.\n".encode()
OBJECTS = b"""{"words": ["Ada", "reads"], "id": 3, "space_after": [true, false], "language": "tr"}
{"tokens": ["Ada"], "sent_id": "x", "text": "Ada", "start_char": [0], "end_char": [3]}
{"text": "good", "text_pair": "bad", "label": true}
"""
LINES = {
    "upos": b'{"words": ["Ada", "reads"], "upos": ["PROPN", "VERB"]}\n{"tokens": ["Ada"], "pos_tags": ["PROPN"]}\n',
    "ner": b'{"words": ["Ada", "reads"], "ner": ["B-PER", "O"]}\n{"text": "Ada reads.", "label": [[0, 3, "PER"]]}\n',
    "label": b'{"text": "good", "label": 1}\n{"text": "good", "text_pair": "bad", "label": true}\n',
}
CHOICES = b'[{"id": 1, "data": {"text": "Ada"}, "annotations": [{"result": [{"value": {"choices": ["good"]}}]}]}]'
STUDIO = b"""[{"id": 1, "data": {"text": "Ada reads."}, "annotations": [{"result": [
{"type": "labels", "value": {"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}}]}]}]"""
CELLS = b'text\tlabel\nAda reads\tgood\n"a ""b"\tbad\n'
OPTIONS = b"""tasks: [pos, ner]
languages: [en, tr, de]
train_task_language_pairs: [pos#en]
max_length: 64
learning_rate: 1e-3
treebanks: {de: de_gsd}
data:
  pos#en: &all {train: TRAIN}
  ner#en: {hub: {name: a/b, configuration: en}, label_map: {DATE: O}}
  pos#tr: *all
label_map: [DATE=O]
"""


@dataclass(frozen=True)
class Target:
    """A reader.

    Args:
        seeds: contents that it reads.
        read: reads a content; a HyperXError is an answer.
    """

    seeds: Sequence[bytes]
    read: Callable[[bytes], Any]


def targets(folder: Path) -> dict[str, Target]:
    """All readers, with what they need beside the file in a folder."""
    encoder = write_tiny_bert(folder / "encoder")
    loaded = load_encoder(encoder)
    model = tiny_model(encoder=loaded.model, encoder_hash=loaded.content_hash, max_length=32)
    saved, alone = folder / "model", folder / "file"
    saved.mkdir()
    model.save_files(saved)
    (saved / checkpoint.OPTIONS).write_text("{}")
    found: dict[str, Target] = {}

    def of_file(path: Path, read: Callable[[Path], Any]) -> Callable[[bytes], Any]:
        """A reader of a file that is put at a path, and what was there put back after it."""
        before = path.read_bytes() if path.exists() else None

        def run(content: bytes) -> Any:
            path.write_bytes(content)
            try:
                return read(path)
            finally:
                if before is not None:
                    path.write_bytes(before)

        return run

    # Data -------------------------------------------------------------------------------------------------------------
    texts = {"conllu": CONLLU, "columns": COLUMNS, "tokens": TEXTS, "raw": TEXTS, "text": TEXTS, "jsonl": OBJECTS}
    for name, seed in texts.items():
        request = Request(reads=("words", "text"), language="en", fills=True, on_fault=lambda _: None)

        def predict(content: bytes, name: Any = name, request: Request = request) -> list[Any]:
            return list(read_input(BytesIO(content), name, request))

        found[f"predict {name}"] = Target([seed], predict)
    assert texts.keys() == INPUT_FORMATS.keys()
    contents = {
        ".conllu": CONLLU, ".json": STUDIO, ".csv": CELLS.replace(b"\t", b","), ".txt": COLUMNS,
    }  # fmt: skip
    for column in ("upos", "ner", "head", "text", "label"):
        for ending in endings(column):
            seed = CELLS if (ending, column) == (".tsv", "label") else contents.get(ending, COLUMNS)
            seed = LINES[column] if ending == ".jsonl" else CHOICES if (ending, column) == (".json", "label") else seed
            seed = b"1\tAda\tB-PER\t_\t_\n\n" if ending == ".iob2" else seed

            def train(path: Path, column: str = column) -> list[Any]:
                return list(prepared(read_file(path, column, language="en"), column, {}, str(path), lambda _: None))

            found[f"train {column} {ending}"] = Target([seed], of_file(alone.with_suffix(ending), train))
    # Options ----------------------------------------------------------------------------------------------------------
    yaml = alone.with_suffix(".yaml")
    found["options"] = Target(
        [OPTIONS.replace(b"TRAIN", str(folder / "train.conllu").encode())],
        of_file(yaml, lambda path: plan_run(made(TrainConfig, {"config": path, "output_dir": folder / "run"}))),
    )
    scoring = b"test_task_language_pairs: [pos#en]\nsplit: dev\nmax_eval_samples: 5\ndata: {pos#en: {dev: x.conllu}}\n"
    found["options of evaluate"] = Target([scoring], of_file(yaml, lambda path: made(EvaluateConfig, {"config": path})))
    # A checkpoint -----------------------------------------------------------------------------------------------------
    record = DataRecord(plan_run(made(TrainConfig, plan_values(folder))).record.spec)
    best, run = checkpoint.Best("checkpoint-1", 0.5), checkpoint.Run("a CPU", 1, 2.0)
    kinds: dict[str, tuple[bytes, Any]] = {
        checkpoint.DATA: (as_json(record.to_json()), DataRecord),
        checkpoint.BEST: (as_json(asdict(best)), checkpoint.Best),
        checkpoint.RUN: (as_json(asdict(run)), checkpoint.Run),
        checkpoint.OPTIONS: (b'{"a": "b"}', dict[str, str]),
    }
    for name, (seed, kind) in kinds.items():
        found[name] = Target([seed], of_file(saved / name, lambda path, kind=kind: checkpoint.read_json(path, kind)))

    def load(_: Path) -> HyperX:
        return HyperX.from_pretrained(saved, encoder=encoder)

    for name in (checkpoint.CONFIG, checkpoint.WEIGHTS):
        found[name] = Target([(saved / name).read_bytes()], of_file(saved / name, load))
    state = {"progress": {"step": 1}, "losses": [0.5], "moments": {0: {"step": torch.ones(1)}}, "groups": [{"lr": 0.1}]}
    state |= {"scheduler": {}, "scaler": {}, "fingerprint": {"x": 1}, "random": {0: {"cpu": torch.get_rng_state()[:8]}}}
    checkpoint.save_state(saved, state)
    seed = (saved / checkpoint.STATE).read_bytes()
    found[checkpoint.STATE] = Target(
        [seed], of_file(saved / checkpoint.STATE, lambda _: checkpoint.read_state(saved, State))
    )
    results = {"pairs": {"ner#en": {"group": "seen", "measures": {"f1": 0.5}}}, "averages": {"all": 0.5}}
    found[checkpoint.RESULTS] = Target(
        [as_json(results)],
        of_file(saved / checkpoint.RESULTS, lambda _: checkpoint.read_scores(saved, {"ner": "f1"})),
    )
    found[checkpoint.LOG] = Target([b'{"step": 1, "loss": 0.5}\n'], of_file(alone, lambda path: list(read_log(path))))
    header = AddOnHeader(add_on=AddOnConfig(language="gsw", pairs={"ner#gsw": 3}, rank=1), weights="0", hyperx="1")
    write_add_on(alone, header, {"shift": torch.ones(4)})
    found["add-on"] = Target([alone.read_bytes()], of_file(alone, lambda path: (read_header(path), read_tensors(path))))
    # An encoder -------------------------------------------------------------------------------------------------------
    index = {"metadata": {}, "weight_map": {"embeddings.word_embeddings.weight": "model.safetensors"}}
    more = {"model.safetensors.index.json": as_json(index), "special_tokens_map.json": b'{"unk_token": "[UNK]"}'}
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors", *more):
        seed = more.get(name) or (encoder / name).read_bytes()

        def encoder_of(path: Path, name: str = name) -> None:
            try:
                load_encoder(encoder)
            finally:
                if name in more:
                    path.unlink()

        found[f"encoder {name}"] = Target([seed], of_file(encoder / name, encoder_of))
    # A published run --------------------------------------------------------------------------------------------------
    arguments = Namespace(tasks=["ner"], languages=["en"], train_task_language_pairs=["ner#en"], max_length=64, x=0.5)
    found["arguments"] = Target([pickle.dumps(arguments, 2), pickle.dumps(arguments, 4)], of_file(alone, read_run))
    return found


def plan_values(folder: Path) -> dict[str, Any]:
    """Options of a run of its own."""
    path = folder / "train.conllu"
    path.write_bytes(CONLLU)
    return {
        "train_task_language_pairs": ["pos#en"], "data": {"pos#en": {"train": str(path)}}, "output_dir": folder / "x",
        "evaluation_strategy": "no",
    }  # fmt: skip


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


# Spoiling -------------------------------------------------------------------------------------------------------------

STRANGE: list[Any] = [
    None, True, -1, 0, 10**12, 10**400, 0.5, float("nan"), float("inf"), "", "x", "\ud800", "\x1b[31m", "../../x",
    "a" * 5000, [], {}, [[]], {"x": None}, "ner#en", "/dev/zero",
]  # fmt: skip
PIECES = [
    b"\0", b"\xff", b"\r", b"\n\n", b"\t", b" ", b"-", b"_", b"#", b"[" * 2000, b"9" * 4400, b"\xed\xa0\x80", b"NaN",
    b"*all", b"&a ", b"<<: ", b"!!int ", b"0x_", b"{", b"}", b"]", b",", b'"', b"\\ud800", b"1-2\t", b"\x1f\x8b",
    b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"1e999", b"null",
]  # fmt: skip


def spoilt(content: bytes, draw: random.Random) -> bytes:
    """A content with some change: of a value, if it is JSON or has a header of JSON, else of bytes."""
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        start = 8 + int.from_bytes(content[:8], "little")
        if draw.random() < 0.5 and content[8:9] == b"{" and start <= len(content):  # safetensors
            header = _spoilt_json(content[8:start], draw)
            content = len(header).to_bytes(8, "little") + header + content[start:]
        elif draw.random() < 0.7 and content[:1] in (b"{", b"["):
            lines = content.splitlines(keepends=True)
            number = draw.randrange(len(lines))
            whole = _spoilt_json(content, draw)
            content = (
                whole
                if whole != content
                else b"".join([*lines[:number], _spoilt_json(lines[number], draw), *lines[number + 1 :]])
            )
        else:
            content = _spoilt_bytes(content, draw)
    return content


def _spoilt_json(content: bytes, draw: random.Random) -> bytes:
    """JSON with one of its values or keys changed; the same if it is none."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return content
    places: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        keys = list(one) if isinstance(one, dict) else range(len(one)) if isinstance(one, list) else []
        places += [(one, key) for key in keys]
        waiting += [one[key] for key in keys]
    if not places or draw.random() < 0.02:
        return json.dumps(draw.choice(STRANGE)).encode()
    inside, key = draw.choice(places)
    kind = draw.random()
    if kind < 0.6:
        inside[key] = draw.choice(STRANGE)
    elif kind < 0.75:
        del inside[key]
    elif kind < 0.9:
        inside[key] = draw.choice(places)[0]
        try:
            return json.dumps(value).encode()
        except ValueError:  # it holds itself
            return content
    elif isinstance(inside, dict):
        inside["".join(draw.choices(string.printable, k=3))] = inside[key]
    else:
        inside.extend([inside[key]] * draw.choice((1, 100)))
    return json.dumps(value).encode() + (b"\n" if content.endswith(b"\n") else b"")


def _spoilt_bytes(content: bytes, draw: random.Random) -> bytes:
    start, stop = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    stop = min(stop, start + draw.choice((0, 1, 4, 40)))
    piece = draw.choice([draw.choice(PIECES), draw.randbytes(draw.choice((1, 4))), content[start:stop] * 3, b""])
    return content[:start] + piece + content[stop:]
