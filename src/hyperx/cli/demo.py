"""``hyperx demo``. Texts, and the labels of a checkpoint, are strangers': Gradio shows values as text, and trees and
messages, which it shows as HTML, are escaped here."""

from __future__ import annotations

import importlib.util
import unicodedata
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any
from zlib import crc32

from hyperx.cli.predict import checked_model
from hyperx.cli.serve import listening
from hyperx.config import DemoConfig, ServeConfig
from hyperx.data.read.detection import AUTO, detected, detection_problem
from hyperx.data.read.segmentation import is_visible, sentences
from hyperx.data.read.sentence import Prediction
from hyperx.errors import ConfigError, HyperXError
from hyperx.languages import canonical, known_languages, language_name
from hyperx.options import flat, value_problems
from hyperx.prediction.request import predicted_tasks

if TYPE_CHECKING:
    from gradio import Blocks

    from hyperx.exporting.running import ExportedModel
    from hyperx.model import HyperX

LONGEST = 2_000
"""Characters of a text."""
EXAMPLES = [["Ada Lovelace was born in London.", "en"], ["D Chatz schlaft z Züri uf em Dach.", "gsw"]]
CSS = ".dark .token { color: #fff !important } .token .label { text-transform: none }"
CSS += ".container:not(:focus-within) > .wrap > .options { display: none }"  # which Tab leaves open
TREES = {
    "distance": 100,
    "arrow_spacing": 10,
    "word_spacing": 30,
    "color": "currentColor",
    "bg": "none",
    "font": "inherit",
}


def demo(config: DemoConfig) -> None:
    """Show the page until the process is asked to end."""
    problems = value_problems(config)
    folder, add_ons = checked_model(ServeConfig(**flat(config)), config.folder, problems)
    if importlib.util.find_spec("gradio") is None:
        problems.append('the page needs gradio: pip install "hyperx-nlp[demo]"')
    if problems:
        raise ConfigError(problems)
    with listening(config.host, config.port) as own:
        import gradio as gr
        import uvicorn
        from fastapi import FastAPI

        from hyperx.exporting.running import load_model

        model = load_model(folder, config, add_ons)
        app, theme = FastAPI(openapi_url=None), gr.themes.Default(font="system-ui")
        # No file of more than a byte is taken, as none is of use.
        gr.mount_gradio_app(
            app, page(model), "/", css=CSS, theme=theme, footer_links=[], max_file_size=1, ssr_mode=False
        )
        print(f"Open http://{config.host}:{own.getsockname()[1]} in a browser. Ctrl-C ends it.", flush=True)
        # A page that is open keeps a connection, which is not waited for.
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        server.run(sockets=[own])


