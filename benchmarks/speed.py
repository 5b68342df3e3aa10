"""Speed: every figure is a ratio of two functions that are timed in turn, in one run.

    python benchmarks/speed.py --treebank DATA/ud/UD_English-EWT            # all rows
    python benchmarks/speed.py --treebank ... --rows step mixed languages   # some of them

A row has the median of the rounds' ratios and their spread (lowest to highest). measuring.py says what the bound is.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from hyperx.config import ArchitectureOptions, HypernetworkOptions, TrainConfig, TrainingOptions
from hyperx.data.batch.store import EncodedSplit, read_encoded, write_encoded
from hyperx.data.batch.windows import SubwordEncoder, Subwords, pad_windows
from hyperx.data.read.formats import read_file
from hyperx.encoders.families import disable_attention_dropout
from hyperx.encoders.loading import load_encoder
from hyperx.evaluation.scores import evaluate_pairs
from hyperx.model import HyperX
from hyperx.pairs import TaskLanguagePair
from hyperx.prediction.predictor import ENOUGH, Predictor, batches_alike
from hyperx.tasks.tagging import PartOfSpeech
from hyperx.training.loop import TrainingRun
from measuring import HEADER, LANGUAGES, Work, bound, compare, make_run, random_split, ratios_row, steps_of
from published_way import published_way

ROWS, SUBWORDS, VOCABULARY = 32, 32, 100_000
PEAKS = {"Hyper-X, b = 64": "1.3", "Hyper-X, b = 256": "", "full fine-tuning": ""}
"""Targets for peak memory, by the name of what is measured in a process of its own."""
STEPS_OF_TEXT = 40
"""Enough for batches of all lengths."""


def seconds(work: Work) -> float:
    """How long something takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def of_three(work: Work) -> float:
    """The median time of three calls."""
    return statistics.median(seconds(work) for _ in range(3))


