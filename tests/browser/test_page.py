"""The page of a run in headless Chromium: `make test-browser`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import toy
from hyperx.cli import main

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: the group browser has it")

Open = Callable[..., playwright.Page]


@pytest.fixture
def opened(browser: playwright.Browser) -> Iterator[Open]:
    """Open a page in a window of a size and a colour scheme; at the end nothing may have been said in the console,
    shown in a dialog, or asked for but the page itself."""
    said, contexts = list[str](), list[playwright.BrowserContext]()

    def run(path: Path, *, width: int = 1280, scheme: str = "light") -> playwright.Page:
        context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme, offline=True)
        contexts.append(context)
        page, address = context.new_page(), path.resolve().as_uri()
        page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: (said.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: request.url in (address, "data:,") or said.append(request.url))
        page.on("requestfailed", lambda request: said.append(request.url))
        page.goto(address, wait_until="load")
        return page

    yield run
    for context in contexts:
        context.close()
    assert said == []


@pytest.fixture(scope="module", params=["trained", "strange"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a run, and of one whose labels and words would be markup."""
    run, path = request.getfixturevalue(request.param), tmp_path_factory.mktemp("pages") / f"{request.param}.html"
    assert main(["report", str(run), "--output", str(path), *toy.QUIET]) == 0
    return path


def test_the_page_works_without_network_and_its_pictures_are_seen(page: Path, opened: Open) -> None:
    shown = opened(page)
    assert shown.locator("h1").inner_text() == "Run run"
    sizes = shown.locator("figure svg").evaluate_all("all => all.map(one => one.getBoundingClientRect().toJSON())")
    assert len(sizes) == shown.locator("figcaption").count() > 5
    assert min(size[side] for size in sizes for side in ("width", "height")) > 80
    assert shown.locator("figure svg").evaluate_all("all => all.every(one => one.querySelectorAll('text').length > 2)")
    # A script or an image of a stranger's text would be an element.
    assert shown.locator("script, iframe, object, img").count() == 0
    assert shown.locator("summary").count() >= 1
    if page.stem == "strange":
        shown.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
        assert toy.HOSTILE in shown.locator(".words").first.inner_text() + shown.locator(".words").last.inner_text()
        assert shown.locator(".tree path").count() > 10


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(page: Path, opened: Open, width: int) -> None:
    shown = opened(page, width=width)
    shown.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    # Arcs are drawn for rows of one height, whatever the words are.
    words = shown.locator(".tree td:not(:has(svg))")
    words.evaluate_all("all => all.forEach(one => one.textContent = 'a long relation or word '.repeat(3))")
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    heights = shown.locator(".tree tr").evaluate_all("all => all.map(one => one.getBoundingClientRect().height)")
    assert set(heights) <= {26}


def test_dark_mode_changes_background_and_ink(page: Path, opened: Open) -> None:
    def brightness(selector: str, colour: str, scheme: str) -> float:
        found = opened(page, scheme=scheme).locator(selector).first.evaluate(f"one => getComputedStyle(one).{colour}")
        return sum(map(float, found.removeprefix("rgb(").removesuffix(")").split(","))) / 765

    assert brightness("body", "backgroundColor", "light") > 0.9
    assert brightness("body", "backgroundColor", "dark") < 0.2
    # Text of pictures follows.
    assert brightness("figure svg text", "fill", "light") < 0.3
    assert brightness("figure svg text", "fill", "dark") > 0.7
