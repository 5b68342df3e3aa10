"""The sections of a run's page: each function gives those that there are facts for."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib import rc_context

from hyperx import checkpoint
from hyperx.data.locate.places import DataPlaces
from hyperx.evaluation import kinship
from hyperx.evaluation.calibration import expected_calibration_error, reliability
from hyperx.evaluation.scores import Evaluation, PairScores
from hyperx.languages import language_name
from hyperx.model import HyperX
from hyperx.pairs import AVERAGE_NAMES, TaskLanguagePair, group_of
from hyperx.reporting.page import OUT, ROW, Section, Table, Word
from hyperx.reporting.pictures import STYLE, Picture, heat_map, lines
from hyperx.tasks.base import Task

MOST_PAIRS, MOST_LABELS, MOST_WORDS, WORST, FEWEST = 40, 14, 30, 2, 10
"""Pairs of a picture, labels of a table, words of a sentence, sentences of a pair; outcomes of a point of a curve."""


def scores(folder: Path, model: HyperX, evaluation: Evaluation | None) -> Iterator[Section]:
    """The scores by language and task; without predictions those of earlier evaluations."""
    tasks = [name for name, task in model.tasks.items() if not task.auxiliary]
    if evaluation is None:
        scores = checkpoint.read_scores(folder, {task: model.tasks[task].measure for task in tasks})
        text, tables = "From the results beside the checkpoint.", []
    else:
        own = [(score.pair, evaluation.group(score), score.value) for score in evaluation if score.pair.task in tasks]
        scores = {pair.key: (group, value) for pair, group, value in own if value is not None}
        text, tables = "", [Table(*evaluation.table(), text_columns=2)]
    if not scores:
        return
    names = {code: language_name(code) for _, code in scores}
    cells = [[(task, code) for task in tasks] for code in sorted(names, key=names.__getitem__)]
    values = [[100 * scores[key][1] if key in scores else float("nan") for key in row] for row in cells]
    picture = heat_map(
        "scores",
        f"{', '.join(f'{task}: {model.tasks[task].measure}' for task in tasks)}. Framed without training data.",
        [names[row[0][1]] for row in cells],
        tasks,
        values,
        span=(100 * min(value for _, value in scores.values()) // 10 * 10, 100),
        framed=[
            (i, j) for i, row in enumerate(cells) for j, key in enumerate(row) if scores.get(key, ["seen"])[0] != "seen"
        ],
    )
    yield Section("Scores", text, [picture], tables)


def curves(log: Sequence[tuple[str, float, float]], model: HyperX) -> Iterator[Section]:
    """The loss, and the scores on dev data of groups and of each task's pairs, by step."""
    series = defaultdict[str, dict[str, list[tuple[float, float]]]](lambda: defaultdict(list))
    for name, step, value in log:
        label = name.removeprefix("dev_")
        task, is_pair, _ = label.partition("#")
        if name == "loss":
            series["loss"][name].append((step, value))
        elif label in AVERAGE_NAMES:
            series["averages"][AVERAGE_NAMES[label]].append((step, 100 * value))
        elif is_pair and task in model.tasks:
            series[task][label].append((step, value if model.tasks[task].auxiliary else 100 * value))
    pictures = []
    for name, own in series.items():
        pairs = [TaskLanguagePair.parse(label) for label in own if "#" in label]
        dashed = [str(pair) for pair in pairs if group_of(pair, model.config.labelled_pairs) != "seen"]
        where = "while training" if name == "loss" else "on dev data" + "; dashed without training data" * bool(dashed)
        measure = model.tasks[name].measure if name in model.tasks else name
        pictures.append(lines(f"curves-{name}", f"{name} {where}.", own, ("step", measure), dashed=dashed))
    if pictures:
        yield Section("Learning curves", pictures=pictures)


