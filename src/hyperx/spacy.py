"""A component of spaCy's pipelines, ``nlp.add_pipe("hyperx")``; spaCy finds it by the package's entry points."""

# Without `annotations` from __future__: spaCy reads those of the component, and not as strings.
import shutil
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from io import BytesIO
from itertools import accumulate, groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from spacy.attrs import DEP, HEAD
from spacy.language import Language
from spacy.parts_of_speech import IDS
from spacy.pipeline import Pipe
from spacy.tokens import Doc, Span, Token
from spacy.util import minibatch

from hyperx import checkpoint
from hyperx.data.read.detection import AUTO, detected, detection_problem
from hyperx.data.read.segmentation import is_visible, sentence_pieces
from hyperx.data.read.sentence import Sentence
from hyperx.data.read.spans import spans
from hyperx.errors import HyperXError, not_expected
from hyperx.files import read_json, write_json
from hyperx.prediction.request import default_tasks, language_problem, predicted_tasks
from hyperx.tasks.registry import kinds_of

if TYPE_CHECKING:  # loaded with the first component
    from hyperx.model import HyperX

ADD_ONS = "add-ons"
Found = Sequence[tuple[Span, Sequence[Token], Sequence[Any]]]
"""The sentences of a document, those of their tokens that are words, and what a task says of each word."""


class _NotRead(HyperXError, AttributeError):
    """Also what Python's ``hasattr`` expects: spaCy asks a component that is not read yet whether it has a model."""


def _lowest(span: Span) -> float | None:
    return min((token._.ner_confidence for token in span if token._.ner_confidence is not None), default=None)


def _add_extension(kind: type[Doc | Span | Token], name: str, **own: Any) -> None:
    if not kind.has_extension(name):  # of another package, which keeps it
        kind.set_extension(name, **own)


_add_extension(Doc, "hyperx_language", default=None)
_add_extension(Span, "ner_confidence", getter=_lowest)
for _name in ("pos_confidence", "dep_confidence", "ner_confidence"):
    _add_extension(Token, _name, default=None)


