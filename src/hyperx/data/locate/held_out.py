"""Keeping the text of dev and test data out of the raw text that a model trains on."""

from __future__ import annotations

import json
import logging
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from hyperx.data.locate.places import Files, PairData
from hyperx.data.read.lines import file_lines, whole
from hyperx.data.read.sentence import Sentence
from hyperx.errors import DataError
from hyperx.pairs import TaskLanguagePair

log = logging.getLogger(__name__)


# Characters without a shape that are letters or marks in Unicode's categories: fillers and variation selectors.
_SHAPELESS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


class HeldOutText:
    """The sentences of some splits, which must not be trained on, however they are written: see :func:`plain`.

    Args:
        splits: the data of pairs, and one of its splits.
    """

    def __init__(self, splits: Sequence[tuple[PairData, str]]) -> None:
        self.splits = splits

    def fingerprint(self) -> list[str]:
        """A value that changes whenever the held-out sentences do: what is held out, and how it is read."""
        return sorted(
            json.dumps([data.splits[split].fingerprint(), data.column, dict(data.columns)], sort_keys=True)
            for data, split in self.splits
        )

    def removed(self, passages: Iterable[Sentence], pair: TaskLanguagePair) -> Iterator[Sentence]:
        """Stream the passages that are not among the sentences, and log how many are left out.

        Raises:
            DataError: if a file cannot be read, or nothing is left.
        """
        if not self.splits:
            yield from passages
            return
        for data, split in self.splits:
            place = data.splits[split]
            for path in place.files if isinstance(place, Files) else ():
                for _, line in file_lines(path):
                    whole(line)  # one that cannot be read might stand in the raw text
        known = {
            text
            for data, split in self.splits
            # Sentences with another fault are not evaluated on either.
            for _, sentences in data.splits[split].parts(split, data, lambda _fault: None)
            for sentence in sentences
            for text in _texts_of(sentence)
        }
        kept = left_out = 0
        for passage in passages:
            if known.isdisjoint(_texts_of(passage)):
                kept += 1
                yield passage
            else:
                left_out += 1
        if left_out and not kept:
            names = ", ".join(data.splits[split].describe(split) for data, split in self.splits)
            raise DataError(f"{pair}: all {left_out:,} passages of its train split are dev or test data ({names})")
        if left_out:
            message = "%s: %d of %d passages occur in dev or test data of the language and are left out of training"
            log.warning(message, pair, left_out, kept + left_out)


def _texts_of(sentence: Sentence) -> set[str]:
    """The plain contents of a sentence: its text, a second text, and its words, which may differ."""
    texts = {sentence.text or "", sentence.text_pair or "", "".join(sentence.words)}
    return set(map(plain, texts)) - {""}


def plain(text: str) -> str:
    """The form in which texts are compared: equal for texts that differ only in Unicode normalisation (NFC, NFD, NFKC,
    NFKD), in case, in white space, or in invisible characters, such as soft hyphens, joiners and variation selectors.
    """
    if text.isascii():
        return _without_invisible(text).lower()
    # As Unicode matches compatible texts without case (definition D146). What is dropped is dropped in between:
    # decomposing makes spaces, and a mark joins the letter before an invisible character that separated them.
    text = _without_invisible(unicodedata.normalize("NFKD", text))
    for _ in range(2):
        text = unicodedata.normalize("NFKD", text).casefold()
    # The Turkish letters, so that upper case does not depend on the language of whoever made it.
    return unicodedata.normalize("NFKD", text).replace("i\u0307", "i").replace("ı", "i")


def _without_invisible(text: str) -> str:
    text = "".join(text.split())
    if not text.isprintable():
        text = "".join(char for char in text if unicodedata.category(char) not in ("Cc", "Cf"))
    return text if text.isascii() else _SHAPELESS.sub("", text)
