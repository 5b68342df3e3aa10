"""Speed: every figure is a ratio of two functions that are timed in turn, in one run.

    python benchmarks/speed.py --treebank DATA/ud/UD_English-EWT            # all rows
    python benchmarks/speed.py --treebank ... --rows step mixed languages   # some of them

Each row times two functions in turn, in several rounds, and prints the median of the rounds' ratios and their spread
(lowest to highest). The bound is the least that training inside a frozen encoder can cost: the encoder's forward pass
and the backward pass of the sum of its output, with only its first layer norm trained.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hyperx.config import ArchitectureOptions, HypernetworkOptions, TrainConfig, TrainingOptions
from hyperx.data.batch.padding import Subwords, pad_windows
from hyperx.data.batch.store import EncodedSplit, read_encoded, write_encoded
from hyperx.data.batch.windows import SubwordEncoder
from hyperx.data.read.formats import read_file
from hyperx.encoders.layout import disable_attention_dropout, norm_modules
from hyperx.encoders.loading import LoadedEncoder, load_encoder
from hyperx.evaluation.scores import evaluate_pairs
from hyperx.model import HyperX
from hyperx.pairs import TaskLanguagePair
from hyperx.plan.data import RunData
from hyperx.plan.model import build_model
from hyperx.plan.options import Plan
from hyperx.prediction.predictor import ENOUGH, Predictor, batches_alike
from hyperx.tasks.registry import make_tasks
from hyperx.tasks.tagging import PartOfSpeech
from hyperx.training.loop import TrainingRun, make_accelerator
from published_way import PublishedWay

ROWS, SUBWORDS = 32, 32
LANGUAGES = ("en", "ru", "tr", "es", "de", "nl", "pl", "fr")

SIZES = {"Hyper-X, b = 64": 64, "Hyper-X, b = 256": 256}
"""Adapter sizes, by the name of what is measured in a process of its own."""
PEAKS = {"Hyper-X, b = 64": "1.3", "Hyper-X, b = 256": "", "full fine-tuning": ""}
"""Targets for peak memory."""

STEPS_OF_TEXT = 40
"""Enough for batches of all lengths."""


class Apart(NamedTuple):
    """What was measured in a process of its own: the time of its last step, and its peak resident memory."""

    seconds: float
    mebibytes: float


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    Args:
        what: what is compared.
        target: the target for the ratio.
        ratios: the ratio of every round.
        detail: absolute times, for people.
    """

    what: str
    target: str
    ratios: Sequence[float]
    detail: str

    def line(self) -> str:
        """As a row of Markdown."""
        low, high = min(self.ratios), max(self.ratios)
        median = statistics.median(self.ratios)
        return f"| {self.what} | {self.target} | {median:.3f} | {low:.3f} to {high:.3f} | {self.detail} |"