def adapters(model: HyperX, evaluation: Evaluation | None) -> Iterator[Section]:
    """The maps of languages, and how alike the adapters of pairs are."""
    pictures, tasks = list[Picture](), [name for name, task in model.tasks.items() if not task.auxiliary]
    for task in tasks:
        languages, similarity = kinship.similar_adapters(model, task)
        if len(languages) > 2:
            text = f"The languages that {task} was trained in: those with like adapters are near each other."
            with rc_context(STYLE):
                figure = kinship.language_figure(languages, similarity, size=(6, 4.6))
            pictures.append(Picture(f"map-{task}", text, figure))
    every = [*model.config.labelled_pairs, *(() if evaluation is None else (score.pair for score in evaluation))]
    pairs = sorted({pair.key: pair for pair in every if pair.task in tasks}.values())
    pairs = pairs[:: -(-len(pairs) // MOST_PAIRS) or 1]
    alike = kinship.adapter_similarity(model, pairs) if len(pairs) > 1 else None
    if alike is not None:
        names, layers = [*map(str, pairs)], [str(layer + 1) for layer in range(len(alike))]
        text = "How alike the adapters of two pairs are: cosines, less the mean of all, over all layers."
        whole = alike.mean(dim=0).tolist()
        pictures.append(heat_map("adapters", text, names, names, whole, colours="coolwarm", form="{:.1f}"))
        others = torch.tensor([[one != other and one.task == other.task for other in pairs] for one in pairs])
        own = ((alike * others).sum(dim=2) / others.sum(dim=1)).T
        text = "How alike a pair's adapters are to others of its task, by layer from the lowest."
        span = float(own.nan_to_num(1).min()), 1
        pictures.append(heat_map("adapters-layers", text, names, layers, own.tolist(), span=span, form="{:.2f}"))
    if pictures:
        yield Section("Adapters", pictures=pictures)


def predictions(evaluation: Evaluation, places: DataPlaces, split: str) -> Iterator[Section]:
    """Confusions, reliability and the worst sentences."""
    pictures, sentences = list[Picture](), dict[str, list[tuple[str, list[Word]]]]()
    outcomes = defaultdict[Task, defaultdict[str, list[tuple[float, bool]]]](lambda: defaultdict(list))
    confused = defaultdict[Task, Counter[tuple[str, str]]](Counter)
    for score in evaluation:
        task, group = score.task, evaluation.group(score)
        group = AVERAGE_NAMES.get(group, group)
        if task.auxiliary:
            continue
        for gold, result in score.answers:
            if result.confidences is not None:
                outcomes[task][group] += task.outcomes(gold, result.labels, result.confidences)
            confused[task].update(zip(_labels(task, gold), _labels(task, result.labels), strict=True))
        if shown := list(_worst(score, places, split)):
            sentences[f"{score.pair}, {group}"] = shown
    for task in confused:
        curves = {}
        for group, own in outcomes[task].items():
            points = [(100 * sure, 100 * right) for count, sure, right in reliability(own) if count >= FEWEST]
            if points:
                curves[f"{group}, ECE {100 * (expected_calibration_error(own) or 0):.1f}"] = points
        if curves:
            text = f"{task.name}: above the line more is right than the confidence says."
            pictures.append(lines(f"reliability-{task.name}", text, curves, ("confidence", "right"), diagonal=True))
    if not confused:
        return
    text = "Rows are gold labels, columns predicted ones, of those with the most errors. Colours are shares of the row."
    yield Section("Confusions", text, tables=[_confusions(task, counts) for task, counts in confused.items()])
    text = f"In percent; points of fewer than {FEWEST} labels are left out. ECE is the expected calibration error."
    yield Section("Confidences", text, pictures)
    text = f"Most errors in up to {MOST_WORDS} words. Below a word its gold label, and the predicted one if it differs."
    yield Section("Worst sentences", text, sentences=sentences)


def _labels(task: Task, labels: Any) -> Sequence[str]:
    """The label of each word, or of the text."""
    columns = task.annotation(labels)
    return [*map(str, columns[task.columns[-1]])] if columns else [str(labels)]


def _confusions(task: Task, counts: Mapping[tuple[str, str], int]) -> Table:
    """How often a label was predicted for another."""
    wrong, total = Counter[str](), Counter[str]()
    counts = {both: count for both, count in counts.items() if both[0] != task.no_label}
    for (gold, found), count in counts.items():
        total[gold] += count
        wrong.update({gold: count * (gold != found), found: count * (gold != found)})
    kept = sorted(label for label, _ in wrong.most_common(MOST_LABELS))
    places = {
        (kept.index(a), kept.index(b) + 1): count / total[a] for (a, b), count in counts.items() if {a, b} <= {*kept}
    }
    rows = [[gold, *(f"{n:,}" if (n := counts.get((gold, found))) else "" for found in kept)] for gold in kept]
    return Table(["", *kept], rows, title=task.name, shares=places)


def _worst(score: PairScores, places: DataPlaces, split: str) -> Iterator[tuple[str, list[Word]]]:
    """The sentences of a pair with the most errors, read again for their words."""
    task, errors = score.task, Counter[int]()
    for index, (gold, result) in enumerate(score.answers):
        if len(_labels(task, gold)) <= MOST_WORDS and (counts := task.counts(gold, result.labels)):
            errors[index] = counts[1] + counts[2] - 2 * counts[0]
    worst = {index for index, count in errors.most_common(WORST) if count}
    for index, ((gold, result), sentence) in enumerate(
        zip(score.answers, places.read(score.pair, split), strict=False)
    ):
        if index not in worst:
            continue
        found, texts = result.labels, sentence.words
        columns = [_labels(task, gold), _labels(task, found)]
        if task.reads == "text":
            gold, found = [gold], [found]
            texts = (" / ".join(filter(None, [sentence.raw_text, sentence.text_pair])),)
        right = [one == other for one, other in zip(gold, found, strict=True)]
        arcs: Iterable[tuple[str, str] | None] = [None] * len(texts)
        if "head" in task.columns:
            arcs = zip(*(_arcs([arc.head for arc in tree]) for tree in (gold, found)), strict=True)
        yield f"{right.count(False)} of {len(right)} wrong", [*map(Word, texts, *columns, right, arcs)]


def _arcs(heads: Sequence[int]) -> list[str]:
    """For each word the path of an SVG from its row to that of its head, which is as far out as they are apart; of the
    root a line straight out."""
    paths = []
    for word, head in enumerate(heads, start=1):
        start, end = (round((number - 0.5) * ROW) for number in (word, head))
        out, aim = round(14 + (OUT - 16) * abs(head - word) / len(heads)), end + (4 if end < start else -4)
        paths.append(f"M0 {start}C{out} {start} {out} {aim} 2 {aim}" if head else f"M0 {start}H{OUT - 4}")
    return paths


def sizes(folder: Path) -> Section:
    """Bytes of the checkpoint's parts, and how long training took, if that is recorded."""
    count, told = checkpoint.part_sizes(folder), folder / checkpoint.RUN
    text = f"Training took {checkpoint.read_json(told, checkpoint.Run)}." if told.is_file() else "No time is recorded."
    rows = [[part, f"{size / 1e6:,.2f}"] for part, size in [*count.items(), ("all", count.total())]]
    return Section("Sizes and times", text, tables=[Table(["part", "MB"], rows)])
