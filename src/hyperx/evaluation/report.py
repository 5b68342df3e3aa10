"""Tables of what is trained and of the scores of each pair."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hyperx.data.locate.sources import short_source
from hyperx.pairs import AVERAGE_NAMES, GROUPS, UNTRAINED, TaskLanguagePair, group_of, macro_averages
from hyperx.tables import markdown_table, print_table

if TYPE_CHECKING:  # what is said before PyTorch is loaded needs this module
    from hyperx.evaluation.scores import PairScores
    from hyperx.model import HyperX


def print_modules(model: HyperX, patterns: Mapping[str, str] | None = None) -> None:
    """Print the model's modules with their total and trained parameters.

    Args:
        model: the model.
        patterns: regular expressions over :func:`~hyperx.plan.building.public_names`, by their option; for each, a
            column shows how many parameters it matched.
    """
    from hyperx.plan.building import public_names

    given = {option: re.compile(pattern) for option, pattern in (patterns or {}).items()}
    rows: dict[str, list[int]] = {}
    public = {id(parameter): name for name, parameter in public_names(model)}
    for name, parameter in model.named_parameters():
        visible = public.get(id(parameter))
        matched = [visible is not None and bool(pattern.match(visible)) for pattern in given.values()]
        counts = [parameter.numel() * flag for flag in (True, *matched, parameter.requires_grad)]
        row = rows.setdefault(_module_of(visible or name), [0] * len(counts))
        row[:] = map(sum, zip(row, counts, strict=True))
    rows["all"] = [sum(column) for column in zip(*rows.values(), strict=True)]
    header = ["module", "parameters", *(f"matched by {option}" for option in given), "trained"]
    print_table("Modules", header, [[name, *(f"{count:,}" for count in row)] for name, row in rows.items()])


def _module_of(name: str) -> str:
    """The row of a parameter: a part of the encoder or the hypernetwork, an adapter or a head."""
    top, _, rest = name.partition(".")
    part = "layer norms" if top == "encoder" and "LayerNorm" in name else rest.partition(".")[0]
    known = {"encoder": "encoder", "hypernetwork": "hypernetwork", "plain_adapters": "adapter", "heads": "head"}
    return f"{known[top]}: {part}" if top in known else top


_COLUMNS = ("pair", "group", "sentences", "measure", "score", "in train", "score without", "at most", "data")


def result_table(
    scores: Sequence[PairScores], labelled: Collection[TaskLanguagePair], folder: Path | None = None
) -> tuple[list[str], list[list[str]]]:
    """Header and rows: one row per pair and measure, seen pairs first, then the macro averages of the groups.

    If sentences also occur in train, two more columns show how many, and the score on the others. If evaluations had
    different limits to the number of sentences, a column shows these. The last column shows the data, if that is known.

    Args:
        scores: the scores.
        labelled: the pairs trained on with labels.
        folder: the folder of local data, which is left out of paths.
    """
    from hyperx.evaluation.scores import averaged

    order = (*GROUPS, UNTRAINED)
    ranked = sorted(scores, key=lambda score: order.index(shown_group(score, labelled)))
    rows = [row for score in ranked for row in _result_rows(score, shown_group(score, labelled), folder)]
    averages = macro_averages(averaged(scores), labelled)
    rows += [
        ["macro average", AVERAGE_NAMES[name], "", "", f"{100 * value:.1f}", *[""] * 4]
        for name, value in averages.items()
    ]
    repeated = any(score.repeats for score in scores)
    present = {
        "in train": repeated,
        "score without": repeated,
        "at most": len({score.limit for score in scores}) > 1,
        "data": any(score.source for score in scores),
    }
    kept = [index for index, name in enumerate(_COLUMNS) if present.get(name, True)]
    return [_COLUMNS[index] for index in kept], [[row[index] for index in kept] for row in rows]


def shown_group(score: PairScores, labelled: Collection[TaskLanguagePair]) -> str:
    """The group of a pair, or that its task was not trained."""
    return group_of(score.pair, labelled) if score.trained else UNTRAINED


def _result_rows(score: PairScores, group: str, folder: Path | None) -> list[list[str]]:
    """A row for each measure that tables show."""
    without = score.without_repeats
    return [
        [
            str(score.pair),
            AVERAGE_NAMES.get(group, group),
            f"{score.sentences:,}",
            measure,
            shown(score, score.scores.measures[measure]),
            f"{score.repeats:,}" if score.repeats else "",
            "" if without is None else shown(score, without.measures[measure]),
            "" if score.limit is None else f"{score.limit:,}",
            "" if score.source is None else short_source(score.source, folder),
        ]
        for measure in (score.task.measure, *score.task.further_measures)
    ]


def shown(score: PairScores, value: float | None) -> str:
    """A value of a measure as text: in percent, except perplexities; a dash if it is undefined."""
    if value is None:
        return "-"
    return f"{value:.1f}" if score.task.auxiliary else f"{100 * value:.1f}"


def scoreless(scores: Sequence[PairScores]) -> str:
    """What to do about pairs of trained tasks with a score of exactly 0; "" if there are none."""
    pairs = [str(score.pair) for score in scores if score.value == 0 and score.trained and not score.task.auxiliary]
    told = "nothing is right yet, as when a model predicts no entity at all. Train more steps, or with a higher"
    return f"score 0 for {', '.join(pairs)}: {told} --learning_rate" if pairs else ""


def label_rows(scores: Sequence[PairScores]) -> list[list[str]]:
    """One row per pair and label: precision, recall, F1 and how often it occurs."""
    return [
        [
            str(score.pair),
            label,
            *(f"{100 * measures[name]:.1f}" for name in ("precision", "recall", "f1")),
            f"{measures['support']:,.0f}",
        ]
        for score in scores
        for label, measures in score.scores.by_label.items()
    ]


LABEL_HEADER = ["pair", "label", "precision", "recall", "F1", "support"]


def results_page(title: str, scores: Sequence[PairScores], labelled: Collection[TaskLanguagePair], folder: Path) -> str:
    """The tables of scores as Markdown; see :func:`result_table`."""
    overview = markdown_table(*result_table(scores, labelled, folder), text_columns=2)
    labels = markdown_table(LABEL_HEADER, label_rows(scores), text_columns=2)
    return f"# {title}\n\n{overview}\n## By label\n\n{labels}"


def flat_results(scores: Sequence[PairScores], split: str) -> dict[str, float | None]:
    """Results under the published program's names, such as ``test_ner:de_f1``, and on its scales: LAS and UAS from 0 to
    100, other scores from 0 to 1, None if undefined."""
    return {
        f"{split}_{score.pair.task}:{score.pair.language}_{name}": 100 * value
        if name in score.task.as_percent and value is not None
        else value
        for score in scores
        for name, value in score.scores.measures.items()
    }
