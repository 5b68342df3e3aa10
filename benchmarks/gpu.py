"""A training step on a GPU: compared with its bound and the GPU's peak, and whether Python ever waits for the GPU.

    python benchmarks/gpu.py                        # needs a GPU, but neither data nor a network; under 5 minutes
    python benchmarks/gpu.py --device cpu --tiny    # the same code in seconds; its figures mean nothing

The encoder has the sizes of multilingual BERT (12 layers, h = 768, 119,547 subwords) and random weights. The step is
that of a training run, with collation and optimiser, b = 256, P = 192 and the precision that --fp16 gives. The bound is
the least that training inside a frozen encoder can cost: the same encoder's forward pass and the backward pass of the
sum of its output, with only its first layer norm trained, over one batch that is on the GPU already. Both are timed in
turn, in several rounds of several steps each; a row has the median of the rounds' ratios and their spread. If a row
fails, it shows the error, and the others continue.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import gc
import signal
import statistics
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import accelerate
import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from hyperx.config import HypernetworkOptions, ModelOptions, TrainConfig, TrainingOptions
from hyperx.data.batch.store import EncodedSplit
from hyperx.encoders.layout import disable_attention_dropout, norm_modules
from hyperx.encoders.loading import LoadedEncoder
from hyperx.pairs import TaskLanguagePair
from hyperx.plan.data import RunData
from hyperx.plan.model import build_model
from hyperx.plan.options import Plan
from hyperx.tasks.registry import make_tasks
from hyperx.training.loop import TrainingRun, make_accelerator

KINDS = {"pos": "pos", "dep": "dep", "mlm": "mlm", "cls": "cls"}
LANGUAGES = ("en", "ru", "tr", "es", "de", "nl", "pl", "fr")
SPECIAL = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
NOMINAL = {"H100 PCIe": 756, "H100 NVL": 835, "H200": 989, "H100": 989, "A100": 312, "L40S": 362}
"""The manufacturer's dense bf16 TFLOP/s, by a part of the GPU's name."""
WAITS = (
    "cudaStreamSynchronize",
    "cudaDeviceSynchronize",
    "cudaEventSynchronize",
    "cudaMemcpy",
    "cudaMalloc",
    "cudaFree",
)
"""What a profile shows if Python waits for the GPU."""
QUESTIONS = ("aten::item", "aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero")
"""Operations that read a value; for a value on the GPU they wait, and then one of the above occurs as well."""
WAITED = "called a synchronizing"
"""Part of PyTorch's message about an operation that waits for the GPU."""
STEP = "one training step"
LAST_START = 75.0
"""Seconds before the time limit after which no variant is started: a compilation takes about as long."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of what is measured.

    Args:
        encoder: sizes of the encoder.
        adapter: bottleneck size b.
        projected: size P of the projected source embedding.
        shapes: sentences and subwords of a batch, with the target for the step's ratio to the bound.
        product: side of the square matrices whose product shows the GPU's peak.
        rounds: how often each function is timed.
        seconds: about how long each function is timed in a round.
        compilations: index of a shape and how the encoder is compiled for it.
    """

    encoder: dict[str, int]
    adapter: int
    projected: int
    shapes: dict[tuple[int, int], str]
    product: int
    rounds: int
    seconds: float
    compilations: tuple[tuple[int, dict[str, Any]], ...]


MBERT = Sizes(
    encoder={"vocab_size": 119_547},
    adapter=256,
    projected=192,
    shapes={(32, 32): "reported", (256, 32): "1.15", (32, 128): "reported", (256, 128): "reported"},
    product=8192,
    rounds=7,
    seconds=0.4,
    compilations=(
        (1, {"dynamic": False}),
        (0, {"dynamic": False}),
        (0, {"dynamic": False, "mode": "reduce-overhead"}),
    ),
)
TINY = Sizes(
    encoder={
        "vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 64,
    },
    adapter=8,
    projected=8,
    shapes={(4, 8): "reported", (8, 8): "1.15"},
    product=64,
    rounds=1,
    seconds=0.0,
    compilations=((1, {"backend": "eager"}),),
)  # fmt: skip


def row(what: str, target: str = "", value: str = "", spread: str = "", detail: str = "") -> None:
    """Print a row of Markdown."""
    cells = (" ".join(cell.split()).replace("|", "/") for cell in (what, target, value, spread, detail))
    print(f"| {' | '.join(cells)} |", flush=True)


