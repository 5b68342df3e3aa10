"""A toy world to train in: a random BERT with a tokenizer, and data whose labels follow from the words.

The fixtures around it stand in ``conftest.py``. Nouns, verbs and names are the same words in all languages;
only the order of the words differs, so what is learnt in one language holds in the others.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import string
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from hyperx.data.locate.spec import DataRecord
from hyperx.files import CACHE_VARIABLE, checked

ROOT = Path(__file__).resolve().parents[1]

NOUNS = ["cat", "dog", "house", "tree", "river", "stone"]
VERBS = ["sees", "likes", "finds", "takes", "shows", "moves"]
PEOPLE = [("Ada", "Lovelace"), ("Alan", "Turing"), ("Grace", "Hopper")]
PLACES = ["London", "Berlin", "Ankara"]
PUNCTUATION = [".", "!"]
HOSTILE = "<script>alert(1)</script>"
"""What would be markup, as a word or a label of a stranger's file."""
ORDERS = {"en": "NVN", "de": "NNV", "tr": "VNN"}
"""The order of nouns and verb in each language."""

Sentence = list[tuple[str, str, str]]
"""Words with their tag and their entity label."""

SHAPE = [
    "--task_embedding_dim", "8", "--language_embedding_dim", "8", "--layer_id_embedding_dim", "8",
    "--source_hidden_dim", "16", "--projected_source_embedding_dim", "16", "--adapter_dim", "8",
]  # fmt: skip
"""A small hypernetwork."""

QUIET = ["--disable_progress_bar", "--no_cuda"]
DATA = ["--train_task_language_pairs", "ner#en", "pos#tr"]


def sentence(language: str, draw: random.Random) -> Sentence:
    """One sentence, such as *cat sees Ada Lovelace .*"""
    words: Sentence = []
    for kind in ORDERS[language]:
        if kind == "V":
            words.append((draw.choice(VERBS), "VERB", "O"))
        elif draw.random() < 0.4:
            first, last = draw.choice(PEOPLE)
            words += [(first, "PROPN", "B-PER"), (last, "PROPN", "I-PER")]
        elif draw.random() < 0.3:
            words.append((draw.choice(PLACES), "PROPN", "B-LOC"))
        else:
            words.append((draw.choice(NOUNS), "NOUN", "O"))
    return [*words, (draw.choice(PUNCTUATION), "PUNCT", "O")]


def sentences(language: str, count: int, seed: int) -> list[Sentence]:
    """Some sentences, the same for the same seed."""
    draw = random.Random(f"{language} {seed}")
    return [sentence(language, draw) for _ in range(count)]


def tree(words: Sentence) -> list[tuple[int, str]]:
    """Head and relation of every word: all hangs on the verb, the second part of a name on the first."""
    verb = 1 + next(index for index, (_, tag, _) in enumerate(words) if tag == "VERB")
    arcs, subject = [], True
    for index, (_, tag, label) in enumerate(words):
        if tag == "VERB":
            arcs.append((0, "root"))
        elif tag == "PUNCT":
            arcs.append((verb, "punct"))
        elif label == "I-PER":
            arcs.append((index, "flat:name"))
        else:
            arcs.append((verb, "nsubj" if subject else "obj"))
            subject = False
    return arcs


def write_dep(path: Path, data: Sequence[Sentence], *, trees: bool = True) -> None:
    """A CoNLL-U file with trees, or with tags alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = []
    for words in data:
        arcs = tree(words) if trees else [("_", "_")] * len(words)
        rows = enumerate(zip(words, arcs, strict=True), start=1)
        blocks.append(
            "".join(
                f"{i}\t{word}\t_\t{tag}\t_\t_\t{head}\t{relation}\t_\t_\n"
                for i, ((word, tag, _), (head, relation)) in rows
            )
        )
    path.write_text("\n".join(blocks) + "\n", encoding="utf-8")


def write_pos(path: Path, data: Sequence[Sentence]) -> None:
    """A CoNLL-U file without trees."""
    write_dep(path, data, trees=False)


def write_ner(path: Path, data: Sequence[Sentence]) -> None:
    """A file of two columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    blocks = ["".join(f"{word}\t{label}\n" for word, _, label in words) for words in data]
    path.write_text("\n".join(blocks) + "\n", encoding="utf-8")


