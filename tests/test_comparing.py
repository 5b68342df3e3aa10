"""Runs side by side: what a sentence counts, intervals of differences, and the command."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import hyperx
import toy
from hyperx import checkpoint
from hyperx.evaluation import bootstrap
from hyperx.tasks.parsing import Arc
from hyperx.tasks.registry import make_tasks

pytestmark = pytest.mark.usefixtures("isolated")

# Counts and intervals -------------------------------------------------------------------------------------------------


def test_counts_of_sentences_give_the_measure_of_all() -> None:
    """For every kind of task whose measure is of such counts, words without a label included."""
    draw = np.random.default_rng(0)
    arcs = [Arc(head, relation) for head in range(3) for relation in ("obj", "nsubj", "_")]
    labels: dict[str, list[Any]] = {
        "ner": ["O", "B-PER", "I-PER", "B-LOC"],
        "pos": ["NOUN", "VERB", "_"],
        "dep": arcs,
        "cls": ["good", "bad", "so so"],
    }
    for name, task in make_tasks({name: name for name in labels}).items():
        own, sizes = labels[name], [None] * 40 if name == "cls" else range(40)

        def drawn(own: list[Any] = own, sizes: Any = sizes) -> list[Any]:
            return [
                own[draw.integers(len(own))] if n is None else tuple(own[i] for i in draw.integers(len(own), size=n))
                for n in sizes
            ]

        gold, predicted = drawn(), drawn()
        counts = np.array([*map(task.counts, gold, predicted)])
        assert float(bootstrap.score(counts.sum(axis=0))) == pytest.approx(
            task.score(gold, predicted).measures[task.measure]
        )
    assert make_tasks({"mlm": "mlm"})["mlm"].counts((), ()) is None


def words(right: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The counts of sentences of one word each."""
    return np.stack([right, np.ones_like(right), np.ones_like(right)], axis=-1).astype(np.int32)


