"""Tables of scores, and of what is trained."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hyperx.data.locate.places import short_place
from hyperx.evaluation.scores import PairScores, averaged
from hyperx.model import HyperX
from hyperx.pairs import AVERAGE_NAMES, GROUPS, UNTRAINED, TaskLanguagePair, group_of, macro_averages
from hyperx.tables import markdown_table, print_table

_COLUMNS = ("pair", "group", "sentences", "measure", "score", "in train", "score without", "at most", "data")


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation:
    """The scores of a model, by pair: ``scores["ner#de"].value``. A notebook shows them as a table.

    Args:
        scores: one value per pair.
        labelled: the pairs that the model was trained on with labels, which count as seen.
        data_folder: the folder of local data, which tables leave out of paths.
        tables: the file with the scores by label, and those of earlier evaluations; None if none was written.
        others: the number of other pairs in that file, scored earlier.
    """

    scores: tuple[PairScores, ...]
    labelled: tuple[TaskLanguagePair, ...]
    data_folder: Path | None = None
    tables: Path | None = None
    others: int = 0

    def __iter__(self) -> Iterator[PairScores]:
        return iter(self.scores)

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, pair: str | TaskLanguagePair) -> PairScores:
        key = TaskLanguagePair.parse(pair).key
        for score in self.scores:
            if score.pair.key == key:
                return score
        raise KeyError(f"{pair}; there are {', '.join(str(score.pair) for score in self.scores)}")

    def __repr__(self) -> str:
        return markdown_table(*self.table(), text_columns=2)

    _repr_markdown_ = __repr__

    @property
    def averages(self) -> dict[str, float]:
        """Macro averages of the main measures: of ``seen`` pairs, of a ``new_pair`` of a task and a language that were
        trained, of a ``new_language``, of both (``zero_shot``), and of ``all``."""
        return macro_averages(averaged(self.scores), self.labelled)

    def group(self, score: PairScores) -> str:
        """The group of a pair, or that its task was not trained."""
        return group_of(score.pair, self.labelled) if score.trained else UNTRAINED

    def table(self) -> tuple[list[str], list[list[str]]]:
        """Header and rows: one row per pair and measure, seen pairs first, then the averages of the groups.

        If sentences also occur in train, two more columns show how many, and the score on the others. If evaluations
        had different limits to the number of sentences, a column shows these. The last shows the data, if it is known.
        """
        order = (*GROUPS, UNTRAINED)
        ranked = sorted(self.scores, key=lambda score: order.index(self.group(score)))
        rows = [
            self._row(score, name) for score in ranked for name in (score.task.measure, *score.task.further_measures)
        ]
        for name, value in self.averages.items():
            rows.append(["macro average", AVERAGE_NAMES[name], "", "", f"{100 * value:.1f}", "", "", "", ""])
        repeated = any(score.repeats for score in self.scores)
        present = {
            "in train": repeated,
            "score without": repeated,
            "at most": len({score.limit for score in self.scores}) > 1,
            "data": any(score.place for score in self.scores),
        }
        kept = [index for index, name in enumerate(_COLUMNS) if present.get(name, True)]
        return [_COLUMNS[index] for index in kept], [[row[index] for index in kept] for row in rows]

    def _row(self, score: PairScores, measure: str) -> list[str]:
        without, group = score.without_repeats, self.group(score)
        return [
            str(score.pair),
            AVERAGE_NAMES.get(group, group),
            f"{score.sentences:,}",
            measure,
            shown(score, score.scores.measures[measure]),
            f"{score.repeats:,}" if score.repeats else "",
            "" if without is None else shown(score, without.measures[measure]),
            "" if score.limit is None else f"{score.limit:,}",
            "" if score.place is None else short_place(score.place, self.data_folder),
        ]

    def page(self, title: str) -> str:
        """The tables as Markdown, with the scores of each label."""
        labels = [
            [
                str(score.pair),
                label,
                *(f"{100 * measures[name]:.1f}" for name in ("precision", "recall", "f1")),
                f"{measures['support']:,.0f}",
            ]
            for score in self.scores
            for label, measures in score.scores.by_label.items()
        ]
        header = ["pair", "label", "precision", "recall", "F1", "support"]
        return f"# {title}\n\n{self!r}\n## By label\n\n{markdown_table(header, labels, text_columns=2)}"

    def flat(self, split: str) -> dict[str, float | None]:
        """All measures under the published program's names, such as ``test_ner:de_f1``, and on its scales: LAS and UAS
        from 0 to 100, other scores from 0 to 1, None if undefined."""
        return {
            f"{split}_{score.pair.task}:{score.pair.language}_{name}": 100 * value
            if name in score.task.as_percent and value is not None
            else value
            for score in self.scores
            for name, value in score.scores.measures.items()
        }


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


def print_modules(model: HyperX, patterns: Mapping[str, str] | None = None) -> None:
    """Print the model's modules with their total and trained parameters.

    Args:
        model: the model.
        patterns: regular expressions over :func:`~hyperx.plan.model.public_names`, by their option; for each, a
            column shows how many parameters it matched.
    """
    from hyperx.plan.model import public_names

    given = {option: re.compile(pattern) for option, pattern in (patterns or {}).items()}
    public = {id(parameter): name for name, parameter in public_names(model)}
    parts = {"encoder": "encoder", "hypernetwork": "hypernetwork", "plain_adapters": "adapter", "heads": "head"}
    rows: dict[str, list[int]] = {}
    for name, parameter in model.named_parameters():
        visible = public.get(id(parameter))
        top, part, *_ = f"{visible or name}.".split(".")
        part = "layer norms" if top == "encoder" and "LayerNorm" in (visible or "") else part
        matched = [visible is not None and bool(pattern.match(visible)) for pattern in given.values()]
        counts = [parameter.numel() * flag for flag in (True, *matched, parameter.requires_grad)]
        row = rows.setdefault(f"{parts[top]}: {part}" if top in parts else top, [0] * len(counts))
        row[:] = map(sum, zip(row, counts, strict=True))
    rows["all"] = [sum(column) for column in zip(*rows.values(), strict=True)]
    header = ["module", "parameters", *(f"matched by {option}" for option in given), "trained"]
    print_table("Modules", header, [[name, *(f"{count:,}" for count in row)] for name, row in rows.items()])
