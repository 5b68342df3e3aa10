"""How far a run of two processes is from a run of one, as `docs/processes.md` tells.

    python benchmarks/processes.py [--steps 100] [--batch 8] [--double | --threads] [--tasks pos mlm]

Each kind of task is trained on the sample corpus, in the default encoder, by one process and by two, which share the
same batches; with one batch in a step and with two. Dropout is off, as each process draws its own. With ``--double``
all is computed in 64 bits. ``--threads`` compares one process with another on two threads instead: how far rounding
alone leads.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from hyperx.cli import main
from hyperx.model import HyperX
from hyperx.plan.data import RunData
from hyperx.training import loop

CORPUS = Path(__file__).resolve().parents[1] / "examples" / "corpus"
LANGUAGES = ("en", "de", "tr")
build_model = loop.build_model


def build(data: RunData, *, double: bool) -> HyperX:
    """The model of a run, without dropout."""
    model = build_model(data)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    return model.double() if double else model


def launch(words: list[str], processes: int, threads: int = 1) -> None:
    """Run a command in forked processes, as `torchrun` does."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    children = []
    for rank in map(str, range(processes)):
        child = os.fork()
        if not child:
            torch.set_num_threads(threads)
            if processes > 1:
                os.environ.update(place, RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=str(processes))
            os.dup2(os.open("messages", os.O_WRONLY | os.O_APPEND | os.O_CREAT), 1)
            os.dup2(1, 2)
            os._exit(main(words))
        children.append(child)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    if any(statuses):
        raise SystemExit(Path("messages").read_text(encoding="utf-8"))


def compare(tasks: list[str], batches: int, options: argparse.Namespace) -> str:
    """The largest differences of a logged loss, and of a weight at the end; the largest weight."""
    table = {}
    for language in LANGUAGES:
        path = CORPUS / language / "train.conllu"
        text = re.findall(r"^# text = (.*\n)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        Path(f"{language}.txt").write_text("".join(text), encoding="utf-8")
        table |= {f"{task}#{language}": {"train": f"{language}.txt" if task == "mlm" else str(path)} for task in tasks}
    Path("data.yaml").write_text(json.dumps({"data": table}))
    words = ["train", "--config", "data.yaml", "--data_folder", ".", "--no_cuda", "--disable_progress_bar"]
    words += ["--model_name_or_path", "embedded", "--train_task_language_pairs", *table, "--evaluation_strategy", "no"]
    words += ["--max_train_steps", str(options.steps), "--save_steps", str(options.steps), "--logging_steps", "1"]
    words += ["--gradient_accumulation_steps", str(batches), "--tasks", *tasks]
    losses, weights = [], []
    for processes, threads in ((1, 1), (1, 2) if options.threads else (2, 1)):
        run = Path(f"run-{processes}-{threads}")
        size = ["--per_device_train_batch_size", str(options.batch // processes)]
        launch([*words, *size, "--output_dir", str(run)], processes, threads)
        losses.append([json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()])
        weights.append(load_file(run / f"checkpoint-{options.steps}" / "model.safetensors"))
    of_losses = [abs(one - two) for one, two in zip(*losses, strict=True)]
    of_weights = max((weights[0][name] - weights[1][name]).abs().max().item() for name in weights[0])
    largest = max(tensor.abs().max().item() for tensor in weights[0].values())
    cells = [" ".join(tasks), f"{batches}", f"{of_losses[0]:.1e}", f"{max(of_losses):.1e}", f"{losses[0][-1]:.3f}"]
    return f"| {' | '.join(cells)} | {of_weights:.1e} | {largest:.2f} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch", type=int, default=8, help="sentences of a batch, in all")
    parser.add_argument("--double", action="store_true")
    parser.add_argument("--threads", action="store_true")
    parser.add_argument("--tasks", nargs="*", help="one row, with these together; by default a row for each kind")
    options = parser.parse_args()
    if options.double:
        torch.set_default_dtype(torch.float64)
        torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    loop.build_model = lambda data: build(data, double=options.double)
    print("| tasks | batches | loss: first step | largest of all | loss at the end | weights | largest weight |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |", flush=True)
    for tasks in [options.tasks] if options.tasks else [["pos"], ["ner"], ["dep"], ["mlm"]]:
        for batches in (1, 2):
            with tempfile.TemporaryDirectory() as folder:
                os.chdir(folder)
                print(compare(tasks, batches, options), flush=True)
                os.chdir("/")
