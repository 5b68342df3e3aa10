"""The data of task–language pairs: where it is, and its sentences in the form that the task reads."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

from hyperx.data.locate.resolution import FileSource, PairSources, Source
from hyperx.data.read.base import LABEL, TEXT
from hyperx.data.read.conllu import check_tree
from hyperx.data.read.formats import TREE_COLUMNS, read_file
from hyperx.data.read.hub import HubSource
from hyperx.data.read.labels import UD_RELATIONS, UPOS_TAGS, check_tags, labelled
from hyperx.data.read.lines import OnFault, stop
from hyperx.data.read.sentence import Sentence
from hyperx.data.read.spans import BioConversion, bio_sentences, map_types
from hyperx.errors import DataError, HyperXError
from hyperx.files import sha256
from hyperx.languages import canonical
from hyperx.pairs import TaskLanguagePair

logger = logging.getLogger(__name__)

_HIDDEN = "_"  # in place of a word that may not be published


class DataSources:
    """Where the splits of some pairs are, and how to read them. A pair is found under any code of its language.

    Args:
        sources: one value per pair, as `resolve` finds them.
    """

    def __init__(self, sources: Iterable[PairSources]) -> None:
        self._sources = {source.pair.key: source for source in sources}

    @property
    def pairs(self) -> tuple[TaskLanguagePair, ...]:
        """The pairs, in the user's spelling."""
        return tuple(source.pair for source in self._sources.values())

    def __contains__(self, pair: TaskLanguagePair) -> bool:
        return pair.key in self._sources

    def only(self, pairs: Iterable[TaskLanguagePair]) -> DataSources:
        """The sources of some of the pairs."""
        return DataSources([self._sources[pair.key] for pair in pairs])

    def joined(self, other: DataSources) -> DataSources:
        """These sources and another's, which take precedence if both have a pair."""
        return DataSources({**self._sources, **other._sources}.values())

    def has(self, pair: TaskLanguagePair, split: str) -> bool:
        """Whether a pair has a split, as resolved: the network is not asked whether a hub data set really has it."""
        return pair in self and split in self._sources[pair.key].splits

    def from_hub(self, pair: TaskLanguagePair) -> bool:
        """Whether any split of a pair would be read from the hub."""
        return pair in self and any(isinstance(s, HubSource) for s in self._sources[pair.key].splits.values())

    def inside(self, pair: TaskLanguagePair, folder: Path) -> bool:
        """Whether the data of a pair is known, and all of it is files in a folder."""
        splits = self._sources[pair.key].splits.values() if pair in self else ()
        files = [path for source in splits if isinstance(source, FileSource) for path in source.files]
        here = all(Path(os.path.normpath(path)).is_relative_to(folder) for path in files)
        return bool(files) and here and not self.from_hub(pair)

    def held_out(self, language: str) -> dict[Path, PairSources]:
        """The local files of a language's dev and test splits, each with a pair that it belongs to."""
        own = [source for source in self._sources.values() if source.pair.key[1] == canonical(language)]
        splits = [(source.splits.get(split), source) for source in own for split in ("dev", "test")]
        return {path: source for split, source in splits if isinstance(split, FileSource) for path in split.files}

    def describe(self, pair: TaskLanguagePair, split: str) -> str:
        """Where a split is, for people.

        Raises:
            DataError: if there is no such split.
        """
        return self._source(pair, split).describe(split)

    def record(self, pair: TaskLanguagePair, split: str) -> dict[str, Any]:
        """Where a split is, as a JSON value: its files or its hub data set.

        Raises:
            DataError: if there is no such split.
        """
        return _source_to_json(self._source(pair, split))

    def read(self, pair: TaskLanguagePair, split: str, on_fault: OnFault = stop) -> Iterator[Sentence]:
        """Stream a split's sentences, checked, with entity tags in BIO and mapped.

        Spans that begin with an I- against the scheme get a B-; their number is logged. Faults after which reading can
        continue go to ``on_fault``, which raises them by default.

        Raises:
            DataError: if there is no such split; while reading, with file and line, for whatever is wrong in it.
        """
        source, sources = self._source(pair, split), self._sources[pair.key]
        if isinstance(source, HubSource):
            return _prepared(source.read(split, sources.column), sources, source.describe(split), on_fault)
        # Files are prepared one by one: each may be written in a scheme of its own.
        return chain.from_iterable(
            _prepared(read_file(path, sources.column, on_fault, sources.columns), sources, str(path), on_fault)
            for path in source.files
        )

    def fingerprint(self, pair: TaskLanguagePair, split: str) -> Any:
        """A JSON value that changes whenever the result of `read` may: files count by their extension and content."""
        source, sources = self._source(pair, split), self._sources[pair.key]
        what = asdict(source) if isinstance(source, HubSource) else None
        files = source.local_files() if isinstance(source, HubSource) else source.files
        read_as = [sources.column, dict(sources.label_map), dict(sources.columns)]
        return [what, list(map(file_fingerprint, files)), split, *read_as]

    def _source(self, pair: TaskLanguagePair, split: str) -> Source:
        if pair not in self:
            known = ", ".join(map(str, self.pairs)) or "none"
            raise DataError(f"expected a pair whose data is known ({known}), found {pair}")
        splits = self._sources[pair.key].splits
        if split not in splits:
            found = ", ".join(splits) or "none"
            advice = f"add a {split} file to the pair's folder, or name one under {split} in the data table"
            raise DataError(f"expected a {split} split of {pair}, found {found}; {advice}")
        return splits[split]

    def to_json(self) -> dict[str, Any]:
        """A JSON value that `from_json` reads; files as absolute paths."""
        return {str(source.pair): _pair_to_json(source) for source in self._sources.values()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> DataSources:
        """The sources that `to_json` wrote. Whether the files still exist is checked when they are read.

        Raises:
            HyperXError: if the values are not of that form.
        """
        try:
            return cls([_pair_from_json(name, value) for name, value in values.items()])
        except (AttributeError, KeyError, TypeError) as error:
            raise HyperXError(f"expected data sources as Hyper-X writes them, found a fault: {error!r}") from error


def file_fingerprint(path: Path) -> list[str]:
    """A file's extension, which determines its reader, and a hash of its content.

    Raises:
        DataError: if it cannot be read.
    """
    return [path.suffix.lower(), content_hash(path)]


def content_hash(path: Path) -> str:
    """A hash of a file's content.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        return sha256(path)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}; was it moved?", path=path) from error


def _pair_to_json(source: PairSources) -> dict[str, Any]:
    splits = {split: _source_to_json(where) for split, where in source.splits.items()}
    return {
        "column": source.column,
        "splits": splits,
        "label_map": dict(source.label_map),
        "columns": dict(source.columns),
    }


def _source_to_json(source: Source) -> dict[str, Any]:
    if isinstance(source, HubSource):
        return {"hub": asdict(source)}
    return {"files": [str(path) for path in source.files]}


def _pair_from_json(name: str, value: Mapping[str, Any]) -> PairSources:
    splits = {split: _source_from_json(where) for split, where in value["splits"].items()}
    return PairSources(TaskLanguagePair.parse(name), value["column"], splits, value["label_map"], value["columns"])


def _source_from_json(value: Mapping[str, Any]) -> Source:
    if "hub" in value:
        return HubSource(**{**value["hub"], "configurations": tuple(value["hub"]["configurations"])})
    return FileSource(tuple(map(Path, value["files"])))


def _prepared(sentences: Iterator[Sentence], sources: PairSources, place: str, on_fault: OnFault) -> Iterator[Sentence]:
    """The sentences, checked and converted as the task's column requires."""
    prepare = _PREPARATIONS.get(sources.column)
    sentences = _with_words(sentences, place, on_fault)
    present = _with_text(sentences) if sources.column == TEXT else _with_column(sentences, sources.column, on_fault)
    return prepare(present, sources, place, on_fault) if prepare else present


def _with_words(sentences: Iterable[Sentence], place: str, on_fault: OnFault) -> Iterator[Sentence]:
    """Sentences of whole texts: not of a treebank whose text is withheld, where every word is `_`."""
    words = hidden = hidden_sentences = 0
    for sentence in sentences:
        words, own = words + len(sentence.words), sentence.words.count(_HIDDEN)
        # A text may have the word `_` here and there.
        hidden, hidden_sentences = hidden + own, hidden_sentences + (own == len(sentence.words) > 1)
        yield sentence
    advice = "is the text of this treebank withheld? Merge it in first, as the treebank's README tells"
    if hidden > words / 2:
        message = f"expected words, found {_HIDDEN} in place of {hidden:,} of {words:,}; {advice}"
        on_fault(DataError(message, path=place))
    elif hidden_sentences:
        logger.warning("%s: in %d sentences every word is %s; %s", place, hidden_sentences, _HIDDEN, advice)


def _with_column(sentences: Iterable[Sentence], column: str, on_fault: OnFault) -> Iterator[Sentence]:
    for sentence in sentences:
        if column not in sentence.columns:
            found = ", ".join(sentence.columns) or "none"
            message = f"expected annotation in the column {column}, found {found}; annotate the sentence or remove it"
            on_fault(DataError(message, path=sentence.origin, line=sentence.line_of(0)))
        else:
            yield sentence


def _with_text(sentences: Iterable[Sentence]) -> Iterator[Sentence]:
    """Sentences without annotation; those without text, such as empty rows of a data set, are skipped."""
    for sentence in sentences:
        if sentence.raw_text.strip():
            yield replace(sentence, columns={}, text=sentence.raw_text, text_pair=None, comments=())


def _prepare_entities(
    sentences: Iterable[Sentence], sources: PairSources, place: str, on_fault: OnFault
) -> Iterator[Sentence]:
    conversion = BioConversion()
    for sentence in bio_sentences(sentences, conversion, sources.column, on_fault):
        if sources.label_map:
            tags = map_types([str(tag) for tag in sentence.columns[sources.column]], sources.label_map)
            sentence = replace(sentence, columns={**sentence.columns, sources.column: tags})
        yield sentence
    if conversion.repairs:
        logger.warning("%s: %d spans began with I- and were given a B-", place, conversion.repairs)
    if conversion.scheme != "BIO":
        logger.info("%s: tags converted from %s to BIO", place, conversion.scheme)


def _prepare_tags(
    sentences: Iterable[Sentence], sources: PairSources, place: str, on_fault: OnFault
) -> Iterator[Sentence]:
    for sentence in labelled(sentences, sources.column, place, on_fault):
        check_tags(sentence, sources.column, UPOS_TAGS, on_fault)
        yield sentence


def _prepare_trees(
    sentences: Iterable[Sentence], _sources: PairSources, place: str, on_fault: OnFault
) -> Iterator[Sentence]:
    for sentence in labelled(_with_column(sentences, "deprel", on_fault), "deprel", place, on_fault):
        try:
            check_tree(sentence)
        except DataError as fault:
            on_fault(fault)
            continue
        check_tags(sentence, "deprel", UD_RELATIONS, on_fault)
        universal = tuple(str(relation).partition(":")[0] for relation in sentence.columns["deprel"])
        yield replace(sentence, columns={**sentence.columns, "deprel": universal})


def _prepare_labels(
    sentences: Iterable[Sentence], sources: PairSources, _place: str, _on_fault: OnFault
) -> Iterator[Sentence]:
    for sentence in sentences:
        label = str(sentence.columns[LABEL][0])
        yield replace(sentence, columns={LABEL: (sources.label_map.get(label, label),)})


_Preparation = Callable[[Iterable[Sentence], PairSources, str, OnFault], Iterator[Sentence]]
_PREPARATIONS: dict[str, _Preparation] = {
    "ner": _prepare_entities,
    "upos": _prepare_tags,
    LABEL: _prepare_labels,
    **dict.fromkeys(TREE_COLUMNS, _prepare_trees),
}


def short_source(source: Mapping[str, Any], folder: Path | None = None) -> str:
    """Where data is, in few words; paths without the folder of local data, or else without the working folder.

    Args:
        source: as :meth:`DataSources.record` gives it.
        folder: the folder of local data.
    """
    hub = source.get("hub")
    first, *others = map(Path, source["files"] if hub is None else [hub["name"]])
    place = next(
        (first.relative_to(root) for root in (folder, Path.cwd()) if root and first.is_relative_to(root)), first
    )
    if hub is None:
        return f"{place} and {len(others)} more" if others else str(place)
    name = str(place) if first.is_absolute() else f"hub: {place}"
    parts = [name, "+".join(hub["configurations"]), f"at {hub['revision']}" if hub["revision"] else ""]
    return " ".join(filter(None, parts))
