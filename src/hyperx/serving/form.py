"""The form of requests and answers, as they are checked and described."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from hyperx.data.read.detection import AUTO

Language = Annotated[str, Field(max_length=35, examples=["tr", AUTO])]
EXAMPLES: list[Any] = [
    {"text": "Mustafa Kemal dün Ankara’da yeni bir kitap okudu.", "language": "tr"},
    {"words": ["Ada", "liest", "."], "language": "de", "tasks": ["pos"], "confidence": True},
]


class Item(BaseModel):
    """A sentence: its text, which is split into words, or its words; text_pair is for tasks that read two texts."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)

    text: str | None = None
    text_pair: str | None = None
    words: list[str] | None = Field(default=None, min_length=1)
    space_after: list[bool] | None = None
    sent_id: int | str | None = None
    language: Language | None = None
    """Any code of ISO 639 or BCP 47, or auto; by default that of the request, or of the server."""


class Options(BaseModel):
    """What is asked of the model: its tasks, by default all; a language to tag as; a corpus whose annotation to follow;
    and whether to give the probability of each label."""

    model_config = ConfigDict(extra="forbid", strict=True)

    tasks: list[str] = Field(default=[], max_length=64)
    like: Language | None = None
    style: str | None = None
    confidence: bool = False


class One(Item, Options):
    """A sentence, with what is asked of the model."""

    model_config = ConfigDict(json_schema_extra={"examples": EXAMPLES})


class Many(Options):
    """Sentences, of any languages, with what is asked of the model."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"sentences": [{"text": "Ada liest."}, EXAMPLES[0]], "language": "de"}]}
    )

    language: Language | None = None
    sentences: list[Item] = Field(min_length=1)


class Answer(BaseModel):
    """A line of `hyperx predict --output_format jsonl`: also the labels, under the name of each task."""

    model_config = ConfigDict(extra="allow")

    sent_id: str | None = None
    text: str | None = None
    text_pair: str | None = None
    language: str
    words: list[str] | None = None
    space_after: list[bool] | None = None
    start_char: list[int] | None = None
    end_char: list[int] | None = None
    entities: list[dict[str, Any]] | None = None
    confidence: dict[str, Any] | None = None


class Answers(BaseModel):
    """An answer to each sentence, in order."""

    sentences: list[Answer]


class Fault(BaseModel):
    """What was expected, what was found, and what to do."""

    error: str