class Bench:
    """The rows, and what they share: the folder of a treebank, how often each function is timed, and a folder for
    temporary files."""

    def __init__(self, treebank: Path, rounds: int, folder: Path) -> None:
        self.rounds, self.folder, self.treebank = rounds, folder, treebank
        self.square = {"pos#en": random_split("pos", SUBWORDS, VOCABULARY, windows=512)}

    # What is timed

    def run(
        self,
        splits: Mapping[str, EncodedSplit],
        *,
        size: int = 64,
        languages: Sequence[str] = LANGUAGES,
        kinds: Mapping[str, str] | None = None,
    ) -> TrainingRun:
        """A training run around all twelve layers of the embedded encoder."""
        config = TrainConfig(
            architecture=ArchitectureOptions(head_layer="last"),
            hypernetwork=HypernetworkOptions(adapter_dim=size),
            training=TrainingOptions(
                output_dir=self.folder, max_train_steps=10_000, no_cuda=True, disable_progress_bar=True
            ),
        )
        kinds = kinds or {"ner": "ner", "pos": "pos"}
        return make_run(load_encoder("embedded"), config, kinds, splits, languages=languages)

    def batches(self) -> Iterator[dict[str, Tensor | None]]:
        """Random subwords as plain batches."""
        random = torch.Generator().manual_seed(0)
        while True:
            ids = torch.randint(10, VOCABULARY, (ROWS, SUBWORDS), generator=random)
            yield {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def full(self) -> Work:
        """A step that trains all of the encoder."""
        self.loaded, batches = load_encoder("embedded"), self.batches()
        encoder = self.loaded.model.train().requires_grad_(True)
        disable_attention_dropout(encoder)
        optimizer = torch.optim.AdamW(encoder.parameters(), fused=True)

        def once() -> None:
            encoder(**next(batches)).last_hidden_state.sum().backward()
            optimizer.step()
            optimizer.zero_grad()

        return once

    def file(self, split: str) -> Path:
        """The treebank's file of a split."""
        (path,) = self.treebank.glob(f"*-ud-{split}.conllu")
        return path

    def written(self, file: Path) -> EncodedSplit:
        """A file's tags, encoded."""
        path, task = self.folder / file.stem, PartOfSpeech()
        encoder = SubwordEncoder(load_encoder("embedded").checked_tokenizer(), max_length=256)
        write_encoded(path, read_file(file, "upos"), partial(task.windows, encoder), task.columns)
        split = read_encoded(path)
        assert split is not None
        return split

    # Rows

    def step(self) -> None:
        """A training step compared with the bound."""
        plain = bound(load_encoder("embedded").model, self.batches())
        for size, target in ((64, "1.06"), (256, "1.23")):
            what = f"training step / bound, 32 x 32, P = 192, b = {size}"
            self.compare(what, target, steps_of(self.run(self.square, size=size)), plain)
        self.compare("full fine-tuning with fused AdamW / bound", "", self.full(), plain)

    def compare(self, what: str, target: str, ours: Work, other: Work) -> None:
        """Time two steps in turn."""
        compare(what, target, ours, other, rounds=self.rounds, clock=of_three)

    def mixed(self) -> None:
        """Eight pairs in a batch compared with one."""
        many = self.run({f"pos#{language}": self.square["pos#en"] for language in LANGUAGES})
        one = self.run(self.square)
        self.compare("step with 8 pairs mixed in a batch / one pair", "1.05", steps_of(many), steps_of(one))

    def languages(self) -> None:
        """A hundred languages compared with ten, ten tasks with three."""
        codes = [f"x{first}{second}" for first, second in itertools.product("abcdefghij", repeat=2)]
        split = self.square["pos#en"]
        many, few = (self.run({"pos#xaa": split}, languages=codes[:count]) for count in (100, 10))
        self.compare("step with 100 languages / 10", "1.02", steps_of(many), steps_of(few))
        kinds = [{f"pos{number}": "pos" for number in range(count)} for count in (10, 3)]
        many, few = (self.run({"pos0#en": split}, kinds=chosen) for chosen in kinds)
        self.compare("step with 10 tasks / 3", "1.02", steps_of(many), steps_of(few))

    def memory(self) -> None:
        """Peak resident memory of some steps, each in a process of its own, including its libraries."""
        peaks = {name: [self.apart(name)[1] for _ in range(self.rounds)] for name in ("bound", *PEAKS)}
        for name, target in PEAKS.items():
            rounds = list(zip(peaks[name], peaks["bound"], strict=True))
            ratios_row(f"peak memory, {name} / bound", target, rounds, "{:,.0f} MiB")

    def apart(self, name: str) -> tuple[float, float]:
        """The seconds of a step and the peak memory in MiB, in a process of its own, which shares neither memory nor
        allocator settings with this one."""
        command = [sys.executable, __file__, "--treebank", self.treebank, "--steps_of", name]
        took, peak = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
        return took, peak

    def measured(self, name: str) -> tuple[float, float]:
        """What :meth:`apart` returns, measured in this process."""
        if name == "bound":
            # Kept with its tokenizer, as a run keeps it, which takes some 250 MiB.
            self.loaded = load_encoder("embedded")
            step = bound(self.loaded.model, self.batches())
        elif name == "full fine-tuning":
            step = self.full()
        elif name == "the published way":
            step = published_way(load_encoder("embedded").model, self.written(self.file("train")))
        else:
            step = steps_of(self.run(self.square, size=int(name.rpartition(" ")[2])))
        last = [seconds(step) for _ in range(2 if name == "the published way" else 5)][-1]
        # Not ru_maxrss, which a process inherits from the one that started it. Only Linux has this file.
        (peak,) = (line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
        return last, int(peak) / 1024

    def published(self) -> None:
        """Sentences per second in training, compared with the published way."""
        ours, rounds = steps_of(self.run({"pos#en": self.written(self.file("train"))})), []
        for _ in range(self.rounds + 1):
            mine = STEPS_OF_TEXT * ROWS / seconds(lambda: [ours() for _ in range(STEPS_OF_TEXT)])
            rounds.append((mine, ROWS / self.apart("the published way")[0]))
        what = "training, sentences a second / the published way"
        ratios_row(what, "25", rounds[1:], "{:.1f} sentences a second")

    def inference(self) -> None:
        """Evaluation and prediction compared with the encoder alone over the same batches."""
        split, pair = self.written(self.file("test")).first(800), TaskLanguagePair.parse("pos#en")
        run = self.run({"pos#en": split})
        model: HyperX = run.bare_model.eval()
        model.tokenizer = run.data.encoder.tokenizer
        encoder = load_encoder("embedded").model.eval()
        windows = sorted(itertools.chain.from_iterable(split.by_sentence()), key=lambda window: len(window.ids))
        parts = batches_alike([len(window.ids) for window in windows], ROWS, ENOUGH["cpu"])
        pad = Subwords.of(model.checked_tokenizer()).pad
        batches = [pad_windows(windows[own.start : own.stop], pad) for own in parts]

        @torch.inference_mode()
        def plain() -> None:
            for ids, mask, _ in batches:
                encoder(input_ids=ids, attention_mask=mask)

        sentences = list(itertools.islice(read_file(self.file("test"), "upos"), 800))
        works: dict[str, Work] = {
            "evaluation of en_ewt test": lambda: list(evaluate_pairs(model, {pair: split}, batch_size=ROWS)),
            "prediction of the same": lambda: list(Predictor(model).predict(sentences, tasks=["pos"], language="en")),
        }
        for what, work in works.items():
            compare(f"{what} / plain encoder", "1.08", work, plain, rounds=self.rounds, clock=seconds)

    def encoding(self) -> None:
        """Encoding words into windows on disk compared with the tokenizer library alone."""
        tokenizer = load_encoder("embedded").checked_tokenizer()
        sentences, task = list(read_file(self.file("train"), "upos")), PartOfSpeech()
        words = [list(sentence.words) for sentence in sentences]

        def ours() -> None:
            # A new one, which has no words cached yet.
            encoder = SubwordEncoder(tokenizer, max_length=256)
            write_encoded(self.folder / "encoding", sentences, partial(task.windows, encoder), task.columns)

        theirs = lambda: tokenizer.backend_tokenizer.encode_batch(words, is_pretokenized=True)  # noqa: E731
        what = "encoding en_ewt train / the tokenizer alone"
        compare(what, "1.3", ours, theirs, rounds=self.rounds, clock=seconds)

    def start(self) -> None:
        """The first prediction of a new process compared with the imports alone."""
        folder = self.folder / "checkpoint"
        self.run({"pos#en": random_split("pos", SUBWORDS, VOCABULARY, windows=32)}).bare_model.save_pretrained(folder)
        code = (
            f"from hyperx import HyperX; m = HyperX.from_pretrained({str(folder)!r}); "
            "m.predict([['The', 'cat']], task='pos', language='en')"
        )
        imports = "import torch, transformers; transformers.AutoModel, transformers.PreTrainedTokenizerFast"
        first, other = (
            lambda text=text: subprocess.run([sys.executable, "-c", text], check=True) for text in (code, imports)
        )
        what = "first prediction of a new process / the imports alone"
        compare(what, "at most 1.5 s more", first, other, rounds=self.rounds, clock=seconds)


TABLE = ("step", "mixed", "languages", "published", "inference", "encoding", "start", "memory")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--treebank", type=Path, required=True, help="folder of a UD treebank, such as UD_English-EWT")
    parser.add_argument("--rows", nargs="+", choices=TABLE, default=TABLE, help="what to measure")
    parser.add_argument("--rounds", type=int, default=5, help="how often each thing is timed")
    parser.add_argument("--steps_of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.treebank, options.rounds, Path(folder))
        if options.steps_of:
            print(*bench.measured(options.steps_of))
            return
        print(HEADER, flush=True)
        for name in options.rows:
            getattr(bench, name)()


if __name__ == "__main__":
    main()
