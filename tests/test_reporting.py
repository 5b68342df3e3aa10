"""The page of a run: what it tells is what the model does, strangers' texts stay text, and what is lacking is said."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

import hyperx
import toy
from hyperx import checkpoint
from hyperx.cli import main
from hyperx.evaluation import kinship
from hyperx.method.adapter import AdapterStack
from hyperx.pairs import TaskLanguagePair
from hyperx.reporting import report as reporting
from hyperx.reporting import sections
from hyperx.reporting.pictures import lines
from tiny import tiny_model

pytestmark = pytest.mark.usefixtures("isolated")


class Page(HTMLParser):
    """The elements of a page, its text, and the cells of its tables."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags, self.addresses, self.text, self.tables = (
            Counter[str](),
            list[str](),
            list[str](),
            list[list[list[str]]](),
        )
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.addresses += [value or "" for name, value in attrs if name.endswith(("href", "src"))]
        self.text += [f"{name}=" for name, _ in attrs if name.startswith("on")]
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self.lasttag in ("td", "th") and self.tables:
            self.tables[-1][-1][-1] += data.strip()

    @property
    def sections(self) -> list[str]:
        """The titles of its sections."""
        return [title for title in self.text if title in TITLES]


TITLES = (
    "Scores", "Learning curves", "Adapters", "Confusions", "Confidences", "Worst sentences", "Sizes and times",
    "Not on this page",
)  # fmt: skip


@pytest.fixture
def report(command: Callable[..., str]) -> Callable[..., str]:
    """Run the command; gives what it prints, or the error."""
    return partial(command, "report")


def test_the_page_tells_what_the_model_does(trained: Path, report: Callable[..., str]) -> None:
    told = report(trained, "--output", "page.html", "--pictures", "pictures")
    page, names = Page(Path("page.html")), {path.name for path in Path("pictures").iterdir()}
    assert page.sections == [*TITLES[:-1], *TITLES[:-1]]  # the first time in the list of contents
    assert "Report: page.html" in told
    assert f"Its {len(names) // 2} pictures are in pictures" in told
    stems = {"scores", "adapters", "adapters-layers", "curves-loss", "curves-averages", "curves-ner", "curves-pos"}
    stems |= {"reliability-ner", "reliability-pos"}
    assert names == {f"{stem}.{kind}" for stem in stems for kind in ("png", "svg")}
    assert page.tags["figure"] == len(stems)
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    # The scores are those of evaluate.
    model = hyperx.HyperX.from_pretrained(trained)
    scored = hyperx.evaluate(model, split="dev", no_cuda=True, disable_progress_bar=True)
    assert page.tables[0] == [scored.table()[0], *scored.table()[1]]
    # The confusions are those of prediction.
    wanted = Counter[tuple[str, str]]()
    for language in ("en", "tr"):
        gold = toy.sentences(language, 24, 1)
        found = model.predict([[word for word, _, _ in one] for one in gold], task="ner", language=language)
        for one, other in zip(gold, found, strict=True):
            wanted.update(zip([label for _, _, label in one], other.labels["ner"], strict=True))
    (confusions,) = [table for table in page.tables if table[0][:2] == ["", "B-LOC"]]
    cells = {
        (row[0], column): row[1 + place] for row in confusions[1:] for place, column in enumerate(confusions[0][1:])
    }
    assert {both: int(cell) for both, cell in cells.items() if cell} == dict(wanted)
    # The same run gives the same page.
    before = Path("page.html").read_bytes()
    report(trained, "--output", "page.html")
    assert Path("page.html").read_bytes() == before


def test_options_choose_what_is_predicted(trained: Path, encoder: Path, report: Callable[..., str]) -> None:
    Path("own.yaml").write_text("split: test\noutput: own.html\n")
    options = ["--test_task_language_pairs", "pos#tr", "ner#tr", "--max_eval_samples", "5"]
    report(trained, "--config", "own.yaml", *options, "--model_name_or_path", encoder)
    page = Page(Path("own.html"))
    assert "10 sentences of the test split" in page.text
    assert [row[:3] for row in page.tables[0][1:3]] == [["pos#tr", "seen", "5"], ["ner#tr", "new pair", "5"]]


def test_texts_of_strangers_stay_text(strange: Path, report: Callable[..., str]) -> None:
    report(strange, "--output", "page.html")
    page = Page(Path("page.html"))
    assert page.tags["script"] == page.tags["img"] == 0
    assert not [text for text in page.text if text.endswith("=")]
    assert toy.HOSTILE in page.text  # a word
    assert "B-" + toy.HOSTILE in page.text  # a label
    assert any(row[0] in (toy.HOSTILE, "$x$") for table in page.tables for row in table)  # in a table
    svg = str(lines("name", "", {toy.HOSTILE: [(0, 1)], "$x$": [(0, 2)]}, ("x", "y")).svg())
    assert "<script" not in svg
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in svg
    assert "$x$" in svg


