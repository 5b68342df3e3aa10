"""A training step on a GPU: compared with its bound and the GPU's peak, and whether Python ever waits for the GPU.

    python benchmarks/gpu.py                        # needs a GPU, but neither data nor a network; under 5 minutes
    python benchmarks/gpu.py --device cpu --tiny    # the same code in seconds; its figures mean nothing

The encoder has the sizes of multilingual BERT (12 layers, h = 768, 119,547 subwords) and random weights. The step is
that of a training run, with collation and optimiser, b = 256, P = 192 and the precision that --fp16 gives. Step and
bound (see measuring.py) are timed in turn, the bound over one batch that is on the GPU already; a row has the median of
the rounds' ratios and their spread. If a row fails, it shows the error, and the others continue.
"""

from __future__ import annotations

import argparse
import copy
import gc
import itertools
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import accelerate
import torch
import transformers
from tokenizers import Tokenizer, models
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from hyperx.config import HypernetworkOptions, TrainConfig, TrainingOptions
from hyperx.encoders.loading import LoadedEncoder
from hyperx.training.loop import TrainingRun
from measuring import HEADER, LANGUAGES, Work, bound, compare, make_run, random_split, ratios_row, row, steps_of

KINDS = {"pos": "pos", "dep": "dep", "mlm": "mlm", "cls": "cls"}
SPECIAL = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
NOMINAL = {"H100 PCIe": 756, "H100 NVL": 835, "H200": 989, "H100": 989, "A100": 312, "L40S": 362}
"""The manufacturer's dense bf16 TFLOP/s, by a part of the GPU's name."""
WAITED = "called a synchronizing"
"""Part of PyTorch's message about an operation that waits for the GPU."""


@dataclass(frozen=True)
class Sizes:
    """The sizes of what is measured."""

    encoder: dict[str, int]
    adapter: int
    """The bottleneck size b."""
    projected: int
    """The size P of the projected source embedding."""
    shapes: dict[tuple[int, int], str]
    """Sentences and subwords of a batch, with the target for the step's ratio to the bound."""
    product: int
    """The side of the square matrices whose product shows the GPU's peak."""
    rounds: int
    """How often each function is timed, and about how long in a round."""
    seconds: float


MBERT = Sizes(
    encoder={"vocab_size": 119_547},
    adapter=256,
    projected=192,
    shapes={(32, 32): "reported", (256, 32): "1.15", (32, 128): "reported", (256, 128): "reported"},
    product=8192,
    rounds=7,
    seconds=0.4,
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
)  # fmt: skip


