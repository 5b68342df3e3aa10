"""What 7,000 languages of ten tasks cost beside 70: memory, steps, sampling, checkpoints, loading and prediction.

    python benchmarks/many_languages.py                     # 70 and 7,000 languages, each in a process of its own

Every pair has training data: a file of four random windows, encoded as in a run and mapped into memory once for each
pair. The encoder is a tiny BERT with random weights, the hypernetwork has its default sizes. A row has the values of
both and their ratio. Times are of the processor, on the threads that OMP_NUM_THREADS gives.
"""

from __future__ import annotations

import itertools
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from string import ascii_lowercase

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from hyperx.config import DataOptions, TrainConfig, TrainingOptions
from hyperx.data.batch.store import read_encoded, write_encoded
from hyperx.data.batch.windows import SubwordEncoder
from hyperx.data.read.sentence import Sentence
from hyperx.encoders.loading import load_encoder
from hyperx.languages import canonical, is_language
from hyperx.model import HyperX
from hyperx.tasks.registry import make_tasks
from measuring import make_run, steps_of

TASKS, ROWS, WORDS = 10, 32, 16
SPECIAL = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3}


def write_encoder(folder: Path) -> None:
    """A BERT of two layers, h = 128, with a tokenizer that knows the numbers below 1,000."""
    ids = SPECIAL | {str(number): number + len(SPECIAL) for number in range(1000)}
    backend = Tokenizer(models.WordLevel(ids, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=backend, **names).save_pretrained(folder)
    sizes = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 512}
    BertModel(BertConfig(vocab_size=len(ids), **sizes), add_pooling_layer=False).save_pretrained(folder)


def anonymous() -> float:
    """MiB of this process's memory that no file stands for."""
    (found,) = re.findall(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found) / 1024


def seconds(work: Callable[[], object], times: int) -> float:
    """The median processor time of some calls."""
    taken = []
    for _ in range(times):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def measure(count: int, folder: Path) -> dict[str, float]:
    """The figures of so many languages."""
    every = map("".join, itertools.product(ascii_lowercase, repeat=3))
    languages = list(itertools.islice((code for code in every if is_language(code) and canonical(code) == code), count))
    write_encoder(folder / "encoder")
    loaded, kinds = load_encoder(str(folder / "encoder")), {f"pos{number}": "pos" for number in range(TASKS)}
    task = next(iter(make_tasks(kinds).values()))
    words = [tuple(str((7 * row + place) % 1000) for place in range(WORDS)) for row in range(4)]
    sentences = [Sentence(words=own, columns={"upos": ("NOUN", "VERB") * (WORDS // 2)}) for own in words]
    encoder = SubwordEncoder(loaded.checked_tokenizer(), max_length=64)
    write_encoded(folder / "split", sentences, lambda chunk: task.windows(encoder, chunk), task.columns)
    figures, before, start = {}, anonymous(), time.process_time()
    splits = {f"{name}#{code}": read_encoded(folder / "split") for name in kinds for code in languages}
    config = TrainConfig(
        data=DataOptions(max_length=64, train_task_language_pairs=tuple(splits)),
        training=TrainingOptions(
            output_dir=folder / "run",
            max_train_steps=10_000,
            no_cuda=True,
            disable_progress_bar=True,
            per_device_train_batch_size=ROWS,
        ),
    )
    run = make_run(loaded, config, kinds, splits, languages=languages)
    figures["from data in the cache to the first step, s"] = time.process_time() - start
    step, plan = steps_of(run), run.batch_plan.batches()
    seconds(step, 20)
    figures["a step of 32 sentences, s"] = seconds(step, 100)
    start = time.process_time()
    for _ in range(1000):
        next(plan)
    figures["sampling of a batch, mean of 1,000, s"] = (time.process_time() - start) / 1000
    figures["memory after these steps, without files, MiB"] = anonymous() - before
    run.progress.step = 1
    start = time.process_time()
    run._save()
    figures["saving, s"] = time.process_time() - start
    saved = folder / "run" / "checkpoint-1"
    sizes = {path.name: path.stat().st_size / 2**20 for path in saved.iterdir()}
    table = run.bare_model.hypernetwork.source.language.nbytes / 2**20
    figures["table of embeddings, MiB"] = table
    figures["model.safetensors without it, MiB"] = sizes["model.safetensors"] - table
    figures["state.pt without it, MiB"] = sizes["state.pt"] - 2 * table
    figures["hyperx.json, data.json and options.json, MiB"] = sum(
        sizes[f"{n}.json"] for n in ("hyperx", "data", "options")
    )
    before, start = anonymous(), time.process_time()
    model = HyperX.from_pretrained(saved)
    figures["loading, s"] = time.process_time() - start
    figures["memory of the loaded model, MiB"] = anonymous() - before
    for name, code in (("a language of the model", languages[-1]), ("another one", "gsw-x-new")):
        model.predict([words[0]], language=code, task="pos0")
        figures[f"prediction of a sentence, {name}, s"] = seconds(
            lambda code=code: model.predict([words[0]], language=code, task="pos0"), 20
        )
    return figures


def main() -> None:
    """Measure each number of languages in a process of its own, and print the rows."""
    if len(sys.argv) == 3:
        print(json.dumps(measure(int(sys.argv[1]), Path(sys.argv[2]))))
        return
    found = []
    for count in (70, 7000):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, str(count), folder]
            found.append(
                json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
            )
    print("| what | 70 languages | 7,000 | ratio |\n| --- | ---: | ---: | ---: |")
    for what, few in found[0].items():
        print(f"| {what} | {few:.4g} | {found[1][what]:.4g} | {found[1][what] / few:.2f} |")


if __name__ == "__main__":
    main()
