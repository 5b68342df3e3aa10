"""Peak memory of training and size of a checkpoint, each variant in a process of its own.

    python benchmarks/memory.py

Prints the peak resident memory of: loading the encoder alone; the bound (the frozen encoder with only its first layer
norm trained, forward and backward of the sum of its output); and Hyper-X training (forward, backward, fused AdamW), on
batches of 32 sentences of 32 subwords, all twelve layers. Then the bytes of a checkpoint.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from hyperx.building import build_model
from hyperx.config import HypernetworkOptions, ModelOptions, TrainConfig, TrainingOptions
from hyperx.encoders.layout import disable_attention_dropout, norm_modules
from hyperx.encoders.loading import load_encoder
from hyperx.model import HyperX
from hyperx.optimisation import make_optimizer
from hyperx.pairs import TaskLanguagePair
from hyperx.tasks.registry import make_tasks

STEPS, ROWS, SUBWORDS = 5, 32, 32
PAIRS = [TaskLanguagePair.parse(name) for name in ("ner#en", "ner#ru", "pos#en", "pos#tr", "pos#es")]
VARIANTS = ("encoder", "bound", "hyperx_64", "hyperx_256", "full")


def batch() -> dict[str, torch.Tensor]:
    """A batch of random subwords, none of it padding."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(10, 100_000, (ROWS, SUBWORDS), generator=generator)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def build(size: int) -> HyperX:
    """Hyper-X of bottleneck size b around the whole embedded encoder."""
    config = TrainConfig(
        model=ModelOptions(head_layer="last"),
        hypernetwork=HypernetworkOptions(adapter_dim=size),
        training=TrainingOptions(),
    )
    kinds = {"ner": "ner", "pos": "pos"}
    labels = {name: task.label_set(()) for name, task in make_tasks(kinds).items()}
    languages = ["en", "ru", "tr", "es", "de", "nl", "pl"]
    loaded = load_encoder("embedded")
    return build_model(loaded, config, kinds=kinds, labels=labels, languages=languages, trained=PAIRS)


def run(variant: str) -> None:
    """Run one variant and print its peak resident memory in MiB."""
    if variant.startswith("hyperx"):
        train_hyperx(int(variant.partition("_")[2]))
    else:
        run_encoder(variant)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def train_hyperx(size: int) -> None:
    """Some training steps."""
    model = build(size).train()
    optimizer = make_optimizer(model, TrainingOptions(), torch.device("cpu"))
    labels = torch.zeros(ROWS, SUBWORDS, dtype=torch.long)
    for _ in range(STEPS):
        pairs = [PAIRS[row % len(PAIRS)] for row in range(ROWS)]
        model(pairs=pairs, **batch(), labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def run_encoder(variant: str) -> None:
    """Load the encoder; for ``bound`` train its first layer norm, for ``full`` all of it."""
    encoder = load_encoder("embedded").model
    if variant == "encoder":
        return
    disable_attention_dropout(encoder)
    encoder.train().requires_grad_(variant == "full")
    next(norm for _, norm in norm_modules(encoder)).requires_grad_(True)
    optimizer = torch.optim.AdamW(encoder.parameters(), fused=True) if variant == "full" else None
    for _ in range(STEPS):
        encoder(**batch()).last_hidden_state.sum().backward()
        if optimizer is not None:
            optimizer.step()
        encoder.zero_grad()


def checkpoint_bytes(size: int) -> int:
    """Size of the files that a trained model is shared as."""
    with tempfile.TemporaryDirectory() as folder:
        build(size).save_pretrained(Path(folder) / "model")
        return sum(path.stat().st_size for path in (Path(folder) / "model").iterdir())


def main() -> None:
    """Measure every variant and print the table."""
    peaks = {}
    for variant in VARIANTS:
        result = subprocess.run([sys.executable, __file__, variant], capture_output=True, text=True, check=True)
        peaks[variant] = float(result.stdout.split()[-1])
    print("| variant | peak MiB | / bound |\n| --- | ---: | ---: |")
    for variant, peak in peaks.items():
        print(f"| {variant} | {peak:,.0f} | {peak / peaks['bound']:.2f} |")
    encoder_bytes = 4 * sum(parameter.numel() for parameter in load_encoder("embedded").model.parameters())
    for size in (64, 256):
        found = checkpoint_bytes(size)
        print(f"checkpoint b={size}: {found / 2**20:.1f} MiB, {found / encoder_bytes:.2f} of the encoder's weights")


if __name__ == "__main__":
    run(sys.argv[1]) if len(sys.argv) > 1 else main()
