"""The transfer suite, whole and small: every method on a toy experiment, its rows, tables and plots, its statistics."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from safetensors.torch import load_file
from scipy import stats

import toy
from hyperx.config import EvaluateConfig
from hyperx.data.locate.spec import DataSpec
from hyperx.encoders.loading import load_encoder
from hyperx.errors import ConfigError, DataError
from hyperx.evaluation.scoring import evaluate_checkpoint
from hyperx.files import CACHE_VARIABLE
from hyperx.pairs import TaskLanguagePair
from hyperx.plan.data import SplitLoader
from hyperx.tasks.registry import make_tasks
from transfer import evaluation, runs
from transfer.__main__ import main, read_changes
from transfer.experiment import Experiment
from transfer.methods import METHODS, method
from transfer.results import Results, Row, found_rates
from transfer.runs import Run, phase_options, phases, train_once
from transfer.tables import (
    Comparison,
    Mean,
    all_tables,
    cells_data,
    comparisons,
    curve_data,
    mean_interval,
    update_page,
)

Patch, Out = pytest.MonkeyPatch, pytest.CaptureFixture[str]

CELLS = {
    "ner#en": "seen", "pos#tr": "seen", "ner#tr": "new_pair", "pos#en": "new_pair", "ner#de": "new_language",
    "pos#de": "new_language",
}  # fmt: skip
STEPS = 4


@pytest.fixture(scope="module")
def experiment(encoder: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration of `hyperx train`, like those of examples/: two pairs to train on, six cells to score."""
    sizes = dict(zip((name[2:] for name in toy.SHAPE[::2]), map(int, toy.SHAPE[1::2]), strict=True))
    table = {f"{task}#{language}": f"{task}/{language}" for task in ("ner", "pos") for language in toy.ORDERS}
    values = {
        "model_name_or_path": str(encoder), "data_folder": str(data), "languages": list(toy.ORDERS),
        "train_task_language_pairs": ["ner#en", "pos#tr"], "no_cuda": True, "data": table, **sizes,
    }  # fmt: skip
    path = tmp_path_factory.mktemp("experiment") / "toy.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.fixture(scope="module", autouse=True)
def environment(cache_folder: Path) -> Iterator[None]:
    """A cache of the tests' own."""
    logger = logging.getLogger("hyperx")
    handlers, level = list(logger.handlers), logger.level
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(cache_folder))
        yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


def suite(command: str, output: Path, *options: str | Path, experiment: Path | None = None) -> int:
    """A command of the suite, in this process."""
    words = [command, "--output_dir", str(output), *map(str, options)]
    if experiment is not None:
        words += ["--experiment", str(experiment), "--steps", str(STEPS), "--text_steps", "2"]
    return main(words)


TITLE = "toy, 4 steps, the first 10 sentences of each cell: test data"
TWICE = ["adapter-shared", "fine-tuning-single", "hyper-x"]
CURVES = ["--curve_steps", "2", "--curve_samples", "5"]