class Bench:
    """The rows, and what they share; after some seconds no row is started any more."""

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

    def run(self, pairs: Sequence[str], rows: int, subwords: int, *, padded: bool = False) -> TrainingRun:
        """A training run over random windows, ready for its first step."""
        config = TrainConfig(
            hypernetwork=HypernetworkOptions(
                adapter_dim=self.sizes.adapter, projected_source_embedding_dim=self.sizes.projected
            ),
            training=TrainingOptions(
                output_dir=self.folder, max_train_steps=100_000, per_device_train_batch_size=rows, fp16=True,
                disable_progress_bar=True,
            ),
        )  # fmt: skip
        loaded = LoadedEncoder("random", "", copy.deepcopy(self.encoder), self.tokenizer)
        vocabulary = self.encoder.config.vocab_size
        splits = {pair: random_split(pair.partition("#")[0], subwords, vocabulary, padded=padded) for pair in pairs}
        # On a CPU --fp16 is not available, but autocast can be tried.
        accelerator = None if self.gpu else accelerate.Accelerator(cpu=True, mixed_precision="bf16")
        return make_run(loaded, config, KINDS, splits, accelerator=accelerator)

    def bound(self, rows: int, subwords: int) -> Work:
        """The bound over one batch without padding, in the same precision."""
        encoder: Any = copy.deepcopy(self.encoder)
        ids = torch.randint(10, encoder.config.vocab_size, (rows, subwords), device=self.device)
        batches = itertools.repeat({"input_ids": ids, "attention_mask": None})
        return bound(encoder, batches, precision=partial(torch.autocast, self.device.type, torch.bfloat16))

    def synchronize(self) -> None:
        """Wait for the GPU."""
        if self.gpu:
            torch.cuda.synchronize()

    def seconds(self, work: Work, times: int = 1) -> float:
        """The mean time of a call, over ``times`` calls without a pause."""
        self.synchronize()
        begin = time.perf_counter()
        for _ in range(times):
            work()
        self.synchronize()
        return (time.perf_counter() - begin) / times

    def compare(self, what: str, target: str, ours: Work, other: Work) -> float:
        """Time two functions in turn and print the row; returns the seconds of the first."""
        self.seconds(ours, 3), self.seconds(other, 3)
        clock = lambda work: self.seconds(work, max(2, int(self.sizes.seconds / self.seconds(work, 2))))  # noqa: E731
        return compare(what, target, ours, other, rounds=self.sizes.rounds, clock=clock)

    # Rows

    def steps(self) -> None:
        """The step compared with the bound and with the GPU's peak, for each shape of batch."""
        side = self.sizes.product
        with self.device:
            one, other = (torch.randn(side, side, dtype=torch.bfloat16) for _ in range(2))
        peak = 2 * side**3 / min(self.seconds(lambda: one @ other, 10) for _ in range(8))
        name = torch.cuda.get_device_name() if self.gpu else ""
        nominal = next((f"{value} by its maker" for part, value in NOMINAL.items() if part in name), "")
        row(f"product of two {side} x {side} matrices in bf16", "", f"{peak / 1e12:.1f} TFLOP/s", "", nominal)
        for (rows, subwords), target in self.sizes.shapes.items():
            shape = f"{rows} x {subwords}"
            self.attempt(f"training step, {shape}", partial(self.step, rows, subwords, shape, target, peak))

    def step(self, rows: int, subwords: int, shape: str, target: str, peak: float) -> None:
        """One shape; at last the share of a step in which Python launches it: near 1, Python is the bottleneck."""
        ours = steps_of(self.run(["pos#en"], rows, subwords))
        what = f"training step / bound, {shape}, b = {self.sizes.adapter}"
        took = self.compare(what, target, ours, self.bound(rows, subwords))
        with FlopCounterMode(display=False) as counter:
            ours()
        rate = counter.get_total_flops() / took
        detail = f"{counter.get_total_flops() / 1e12:.3f} TFLOP a step, {rate / 1e12:.1f} TFLOP/s"
        row(f"the step's share of the card's peak, {shape}", "", f"{rate / peak:.3f}", "", detail)
        rounds = []
        for _ in range(self.sizes.rounds):
            self.synchronize()
            begin = time.perf_counter()
            ours()
            asked = time.perf_counter() - begin
            self.synchronize()
            rounds.append((asked, time.perf_counter() - begin))
        ratios_row(f"Python's part of one step on an idle card, {shape}", "", rounds)

    def mixed(self) -> None:
        """Eight pairs in a batch compared with one."""
        rows, subwords = list(self.sizes.shapes)[1]
        many, one = ([f"pos#{language}" for language in chosen] for chosen in (LANGUAGES, LANGUAGES[:1]))
        what = f"step with 8 pairs mixed in a batch / one pair, {rows} x {subwords}"
        self.compare(what, "reported", *(steps_of(self.run(pairs, rows, subwords)) for pairs in (many, one)))

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
        ratios_row(
            f"peak memory of the step / of the bound, {rows} x {subwords}", "reported", [tuple(most)], "{:,.0f} MiB"
        )

    def waits(self) -> None:
        """Whether a step of each kind of task waits for the GPU, by PyTorch's sync debug mode."""
        rows, subwords = next(iter(self.sizes.shapes))
        cases = {kind: [f"{kind}#en"] for kind in KINDS} | {
            "8 pairs": [f"pos#{language}" for language in LANGUAGES],
            "all kinds": [f"{kind}#{language}" for kind, language in zip(KINDS, LANGUAGES, strict=False)],
        }
        for name, pairs in cases.items():
            what = f"a step that waits for the card, {name}, {rows} x {subwords}, padded"

            def watched(what: str = what, pairs: list[str] = pairs) -> None:
                step = steps_of(self.run(pairs, rows, subwords, padded=True))
                self.seconds(step, 3)
                found = self.places(step)
                value = f"{found.total()} times" if found else "never" if self.gpu else "not watched"
                row(what, "never", value, "", "; ".join(found))

            self.attempt(what, watched)

    def places(self, step: Work) -> Counter[str]:
        """Where a step waits, as PyTorch's sync debug mode tells, and how often."""
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            if self.gpu:
                torch.cuda.set_sync_debug_mode("warn")
            try:
                step()
            finally:
                if self.gpu:
                    torch.cuda.set_sync_debug_mode("default")
        return Counter(
            f"{Path(warning.filename).name}:{warning.lineno}" for warning in told if WAITED in str(warning.message)
        )

    # Everything

    def attempt(self, what: str, part: Callable[[], None]) -> None:
        """Measure a part; an error becomes a row, and so does a lack of time."""
        if time.perf_counter() > self.end:
            row(what, "", "not run", "", "too little time was left")
            return
        try:
            part()
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
            f"b = {self.sizes.adapter}, P = {self.sizes.projected}\n\n{HEADER}",
            flush=True,
        )
        for part in (self.steps, self.waits, self.mixed, self.memory):
            self.attempt(part.__name__, part)


def clean() -> None:
    """Release GPU memory that is not needed any more."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="where to run: cuda, or cpu to try the script")
    parser.add_argument("--tiny", action="store_true", help="a tiny encoder and few rounds, to try the script")
    parser.add_argument("--seconds", type=float, default=200.0, help="after this time no row is started any more")
    options = parser.parse_args(words)
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU here; --device cpu --tiny runs the same code")
    with tempfile.TemporaryDirectory() as folder:
        Bench(torch.device(options.device), TINY if options.tiny else MBERT, Path(folder), options.seconds).measure()


if __name__ == "__main__":
    main()