def seconds(work: Callable[[], object]) -> float:
    """How long something takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def compare(
    what: str, target: str, ours: Callable[[], object], other: Callable[[], object], *, rounds: int, times: int = 1
) -> Figure:
    """Time two functions in turn; the first round does not count."""
    pairs = []
    for number in range(rounds + 1):
        mine, theirs = (statistics.median(seconds(work) for _ in range(times)) for work in (ours, other))
        if number:
            pairs.append((mine, theirs))
    medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
    return Figure(what, target, [mine / theirs for mine, theirs in pairs], f"{medians[0]:.3f} s / {medians[1]:.3f} s")


class Bench:
    """What the rows share.

    Args:
        treebank: folder of a treebank of Universal Dependencies with train and test files.
        rounds: how often each function is timed.
        folder: for temporary files.
    """

    def __init__(self, treebank: Path, rounds: int, folder: Path) -> None:
        self.treebank, self.rounds, self.folder = treebank, rounds, folder
        (self.train_file,), (self.test_file,) = (
            tuple(treebank.glob(f"*-ud-{split}.conllu")) for split in ("train", "test")
        )

    # What is timed

    def config(self, size: int) -> TrainConfig:
        """The options of a run around all twelve layers of the embedded encoder."""
        return TrainConfig(
            architecture=ArchitectureOptions(head_layer="last"),
            hypernetwork=HypernetworkOptions(adapter_dim=size),
            training=TrainingOptions(
                output_dir=self.folder / "run", max_train_steps=10_000, no_cuda=True, disable_progress_bar=True
            ),
        )

    def run(
        self,
        pairs: Sequence[str],
        splits: Sequence[EncodedSplit],
        *,
        size: int = 64,
        languages: Sequence[str] = LANGUAGES,
        kinds: dict[str, str] | None = None,
    ) -> TrainingRun:
        """A training run as the command line creates it, ready for its first step."""
        kinds = kinds or {"ner": "ner", "pos": "pos"}
        tasks = make_tasks(kinds)
        labels = {name: task.label_set(()) for name, task in tasks.items()}
        loaded, config = load_encoder("embedded"), self.config(size)
        parsed = tuple(map(TaskLanguagePair.parse, pairs))
        plan = Plan(config, kinds, tuple(languages), parsed)
        data = RunData(plan, loaded, labels, list(splits), {})
        return TrainingRun(self.folder, make_accelerator(config.training), build_model(data), data)

    def steps(self, run: TrainingRun) -> Callable[[], object]:
        """The run's own training step, over the run's own batches."""
        batches = run._batches(0)
        return lambda: run._step(batches)

    def bound(
        self, batches: Iterator[dict[str, Tensor]], loaded: LoadedEncoder, *, attention_dropout: bool = False
    ) -> Callable[[], object]:
        """The frozen encoder's forward and backward pass; by default without attention dropout, as in the step."""
        encoder = loaded.model.train()
        if not attention_dropout:
            disable_attention_dropout(encoder)
        encoder.requires_grad_(False)
        next(norm for _, norm in norm_modules(encoder)).requires_grad_(True)

        def once() -> None:
            encoder(**next(batches)).last_hidden_state.sum().backward()
            encoder.zero_grad()

        return once

    def full(self) -> Callable[[], object]:
        """A step that trains all of the encoder."""
        self.loaded, batches = load_encoder("embedded"), self.square_batches()
        encoder = self.loaded.model.train().requires_grad_(True)
        disable_attention_dropout(encoder)
        optimizer = torch.optim.AdamW(encoder.parameters(), fused=True)

        def once() -> None:
            encoder(**next(batches)).last_hidden_state.sum().backward()
            optimizer.step()
            optimizer.zero_grad()

        return once

    def square(self, windows: int = 512) -> EncodedSplit:
        """Windows of 32 random subwords, each subword a word of its own."""
        random = np.random.default_rng(0)
        count = windows * SUBWORDS
        return EncodedSplit(
            ids=random.integers(10, 100_000, count).astype(np.int32),
            words=np.tile(np.arange(SUBWORDS, dtype=np.int32), windows),
            offsets=np.arange(0, count + 1, SUBWORDS, dtype=np.int64),
            sentences=np.arange(windows, dtype=np.int32),
            owned=np.tile(np.array([0, SUBWORDS], dtype=np.int32), (windows, 1)),
            targets={"upos": np.zeros(count, dtype=np.int32)},
            target_offsets=np.arange(0, count + 1, SUBWORDS, dtype=np.int64),
            names={"upos": ("NOUN",)},
        )

    def square_batches(self) -> Iterator[dict[str, Tensor]]:
        """The same as plain batches."""
        random = torch.Generator().manual_seed(0)
        while True:
            ids = torch.randint(10, 100_000, (ROWS, SUBWORDS), generator=random)
            yield {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    def written(self, file: Path) -> EncodedSplit:
        """A file's tags, encoded."""
        path = self.folder / file.stem
        encoder = SubwordEncoder(load_encoder("embedded").checked_tokenizer(), max_length=256)
        task = PartOfSpeech()
        write_encoded(path, read_file(file, "upos"), partial(task.windows, encoder), task.columns)
        split = read_encoded(path)
        assert split is not None
        return split

    # Rows

    def step(self) -> Iterator[Figure]:
        """A training step compared with the bound."""
        bound = self.bound(self.square_batches(), load_encoder("embedded"))
        dropping = self.bound(self.square_batches(), load_encoder("embedded"), attention_dropout=True)
        for size, target in ((64, "1.06"), (256, "1.23")):
            ours = self.steps(self.run(["pos#en"], [self.square()], size=size))
            what = f"training step / bound, 32 x 32, P = 192, b = {size}"
            yield compare(what, target, ours, bound, rounds=self.rounds, times=3)
            what = f"the same, the bound with attention dropout, b = {size}"
            yield compare(what, "", ours, dropping, rounds=self.rounds, times=3)
        full = self.full()
        yield compare("full fine-tuning with fused AdamW / bound", "", full, bound, rounds=self.rounds, times=3)

    def mixed(self) -> Iterator[Figure]:
        """Eight pairs in a batch compared with one."""
        pairs = [f"pos#{language}" for language in LANGUAGES]
        many, one = self.run(pairs, [self.square()] * len(pairs)), self.run(["pos#en"], [self.square()])
        what = "step with 8 pairs mixed in a batch / one pair"
        yield compare(what, "1.05", self.steps(many), self.steps(one), rounds=self.rounds, times=3)

    def languages(self) -> Iterator[Figure]:
        """A hundred languages compared with ten, ten tasks with three."""
        codes = [f"x{first}{second}" for first, second in itertools.product("abcdefghij", repeat=2)]
        many = self.run([f"pos#{codes[0]}"], [self.square()], languages=codes)
        few = self.run([f"pos#{codes[0]}"], [self.square()], languages=codes[:10])
        what = "step with 100 languages / 10"
        yield compare(what, "1.02", self.steps(many), self.steps(few), rounds=self.rounds, times=3)
        kinds = {f"pos{number}": "pos" for number in range(10)}
        three = dict(list(kinds.items())[:3])
        many, few = (self.run(["pos0#en"], [self.square()], kinds=chosen) for chosen in (kinds, three))
        what = "step with 10 tasks / 3"
        yield compare(what, "1.02", self.steps(many), self.steps(few), rounds=self.rounds, times=3)

    def memory(self) -> Iterator[Figure]:
        """Peak resident memory of some steps, each in a process of its own, including its libraries."""
        peaks = {name: [self.apart(name).mebibytes for _ in range(self.rounds)] for name in ("bound", *PEAKS)}
        for name, target in PEAKS.items():
            ratios = [mine / other for mine, other in zip(peaks[name], peaks["bound"], strict=True)]
            mine, other = (statistics.median(peaks[one]) for one in (name, "bound"))
            yield Figure(f"peak memory, {name} / bound", target, ratios, f"{mine:,.0f} MiB / {other:,.0f} MiB")

    def apart(self, name: str) -> Apart:
        """Some steps in a process of their own, which shares neither memory nor allocator settings with ours."""
        command = [sys.executable, __file__, "--treebank", self.treebank, "--steps_of", name]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return Apart(*map(float, output.split()))

    def measured(self, name: str) -> Apart:
        """What :meth:`apart` returns, measured in this process."""
        step = self.steps_of(name)
        last = [seconds(step) for _ in range(2 if name == "the published way" else 5)][-1]
        # Not ru_maxrss, which a process inherits from the one that started it. Only Linux has this file.
        (peak,) = (line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
        return Apart(last, int(peak) / 1024)

    def steps_of(self, name: str) -> Callable[[], object]:
        """A step that is measured apart."""
        if name == "bound":
            # Kept with its tokenizer, as a run keeps it, which takes some 250 MiB.
            self.loaded = load_encoder("embedded")
            return self.bound(self.square_batches(), self.loaded)
        if name == "full fine-tuning":
            return self.full()
        if name == "the published way":
            return PublishedWay(load_encoder("embedded").model, self.written(self.train_file)).step
        return self.steps(self.run(["pos#en"], [self.square()], size=SIZES[name]))

    def published(self) -> Iterator[Figure]:
        """Sentences per second in training, compared with the published way."""
        split = self.written(self.train_file)
        ours = self.steps(self.run(["pos#en"], [split]))
        ratios, details = [], []
        for number in range(self.rounds + 1):
            mine = seconds(lambda: [ours() for _ in range(STEPS_OF_TEXT)]) / STEPS_OF_TEXT
            other = self.apart("the published way").seconds
            if number:
                ratios.append(other / mine)
                details.append((ROWS / mine, ROWS / other))
        mine, other = (statistics.median(column) for column in zip(*details, strict=True))
        what = "training, sentences a second / the published way"
        yield Figure(what, "25", ratios, f"{mine:.1f} / {other:.1f} sentences a second")

    def inference(self) -> Iterator[Figure]:
        """Evaluation and prediction compared with the encoder alone over the same batches."""
        split = self.written(self.test_file).first(800)
        pair = TaskLanguagePair.parse("pos#en")
        run = self.run(["pos#en"], [split])
        model: HyperX = run.bare_model.eval()
        model.tokenizer = run.data.encoder.tokenizer
        subwords = Subwords.of(model.checked_tokenizer())
        plain = self.plain_pass(load_encoder("embedded"), split, subwords.pad)
        evaluate = lambda: list(evaluate_pairs(model, {pair: split}, batch_size=ROWS))  # noqa: E731
        yield compare("evaluation of en_ewt test / plain encoder", "1.08", evaluate, plain, rounds=self.rounds)
        sentences = list(itertools.islice(read_file(self.test_file, "upos"), 800))
        predict = lambda: list(Predictor(model).predict(sentences, tasks=["pos"], language="en"))  # noqa: E731
        yield compare("prediction of the same / plain encoder", "1.08", predict, plain, rounds=self.rounds)

    def plain_pass(self, loaded: LoadedEncoder, split: EncodedSplit, pad: int) -> Callable[[], object]:
        """The plain encoder over a split in the same batches."""

        encoder = loaded.model.eval()
        windows = sorted(itertools.chain.from_iterable(split.by_sentence()), key=lambda window: len(window.ids))
        rows = batches_alike([len(window.ids) for window in windows], ROWS, ENOUGH["cpu"])
        batches = [pad_windows(windows[own.start : own.stop], pad) for own in rows]

        @torch.inference_mode()
        def once() -> None:
            for ids, mask, _ in batches:
                encoder(input_ids=ids, attention_mask=mask)

        return once

    def encoding(self) -> Iterator[Figure]:
        """Encoding words into windows on disk compared with the tokenizer library alone."""
        tokenizer = load_encoder("embedded").checked_tokenizer()
        sentences, task = list(read_file(self.train_file, "upos")), PartOfSpeech()
        path = self.folder / "encoding"
        words = [list(sentence.words) for sentence in sentences]

        def ours() -> None:
            # A new one, which has no words cached yet.
            encoder = SubwordEncoder(tokenizer, max_length=256)
            write_encoded(path, sentences, partial(task.windows, encoder), task.columns)

        theirs = lambda: tokenizer.backend_tokenizer.encode_batch(words, is_pretokenized=True)  # noqa: E731
        yield compare("encoding en_ewt train / the tokenizer alone", "1.3", ours, theirs, rounds=self.rounds)

    def start(self) -> Iterator[Figure]:
        """The first prediction of a new process compared with the imports alone."""
        run = self.run(["pos#en"], [self.square(32)])
        run.bare_model.save_pretrained(self.folder / "checkpoint")
        code = (
            "from hyperx import HyperX; "
            f"m = HyperX.from_pretrained({str(self.folder / 'checkpoint')!r}); "
            "m.predict([['The', 'cat']], task='pos', language='en')"
        )
        imports = "import torch, transformers; transformers.AutoModel, transformers.PreTrainedTokenizerFast"
        process = lambda text: subprocess.run([sys.executable, "-c", text], check=True)  # noqa: E731
        figure = compare(
            "first prediction of a new process / the imports alone",
            "at most 1.5 s more",
            lambda: process(code),
            lambda: process(imports),
            rounds=self.rounds,
        )
        mine, other = (float(part.strip(" s")) for part in figure.detail.split("/"))
        yield replace(figure, detail=f"{figure.detail}: {mine - other:.2f} s more")


TABLE = ("step", "mixed", "languages", "published", "inference", "encoding", "start", "memory")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--treebank", type=Path, required=True, help="folder of a UD treebank, such as UD_English-EWT")
    parser.add_argument("--rows", nargs="+", choices=TABLE, default=TABLE, help="what to measure")
    parser.add_argument("--rounds", type=int, default=5, help="how often each thing is timed")
    parser.add_argument("--steps_of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.steps_of:
        with tempfile.TemporaryDirectory() as folder:
            print(*Bench(options.treebank, 1, Path(folder)).measured(options.steps_of))
        return
    print("| what | target | median | spread | times |\n| --- | --- | ---: | ---: | --- |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.treebank, options.rounds, Path(folder))
        for row in options.rows:
            for figure in getattr(bench, row)():
                print(figure.line(), flush=True)


if __name__ == "__main__":
    main()