def test_the_worst_sentences_are_those_with_most_errors(strange: Path, report: Callable[..., str]) -> None:
    report(strange, "--output", "page.html")
    model, gold = hyperx.HyperX.from_pretrained(strange), toy.sentences("en", 20, 1)
    found = model.predict([[word for word, _, _ in one] for one in gold], task="dep", language="en")
    trees = [
        [
            (word, relation, arc.relation)
            for (word, _, _), (_, relation), arc in zip(one, toy.tree(one), other.labels["dep"], strict=True)
        ]
        for one, other in zip(gold, found, strict=True)
    ]
    wrong = [
        sum(arc != tuple(other) for arc, other in zip(plain(toy.tree(one)), tree.labels["dep"], strict=True))
        for one, tree in zip(gold, found, strict=True)
    ]
    shown = [table[1:] for table in Page(Path("page.html")).tables if table[0][1:2] == ["gold"]]
    assert len(shown) == 2
    worst = sorted(range(len(gold)), key=lambda index: (-wrong[index], index))[:2]
    for table, index in zip(shown, sorted(worst), strict=True):
        rows = [[cell for cell in row if cell] for row in table]
        assert rows == [[relation.partition(":")[0], word, other] for word, relation, other in trees[index]]
    # Each arc is drawn in both trees, and marked in both where the heads differ.
    arcs = re.findall(r'<path d="M0 \d+[HC][^"]*"( class="bad")?/>', Path("page.html").read_text())
    heads = [
        (head, arc.head)
        for i in worst
        for (head, _), arc in zip(toy.tree(gold[i]), found[i].labels["dep"], strict=True)
    ]
    assert (len(arcs), sum(map(bool, arcs))) == (2 * len(heads), 2 * sum(one != other for one, other in heads))


def plain(tree: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """A tree with universal relations."""
    return [(head, relation.partition(":")[0]) for head, relation in tree]


@pytest.mark.parametrize("adapters", ["hypernetwork", "stacked"])
def test_adapters_are_as_alike_as_their_weights(adapters: str) -> None:
    model = tiny_model(trained_pairs=("pos#en", "pos#tr", "pos#de", "ner#en"), adapters=adapters)
    pairs = [TaskLanguagePair(*name.split("#")) for name in ("pos#en", "pos#tr", "pos#de", "ner#en", "ner#de")]
    with torch.no_grad():
        for parameter in model.parameters():  # up-projections are zero before training
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    found = kinship.adapter_similarity(model, pairs)
    assert found is not None
    each = [model.adapters([pair]) for pair in pairs]
    for layer, own in enumerate(found.double()):
        rows = []
        for one in each:
            parts = one.parts if isinstance(one, AdapterStack) else [one]
            values = [
                getattr(part, name)[0, layer] for part in parts for name in ("down", "down_bias", "up", "up_bias")
            ]
            rows.append(np.concatenate([value.detach().double().numpy().ravel() for value in values]))
        rows = [row - np.mean(rows, axis=0) for row in rows]
        wanted = [[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in rows] for a in rows]
        assert own.numpy() == pytest.approx(np.array(wanted), abs=1e-3)


def test_texts_of_pictures_have_the_colour_of_the_page() -> None:
    """Those of maps too; only the numbers in coloured cells have colours of their own."""
    (section,) = sections.adapters(tiny_model(trained_pairs=("pos#en", "pos#tr", "pos#de")), None)
    pictures = {picture.name: picture for picture in section.pictures}
    assert list(pictures) == ["map-pos", "adapters", "adapters-layers"]
    texts = re.findall("<text[^>]*>([^<]*)<", pictures["map-pos"].svg())
    coloured = re.findall('<text style="[^"]*fill: currentColor', pictures["map-pos"].svg())
    assert sorted(texts) == ["English", "German", "Turkish"]
    assert len(coloured) == 3


def test_what_a_checkpoint_lacks_is_told(trained: Path, data: Path, report: Callable[..., str]) -> None:
    """A checkpoint alone, whose data is gone: scores are those that were recorded."""
    folder = Path(shutil.copytree(checkpoint.resolve(trained), Path("models") / "alone"))
    (folder / "run.json").unlink()
    (folder / "results.json").unlink(missing_ok=True)  # other tests may have scored the checkpoint
    Path("models", "log.jsonl").write_text("of something else\n")
    record = (folder / "data.json").read_text()
    (folder / "data.json").write_text(record.replace(str(data), "/nowhere"))
    report(folder)
    page = Page(Path("report.html"))
    assert page.sections == 2 * ["Adapters", "Sizes and times"] + ["Not on this page"]
    assert "Scores: the run has no predictions or results." in page.text
    assert "Learning curves: the run has no log.jsonl." in page.text
    assert "No time is recorded." in page.text
    assert [text for text in page.text if text.startswith("What predictions would tell: no pair of the model has data")]
    (folder / "data.json").write_text(record)
    assert main(["evaluate", "--eval_ckpt", str(folder), *toy.QUIET]) == 0
    (folder / "data.json").write_text(record.replace(str(data), "/nowhere"))
    report(folder)
    assert "Scores" in Page(Path("report.html")).sections


def test_problems_are_told_together(trained: Path, report: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nothing does not exist: expected a folder with hyperx.json" in report("nothing", status=1)
    Path("file").touch()
    with monkeypatch.context() as patch:
        patch.setattr(reporting, "PACKAGES", ("jinja2", "no_such_package"))
        told = report(trained, "--output", "none/page.html", "--pictures", "file", status=1)
    assert "--output: expected a file; found none/page.html: there is no folder none" in told
    assert "/file cannot hold files: Not a directory; name another folder" in told
    assert 'no_such_package not found; the extra has it: pip install "hyperx-nlp[report]"' in told
    pairs = ["--test_task_language_pairs", "pos#tr", "--data_folder"]
    Path("empty").mkdir()
    assert "pos#tr" in report(trained, *pairs, "empty", status=1)
    folder = Path(shutil.copytree(trained, "run"))
    with (folder / "log.jsonl").open("a") as file:
        file.write('{"step": 61, "loss": "much"}\n')
    number = len((folder / "log.jsonl").read_text().splitlines())
    assert f"run/log.jsonl:{number}: expected an object with a step and numbers" in report("run", status=1)