def test_a_paired_bootstrap_of_one_cell_is_that_of_its_differences() -> None:
    draw = np.random.default_rng(1)
    one = draw.random(400) < 0.8
    other = np.where(draw.random(400) < 0.1, ~one, one)
    found = bootstrap.difference([{"pos#en": words(one)}], [{"pos#en": words(other)}], resamples=4000)
    differences = one.astype(float) - other
    known = stats.bootstrap(
        (differences,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(5)
    )
    assert found.value == pytest.approx(differences.mean())
    assert found.low == pytest.approx(known.confidence_interval.low, abs=0.006)
    assert found.high == pytest.approx(known.confidence_interval.high, abs=0.006)
    # 1.96 standard errors on both sides; methods that were not paired would have an interval twice as wide.
    error = differences.std(ddof=1) / 20
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    alone = np.sqrt((one.var() + other.var()) / 400)
    assert found.high - found.low < 0.7 * 2 * 1.96 * alone


def test_equal_methods_differ_by_nothing() -> None:
    counts = [{"pos#en": words(np.arange(30) % 3 > 0), "ner#de": words(np.arange(20) % 2)} for _ in range(3)]
    assert bootstrap.difference(counts, counts, resamples=100) == bootstrap.Difference(0.0, 0.0, 0.0)


def test_cells_count_alike_and_seeds_are_resampled() -> None:
    # Every sentence of a cell has the same outcome, so that seeds alone are left to vary.
    def cells(*scores: float) -> list[Mapping[str, Any]]:
        large, small = (lambda score, n: words(np.full(n, round(score)))), 10
        return [{"a": large(score, 1000), "b": large(score, small)} for score in scores]

    zero = cells(0, 0, 0, 0)
    found = bootstrap.difference(cells(1, 0, 0, 1), zero, resamples=3000)
    assert found.value == pytest.approx(0.5)
    # Binomial of four draws: 0 and 1 have a chance of 1/16 each, more than 2.5 %.
    assert (found.low, found.high) == (0.0, 1.0)
    mixed = [{"a": words(np.ones(1000)), "b": words(np.zeros(10))}]
    assert bootstrap.difference(mixed, cells(0), resamples=100).value == pytest.approx(0.5)


def test_what_cannot_be_resampled_stays() -> None:
    one, other = [{"a": words(np.ones(1))}], [{"a": words(np.zeros(1))}]
    assert bootstrap.difference(one, other) == bootstrap.Difference(1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="same shape"):
        bootstrap.difference(one, [{"a": words(np.ones(2))}])


# The command ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def brief(train_once: Callable[..., Path], base: list[str]) -> Path:
    """The output folder of a run that has learnt less, and knows one language more."""
    few = ["--max_train_steps", "12", "--evaluation_strategy", "no", "--languages", "en", "tr", "de"]
    return train_once(*base, *few, "--learning_rate", "1e-2", "--seed", "7")


@pytest.fixture
def compare(command: Callable[..., str]) -> Callable[..., str]:
    """Run the command; gives what it prints, or the error."""
    return partial(command, "compare")


def rows(path: Path) -> dict[tuple[str, str], list[str]]:
    """The rows of a table in CSV by pair and group."""
    with path.open(encoding="utf-8", newline="") as file:
        return {(pair, group): cells for pair, group, *cells in csv.reader(file)}


def scores(folder: Path, split: str) -> dict[str, float]:
    """The scores that evaluation finds."""
    found = hyperx.evaluate(hyperx.HyperX.from_pretrained(folder), split=split, disable_progress_bar=True, no_cuda=True)
    return {str(score.pair): 100 * (score.value or 0) for score in found}


def test_the_table_has_the_scores_of_evaluate_and_intervals_around_their_differences(
    trained: Path, brief: Path, compare: Callable[..., str]
) -> None:
    told = compare(trained, brief, "--output", "table.csv")
    assert "Scores on the test split" in told
    table, first, second = rows(Path("table.csv")), scores(trained, "test"), scores(brief, "test")
    pairs = {pair: group for pair, group in table if pair not in ("pair", "macro average")}
    assert pairs == {"ner#en": "seen", "pos#tr": "seen", "ner#tr": "new pair", "pos#en": "new pair"}
    groups = {"seen": ["ner#en", "pos#tr"], "new pair": ["ner#tr", "pos#en"], "all": [*pairs]}
    for name, group, own in [
        *((pair, group, [pair]) for pair, group in pairs.items()),
        *(("macro average", group, own) for group, own in groups.items()),
    ]:
        one, other, difference, low, high = map(float, table[name, group])
        means = [sum(values[pair] for pair in own) / len(own) for values in (first, second)]
        assert [one, other] == pytest.approx(means, abs=0.051)
        assert difference == pytest.approx(means[1] - means[0], abs=0.051)
        assert low <= difference <= high
    assert float(table["macro average", "all"][4]) < 0  # the brief run is worse, and not by chance
    assert "ner#de" in told
    assert "pos#de" in told  # which the first run has no language for
    # Another number of sentences gives other scores, and the file its ending.
    compare(trained, brief, "--output", "table.md", "--max_eval_samples", "5", "--split", "dev")
    assert Path("table.md").read_text().startswith("| pair | group | ")
    compare(trained, brief, "--output", "table.html", "--max_eval_samples", "5")
    assert '<td class="text">macro average</td>' in Path("table.html").read_text()


def test_a_run_differs_from_itself_by_nothing(trained: Path, compare: Callable[..., str]) -> None:
    compare(trained, checkpoint.resolve(trained), "--output", "table.csv")
    for name, cells in rows(Path("table.csv")).items():
        assert name[0] == "pair" or cells[2:] == ["+0.0"] * 3


def test_problems_with_runs_and_their_data(
    trained: Path, brief: Path, data: Path, encoder: Path, compare: Callable[..., str], tmp_path: Path
) -> None:
    assert "name two or more runs, each once; found none" in compare(status=1)
    told = compare(trained, trained, "--output", "none/table.pdf", status=1)
    assert "3 problems with the options" in told
    assert "each once" in told
    assert "--output: expected a file .csv, .md, .html; found none/table.pdf" in told
    assert "there is no folder none" in told
    assert "nothing does not exist" in compare(trained, "nothing", status=1)
    # The same pair, another file.
    toy.write_pos(tmp_path / "other.conllu", toy.sentences("tr", 30, 99))
    folder = Path(shutil.copytree(checkpoint.resolve(brief), "copy"))
    record = (folder / "data.json").read_text()
    file = str(data / "pos" / "tr" / "test.conllu")
    assert file in record
    toy.write_record(folder / "data.json", json.loads(record.replace(file, str(tmp_path / "other.conllu"))))
    told = compare(trained, folder, status=1)
    assert "pos#tr: the runs would be scored on other data of their own; name data for all of them with" in told
    assert "pos#tr" in compare(trained, folder, "--data_folder", data)
    Path("own.yaml").write_text("test_task_language_pairs: ner#en\nsplit: dev\n")
    told = compare(trained, folder, "--config", "own.yaml", "--model_name_or_path", encoder)
    assert "Scores on the dev split" in told
    assert "ner#en" in told
    assert "pos#tr" not in told