@Language.factory("hyperx", assigns=["token.pos", "token.dep", "token.head", "token.is_sent_start", "doc.ents"])
class HyperXComponent(Pipe):
    """Sets ``token.pos_``, ``token.head`` and ``token.dep_`` (and so sentence starts), ``doc.ents`` and the probability
    of each label: ``token._.pos_confidence``, ``dep_confidence`` and ``ner_confidence``, and of an entity the lowest of
    its words, ``span._.ner_confidence``.

    Words are the tokens that can be seen. Sentences are those of the document if it has any, else as
    :func:`hyperx.sentences` splits it. The language of a document is ``doc._.hyperx_language``, else ``language``.

    Args:
        nlp: the pipeline.
        name: the name of the component in it.
        model: the folder of a checkpoint, or the name of a ready-made model; by default the default one.
        language: the language of documents that do not say theirs, or ``auto``, which detects that of each; by default
            that of the pipeline, unless it is xx.
        tasks: those to predict, by default all that were trained and have a place in a document.
        add_on: files of add-ons.

    Raises:
        HyperXError: if a setting is of the wrong kind or names what is not there.
    """

    def __init__(
        self, nlp: Language, name: str, model: Any = None, language: Any = None, tasks: Any = (), add_on: Any = ()
    ) -> None:
        for setting, value in (("model", model), ("language", language)):
            if not isinstance(value, str | None):
                raise not_expected(setting, "a text, or nothing", value)
        for setting, value in (("tasks", tasks), ("add_on", add_on)):
            if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
                raise not_expected(setting, "a list of texts", value)
        self.name = name
        self.language: str | None = language or (None if nlp.lang == "xx" else nlp.lang)
        self._asked, self._packed = tuple(tasks), b""
        self._model: HyperX | None = None
        # A pipeline that is read from a folder, of which spaCy has the facts by now, has its copy of the model there.
        if name not in getattr(nlp, "_meta", {}).get("components", ()):
            self._load(checkpoint.resolve(None if model is None else Path(model)), [Path(file) for file in add_on])

    def _load(self, folder: Path, add_ons: Sequence[Path]) -> None:
        from hyperx.model import HyperX

        model = HyperX.from_pretrained(folder, add_ons=add_ons)
        columns = {task: kind.column for task, kind in kinds_of(model.config.kinds).items()}
        known = [task for task in default_tasks(model.config) if columns[task] in SETTERS]
        tasks, owners = predicted_tasks(model.config, self._asked or known), dict[str, str]()
        for task in tasks:
            if columns[task] not in SETTERS:
                raise HyperXError(f"tasks: a document has no place for what {task} says; model.predict gives it")
            if owners.setdefault(columns[task], task) != task:
                both = f"{owners[columns[task]]} and {task}"
                raise HyperXError(f"tasks: {both} would be set in the same place of a document; name one of them")
        problem = detection_problem(self.language)
        if self.language and self.language != AUTO:
            problem = language_problem(model.config, self.language)
        if problem:
            raise HyperXError(f"language: {problem}")
        self._model, self.columns, self._folder, self._add_ons = model, owners, folder, list(add_ons)

    @property
    def model(self) -> "HyperX":
        """The model, such as to move it: ``nlp.get_pipe("hyperx").model.to("cuda")``."""
        if self._model is None:
            raise _NotRead(f"{self.name}: the model is still to be read, with spacy.load or nlp.from_disk")
        return self._model

    def __call__(self, doc: Doc) -> Doc:
        """Annotate one document; :meth:`pipe` takes many at once."""
        self._annotate([doc])
        return doc

    def pipe(self, stream: Iterable[Doc], *, batch_size: int = 128) -> Iterator[Doc]:
        """Annotate documents, so many at a time; those of all languages share the batches of the model."""
        for docs in minibatch(stream, batch_size):  # type: ignore[no-untyped-call]
            try:
                self._annotate(docs)
            except Exception as error:
                self.get_error_handler()(self.name, self, docs, error)
            else:
                yield from docs

    def _annotate(self, docs: Sequence[Doc]) -> None:
        from hyperx.prediction.predictor import Predictor

        languages = [self._language_of(doc) for doc in docs]
        parts = [
            (number, part, [token for token in part if is_visible(token.text)])
            for number, (doc, language) in enumerate(zip(docs, languages, strict=True))
            for part in _sentences(doc, language)
        ]
        predictions = Predictor(self.model).predict(
            [Sentence(tuple(token.text for token in words)) for _, _, words in parts if words],
            tasks=list(self.columns.values()),
            language=[languages[number] for number, _, words in parts if words],
            confidences=True,
        )
        found: dict[tuple[int, str], list[tuple[Span, Sequence[Token], Sequence[Any]]]] = {}
        for number, part, words in parts:
            own = next(predictions) if words else None
            for column, task in self.columns.items():
                found.setdefault((number, column), []).append((part, words, own.labels[task] if own else ()))
                values = own.confidences[task] if own and own.confidences else ()
                for token, value in zip(words, values, strict=True):
                    token._.set(CONFIDENCES[column], float(value))
        for (number, column), sentences in found.items():
            SETTERS[column](docs[number], sentences)

    def _language_of(self, doc: Doc) -> str:
        language = doc._.hyperx_language or self.language
        if not isinstance(language, str):
            expected = "a code such as 'de' in the settings of the component or in doc._.hyperx_language"
            raise not_expected("language", expected, language)
        if language == AUTO:
            doc._.hyperx_language = language = detected(doc.text)
        if problem := language_problem(self.model.config, language):
            raise HyperXError(f"language: {problem}")
        return language

    def to_disk(self, path: str | Path, **_: Any) -> None:
        """Copy the checkpoint, its add-ons and an encoder of a local folder: the pipeline then needs nothing else."""
        path, encoder = Path(path), Path(self.model.config.encoder)
        if self._packed:
            ZipFile(BytesIO(self._packed)).extractall(path)
            return
        if path.resolve() == self._folder.resolve():  # where it was read from
            return
        try:
            shutil.rmtree(path / ADD_ONS, ignore_errors=True)
            (path / ADD_ONS).mkdir(parents=True)
            for file in (checkpoint.CONFIG, checkpoint.WEIGHTS, checkpoint.RESULTS):
                if file != checkpoint.RESULTS or (self._folder / file).exists():
                    shutil.copyfile(self._folder / file, path / file)
            for number, add_on in enumerate(self._add_ons):
                shutil.copyfile(add_on, path / ADD_ONS / f"{number:03}.addon")
            if encoder.is_absolute():  # other names mean the same everywhere
                copy: Any = shutil.copytree if encoder.is_dir() else shutil.copyfile
                copy(encoder, path / checkpoint.ENCODER)
                settings = read_json(path / checkpoint.CONFIG, dict[str, Any])
                write_json(path / checkpoint.CONFIG, {**settings, "encoder": checkpoint.INSIDE})
        except OSError as error:
            raise HyperXError(f"{self.name}: the model cannot be copied from {self._folder}: {error}") from error

    def from_disk(self, path: str | Path, **_: Any) -> "HyperXComponent":
        """Load what :meth:`to_disk` wrote."""
        self._load(Path(path), sorted((Path(path) / ADD_ONS).glob("*")))
        self._packed = b""
        return self

    def to_bytes(self, **_: Any) -> bytes:
        """The files of :meth:`to_disk`, as an archive."""
        archive = BytesIO()
        with TemporaryDirectory() as folder, ZipFile(archive, "w") as packed:
            self.to_disk(folder)
            for file in Path(folder).rglob("*"):
                packed.write(file, file.relative_to(folder))
        return archive.getvalue()

    def from_bytes(self, data: bytes, **_: Any) -> "HyperXComponent":
        """Load what :meth:`to_bytes` gave."""
        with TemporaryDirectory() as folder:
            try:
                archive = ZipFile(BytesIO(data))
                if sum(file.file_size for file in archive.infolist()) > len(data):  # nothing in ours is compressed
                    raise BadZipFile("its files would be larger than it is")
                archive.extractall(folder)
            except (BadZipFile, NotImplementedError, RuntimeError) as error:
                raise HyperXError(f"{self.name}: expected what to_bytes gave: {error}") from None
            self.from_disk(folder)
        self._packed = data
        return self


