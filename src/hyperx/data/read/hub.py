"""Data sets of the Hugging Face hub, or local folders laid out like them, read into sentences."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from hyperx.data.read.base import Request
from hyperx.data.read.lines import FirstFaults
from hyperx.data.read.rows import RowReader, class_names, read_rows
from hyperx.data.read.sentence import Sentence
from hyperx.errors import DataError, counted, did_you_mean, listing
from hyperx.languages import FORMER_TREEBANKS, is_language

log = logging.getLogger(__name__)

HUB_SPLITS = {"train": ("train",), "dev": ("validation", "dev"), "test": ("test",)}
"""Our names of the splits -> the hub's, the most common one first."""

LOCAL_ALTERNATIVES = (
    "put files at <data_folder>/<task>/<language>/{train,dev,test}.* or name a file or folder for the pair "
    "in the data table"
)
"""What to do if the hub cannot serve a pair."""


@dataclass(frozen=True, slots=True)
class HubData:
    """A data set of the hub.

    Args:
        name: its name, such as `unimelb-nlp/wikiann`, or a local folder.
        configurations: those that are read one after the other, such as `tr_imst`; empty if the data set has only one.
        revision: a branch, tag or commit, such as "2.17" for a UD release.
        columns: our names of columns -> the data set's, if they are unusual.
    """

    name: str
    configurations: tuple[str, ...] = ()
    revision: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)

    def read(self, split: str, column: str) -> Iterator[Sentence]:
        """Stream one split, whose sentences must have a column. Single rows with a fault, which the user cannot mend on
        the hub, are skipped, and their number is logged.

        Raises:
            DataError: if the hub cannot be reached, or has no such data set, configuration, split or column; or if
                every row has a fault.
        """
        for configuration in self.configurations or (None,):
            place = _place(self.name, configuration, split)
            data = self._load(configuration, split, place)
            faults = FirstFaults(most=1)
            request = Request(place, column, faults, self.columns)
            reader = RowReader(request, class_names(data.features), checked=False)
            try:
                reader.names(tuple(data.features))
            except DataError as error:
                raise DataError(error.message, path=place) from error
            sentence = None
            for sentence in read_rows(data, reader):
                yield sentence
            if faults.count and sentence is None:
                raise faults.first[0]
            if faults.count:
                log.warning("skipped %s, of which the first is %s", counted(faults.count, "row"), faults.first[0])

    def describe(self, split: str) -> str:
        """The data set, configurations and split, for people."""
        place = _place(self.name, " + ".join(self.configurations), split)
        return place + (f" at {self.revision}" if self.revision else "")

    def _load(self, configuration: str | None, split: str, place: str) -> Any:
        """The split as a memory-mapped data set, under any name that it may have: UD renamed treebanks, and some data
        sets call a split dev."""
        import datasets

        faults: list[ValueError] = []
        for known in (configuration, *(old for old, new in FORMER_TREEBANKS.items() if new == configuration)):
            for theirs in HUB_SPLITS[split]:
                try:
                    return datasets.load_dataset(self.name, known, split=theirs, revision=self.revision)
                except ValueError as error:
                    if not str(error).startswith(("BuilderConfig", "Unknown split")):
                        raise DataError(_explain(error, configuration, split), path=place) from error
                    faults.append(error)
                except Exception as error:  # of the libraries and the HTTP library below them, which differs by version
                    raise DataError(_explain(error, configuration, split), path=place) from error
        # If the configuration exists under some name, the fault is in the split.
        fault = min(faults, key=lambda error: str(error).startswith("BuilderConfig"))
        raise DataError(_explain(fault, configuration, split), path=place)


def _place(name: str, configuration: str | None, split: str) -> str:
    """How messages name a split of a hub data set."""
    return f"{name} ({configuration + ', ' if configuration else ''}{HUB_SPLITS[split][0]})"


def _explain(error: Exception, configuration: str | None, split: str) -> str:
    """What the datasets library found wrong, in one line."""
    if isinstance(error, ConnectionError):
        found = "the Hugging Face hub cannot be reached and no copy is in its cache"
        return f"{found} (with HF_HUB_OFFLINE=1 only the cache is asked, at once); {LOCAL_ALTERNATIVES}"
    text = " ".join(str(error).split())
    known = re.findall(r"'([^']+)'", text.partition("[")[2])
    if text.startswith("BuilderConfig"):
        # A code of a language is no misspelt code of another.
        is_code = configuration is not None and "_" not in configuration and is_language(configuration)
        hint = "" if is_code else did_you_mean(configuration or "", known)
        return f"the data set has no configuration {configuration!r}.{hint or f' It has {listing(known, most=20)}.'}"
    if text.startswith("Unknown split"):
        return f"the data set has no split {HUB_SPLITS[split][0]!r}; it has {', '.join(known)}; {LOCAL_ALTERNATIVES}"
    if "scripts are no longer supported" in text:
        advice = "name a revision without one, such as refs/convert/parquet"
        return f"the data set is a program, which is not run; {advice}, or {LOCAL_ALTERNATIVES}"
    return f"cannot be loaded: {text[:300]}; check the name, or {LOCAL_ALTERNATIVES}"
