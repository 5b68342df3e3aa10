"""Imports go one way: down the list of docs/design.md."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import hyperx

SOURCE = Path(hyperx.__file__).parent

LAYERS = """
errors files interruption tables languages pairs config device published.pickled
modules.dropout modules.source modules.adapter modules.pooling modules.hypernetwork modules.plain
encoders.families encoders.structure encoders.layout encoders.injection encoders.e5s1 encoders.conversion
encoders.embedded encoders.loading encoders.masked_lm
data.sentence segmentation
data.lines data.labels data.spans data.conllu data.columns data.labelled data.passages data.formats data.hub
data.treebanks data.resolution data.sources data.separation
data.text data.output tasks.kinds data.encoding data.storage data.sampling
tasks.base tasks.tagging tasks.classification tasks.masking tasks.trees tasks.parsing tasks.registry
data.splits data.collate
checkpoint inference prediction warm_start
model building
transfer evaluation report pair_data scope self_training preparation inspection optimisation training results scoring
published.run published.weights published.encoder published.importing
cli cli.words cli.options cli.train cli.evaluate cli.predict cli.check cli.languages cli.import_published
__main__
""".split()  # noqa: SIM905  (a table reads better)


def modules() -> Iterator[tuple[str, Path]]:
    for path in SOURCE.rglob("*.py"):
        name = (
            ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__").removesuffix("__init__")
        )
        if path.name != "__init__.py" or name == "cli":
            yield name, path


def imports(tree: ast.AST) -> Iterator[str]:
    """The package's modules that a module imports, but for those that only its types need."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "hyperx":
            parent = (node.module or "").removeprefix("hyperx").removeprefix(".")
            names = [f"{parent}.{alias.name}".removeprefix(".") for alias in node.names]
            yield from (name if name in LAYERS else parent for name in names)
        yield from imports(node)


def test_every_module_has_its_place() -> None:
    assert sorted(name for name, _ in modules()) == sorted(LAYERS)


def test_imports_go_one_way() -> None:
    wrong = [
        f"{name} imports {imported}"
        for name, path in modules()
        for imported in imports(ast.parse(path.read_text(encoding="utf-8")))
        if imported and LAYERS.index(imported) >= LAYERS.index(name)
    ]
    assert not wrong


def test_the_model_imports_nothing_that_prediction_does_not_need() -> None:
    unneeded = "datasets networkx spacy langcodes hyperx.training hyperx.building hyperx.optimisation".split()  # noqa: SIM905
    code = (
        "import sys; from hyperx import HyperX; from hyperx.languages import canonical; canonical('en');"
        f" print(*[name for name in {unneeded} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