def write_data(folder: Path) -> Path:
    """Train, dev and test of ner#en and pos#tr; dev and test of every other pair of en, tr and de."""
    for language in ORDERS:
        for seed, (split, count) in enumerate({"train": 96, "dev": 24, "test": 30}.items()):
            data = sentences(language, count, seed)
            if split != "train" or language == "tr":
                write_pos(folder / "pos" / language / f"{split}.conllu", data)
            if split != "train" or language == "en":
                write_ner(folder / "ner" / language / f"{split}.tsv", data)
    return folder


def write_encoder(folder: Path, *, seed: int = 0, dropout: float = 0.1) -> Path:
    """A random BERT, and a tokenizer that cuts every second word into letters."""
    known = [*NOUNS, *VERBS, *PLACES, *(name for person in PEOPLE for name in person)][::2]
    letters = [*string.ascii_letters, *string.digits, *PUNCTUATION]
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters), *known]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special, mask_token="[MASK]").save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=256,
        initializer_range=0.05,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BertModel(config, add_pooling_layer=False)
        # Labels follow from the words, wherever they stand.
        model.embeddings.position_embeddings.weight.data.mul_(0.1)
        model.save_pretrained(folder)
    return folder


def write_record(path: Path, value: Any) -> None:
    """Write where the data of a checkpoint is, as its user would."""
    path.write_text(json.dumps(checked(value, DataRecord, path).to_json()))


def read_log(run: Path | str) -> list[dict[str, Any]]:
    """The lines of a run's log."""
    return [json.loads(line) for line in Path(run, "log.jsonl").read_text(encoding="utf-8").splitlines()]


def losses(run: Path | str) -> dict[int, float]:
    """The logged loss by step."""
    return {line["step"]: line["loss"] for line in read_log(run) if "loss" in line}


def weights(run: Path | str, step: int) -> dict[str, torch.Tensor]:
    """The trained weights of one of a run's checkpoints."""
    return load_file(Path(run, f"checkpoint-{step}", "model.safetensors"))


def steps_of(run: Path | str) -> list[int]:
    """The steps of a run's checkpoints."""
    return sorted(int(path.name.removeprefix("checkpoint-")) for path in Path(run).glob("checkpoint-*"))


def spawn(words: Sequence[str | Path], *, cwd: Path, cache: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the interpreter with these words; offline, on one thread, warnings as they are for users."""
    environment = {**os.environ, CACHE_VARIABLE: str(cache), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONUNBUFFERED", None)
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd, env=environment, text=True, capture_output=True, timeout=300, check=False, **options,
    )  # fmt: skip


def forked(program: str, words: Sequence[str], *, cwd: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Run a program in a process in which the libraries are loaded already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["hyperx.training.loop"])
    process = context.Process(target=_run, args=(program, list(words), str(cwd), str(cache)))
    process.start()
    process.join(300)
    out, err = (cwd / name for name in (".stdout", ".stderr"))
    texts = [path.read_text(encoding="utf-8") for path in (out, err)]
    for path in (out, err):
        path.unlink()
    return subprocess.CompletedProcess(words, process.exitcode, *texts)


def _run(program: str, words: list[str], cwd: str, cache: str) -> None:
    os.chdir(cwd)
    os.environ.update({CACHE_VARIABLE: cache, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"})
    for number, name in ((1, ".stdout"), (2, ".stderr")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
    sys.argv = ["-c", *words]
    exec(compile(program, "program", "exec"), {"__name__": "__main__"})
