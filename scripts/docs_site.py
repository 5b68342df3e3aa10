"""What the documentation site needs beside docs/: pages from the repository's root, and docstrings in Markdown.

`mkdocs.yml` names this file twice: as MkDocs' hook and as Griffe's extension.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import griffe
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "src/hyperx/models/babel-2/card.md": "babel-2.md",
}
REPOSITORY_ONLY = re.compile(
    r"\[([^\]]+)\]\((?:\.\./)?(?:examples|benchmarks|src|tests)/[^)]*\)|\[([^\]]+)\]\(LICENSE\)"
)


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the pages that a code host shows at the repository's root; their links then start in docs/."""
    for name, page in PAGES.items():
        files.append(File.generated(config, page, content=for_site((ROOT / name).read_text(encoding="utf-8"))))
    return files


def on_page_markdown(markdown: str, *, page: Page, **_: Any) -> str:
    """Links from docs/ to pages at the root; the options without their tests, which are for those who change them."""
    if page.file.src_uri == "options.md":
        markdown = re.sub(r"^(\|.*) (?:test|---|`tests/\S+`) \|$", r"\1", markdown, flags=re.MULTILINE)
        markdown = markdown.replace(", and the test that holds it to its word", "")
    # Figures break before an interval, not inside.
    markdown = re.sub(r"(?<=\d) ± (?=\d)", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}", markdown)
    markdown = re.sub(r"(?<=\d) to (?=[+-]\d)", "\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}", markdown)
    return for_site(markdown)


def for_site(text: str) -> str:
    """Links as they are on the site: root pages beside the others, no files that are in the repository alone."""
    text = re.sub(r"(\]\(|srcset=\"|src=\")docs/", r"\1", text)
    for name, page in PAGES.items():
        text = re.sub(rf"\]\((?:\.\./)?{re.escape(name)}", f"]({page}", text)
    # The switch of the site, not the system, says which of two drawings is shown.
    text = re.sub(
        r'<picture>\s*<source media="\(prefers-color-scheme: dark\)" srcset="([^"]+)">\s*'
        r'<img alt="([^"]*)" src="([^"]+)"[^>]*>\s*</picture>',
        r"![\2](\3#only-light)\n![\2](\1#only-dark)",
        text,
    )
    return REPOSITORY_ONLY.sub(r"\1", text)


class SphinxRoles(griffe.Extension):
    """Shows ``:class:`~hyperx.model.HyperX``` as HyperX, linked where the site has a description of it."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            text = re.sub(r":[a-z]+:`(~?)([\w.]+)`", _linked, obj.docstring.value)
            obj.docstring.value = re.sub(r"::$", ":", text, flags=re.MULTILINE)


def _linked(role: re.Match[str]) -> str:
    name = role[2].rpartition(".")[2] if role[1] else role[2]
    return f'<autoref identifier="{role[2]}" optional><code>{name}</code></autoref>'