class Bench:
    """What the rows share.

    Args:
        device: where everything runs.
        sizes: the sizes of what is measured.
        folder: for files that a run might write.
        seconds: time limit for everything.
    """

    def __init__(self, device: torch.device, sizes: Sizes, folder: Path, seconds: float) -> None:
        self.device, self.sizes, self.folder = device, sizes, folder
        self.gpu = device.type == "cuda"
        self.end = time.perf_counter() + seconds
        torch.manual_seed(0)
        with device:
            self.encoder = BertModel(BertConfig(**sizes.encoder, attn_implementation="sdpa"), add_pooling_layer=False)
        self.tokenizer = PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer(models.WordLevel(SPECIAL, unk_token="[UNK]")),
            pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
        )  # fmt: skip

    # What is timed

    def run(
        self, pairs: Sequence[str], rows: int, subwords: int, *, padded: bool = False, **training: Any
    ) -> TrainingRun:
        """A training run as the command line creates it, ready for its first step."""
        tasks = make_tasks(KINDS)
        labels = {name: task.label_set(("bad", "good") if name == "cls" else ()) for name, task in tasks.items()}
        loaded = LoadedEncoder("random", "", copy.deepcopy(self.encoder), self.tokenizer)
        config = TrainConfig(
            model=ModelOptions(),
            hypernetwork=HypernetworkOptions(
                adapter_dim=self.sizes.adapter, projected_source_embedding_dim=self.sizes.projected
            ),
            training=TrainingOptions(
                output_dir=self.folder, max_train_steps=100_000, per_device_train_batch_size=rows, fp16=True,
                disable_progress_bar=True, **training,
            ),
        )  # fmt: skip
        trained = tuple(map(TaskLanguagePair.parse, pairs))
        splits = [self.split(pair.task, subwords, padded=padded) for pair in trained]
        data = RunData(Plan(config, KINDS, LANGUAGES, trained), loaded, labels, splits, {})
        # On a CPU --fp16 is not available, but autocast can be tried.
        accelerator = (
            make_accelerator(config.training)
            if self.gpu
            else accelerate.Accelerator(cpu=True, mixed_precision="bf16", gradient_accumulation_steps=1)
        )
        return TrainingRun(self.folder, accelerator, build_model(data), data)

    def split(self, task: str, subwords: int, *, padded: bool, windows: int = 2048) -> EncodedSplit:
        """Windows of random subwords, each a word of its own; padded ones have between half and all of them."""
        random = np.random.default_rng(0)
        lengths = random.integers(subwords // 2, subwords + 1, windows) if padded else np.full(windows, subwords)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        words = np.concatenate([np.arange(length) for length in lengths]).astype(np.int32)
        vocabulary = self.encoder.config.vocab_size
        targets: dict[str, dict[str, Any]] = {
            "pos": {"upos": np.zeros(offsets[-1], dtype=np.int32)},
            "dep": {"head": np.minimum(words, 1), "deprel": np.minimum(words, 1)},
            "mlm": {},
            "cls": {"label": np.arange(windows, dtype=np.int32) % 2},
        }
        names = {"upos": ("NOUN",), "deprel": ("root", "obj"), "label": ("bad", "good")}
        return EncodedSplit(
            ids=random.integers(10, vocabulary, offsets[-1]).astype(np.int32),
            words=words,
            offsets=offsets,
            sentences=np.arange(windows, dtype=np.int32),
            owned=np.stack([np.zeros(windows), lengths], axis=1).astype(np.int32),
            targets=targets[task],
            target_offsets=np.arange(windows + 1, dtype=np.int64) if task == "cls" else offsets,
            names={column: names[column] for column in targets[task] if column in names},
        )

    def bound(self, rows: int, subwords: int, **compilation: Any) -> Callable[[], object]:
        """The frozen encoder's forward and backward over one batch without padding, in the same precision."""
        encoder: Any = copy.deepcopy(self.encoder).train()
        disable_attention_dropout(encoder)  # as training does by default
        encoder.requires_grad_(False)
        next(norm for _, norm in norm_modules(encoder)).requires_grad_(True)
        if compilation:
            encoder.compile(**compilation)
        ids = torch.randint(10, encoder.config.vocab_size, (rows, subwords), device=self.device)

        def once() -> None:
            with torch.autocast(self.device.type, torch.bfloat16):
                states = encoder(input_ids=ids, attention_mask=None).last_hidden_state
            states.float().sum().backward()
            encoder.zero_grad()

        return once

    def synchronize(self) -> None:
        """Wait for the GPU."""
        if self.gpu:
            torch.cuda.synchronize()

    def seconds(self, work: Callable[[], object], times: int = 1) -> float:
        """The mean time of a call, over ``times`` calls without a pause."""
        self.synchronize()
        begin = time.perf_counter()
        for _ in range(times):
            work()
        self.synchronize()
        return (time.perf_counter() - begin) / times

    def compare(self, what: str, target: str, ours: Callable[[], object], other: Callable[[], object]) -> float:
        """Time two functions in turn and print the row; returns the seconds of the first."""
        self.seconds(ours, 3), self.seconds(other, 3)
        times = [max(2, int(self.sizes.seconds / self.seconds(work, 2))) for work in (ours, other)]
        rounds = [
            tuple(self.seconds(work, count) for work, count in zip((ours, other), times, strict=True))
            for _ in range(self.sizes.rounds)
        ]
        ratios = [mine / theirs for mine, theirs in rounds]
        mine, theirs = (statistics.median(column) for column in zip(*rounds, strict=True))
        spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
        row(what, target, f"{statistics.median(ratios):.3f}", spread, f"{1e3 * mine:.2f} ms / {1e3 * theirs:.2f} ms")
        return mine

    # Rows

    def steps(self) -> None:
        """The step compared with the bound and with the GPU's peak, for each shape of batch."""
        peak, nominal = self.peak()
        for (rows, subwords), target in self.sizes.shapes.items():
            with self.guarded(f"training step, {rows} x {subwords}"):
                ours, bound = steps_of(self.run(["pos#en"], rows, subwords)), self.bound(rows, subwords)
                took = self.compare(
                    f"training step / bound, {rows} x {subwords}, b = {self.sizes.adapter}", target, ours, bound
                )
                counter = FlopCounterMode(display=False)
                with counter:
                    ours()
                rate = counter.get_total_flops() / took
                shares = f"{rate / peak:.3f}" + (f" ({rate / nominal:.3f} of the nominal)" if nominal else "")
                detail = f"{counter.get_total_flops() / 1e12:.3f} TFLOP a step, {rate / 1e12:.1f} TFLOP/s"
                row(f"the step's share of the card's peak, {rows} x {subwords}", "", shares, "", detail)
                self.issue(f"{rows} x {subwords}", ours)

    def issue(self, shape: str, ours: Callable[[], object]) -> None:
        """The share of a step in which Python launches it: if it is near 1, Python is the bottleneck."""
        asked, whole = [], []
        for _ in range(self.sizes.rounds):
            self.synchronize()
            begin = time.perf_counter()
            ours()
            asked.append(time.perf_counter() - begin)
            self.synchronize()
            whole.append(time.perf_counter() - begin)
        ratios = [one / other for one, other in zip(asked, whole, strict=True)]
        what = f"Python's part of one step on an idle card, {shape}"
        detail = f"{1e3 * statistics.median(asked):.2f} ms / {1e3 * statistics.median(whole):.2f} ms"
        row(what, "", f"{statistics.median(ratios):.3f}", f"{min(ratios):.3f} to {max(ratios):.3f}", detail)

    def peak(self) -> tuple[float, float | None]:
        """Measured operations per second of a large bf16 product, and the manufacturer's figure if it is known."""
        side = self.sizes.product
        with self.device:
            one, other = (torch.randn(side, side, dtype=torch.bfloat16) for _ in range(2))
        for _ in range(3):
            self.seconds(lambda: one @ other, 10)
        found = 2 * side**3 / min(self.seconds(lambda: one @ other, 10) for _ in range(5))
        name = torch.cuda.get_device_name() if self.gpu else ""
        nominal = next((1e12 * value for part, value in NOMINAL.items() if part in name), None)
        stated = f"stated by its maker: {nominal / 1e12:.0f}" if nominal else ""
        row(f"product of two {side} x {side} matrices in bf16", "", f"{found / 1e12:.1f} TFLOP/s", "", stated)
        return found, nominal

    def mixed(self) -> None:
        """Eight pairs in a batch compared with one."""
        rows, subwords = list(self.sizes.shapes)[1]
        many = self.run([f"pos#{language}" for language in LANGUAGES], rows, subwords)
        one = self.run(["pos#en"], rows, subwords)
        what = f"step with 8 pairs mixed in a batch / one pair, {rows} x {subwords}"
        self.compare(what, "reported", steps_of(many), steps_of(one))

    def memory(self) -> None:
        """The peak GPU memory of a step."""
        rows, subwords = list(self.sizes.shapes)[1]
        most = []
        for make in (lambda: steps_of(self.run(["pos#en"], rows, subwords)), lambda: self.bound(rows, subwords)):
            clean()
            before = torch.cuda.memory_allocated() if self.gpu else 0
            work = make()
            if self.gpu:
                torch.cuda.reset_peak_memory_stats()
            self.seconds(work, 3)
            most.append((torch.cuda.max_memory_allocated() - before) / 2**20 if self.gpu else float("nan"))
            del work
        what = f"peak memory of the step / of the bound, {rows} x {subwords}"
        row(what, "reported", f"{most[0] / most[1]:.3f}", "", f"{most[0]:,.0f} MiB / {most[1]:,.0f} MiB")

    def waits(self) -> None:
        """Whether a step of each kind of task waits for the GPU, by PyTorch's sync debug mode."""
        rows, subwords = next(iter(self.sizes.shapes))
        cases = {kind: [f"{kind}#en"] for kind in KINDS} | {
            "8 pairs": [f"pos#{language}" for language in LANGUAGES],
            "all kinds": [f"{kind}#{language}" for kind, language in zip(KINDS, LANGUAGES, strict=False)],
        }
        for name, pairs in cases.items():
            what = f"a step that waits for the card is an error, {name}, {rows} x {subwords}, padded"
            with self.guarded(what):
                step = steps_of(self.run(pairs, rows, subwords, padded=True))
                self.seconds(step, 3)
                found = self.places(step)
                watched = f"{found.total()} times" if found else "never" if self.gpu else "not watched"
                row(what, "never", watched, "", "; ".join(found))

    def places(self, step: Callable[[], object]) -> Counter[str]:
        """Where a step waits: the places in order with their counts, and the first again with its source line."""
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            with self.watch("warn"):
                step()
        found = Counter(
            f"{Path(warning.filename).name}:{warning.lineno}" for warning in told if WAITED in str(warning.message)
        )
        try:
            with self.watch("error"):
                step()
        except RuntimeError as error:
            if WAITED not in str(error):
                raise
            frames = traceback.extract_tb(error.__traceback__)
            last = [frame for frame in frames if "/torch/" not in frame.filename][-1]
            found[f"first {Path(last.filename).name}:{last.lineno} `{last.line}`"] += 1
        return found

    @contextlib.contextmanager
    def watch(self, mode: str) -> Iterator[None]:
        """PyTorch's sync debug mode, which detects operations that wait for the GPU."""
        if self.gpu:
            torch.cuda.set_sync_debug_mode(mode)
        try:
            yield
        finally:
            if self.gpu:
                torch.cuda.set_sync_debug_mode("default")

    def profiled(self) -> None:
        """Signs of waiting in a profile of three steps, and the operations that take the GPU's time."""
        rows, subwords = list(self.sizes.shapes)[1]
        step = steps_of(self.run(["pos#en"], rows, subwords))
        self.seconds(step, 3)
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self.gpu else [])]
        with profile(activities=activities) as found:
            for _ in range(3):
                with record_function(STEP):
                    step()
            self.synchronize()
        events = found.events() or []
        parts = [event.time_range for event in events if event.name == STEP and event.device_type.name == "CPU"]
        inside = Counter(
            event.name
            for event in events
            if any(part.start <= event.time_range.start <= part.end for part in parts)
            or event.name.startswith("Memcpy DtoH")  # which has the GPU's own time
        )
        waits = {name: count for name, count in inside.items() if name in WAITS or name.startswith("Memcpy DtoH")}
        asked = ", ".join(f"{name} {inside[name]}" for name in QUESTIONS)
        detail = (
            f"{', '.join(f'{name} {count}' for name, count in waits.items()) or 'none'}; of the CPU as well: {asked}"
        )
        what = f"a profile's signs of waiting in {len(parts)} steps, {rows} x {subwords}"
        row(what, "0", str(sum(waits.values())), "", detail)
        self.longest(found, len(parts))

    def longest(self, found: Any, steps: int) -> None:
        """How long the operations of a step take without pauses, and which take longest; on the GPU if there is one."""
        field = "self_device_time_total" if self.gpu else "self_cpu_time_total"
        times = {
            entry.key: getattr(entry, field) / steps / 1e3
            for entry in found.key_averages()
            if entry.device_type.name == "CPU" and not entry.key.startswith((STEP, "Optimizer."))
        }
        total = sum(times.values())
        row("all operations of that step, one after the other", "", "", "", f"{total:.2f} ms")
        for name, took in sorted(times.items(), key=lambda item: -item[1])[:15]:
            row(f"of which `{name[:70]}`", "", f"{took / max(total, 1e-9):.3f}", "", f"{took:.3f} ms")

    # Variants

    def unclipped(self) -> None:
        """The step without gradient clipping."""
        rows, subwords = list(self.sizes.shapes)[1]
        ours = steps_of(self.run(["pos#en"], rows, subwords, max_grad_norm=0.0))
        self.compare(f"variant: no clipping of gradients, {rows} x {subwords}", "", ours, self.bound(rows, subwords))

    def short_weights(self) -> None:
        """The encoder's frozen weight matrices kept in bf16, so that no step converts them; the bound as it is."""
        rows, subwords = list(self.sizes.shapes)[1]
        run = self.run(["pos#en"], rows, subwords)
        for module in run.bare_model.encoder.modules():
            if isinstance(module, torch.nn.Linear):
                module.to(torch.bfloat16)
        what = f"variant: frozen matrices kept in bf16 / the bound as it is, {rows} x {subwords}"
        self.compare(what, "", steps_of(run), self.bound(rows, subwords))

    def compiled(self, shape: int, **options: Any) -> None:
        """The step with a compiled encoder, compared with the bound, compiled and not."""
        rows, subwords = list(self.sizes.shapes)[shape]
        torch._dynamo.reset()
        run = self.run(["pos#en"], rows, subwords)
        run.bare_model.encoder.compile(**options)
        ours, name = steps_of(run), f"{rows} x {subwords}, {options}"
        self.compare(f"variant: encoder compiled / the bound as it is, {name}", "", ours, self.bound(rows, subwords))
        compiled = self.bound(rows, subwords, **options)
        self.compare(f"variant: encoder compiled / the bound compiled, {name}", "", ours, compiled)

    # Everything

    @contextlib.contextmanager
    def guarded(self, what: str) -> Iterator[None]:
        """Print an error as a row; stop what exceeds the time limit."""
        try:
            with time_limit(max(self.end - time.perf_counter(), 0.001)):
                yield
        except Exception as error:
            frames = [
                f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)
            ]
            row(what, "", "failed", "", f"{type(error).__name__}: {str(error)[:300]} ({' > '.join(frames[-4:])})")
        finally:
            clean()

    def measure(self) -> None:
        """Print the table."""
        card = torch.cuda.get_device_name() if self.gpu else "CPU"
        print(
            f"{card}; torch {torch.__version__}, transformers {transformers.__version__}, accelerate "
            f"{accelerate.__version__}; bf16, {self.encoder.config._attn_implementation} attention; "
            f"{self.encoder.config.num_hidden_layers} layers, h = {self.encoder.config.hidden_size}, "
            f"b = {self.sizes.adapter}, P = {self.sizes.projected}\n"
        )
        print("| what | target | median | spread | times |\n| --- | --- | ---: | --- | --- |", flush=True)
        rows: dict[str, Callable[[], None]] = {
            "steps": self.steps,
            "waits": self.waits,
            "profile": self.profiled,
            "mixed": self.mixed,
            "memory": self.memory,
        }
        for name, part in rows.items():
            with self.guarded(name):
                part()
        variants: dict[str, Callable[[], None]] = {
            "variant: no clipping": self.unclipped,
            "variant: frozen matrices in bf16": self.short_weights,
        }
        for shape, how in self.sizes.compilations:
            variants[f"variant: encoder compiled, {how}"] = partial(self.compiled, shape, **how)
        for name, part in variants.items():
            if self.end - time.perf_counter() < LAST_START:
                row(name, "", "not run", "", "too little time was left")
                continue
            with self.guarded(name):
                part()


def steps_of(run: TrainingRun) -> Callable[[], object]:
    """The run's own training step, over the run's own batches."""
    batches = run._batches(0)
    return lambda: run._step(batches)


def clean() -> None:
    """Release GPU memory that is not needed any more."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise a TimeoutError in what takes longer, if the system has alarms."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def over(*_: object) -> None:
        raise TimeoutError("the time was over")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="where to run: cuda, or cpu to try the script")
    parser.add_argument("--tiny", action="store_true", help="a tiny encoder and few rounds, to try the script")
    parser.add_argument("--seconds", type=float, default=270.0, help="how long all of it may take")
    options = parser.parse_args(words)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU here; --device cpu --tiny runs the same code")
    with tempfile.TemporaryDirectory() as folder:
        Bench(torch.device(options.device), TINY if options.tiny else MBERT, Path(folder), options.seconds).measure()


if __name__ == "__main__":
    main()
