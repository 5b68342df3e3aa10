"""The two commands of the published README, word for word but for the encoder, the data and the number of steps."""

from __future__ import annotations

import json
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import torch

import toy

TRAIN = """
    --model_name_or_path {encoder} --max_train_steps 3 --preprocessing_num_workers 1
    --per_device_train_batch_size 32 --per_device_eval_batch_size 32 --output_dir {output}
    --save_steps 5000 --eval_steps 5000
    --tasks 'ner' 'pos' --languages 'en' 'tr' --train_task_language_pairs 'ner#en' 'pos#tr'
    --eval_task_language_pairs 'ner#en' 'pos#en' 'ner#tr' 'pos#tr'
    --condition_to_layer_id --project_source_embeddings --projected_source_embedding_dim 32 --adapter_dim 64
    --learning_rate 1e-4 --warmup_steps 4000 --freeze_params_regex '^(?!.*(hypernet|LayerNorm)).*' --fp16
    """
EVALUATE = """
    --model_name_or_path {encoder} --eval_ckpt {checkpoint}
    --test_task_language_pairs 'ner#de' 'pos#de' 'ner#en' 'pos#tr' --per_device_eval_batch_size 32
    """


def test_train_and_evaluate(
    encoder: Path, data: Path, isolated: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A warning would be an error here."""
    shutil.copytree(data, isolated / "data")

    def run(script: str, words: str) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", [script, *shlex.split(words)])
        with pytest.raises(SystemExit) as caught:
            runpy.run_path(str(toy.ROOT / script), run_name="__main__")
        assert caught.value.code == 0
        captured = capsys.readouterr()
        return captured.out, " ".join(captured.err.split())

    out, error = run("train.py", TRAIN.format(encoder=encoder, output="out"))
    assert "Trained. Evaluate it on all pairs with: hyperx evaluate --eval_ckpt out" in out
    if not torch.cuda.is_available():
        assert "--fp16: this machine has no mixed precision" in error
    assert toy.steps_of(isolated / "out") == [3]
    run("evaluate.py", EVALUATE.format(encoder=encoder, checkpoint="out/checkpoint-3"))
    results = json.loads((isolated / "out" / "checkpoint-3" / "results.json").read_text())
    assert {"test_ner:de_f1", "test_ner:en_f1", "test_pos:de_accuracy", "test_pos:tr_accuracy"} <= results.keys()
    assert all(0 <= value <= 1 for name, value in results.items() if name.startswith("test_"))


def test_a_reader_that_has_enough(trained: Path, cache_folder: Path, tmp_path: Path) -> None:
    """``hyperx predict | head -n 1`` ends with 0 and without a word, also where little is written."""
    (tmp_path / "in.txt").write_text("cat sees .\n" * 2)
    program = (
        "import os, subprocess, sys\n"
        "reader, writer = os.pipe()\n"
        "os.close(reader)\n"
        "code = 'from hyperx.cli import main; raise SystemExit(main())'\n"
        "raise SystemExit(subprocess.call([sys.executable, '-c', code, *sys.argv[1:]], stdout=writer))"
    )
    options = ["--checkpoint", trained, "--language", "en", "--input", "in.txt", "--input_format", "tokens"]
    done = toy.spawn(["-c", program, "predict", *options, "--no_cuda"], cwd=tmp_path, cache=cache_folder)
    assert (done.returncode, done.stderr) == (0, "")
