"""What several tests share: real data, and fixtures around the toy world of ``toy.py``, which loads PyTorch."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hub import Hub, running
from hyperx.cli import main
from hyperx.files import CACHE_VARIABLE

# No test asks the hub: without a network its libraries try for half a minute.
os.environ["HF_HUB_OFFLINE"] = "1"
# The key that marks what a user wrote is of this session alone.
os.environ["XDG_CONFIG_HOME"] = tempfile.mkdtemp(prefix="hyperx-tests-")

SHARED = Path(__file__).resolve().parents[1] / "../shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Real data, models and parity files that stand beside the project."""
    if not SHARED.is_dir():
        pytest.skip("the folder shared/ with real data is not beside the project")
    return SHARED.resolve()


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of encoded splits, of this session's own."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def isolated(cache_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder, a cache of the tests' own; the package's logger as it was before."""
    monkeypatch.setenv(CACHE_VARIABLE, str(cache_folder))
    monkeypatch.chdir(tmp_path)
    logger = logging.getLogger("hyperx")
    handlers, level = list(logger.handlers), logger.level
    yield tmp_path
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny encoder."""
    import toy

    return toy.write_encoder(tmp_path_factory.mktemp("encoders") / "tiny")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder."""
    import toy

    return toy.write_data(tmp_path_factory.mktemp("world") / "data")


@pytest.fixture(scope="session")
def base(encoder: Path, data: Path) -> list[str]:
    """The options that all runs share."""
    import toy

    return ["--model_name_or_path", str(encoder), "--data_folder", str(data), *toy.DATA, *toy.SHAPE, *toy.QUIET]


@pytest.fixture(scope="session")
def train_once(cache_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Train with these options outside of any test; gives the output folder."""

    def run(*options: str) -> Path:
        folder = tmp_path_factory.mktemp("runs") / "run"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(CACHE_VARIABLE, str(cache_folder))
            assert main(["train", *options, "--output_dir", str(folder)]) == 0
        logging.getLogger("hyperx").handlers.clear()
        return folder

    return run


@pytest.fixture(scope="session")
def trained(train_once: Callable[..., Path], base: list[str]) -> Path:
    """The output folder of a run that has learnt the rules."""
    options = ["--max_train_steps", "60", "--eval_steps", "20", "--save_steps", "20", "--logging_steps", "10"]
    rates = ["--learning_rate", "3e-2", "--languages", "en", "tr", "--save_total_limit", "None"]
    return train_once(*base, *options, *rates)


@pytest.fixture(scope="session")
def strange(train_once: Callable[..., Path], encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on labels and words that would be markup, of trees and of texts, which has learnt little."""
    import toy

    folder = tmp_path_factory.mktemp("strange")
    for split, count in (("train", 30), ("dev", 20)):
        sentences, kind = toy.sentences("en", count, 1), f"B-{toy.HOSTILE}"
        toy.write_dep(folder / "dep" / "en" / f"{split}.conllu", sentences)
        entities = [[(toy.HOSTILE, tag, label if label == "O" else kind) for _, tag, label in one] for one in sentences]
        toy.write_ner(folder / "ner" / "en" / f"{split}.tsv", entities)
        texts = [f"{toy.HOSTILE} {index % 3}\t{toy.HOSTILE if index % 2 else '$x$'}\n" for index in range(count)]
        path = folder / "mood" / "en" / f"{split}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(["text\tlabel\n", *texts]))
    options = ["--model_name_or_path", str(encoder), "--data_folder", str(folder), *toy.SHAPE, *toy.QUIET]
    tasks = ["--tasks", "dep", "ner", "mood=cls", "--train_task_language_pairs", "dep#en", "ner#en", "mood#en"]
    return train_once(*options, *tasks, "--max_train_steps", "2", "--eval_steps", "1", "--logging_steps", "1")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub on this machine in place of the real one, with an empty cache; Ada is logged in."""
    from huggingface_hub import constants

    with running() as hub:
        file = f"{hub.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", file)
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setenv("HF_TOKEN", "hf_ada")
        yield hub


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command without progress bars; gives what it prints, or the error."""
    import toy

    def run(*words: str | Path, status: int = 0) -> str:
        capsys.readouterr()
        assert main([*map(str, words), *toy.QUIET]) == status
        captured = capsys.readouterr()
        return " ".join((captured.err if status else captured.out).split())

    return run


@pytest.fixture
def error(go: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a run that is refused says; the module that asks has a fixture ``go``, which trains."""

    def run(folder: Path | str, *options: str) -> str:
        assert go(folder, *options) == 1
        return " ".join(capsys.readouterr().err.split())

    return run
