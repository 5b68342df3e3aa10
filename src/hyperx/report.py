"""Tables of what is trained and of the scores of each pair."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from hyperx.building import public_names
from hyperx.evaluation import PairScores, averaged
from hyperx.model import HyperX
from hyperx.pairs import TaskLanguagePair
from hyperx.tables import markdown_table, print_table
from hyperx.transfer import AVERAGE_NAMES, GROUPS, group_of, macro_averages


def print_modules(model: HyperX, patterns: Mapping[str, str] | None = None) -> None:
    """Print the model's modules with their total and trained parameters.

    Args:
        model: the model.
        patterns: regular expressions over :func:`~hyperx.building.public_names`, by their option; for each, a column
            shows how many parameters it matched.
    """
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
    return f"{known[top]}: {part}" if top in known else {"pooling": "layer mix"}.get(top, top)


def result_table(
    scores: Sequence[PairScores], labelled: Collection[TaskLanguagePair]
) -> tuple[list[str], list[list[str]]]:
    """Header and rows: one row per pair and measure, seen pairs first, then the macro averages of the groups.

    If sentences also occur in train, two more columns show how many, and the score on the others.
    """
    header = ["pair", "group", "sentences", "measure", "score"]
    rows = [
        row
        for score in sorted(scores, key=lambda score: GROUPS.index(group_of(score.pair, labelled)))
        for row in _result_rows(score, AVERAGE_NAMES[group_of(score.pair, labelled)])
    ]
    averages = macro_averages(averaged(scores), labelled)
    rows += [
        ["macro average", AVERAGE_NAMES[name], "", "", f"{100 * value:.1f}", "", ""] for name, value in averages.items()
    ]
    if any(score.repeats for score in scores):
        return [*header, "in train", "score without"], rows
    return header, [row[: len(header)] for row in rows]


def _result_rows(score: PairScores, group: str) -> list[list[str]]:
    """A row for each measure that tables show."""
    without = score.without_repeats
    return [
        [
            str(score.pair),
            group,
            f"{score.sentences:,}",
            measure,
            shown(score, score.scores.measures[measure]),
            f"{score.repeats:,}" if score.repeats else "",
            "" if without is None else shown(score, without.measures[measure]),
        ]
        for measure in (score.task.measure, *score.task.further_measures)
    ]


def shown(score: PairScores, value: float) -> str:
    """A value of a measure as text: in percent, except perplexities."""
    return f"{value:.1f}" if score.task.auxiliary else f"{100 * value:.1f}"


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


def write_results(path: Path, title: str, scores: Sequence[PairScores], labelled: Collection[TaskLanguagePair]) -> None:
    """Write the tables of an evaluation as Markdown."""
    overview = markdown_table(*result_table(scores, labelled), text_columns=2)
    labels = markdown_table(LABEL_HEADER, label_rows(scores), text_columns=2)
    path.write_text(f"# {title}\n\n{overview}\n## By label\n\n{labels}", encoding="utf-8")


def flat_results(scores: Sequence[PairScores], split: str) -> dict[str, float]:
    """Results under the published program's names, such as ``test_ner:de_f1``, and on its scales: LAS and UAS from 0 to
    100, other scores from 0 to 1."""
    return {
        f"{split}_{score.pair.task}:{score.pair.language}_{name}": 100 * value
        if name in score.task.as_percent
        else value
        for score in scores
        for name, value in score.scores.measures.items()
    }