def _sentences(doc: Doc, language: str) -> Iterator[Span]:
    """The sentences of a document, each with the white space behind it."""
    if not len(doc) or doc.has_annotation("SENT_START"):
        yield from doc.sents if len(doc) else ()
        return
    pieces = list(sentence_pieces(doc.text, language))
    places = zip(accumulate(map(len, pieces), initial=0), pieces, strict=False)
    starts = [start for start, piece in places if is_visible(piece)][1:]
    for _, group in groupby(doc, key=lambda token: bisect_right(starts, token.idx)):
        own = list(group)
        yield doc[own[0].i : own[-1].i + 1]


def _set_tags(_: Doc, found: Found) -> None:
    for part, words, tags in found:
        for token in part:
            token.pos_ = "SPACE" if token.is_space else ""
        for token, tag in zip(words, tags, strict=True):
            if tag in IDS:
                token.pos_ = tag
            elif tag != "_":
                token.tag_ = tag


def _set_trees(doc: Doc, found: Found) -> None:
    heads, relations = np.arange(len(doc)), ["ROOT"] * len(doc)
    for part, words, arcs in found:
        near, own = words[0] if words else part[0], {word.i for word in words}
        for token in part:  # what cannot be seen hangs on the word before
            near = token if token.i in own else near
            if token.i != near.i:
                heads[token.i], relations[token.i] = near.i, "dep"
        for token, arc in zip(words, arcs, strict=True):
            if arc.head:
                heads[token.i], relations[token.i] = words[arc.head - 1].i, arc.relation
    distances = (heads - np.arange(len(doc))).astype("uint64")
    names = np.array([doc.vocab.strings.add(relation) for relation in relations], dtype="uint64")
    columns: Any = np.stack([distances, names], axis=1)
    doc.from_array([HEAD, DEP], columns)


def _set_entities(doc: Doc, found: Found) -> None:
    entities = [
        Span(doc, words[start].i, words[end - 1].i + 1, label=kind)
        for _, words, tags in found
        for kind, start, end in spans(tags)
    ]
    doc.set_ents(entities)


SETTERS = {"upos": _set_tags, "head": _set_trees, "ner": _set_entities}
"""What sets the columns of words that a document has a place for."""
CONFIDENCES = {"upos": "pos_confidence", "head": "dep_confidence", "ner": "ner_confidence"}