def page(model: HyperX | ExportedModel) -> Blocks:
    """The page of a model; raises a HyperXError if no task of it was trained."""
    import gradio as gr

    tasks, known = predicted_tasks(model.config), sorted((_named(code), code) for code in model.config.languages)
    choices = known if detection_problem(AUTO) else [("detect it", AUTO), *known]
    with (blocks := gr.Blocks(title="Hyper-X", analytics_enabled=False)):
        told = "How a language's adapters label a text. Choose languages, or type a name or code and press Tab."
        gr.Markdown(f"# Hyper-X\n{told}")
        text = gr.Textbox(EXAMPLES[0][0], label="Text", lines=3)
        with gr.Row():
            language = gr.Dropdown(choices, value=choices[0][1], label="Language", allow_custom_value=True)
            other = gr.Dropdown([("none", ""), *known], value="", label="Compare with", allow_custom_value=True)
        button = gr.Button("Label it", variant="primary")

        def show(text: str, language: str | None, other: str | None) -> None:
            try:
                if len(text) > LONGEST or not is_visible(text):
                    raise HyperXError(f"expected a text of at most {LONGEST:,} characters; found {len(text.strip()):,}")
                names = {one.name.lower(): code for code, one in known_languages().items()}
                named, other = (names.get((one or "").lower(), one or "") for one in (language, other))
                code = detected(text) if named == AUTO else named
                parts, seen = sentences(text, code), dict[str, list[Prediction]]()
                for like in dict.fromkeys((code, other or code)):
                    seen[like] = model.predict(parts, task=tasks, language=code, like=like, confidences=True)
            except HyperXError as error:
                raise gr.Error(escape(str(error)), print_exception=False) from error
            directions = (one for one in map(unicodedata.bidirectional, text) if one in ("L", "R", "AL"))
            rtl = next(directions, "L") != "L"
            with gr.Row():
                for like, found in seen.items():
                    with gr.Column(min_width=320):
                        new = canonical(like) not in model.config.trained_languages
                        reads = f", without training data: {model.made_of(like)}" * new
                        gr.Textbox(_named(like) + reads, label="Adapters of")
                        for task in tasks:
                            if "head" in model.tasks[task].annotation(()):
                                gr.HTML(trees(found, task, rtl=rtl), label=task, show_label=True, container=True)
                                continue
                            marks: list[Any] = [mark for one in found for mark in marked(one, task)]
                            colours = {mark: _colour(mark) for _, mark in marks if mark}
                            gr.HighlightedText(marks, label=task, color_map=colours, rtl=rtl)

        triggers = [blocks.load, button.click, text.submit]
        gr.render([text, language, other], triggers=triggers, trigger_mode="always_last")(show)
        gr.Examples(EXAMPLES, [text, language])
    blocks.queue(max_size=32)
    return blocks


def _named(code: str) -> str:
    name = language_name(code)
    return code if name == code else f"{name} ({code})"


def _colour(mark: str) -> str:
    """That of a label, the same on all pages; with this factor those of common labels are far apart."""
    return f"hsl({crc32(mark.rpartition(' ')[0].encode()) * 88 % 360}, 60%, 40%)"


def marked(one: Prediction, task: str) -> Iterator[tuple[str, str | None]]:
    """The text in pieces, some with a label and its confidence: entities, words, or all of it."""
    labels, sure, end = one.labels[task], (one.confidences or {})[task], 0
    words = [word + " " * space for word, space in zip(one.words, one.sentence.spaces, strict=True)]
    if "ner" in one.columns[task]:
        parts = [(own.start, own.end, own.type, own.confidence or 0) for own in one.entities if own.task == task]
    elif one.columns[task]:
        parts = [(place, place + 1, *own) for place, own in enumerate(zip(labels, sure, strict=True))]
    else:
        words, parts = [one.sentence.raw_text], [(0, 1, labels, sure)]
    for start, behind, label, confidence in parts:
        yield "".join(words[end:start]), None
        yield "".join(words[start:behind]).rstrip(), f"{label} {confidence:.0%}"
        end = behind
    yield "".join(words[end:]) + " ", None


def trees(found: Sequence[Prediction], task: str, *, rtl: bool) -> str:
    """The trees as SVG, below each word the confidence of its arc. displaCy escapes words, and not relations."""
    from spacy import displacy

    drawn = []
    for one in found:
        sure, last = (one.confidences or {})[task], len(one.words) - 1
        words = [{"text": word, "tag": f"{own:.0%}"} for word, own in zip(one.words, sure, strict=True)]
        arcs = []
        for word, (head, relation) in enumerate(one.labels[task]):
            # Mirrored here: displaCy turns the relations of right-to-left trees upside down.
            ends = (last - word, last - head + 1) if rtl else (word, head - 1)
            own = {"start": min(ends), "end": max(ends), "dir": "left" if ends[0] < ends[1] else "right"}
            arcs += [{**own, "label": escape(relation)}] if head else []
        drawn.append({"words": words[::-1] if rtl else words, "arcs": arcs})
    svg = displacy.render(drawn, style="dep", manual=True, jupyter=False, options=TREES)
    return f'<div style="overflow-x: auto">{svg}</div>'