@pytest.fixture(scope="module")
def done(experiment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of all methods, with curves and two seeds of two of them."""
    output = tmp_path_factory.mktemp("suite")
    few = ["--max_eval_samples", "10", "--methods"]
    assert suite("run", output, *few, *TWICE, "--seeds", "1", "2", *CURVES, experiment=experiment) == 0
    once = [name for name in METHODS if name not in TWICE]
    assert suite("run", output, *few, *once, "--seeds", "1", experiment=experiment) == 0
    return output


@pytest.fixture(scope="module")
def rendered(done: Path) -> str:
    """The tables of it; those of test data are in a page too."""
    page = done / "page" / "page.md"
    page.parent.mkdir()
    page.write_text(f"Before.\n\n<!-- {TITLE} -->\nold\n<!-- end -->\n\nAfter.\n", encoding="utf-8")
    assert suite("render", done, "--page", page) == 0
    return (done / "tables.md").read_text(encoding="utf-8")


def compared(output: Path, stage: str) -> Comparison:
    (found,) = [comparison for comparison in comparisons(Results(output)) if comparison.stage == stage]
    return found


def rows_of(output: Path, stage: str, name: str) -> list[Row]:
    return [row for row in Results(output).rows() if row.stage == stage and row.method == name]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_scores_every_cell(done: Path, name: str) -> None:
    rows = [row for row in rows_of(done, "final", name) if row.seed == 1]
    assert {row.pair: row.group for row in rows} == CELLS
    assert {(row.split, row.limit, row.sentences, row.steps, row.step) for row in rows} == {
        ("test", 10, 10, STEPS, STEPS)
    }
    assert {(row.pair[:3], row.measure) for row in rows} == {("ner", "f1"), ("pos", "accuracy")}
    assert all(row.seconds > 0 and (row.text_seconds > 0) == bool(METHODS[name].text) for row in rows)
    assert {row.rate for row in rows} == {METHODS[name].rate}
    counts = Results(done).counts(rows[0].run, "test", 10)
    assert {pair: float(evaluation.score(found.sum(axis=0))) for pair, found in counts.items()} == {
        row.pair: row.score for row in rows
    }
    assert not list((done / rows[0].run).rglob("checkpoint-*"))


def test_curves_come_from_dev_data_while_one_model_is_trained(done: Path) -> None:
    rows = rows_of(done, "curve", "hyper-x")
    assert {(row.step, row.seed, row.pair) for row in rows} == {
        (step, seed, pair) for step in (2, 4) for seed in (1, 2) for pair in CELLS
    }
    assert {(row.split, row.sentences) for row in rows} == {("dev", 5)}
    assert rows_of(done, "curve", "fine-tuning-single") == []


def options_of(experiment: Path, name: str, part: int = -1, **changes: Any) -> dict[str, Any]:
    """The options of a training of a method's run."""
    world = Experiment.read(str(experiment))
    run = Run(method=name, seed=1, steps=300, rate=1e-3, stage="final", limit=None, changes=changes)
    return phase_options(run, world, phases(run, world, Path("out"))[part])


def test_joint_methods_share_data_batches_and_seeds(experiment: Path) -> None:
    shared = [
        "train_task_language_pairs", "tasks", "languages", "data", "seed", "max_train_steps", "mixed_batches",
        "length_bucketing", "temperature", "per_device_train_batch_size",
    ]  # fmt: skip
    default = {"mixed_batches": True, "length_bucketing": True}
    joint = [name for name, how in METHODS.items() if not how.several]
    options = [{**default, **options_of(experiment, name)} for name in joint]
    assert len({json.dumps([one.get(key) for key in shared]) for one in options}) == 1


def test_a_task_of_its_own_has_its_share_of_the_steps(experiment: Path, tmp_path: Path) -> None:
    world = Experiment.read(str(experiment))
    run = Run(method="fine-tuning-single", seed=1, steps=300, rate=1e-4, stage="final", limit=None)
    # As many sentences of both.
    assert [(phase.tasks, phase.steps) for phase in phases(run, world, tmp_path)] == [(("ner",), 150), (("pos",), 150)]
    joint = phases(replace(run, method="fine-tuning"), world, tmp_path)
    assert [(phase.tasks, phase.steps) for phase in joint] == [(("ner", "pos"), 300)]


def test_self_training_goes_on_from_its_teacher_with_all_pairs_that_have_text(experiment: Path) -> None:
    teacher, own = (options_of(experiment, "hyper-x-self-training", part) for part in (0, 1))
    assert teacher["max_train_steps"] + own["max_train_steps"] == 300
    assert own["load_from_ckpt"] == str(Path(teacher["output_dir"]) / f"checkpoint-{teacher['max_train_steps']}")
    assert own["seed"] != teacher["seed"]
    assert own["train_task_language_pairs"] == teacher["train_task_language_pairs"] == ["ner#en", "pos#tr"]
    assert "self_train_task_language_pairs" not in teacher
    # There is no raw text in German.
    assert sorted(own["self_train_task_language_pairs"]) == ["ner#tr", "pos#en"]
    texts = Experiment.read(str(experiment)).text_table()
    assert own["data"] == {**teacher["data"], **texts}
    assert own["learning_rate"] == teacher["learning_rate"] / 2
    assert own["self_train_samples"] == runs.SELF_TRAINING_SAMPLES


@pytest.mark.parametrize("name", ["hyper-x-published", "hyper-x-self-training"])
def test_changed_options_win_over_those_of_the_method(experiment: Path, name: str) -> None:
    changes = {"warmup_steps": 7, "self_train_samples": 50}
    assert options_of(experiment, name, **changes).items() >= changes.items()


@pytest.fixture(scope="module")
def kept(experiment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of two methods whose checkpoints are kept."""
    output, few = tmp_path_factory.mktemp("kept"), ["--seeds", "1", "--keep_checkpoints", "--max_eval_samples", "2"]
    assert suite("run", output, "--methods", "fine-tuning", "mad-x", *few, experiment=experiment) == 0
    return output


def test_fine_tuning_trains_the_encoder_and_no_adapter(kept: Path) -> None:
    (folder,) = kept.rglob(f"fine-tuning/**/checkpoint-{STEPS}")
    # The scores are those of `hyperx evaluate`.
    known = evaluate_checkpoint(EvaluateConfig(eval_ckpt=folder, max_eval_samples=2, disable_progress_bar=True)).scores
    rows = rows_of(kept, "final", "fine-tuning")
    assert {row.pair: row.score for row in rows} == {str(one.pair): one.value for one in known}
    weights = load_file(folder / "model.safetensors")
    assert any("word_embeddings" in name for name in weights)
    assert any("attention" in name for name in weights)
    assert {name.partition(".")[0] for name in weights} == {"encoder", "heads"}


def test_mad_x_keeps_its_language_adapters(kept: Path) -> None:
    (text,) = kept.rglob("text_*/checkpoint-*")
    (tasks,) = kept.rglob("mad-x/**/model/checkpoint-*")
    before, after = load_file(text / "model.safetensors"), load_file(tasks / "model.safetensors")
    kept = [name for name in before if name.startswith("plain_adapters.language-")]
    assert {name.split(".")[1] for name in kept} == {"language-en", "language-tr"}  # German has no train split
    assert all((before[name] == after[name]).all() for name in kept)
    assert any(before[name].any() for name in kept if ".up" in name)
    assert {name.split(".")[1] for name in after if "task-" in name} == {"task-ner", "task-pos"}
    assert not any("LayerNorm" in name and name.startswith("encoder") for name in after)


def test_raw_text_keeps_clear_of_dev_and_test_data(experiment: Path, encoder: Path, data: Path, tmp_path: Path) -> None:
    table = Experiment.read(str(experiment)).text_table()
    assert set(table) == {"mlm#en", "mlm#tr"}
    files = {split: {str(Path(path).relative_to(data)) for path in paths} for split, paths in table["mlm#en"].items()}
    assert files == {
        "train": {"ner/en/train.tsv"},
        "dev": {"ner/en/dev.tsv", "pos/en/dev.conllu"},
        "test": {"ner/en/test.tsv", "pos/en/test.conllu"},
    }
    # As the training on raw text reads it, nothing is left of any test sentence, of whatever task.
    pair = TaskLanguagePair.parse("mlm#en")
    sources = DataSpec(data, {"mlm": "text"}, ["mlm"], table).located([pair])
    tokenizer = load_encoder(str(encoder)).checked_tokenizer()
    loader = SplitLoader(sources, make_tasks({"mlm": "mlm"}), tokenizer, max_length=64, cache=tmp_path)
    texts = {split: [" ".join(word for word, *_ in words) for words in toy.sentences("en", count, seed)]
             for seed, (split, count) in enumerate({"train": 96, "dev": 24, "test": 30}.items())}  # fmt: skip
    kept = [text for text in texts["train"] if text not in {*texts["dev"], *texts["test"]}]
    assert 0 < len(kept) < len(texts["train"])
    assert loader.load(pair, "train").sentence_count == len(kept)


def test_what_is_done_is_skipped(done: Path, experiment: Path, capsys: Out) -> None:
    before = (done / "results.jsonl").read_bytes()
    again = ["--max_eval_samples", "10", "--seeds", "1", "--methods", *METHODS]
    assert suite("run", done, *again, experiment=experiment) == 0
    assert f"{len(METHODS)} runs, {len(METHODS)} of them have their rows already" in capsys.readouterr().out
    assert (done / "results.jsonl").read_bytes() == before
    # A run without the curve that is wanted is not done.
    world, rows = Experiment.read(str(experiment)), Results(done).rows()
    run = Run(method="hyper-x", seed=1, steps=STEPS, rate=1e-3, stage="final", limit=10)
    for curve, is_done in (((2, 5), True), ((1, 5), False), ((2, 6), False)):
        assert replace(run, curve_steps=curve[0], curve_limit=curve[1]).is_done(world, rows) is is_done


def test_an_interrupted_training_goes_on(experiment: Path, tmp_path: Path, monkeypatch: Patch, capsys: Out) -> None:
    from hyperx.training.loop import TrainingRun

    step, taken = TrainingRun._step, []

    def interrupted(run: TrainingRun, batches: Any) -> Any:
        taken.append(run.progress.step)
        if len(taken) == 4:
            raise KeyboardInterrupt
        return step(run, batches)

    monkeypatch.setattr(TrainingRun, "_step", interrupted)
    options = ["--methods", "hyper-x", "--seeds", "1", "--save_steps", "2", "--max_eval_samples", "5"]
    assert suite("run", tmp_path, *options, experiment=experiment) == 130
    assert "the same command goes on" in capsys.readouterr().err
    assert not Results(tmp_path).rows()
    assert suite("run", tmp_path, *options, experiment=experiment) == 0
    assert taken == [0, 1, 2, 3, 2, 3]
    assert len(Results(tmp_path).rows()) == len(CELLS)
    whole = tmp_path / "whole"
    assert suite("run", whole, *options, experiment=experiment) == 0
    assert [row.score for row in Results(whole).rows()] == [row.score for row in Results(tmp_path).rows()]


def test_a_search_chooses_the_rate_by_seen_pairs_for_runs_on_all_cells(
    experiment: Path, tmp_path: Path, capsys: Out
) -> None:
    rates = ["--rates", "1e-5", "3e-2", "--methods", "adapter-task"]
    assert suite("search", tmp_path, *rates, experiment=experiment) == 0
    rows = rows_of(tmp_path, "search", "adapter-task")
    assert {(row.pair, row.split, row.group) for row in rows} == {("ner#en", "dev", "seen"), ("pos#tr", "dev", "seen")}
    found = found_rates(Results(tmp_path).frame(), experiment="toy", method="adapter-task", options="", steps=STEPS)
    assert set(found) == {1e-5, 3e-2}
    best = max(found, key=lambda rate: found[rate])
    assert f"**{best:g}: {100 * found[best]:.1f}**" in capsys.readouterr().out
    options = ["--methods", "adapter-task", "--seeds", "1", "--max_eval_samples", "2", "--split", "dev"]
    assert suite("run", tmp_path, *options, experiment=experiment) == 0
    assert f"adapter-task: rate {best:g}, the best on dev data" in capsys.readouterr().out
    rows = rows_of(tmp_path, "dev", "adapter-task")
    assert {row.rate for row in rows} == {best}
    # All cells with dev data are scored to choose by.
    assert {row.pair for row in rows} == set(map(str, Experiment.read(str(experiment)).cells("dev")))
    assert {(row.split, row.sentences) for row in rows} == {("dev", 2)}
    assert "dev data, to choose by" in " ".join(
        all_tables(Results(tmp_path), comparisons(Results(tmp_path)), "adapter-task")
    )


def test_a_run_that_fails_is_named_and_the_others_go_on(experiment: Path, tmp_path: Path, capsys: Out) -> None:
    options = ["--methods", "adapter-shared", "hyper-x", "--seeds", "1", "--max_eval_samples", "2"]
    # An option that plain adapters have no use for.
    changed = ["--options", "conditional_layer_norm=true", "add_layer_norm_after_adapter=true"]
    assert suite("run", tmp_path, *options, *changed, experiment=experiment) == 1
    error = capsys.readouterr().err
    assert "toy adapter-shared seed 1 rate 0.001: 1 problem with the options" in error
    assert "1 of 2 runs failed" in error
    rows = Results(tmp_path).rows()
    assert {row.method for row in rows} == {"hyper-x"}
    assert {row.options for row in rows} == {"add_layer_norm_after_adapter=true conditional_layer_norm=true"}


def test_rendering_gives_tables_plots_and_a_page(done: Path, rendered: str) -> None:
    plots = {path.name: path for path in done.iterdir() if path.suffix in (".png", ".svg")}
    assert set(plots) == {f"{name}.{kind}" for name in ("cells-toy-4-10", "curves-toy-4-5") for kind in ("png", "svg")}
    assert plots["cells-toy-4-10.png"].read_bytes().startswith(b"\x89PNG")
    assert "<svg" in plots["curves-toy-4-5.svg"].read_text(encoding="utf-8")
    groups = "seen | new pair | new language | zero-shot (both new) | all"
    header = f"| method | seeds, rate | {groups} | seconds (+ on raw text) |"
    lines = {line.split()[1]: line for line in rendered.split(header)[1].splitlines()[2 : 2 + len(METHODS)]}
    # Two seeds have an interval, one has none.
    assert {name: line.count("±") for name, line in lines.items()} == {name: 5 * (name in TWICE) for name in METHODS}
    assert lines["adapter-shared"].startswith("| adapter-shared | 2, ")
    assert "Every cell: [cells-toy-4-10.csv](data/cells-toy-4-10.csv)." in rendered
    cells = (done / "data" / "cells-toy-4-10.csv").read_text(encoding="utf-8")
    for cell in ("ner#en,seen,f1,10,2,", "pos#en,new pair,accuracy,10,2,", "ner#de,new language,f1,10,2,"):
        assert f"hyper-x,{cell}" in cells
    assert (done / "page" / "data" / "cells-toy-4-10.csv").read_text(encoding="utf-8") == cells
    # Tables go into a page, and once only.
    page, table = done / "page" / "page.md", rendered.partition(f"## {TITLE}\n")[2].partition("## ")[0].strip()
    for _ in range(2):
        text = page.read_text(encoding="utf-8")
        assert text == f"Before.\n\n<!-- {TITLE} -->\n\n{table}\n\n<!-- end -->\n\nAfter.\n"
        update_page(page, {TITLE: table})
    with pytest.raises(DataError, match=r"page\.md: expected a heading of tables\.md, found 'toy, 4 steps"):
        update_page(page, {})


def test_scores_without_what_stands_in_train_are_those_of_the_other_sentences(done: Path) -> None:
    right, in_train = np.array([[1, 1, 1], [0, 1, 1], [1, 1, 1], [1, 1, 1]]), np.array([True, False, False, True])
    pair = TaskLanguagePair("pos", "en")
    assert evaluation.CellScore(pair, "accuracy", right, in_train).score_without == 0.5
    assert evaluation.CellScore(pair, "accuracy", right, ~in_train).score_without == 1
    assert evaluation.CellScore(pair, "accuracy", right, in_train | ~in_train).score_without is None
    comparison = compared(done, "final")
    changed = replace(comparison, rows=comparison.rows.assign(in_train=4, score_without=0.25))
    cells = cells_data(changed).query("pair == 'ner#en'").set_index("method")
    assert (set(cells["in_train"]), set(cells["score_without"])) == ({4}, {25})
    assert set(cells.index[cells["score_without_interval"] == 0]) == set(TWICE)


def test_differences_are_the_baselines_averages_less_those_of_the_others(done: Path, rendered: str) -> None:
    comparison = compared(done, "final")
    averages, lines = (
        comparison.averages(),
        rendered.partition("| hyper-x less |")[2].partition("\n\n")[0].splitlines()[2:],
    )
    cells = {name: shown for name, *shown in (line.strip("| ").split(" | ") for line in lines)}
    assert cells.keys() == set(comparison.systems) - {"hyper-x"}
    values = {}
    for name, (seeds, *shown) in cells.items():
        less = (averages.loc["hyper-x"] - averages.loc[name]).dropna()
        assert int(seeds) == len(less) == (2 if name in TWICE else 1)
        values[name] = [float(cell.split()[0]) for cell in shown]
        assert values[name] == pytest.approx(list(100 * less.mean()), abs=0.051)
    assert any(abs(value) > 1 for shown in values.values() for value in shown)


def test_averages_are_those_of_the_cells_and_curves_their_means_over_the_seeds(done: Path) -> None:
    rows = [row for row in rows_of(done, "final", "hyper-x") if row.seed == 2]
    found = compared(done, "final").averages().loc["hyper-x", STEPS, 2]
    for name, groups in {
        "seen": ["seen"],
        "zero_shot": ["new_pair", "new_language"],
        "all": list(CELLS.values()),
    }.items():
        assert found[name] == pytest.approx(np.mean([row.score for row in rows if row.group in groups]))
    comparison = compared(done, "curve")
    first, second = (comparison.averages().loc["hyper-x"].xs(seed, level="seed") for seed in (1, 2))
    assert not first.equals(second)
    curve = curve_data(comparison).query("method == 'hyper-x'").set_index("step")
    for group in ("seen", "new_pair", "zero_shot"):
        assert list(curve[group]) == pytest.approx(list(50 * (first[group] + second[group])))


@pytest.mark.parametrize("name", ["mixed-6", "african-16", "babel"])
def test_the_experiments_have_their_cells(shared: Path, name: str) -> None:
    experiment = Experiment.read(name, shared / "data")
    groups = {str(pair): experiment.group(pair) for pair in experiment.cells("test")}
    if name == "mixed-6":
        assert Counter(groups.values()) == {"seen": 5, "new_pair": 2, "new_language": 6}
        assert {pair for pair in groups if groups[pair] == "new_pair"} == {"ner#es", "pos#ru"}
    elif name == "babel":
        assert Counter(groups.values()) == {"seen": 56, "new_pair": 7, "new_language": 20}
        return  # of most of its languages there is no raw text
    else:
        assert len(groups) == 32
        assert {pair for pair in groups if groups[pair] == "new_pair"} == {
            "pos#hau", "pos#ibo", "pos#swa", "pos#yor", "ner#kin", "ner#wol", "ner#zul", "ner#sna",
        }  # fmt: skip
    # Every language has some raw text, and none of it is of a test file.
    table = experiment.text_table()
    assert len(table) == len(experiment.languages)
    assert not any(set(row["train"]) & set(row.get("test", ())) for row in table.values())


# Counts and statistics ------------------------------------------------------------------------------------------------


def test_other_tasks_are_refused() -> None:
    with pytest.raises(ConfigError, match="dep: the suite scores tasks by f1 or accuracy; found one with las"):
        evaluation.check_countable(make_tasks({"dep": "dep"})["dep"])


def test_the_mean_over_seeds_has_the_interval_of_students_t() -> None:
    values = [0.7, 0.74, 0.75]
    mean = mean_interval(values)
    known = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean.half is not None
    assert (mean.value - mean.half, mean.value + mean.half) == pytest.approx((known.low, known.high))
    assert mean_interval([0.5]) == Mean(0.5, None)
    assert mean_interval([0.5, 0.5]) == Mean(0.5, 0.0)


# Errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (["adapter_dims=3"], r"expected NAME=VALUE; found 'adapter_dims=3'\. Did you mean 'adapter_dim'"),
        (["learning_rate=1"], "--options: learning_rate follows from the experiment and the suite's"),
        (["adapter_dim=3", "adapter_dim=4"], "--options: adapter_dim is given twice; keep one of them"),
        (["label_map={A: O, A: B}"], r"--options: label_map: '\{A: O, A: B\}' is not YAML: 'A' in line 1 is"),
    ],
)
def test_options_at_fault_are_named(entries: list[str], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        read_changes(entries)
    assert read_changes(["adapter_dim=3", "head_layer=no"]) == {"adapter_dim": 3, "head_layer": "no"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "--experiment", "mixed-7"], "cannot read"),
        (["run", "--experiment", "empty.yaml"], "expected train_task_language_pairs and a table 'data'"),
        (["render", "--output_dir", "nothing"], "there are no results"),
        (["rnu"], "usage: python -m benchmarks.transfer {search,run,render}"),
    ],
)
def test_what_is_unknown_is_named(
    words: list[str], expected: str, tmp_path: Path, monkeypatch: Patch, capsys: Out
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.yaml").write_text("tasks: [ner]", encoding="utf-8")
    assert main(words) == (2 if words == ["rnu"] else 1)
    assert expected in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"no method 'hyperx'.*Did you mean 'hyper-x'"):
        method("hyperx")


def test_faults_in_results_are_named(done: Path, tmp_path: Path, capsys: Out) -> None:
    assert main(["render", "--output_dir", str(done), "--baseline", "hyper"]) == 1
    assert "no run of 'hyper' is there" in capsys.readouterr().err
    rows = rows_of(done, "final", "hyper-x")
    lame = Results(tmp_path)
    lame.append([*rows[:5], replace(rows[5], seed=9)])
    with pytest.raises(DataError, match="do not compare"):
        comparisons(lame)
    counts, changed = Results(done).counts(rows[0].run, "test", 10), Results(tmp_path / "changed")
    changed.append(replace(row, run=name, method=name, seed=1) for name in ("one", "other") for row in rows[:6])
    changed.write_counts("one", "test", 10, counts)
    changed.write_counts("other", "test", 10, {pair: found[1:] for pair, found in counts.items()})
    with pytest.raises(DataError, match="one and other were scored on other sentences"):
        all_tables(changed, comparisons(changed), "one")
    with pytest.raises(DataError, match="delete its rows and run it again"):
        lame.counts(rows[0].run, "test", 10)
    with lame.path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**asdict(rows[0]), "colour": 1}) + "\n")
    with pytest.raises(DataError, match=r"results\.jsonl:7: expected a row of results .*colour"):
        lame.rows()


def test_the_time_of_a_training_is_that_of_its_calls_while_checkpoints_are_there(
    tmp_path: Path, monkeypatch: Patch
) -> None:
    options, done = {"output_dir": str(tmp_path / "model"), "max_train_steps": 3}, tmp_path / "model" / "checkpoint-3"
    (tmp_path / "model.seconds.json").write_text("7.5", encoding="utf-8")
    monkeypatch.setattr(runs, "train", print)
    assert train_once(options) < 7
    done.mkdir(parents=True)
    (done / "hyperx.json").write_text("{}", encoding="utf-8")
    (tmp_path / "model.seconds.json").write_text("7.5", encoding="utf-8")
    assert train_once(options) == 7.5


def test_rates_are_compared_on_equal_terms(done: Path) -> None:
    known = replace(rows_of(done, "final", "hyper-x")[0], stage="search", step=STEPS)

    def search(rate: float, seed: int, limit: int | None, score: float) -> Row:
        return replace(known, rate=rate, seed=seed, limit=limit, score=score)

    def found(*rows: Row) -> dict[float, float]:
        return found_rates(pd.DataFrame(map(asdict, rows)), experiment="toy", method="hyper-x", options="", steps=STEPS)

    both = [search(0.1, 1, 500, 0.5), search(0.2, 1, 500, 0.6)]
    assert found(*both) == {0.1: 0.5, 0.2: 0.6}
    assert found(*both, search(0.1, 1, 5, 0.9), search(0.1, 2, 500, 0.9)) == {0.1: 0.5, 0.2: 0.6}
    assert found(*both, search(0.1, 1, None, 0.9)) == {0.1: 0.9}
    assert found(both[0], search(0.2, 2, 500, 0.6)) == {}


def test_pairs_of_a_table_name_their_groups(experiment: Path) -> None:
    world = Experiment.read(str(experiment))
    assert {str(pair): world.group(pair) for pair in world.cells("test")} == CELLS
    assert world.sentences(TaskLanguagePair.parse("ner#en"), "train") == 96
    assert world.share("ner", {}) == pytest.approx(0.5)
    # Half of the sentences are of each task whatever counts; of pairs of unequal size the options decide.
    larger = replace(
        world, _counts={(pair, "train"): 96 * (1 + 2 * (pair.task == "ner")) for pair in world.train_pairs}
    )
    assert larger.share("ner", {"temperature": 1}) == pytest.approx(0.75)
    assert larger.share("ner", {"temperature": 1, "max_train_samples": 96}) == pytest.approx(0.5)
