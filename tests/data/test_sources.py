"""Where pairs' data is found, what is refused, and what is read."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from hyperx.data.locate.places import DataPlaces
from hyperx.data.locate.spec import DataRecord
from hyperx.errors import ConfigError, DataError, HyperXError
from hyperx.files import checked
from located import build, pairs, problem, problems, put, spec

TREE = "1\ta\t_\tVERB\t_\t_\t0\troot\t_\t_\n2\tb\t_\tNOUN\t_\t_\t1\tobj:x\t_\t_\n\n"


def again(places: DataPlaces) -> DataPlaces:
    """The places as a checkpoint keeps them, read again."""
    record = checked(
        json.loads(json.dumps(DataRecord(spec(Path()), data=places.recorded()).to_json())), DataRecord, "data.json"
    )
    return DataPlaces(record.data)


def words(sources: DataPlaces, name: str, split: str) -> list[tuple[str, ...]]:
    return [sentence.words for sentence in sources.read(*pairs(name), split)]


# Where data is found


@pytest.mark.parametrize("folder", ["tr", "tur", "tr-TR"])
def test_local_folder_under_any_code(tmp_path: Path, folder: str) -> None:
    put(tmp_path, f"ner/{folder}/train.tsv")
    put(tmp_path, f"ner/{folder}/test.bio", "b O\n")
    put(tmp_path, f"ner/{folder}/notes.md")
    sources = build(tmp_path, "ner#tr")
    assert words(sources, "ner#tr", "test") == words(sources, "ner#tur", "test") == [("b",)]
    (pair,) = pairs("ner#tr")
    assert [sources.has(pair, split) for split in ("train", "dev", "test")] == [True, False, True]
    assert sources.describe(pair, "train").endswith(f"{folder}/train.tsv")
    with pytest.raises(DataError, match="expected a dev split of ner#tr, found train, test; add a dev file"):
        sources.read(pair, "dev")
    with pytest.raises(DataError, match=r"expected a pair whose data is known \(ner#tr\), found ner#de"):
        sources.read(*pairs("ner#de"), "test")


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_dev_may_have_other_names(tmp_path: Path, name: str) -> None:
    put(tmp_path, f"ner/tr/{name}.tsv", "b\tO\n")
    assert words(build(tmp_path, "ner#tr"), "ner#tr", "dev") == [("b",)]
    put(tmp_path, "ner/tr/dev.tsv")
    assert f"found dev.tsv and {name}.tsv for dev" in problem(tmp_path, "ner#tr")


def test_the_users_own_spelling_of_a_folder_comes_first(tmp_path: Path) -> None:
    put(tmp_path, "ner/tr/test.tsv", "tr\tO\n")
    put(tmp_path, "ner/tur/test.tsv", "tur\tO\n")
    assert words(build(tmp_path, "ner#tur"), "ner#tur", "test") == [("tur",)]
    assert "found two folders or files of one language" in problem(tmp_path, "ner#tr-TR")


def test_hub_is_the_last_resort(tmp_path: Path) -> None:
    sources = build(tmp_path, "ner#yue", "pos#gn", "dep#tur")
    described = [sources.describe(pair, "test") for pair in sources.pairs]
    assert described == [
        "unimelb-nlp/wikiann (zh-yue, test)",
        "commul/universal_dependencies (gun_thomas, test)",
        "commul/universal_dependencies (tr_imst, test)",
    ]
    assert [sources.has(pair, "train") for pair in sources.pairs] == [True, False, True]
    with pytest.raises(DataError, match="expected a train split of pos#gn, found test"):
        sources.read(sources.pairs[1], "train")


@pytest.mark.parametrize("name", ["pos/be-tarask", "be-tarask", "beryl"])
def test_a_name_in_which_the_languages_is_a_part_is_of_another(tmp_path: Path, name: str) -> None:
    put(tmp_path, f"{name}/train.conllu", TREE)
    assert build(tmp_path, "pos#be").from_hub(*pairs("pos#be"))


@pytest.mark.parametrize(
    "beside",
    [
        "pos/de/train.conllu ner/train.tsv",
        "train.conllu pos/de/train.conllu",
        "train.conllu UD_German-GSD/de_gsd-ud-train.conllu",
        "de/train.conllu",
        "ner/tr.train.tsv",
        "dep/tr/train.conllu",
        "corpora/train.conllu",
        "tr/readme.md",
        "tr-notes.txt",
    ],
)
def test_what_is_of_other_pairs_does_not_keep_a_pair_from_the_hub(tmp_path: Path, beside: str) -> None:
    for name in beside.split():
        put(tmp_path, name, TREE)
    assert build(tmp_path, "pos#tr").describe(*pairs("pos#tr"), "test") == f"{UD} (tr_imst, test)"


def test_release_folders_by_the_table(tmp_path: Path) -> None:
    for name in ("tr_x-ud-train-a.conllu", "tr_x-ud-train-b.conllu", "tr_x-ud-test.conllu"):
        put(tmp_path, f"UD_Turkish-X/{name}", TREE)
    put(tmp_path, "UD_Turkish-X/tr_x-ud-test.txt", "raw text")
    put(tmp_path, "UNER/tr_x-ud-dev.iob2", "1\ta\tB-PER\t-\t-\n")
    sources = build(tmp_path, "dep#tr", "ner#tr", table={"dep#tr": "UD_Turkish-X", "ner#tur": {"folder": "UNER"}})
    assert words(sources, "dep#tr", "train") == [("a", "b")] * 2
    assert words(sources, "dep#tr", "test") == [("a", "b")]
    assert words(sources, "ner#tr", "dev") == [("a",)]


UD = "commul/universal_dependencies"


def test_chosen_treebanks_are_read_one_behind_the_other(tmp_path: Path) -> None:
    put(tmp_path, "pos/en/train.conllu", TREE)
    put(tmp_path, "ner/en/train.tsv")
    sources = build(tmp_path, "pos#en", "ner#en", "dep#eng", "pos#tr", treebanks=["eng=EWT+UD_English-PUD"])
    described = {split: sources.describe(*pairs("pos#en"), split) for split in ("train", "dev", "test")}
    assert described == {
        "train": f"{UD} (en_ewt, train)",
        "dev": f"{UD} (en_ewt, validation)",
        "test": f"{UD} (en_ewt + en_pud, test)",
    }
    assert sources.describe(*pairs("dep#en"), "test") == described["test"]
    assert sources.describe(*pairs("pos#tr"), "test") == f"{UD} (tr_imst, test)"
    assert sources.describe(*pairs("ner#en"), "train").endswith("ner/en/train.tsv")
    kept = again(sources)
    assert kept.fingerprint(*pairs("pos#en"), "test") == sources.fingerprint(*pairs("pos#en"), "test")
    assert kept.describe(*pairs("pos#en"), "test") == described["test"]
    assert build(tmp_path, "pos#en").describe(*pairs("pos#en"), "train").endswith("pos/en/train.conllu")


def test_the_table_goes_before_chosen_treebanks(tmp_path: Path) -> None:
    hub = {"name": UD, "configuration": ["GUM", "en_xyz", "en_pud"]}
    table = {"pos#en": {"hub": hub}, "dep#eng": {"hub": hub | {"revision": "2.7"}}}
    sources = spec(tmp_path, table, treebanks=["en=en_ewt"]).places(pairs("pos#en", "dep#en"))
    assert sources.describe(*pairs("pos#en"), "train") == f"{UD} (en_gum + en_xyz, train)"
    assert sources.describe(*pairs("pos#en"), "test") == f"{UD} (en_gum + en_xyz + en_pud, test)"
    assert sources.describe(*pairs("dep#en"), "train") == f"{UD} (en_gum + en_xyz + en_pud, train) at 2.7"
    for wrong in ([], [1], "", 1):
        table = {"pos#en": {"hub": {"name": UD, "configuration": wrong}}}
        assert "hub, configuration" in problem(tmp_path, "pos#en", table=table)


@pytest.mark.parametrize("release", ["", "ud/", "ud-treebanks-v2.18/"])
def test_a_release_in_the_data_folder_is_read_instead_of_the_hub(tmp_path: Path, release: str) -> None:
    for split in ("train-a", "train-b", "test"):
        put(tmp_path, f"{release}UD_Turkish-IMST/tr_imst-ud-{split}.conllu", TREE)
    put(tmp_path, f"{release}UD_Turkish-PUD/tr_pud-ud-test.conllu", TREE.replace("\ta\t", "\tpud\t"))
    put(tmp_path, "ud-treebanks-v2.7/UD_Turkish-IMST/tr_imst-ud-test.conllu", TREE.replace("\ta\t", "\told\t"))
    sources = build(tmp_path, "pos#tr", "dep#de")
    assert words(sources, "pos#tr", "train") == [("a", "b")] * 2
    assert words(sources, "pos#tr", "test") == [("a", "b")]
    assert not sources.has(*pairs("pos#tr"), "dev")
    assert sources.describe(*pairs("dep#de"), "dev") == f"{UD} (de_gsd, validation)"
    both = build(tmp_path, "pos#tur", treebanks=["tr=IMST+PUD"])
    assert words(both, "pos#tr", "test") == [("a", "b"), ("pud", "b")]
    assert words(both, "pos#tr", "train") == [("a", "b")] * 2
    with pytest.raises(ConfigError, match="pos#tr: expected the treebank's folder UD_Turkish-BOUN beside the others"):
        build(tmp_path, "pos#tr", treebanks=["tr=IMST+BOUN"])


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("en", "expected LANGUAGE=TREEBANK, such as en=en_gum; found 'en'"),
        ("en=", "expected LANGUAGE=TREEBANK"),
        ("en=en_gums", r"en has no treebank 'en_gums'; it has en_ewt, .*\. Did you mean 'en_gum'\?"),
        ("en=en_ewt+de_gsd", "en has no treebank 'de_gsd'"),
        ("so=ewt", "UD has no treebank of the language 'so'"),
        ("xx=ewt", "'xx' is no language code"),
    ],
)
def test_treebanks_that_are_not_there(tmp_path: Path, entry: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"--treebanks: {message}") as caught:
        build(tmp_path, "nre#tr", treebanks=[entry, "tr=imst", "tur=boun"])
    assert len(caught.value.problems) == 3
    assert "tur=boun: the language is named twice; join its treebanks with +" in caught.value.problems[1]


def test_single_splits_beside_a_folder_and_relative_paths(tmp_path: Path) -> None:
    put(tmp_path, "X/test.tsv")
    put(tmp_path, "X/dev.tsv", "dev\tO\n")
    more = put(tmp_path, "more.txt", "more O\n")
    table = {"ner#tr": {"folder": "X", "train": ["X/dev.tsv", str(more)]}}
    sources = build(tmp_path, "ner#tr", table=table)
    assert words(sources, "ner#tr", "train") == [("dev",), ("more",)]
    assert words(sources, "ner#tr", "test") == [("a",)]


def test_where_relative_paths_start_is_told_of_what_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "own/x.test.conllu", TREE)
    place, start = f"none at {tmp_path}/data", "; relative paths start at --data_folder (data)"
    here = f"{start}, and own/x.test.conllu is there from the working folder: name its whole path"
    for entry, expected in {
        ("test", "x.test.conllu"): f", test: expected a file, found {place}/x.test.conllu{start}",
        ("train", "own/x.test.conllu"): f", train: expected a file, found {place}/own/x.test.conllu{here}",
        ("train", "/none.conllu"): ", train: expected a file, found none at /none.conllu",
        ("folder", "x"): f": expected a folder, found {place}/x{start}; a data set of the hub is written",
    }.items():
        assert problem(Path("data"), "dep#tr", table={"dep#tr": dict([entry])}).startswith(
            f"data table, dep#tr{expected}"
        )


def test_from_python_the_table_takes_paths(tmp_path: Path) -> None:
    file = put(tmp_path, "UD_Turkish-X/tr_x-ud-test.conllu", TREE)
    for entry in (file.parent, {"folder": file.parent}, {"test": file}, {"test": [file]}):
        assert words(build(tmp_path, "dep#tr", table={"dep#tr": entry}), "dep#tr", "test") == [("a", "b")]


def test_hub_by_the_table(tmp_path: Path) -> None:
    table = {
        "pos#tr": {"hub": {"name": "commul/universal_dependencies", "configuration": "tr_boun", "revision": "2.17"}},
        "ner#tr": {"hub": "unimelb-nlp/wikiann"},
        "pos#de": {"hub": {"name": "a/b", "columns": {"words": "forms"}}},
    }
    sources = build(tmp_path, *table, table=table)
    assert [sources.describe(pair, "test") for pair in sources.pairs] == [
        "commul/universal_dependencies (tr_boun, test) at 2.17",
        "unimelb-nlp/wikiann (tr, test)",
        "a/b (test)",
    ]


# What is refused


def test_all_problems_come_together(tmp_path: Path) -> None:
    put(tmp_path, "ner/de/train.xml")
    found = problems(tmp_path, "nre#tr", "ner#xx", "ner#de", "ner#fr", table={"ner#fr": "none", "ner": "x"})
    assert len(found) == 5
    assert "expected one of pos, ner, dep, mood, mlm, cls. Did you mean 'ner'?" in found[1]
    assert "has no default for the language 'xx'; put files at" in found[2]
    assert "found train.xml" in found[3]
    assert "data table, ner#fr: expected a folder, found none at" in found[4]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            3,
            "expected a folder or a mapping with train, dev, test, folder, hub, columns, label_map, corpus, licence;"
            " found 3",
        ),
        ({}, "names no data; give folder, hub, or files"),
        ({"tset": "a.tsv", "dev": "a.tsv"}, "unknown key 'tset'; expected train, dev, .* Did you mean 'test'"),
        ("a.tsv", r"expected a folder, found the file .*; say which split it is, such as \{test: a.tsv\}"),
        ({"dev": "none.tsv"}, "dev: expected a file, found none at"),
        ({"dev": "empty"}, "dev: expected a file, found a folder at"),
        ({"dev": []}, r"dev: expected a file, a list of files, or rows in memory; found \[\]"),
        ({"dev": [3]}, r"dev: expected a file, a list of files, or rows in memory; found \[3\]"),
        (
            {"dev": "a.xml"},
            r"dev: expected a file that ends in .conllu.*, which can hold entities \(ner\); found 'a.xml'; rename",
        ),
        ({"folder": "empty"}, "expected files in .* found nothing"),
        ({"folder": "two"}, "found dev.bio and dev.tsv for dev in"),
        ({"folder": "two_treebanks"}, "found de_a-ud-dev.conllu and de_b-ud-dev.conllu for dev in"),
        ({"folder": "good", "hub": "a/b"}, "found both folder and hub; keep one"),
        ({"hub": {"configuration": "tr"}}, "hub, name: expected a value; found nothing"),
        ({"hub": ["a/b"]}, "hub: expected a name, or a mapping with name, configuration, revision, columns; found"),
        ({"hub": {"name": "a/b", "config": "tr"}}, "hub: unknown key 'config'.* Did you mean 'configuration'"),
        ({"hub": {"name": "a/b", "revision": 2.1}}, "hub, revision: expected text, in quotes; found 2.1"),
        ({"hub": {"name": "a/b", "columns": {"word": "x"}}}, "columns: unknown key 'word'.* Did you mean 'words'"),
        (
            {"hub": {"name": "a/b", "configuration": []}},
            r"configuration: expected text, or a list of texts, .* found \[\]",
        ),
        ({"hub": {"name": "a/b", "columns": ["x"]}}, "columns: expected a table; found"),
        ({"folder": "good", "label_map": {"DATE": False}}, "label_map, DATE: expected text, in quotes; found False"),
        ({"folder": "good", "label_map": {True: "O"}}, "ner#tr, label_map: expected text, in quotes; found True"),
        ({"folder": "good", "label_map": "DATE=O"}, "label_map: expected a table; found 'DATE=O'"),
        (
            {"folder": "good", "label_map": {"I-DATE": "O"}},
            "label_map: .* the tag 'I-DATE'; name the type alone, 'DATE'",
        ),
        ({"folder": "good", "label_map": {"GPE": "B-LOC"}}, "label_map: .* found the tag 'B-LOC'; name the type alone"),
    ],
)
def test_table_values(tmp_path: Path, value: object, message: str) -> None:
    (tmp_path / "empty").mkdir()
    files = ["a.tsv", "a.xml", "two/dev.bio", "two/dev.tsv", "good/dev.tsv"]
    for name in [*files, "two_treebanks/de_a-ud-dev.conllu", "two_treebanks/de_b-ud-dev.conllu"]:
        put(tmp_path, name)
    with pytest.raises(ConfigError, match=message):
        build(tmp_path, "ner#tr", table={"ner#tr": value})


def test_what_is_left_empty_in_a_table_has_its_default(tmp_path: Path) -> None:
    put(tmp_path, "good/dev.tsv")
    empty = dict.fromkeys(("columns", "label_map", "corpus"))
    hub = {"name": "a/b", "configuration": None, "columns": None, "revision": None}
    found = build(tmp_path, "ner#tr", "ner#en", table={"ner#tr": {"folder": "good", **empty}, "ner#en": {"hub": hub}})
    assert [found.has(pair, "dev") for pair in pairs("ner#tr", "ner#en")] == [True, True]


@pytest.mark.parametrize("folder", ["ner", "ner/tr"])
def test_a_folder_that_cannot_be_read_is_not_absent(
    tmp_path: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "ner/tr/dev.tsv")
    real = Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        if path == tmp_path / folder:
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(ConfigError) as caught:
        build(tmp_path, "ner#tr")
    (told,) = caught.value.problems
    assert f"{tmp_path / folder}: Permission denied" in told


def test_two_names_of_one_pair(tmp_path: Path) -> None:
    put(tmp_path, "ner/tr/dev.tsv")
    assert "ner#tr and ner#tur are one pair" in problem(tmp_path, "ner#tr", "ner#tur", "ner#tr")
    table = {"ner#tr": "ner/tr", "ner#tr-TR": "ner/tr"}
    assert "data table: ner#tr and ner#tr-TR are one pair" in problem(tmp_path, "ner#tr", table=table)


def test_formats_without_trees(tmp_path: Path) -> None:
    put(tmp_path, "dep/tr/test.tsv")
    assert "a file that ends in .conllu, which can hold trees (dep); found 'test.tsv'" in problem(tmp_path, "dep#tr")
    put(tmp_path, "pos/tr/test.conllu", TREE)
    table = {"pos#tr": {"test": "pos/tr/test.conllu", "label_map": {"X": "NOUN"}}}
    assert "only entity types and labels of texts can be mapped" in problem(tmp_path, "pos#tr", table=table)


@pytest.mark.parametrize("name", ["de_gsd-ud-test.conllu", "test.conllu", "TEST.conllu", "my.test.de.conllu"])
def test_training_on_a_file_that_is_named_test(tmp_path: Path, name: str) -> None:
    put(tmp_path, name, TREE)
    found = problem(tmp_path, "pos#de", table={"pos#de": {"train": name}})
    assert found.endswith(
        f"{name}, which is a test file by its name; train on a train or dev file, and keep test files for the end"
    )


def test_training_on_the_test_file_of_any_pair(tmp_path: Path) -> None:
    put(tmp_path, "x.conllu", TREE)
    (tmp_path / "link.conllu").symlink_to(tmp_path / "x.conllu")
    table = {"pos#de": {"train": ["link.conllu"]}, "dep#de": {"test": "x.conllu"}}
    assert "which is the test data of dep#de" in problem(tmp_path, "pos#de", "dep#de", table=table)
    assert "which is the test data of dep#de" in problem(tmp_path, "pos#de", table=table)


def test_links_are_read_by_their_own_names(tmp_path: Path) -> None:
    # As the cache of the hub has them: a link with a name to a file without one.
    put(tmp_path, "blobs/0a1b", "Ada\tB-PER\n")
    for name in ("table/train.tsv", "ner/de/train.tsv"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).symlink_to(tmp_path / "blobs" / "0a1b")
    table = {"ner#en": {"train": "table/train.tsv"}}
    sources = build(tmp_path, "ner#en", "ner#de", table=table)
    assert words(sources, "ner#en", "train") == words(sources, "ner#de", "train") == [("Ada",)]
    assert sources.describe(sources.pairs[0], "train").endswith("train.tsv")
    (tmp_path / "train.conllu").symlink_to(put(tmp_path, "x-ud-test.conllu", TREE))
    assert "a test file by its name" in problem(tmp_path, "pos#de", table={"pos#de": {"train": "train.conllu"}})


def test_pairs_that_have_data_beside_those_that_lack_it(tmp_path: Path) -> None:
    put(tmp_path, "ner/de/train.tsv")
    put(tmp_path, "x.conllu", TREE)
    table = {"pos#en": {"train": "missing.conllu"}, "pos#tr": {"train": "x.conllu"}, "dep#tr": {"test": "x.conllu"}}
    found = spec(tmp_path, table).places(pairs("ner#de", "pos#en", "pos#tr", "mood#de"))
    assert list(map(str, found.pairs)) == ["ner#de"]
    told = {str(pair): " ".join(problems) for pair, problems in found.lacking.items()}
    assert "expected a file, found none" in told["pos#en"]
    assert "which is the test data of dep#tr" in told["pos#tr"]
    assert "no folder" in told["mood#de"]


def test_training_on_a_dev_file_is_allowed(tmp_path: Path) -> None:
    put(tmp_path, "latest-contest-dev.tsv")
    assert words(build(tmp_path, "ner#de", table={"ner#de": {"train": "latest-contest-dev.tsv"}}), "ner#de", "train")


# What is read


def test_entities_become_bio_and_are_mapped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, "ner/ha/dev.tsv", "a\tB-PER\nb\tO\nc\tI-LOC\nd\tI-LOC\n\ne\tB-DATE\nf\tI-DATE\n")
    put(tmp_path, "ner/ha/test.tsv", "a\tS-DATE\nb\tB-GPE\nc\tE-GPE\n")
    table = {"ner#ha": {"folder": "ner/ha", "label_map": {"GPE": "LOC"}}}
    sources = build(tmp_path, "ner#ha", table=table, label_map={"DATE": "O", "GPE": "ORG"})
    (pair,) = sources.pairs
    with caplog.at_level(logging.INFO):
        tags = [sentence.columns["ner"] for split in ("dev", "test") for sentence in sources.read(pair, split)]
    assert tags == [("B-PER", "O", "B-LOC", "I-LOC"), ("O", "O"), ("O", "B-LOC", "I-LOC")]
    assert "1 spans began with I-, as in IOB1, and were given a B-" in caplog.text


@pytest.mark.parametrize(
    ("task", "text", "message"),
    [
        ("pos", TREE.replace("NOUN", "NOUNS"), r"test\.conllu:2: expected one of ADJ .* found 'NOUNS' .*'NOUN'\?"),
        ("dep", TREE.replace("obj:x", "objj"), r"test\.conllu:2: .* found 'objj' at 'b'. Did you mean 'obj'\?"),
        ("dep", TREE.replace("1\tobj", "3\tobj"), r"test\.conllu:2: expected a head from 0"),
        ("dep", TREE.replace("0\troot", "_\t_").replace("1\tobj:x", "_\t_"), r"test\.conllu:1: expected annotation in"),
        ("ner", TREE, r"test\.conllu:1: expected NER= in MISC \(column 10\) of every word, .*, found none; annotate"),
        ("ner", TREE.replace("\t_\n", "\tNER=PER\n"), r"test\.conllu:1: .* found the tag 'PER'"),
    ],
)
def test_bad_annotation_has_a_place(tmp_path: Path, task: str, text: str, message: str) -> None:
    put(tmp_path, f"{task}/tr/test.conllu", text)
    with pytest.raises(DataError, match=message):
        words(build(tmp_path, f"{task}#tr"), f"{task}#tr", "test")


def test_broken_trees_do_not_matter_to_tags(tmp_path: Path) -> None:
    put(tmp_path, "pos/tr/test.conllu", TREE.replace("1\tobj", "3\tobj"))
    assert words(build(tmp_path, "pos#tr"), "pos#tr", "test") == [("a", "b")]


def test_reading_is_streamed(tmp_path: Path) -> None:
    put(tmp_path, "pos/tr/test.conllu", TREE + "broken")
    sentences = build(tmp_path, "pos#tr").read(*pairs("pos#tr"), "test")
    assert next(sentences).words == ("a", "b")


def test_texts_are_read_by_their_columns_and_labels_mapped(tmp_path: Path) -> None:
    put(tmp_path, "mood/de/train.tsv", "text\tlabel\na\tgood\n")
    put(tmp_path, "tr/train.csv", "label,tweet,text\n1,a,no\n0,b,no\n")
    table = {"mood#tr": {"folder": "tr", "columns": {"text": "tweet"}, "label_map": {1: "good", "0": "bad"}}}
    sources = build(tmp_path, "mood#de", "mood#tr", table=table, label_map={"good": "O"})
    for source in (sources, again(sources)):
        german, turkish = (list(source.read(pair, "train")) for pair in pairs("mood#de", "mood#tr"))
        assert [(one.text, one.columns) for one in german] == [("a", {"label": ("good",)})]
        assert [(one.text, one.columns["label"]) for one in turkish] == [("a", ("good",)), ("b", ("bad",))]
    other = build(tmp_path, "mood#tr", table={"mood#tr": {**table["mood#tr"], "columns": {}}})
    assert other.fingerprint(*other.pairs, "train") != sources.fingerprint(*other.pairs, "train")


def test_columns_of_hub_texts_may_stand_beside_it_or_below(tmp_path: Path) -> None:
    table = {"mood#tr": {"columns": {"text": "a", "label": "b"}, "hub": {"name": "x/y", "columns": {"text": "c"}}}}
    found = build(tmp_path, "mood#tr", table=table).record(*pairs("mood#tr"), "test")["hub"]
    assert found["columns"] == {"text": "c", "label": "b"}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mood#tr", {"columns": {"txt": "a"}}, "columns: unknown key 'txt'; expected text, text_pair, label. Did you"),
        ("mood#tr", {"columns": ["text"]}, r"columns: expected a table; found \['text'\]"),
        ("mood#tr", {"label_map": {"a": True}}, "label_map, a: expected text, in quotes; found True"),
        ("ner#tr", {"columns": {"words": "a"}}, "only labelled texts have columns to name here; this task reads ner"),
    ],
)
def test_columns_and_maps_are_checked(tmp_path: Path, name: str, value: dict[str, object], message: str) -> None:
    put(tmp_path, "x/test.tsv")
    with pytest.raises(ConfigError, match=message):
        build(tmp_path, name, table={name: {"folder": "x", **value}})


def test_texts_have_no_default_data(tmp_path: Path) -> None:
    assert "mood/tr, and the task has no default data set; put files at" in problem(tmp_path, "mood#tr")
    put(tmp_path, "mood/tr/test.conllu", TREE)
    expected = (
        "a file that ends in .tsv, .csv, .jsonl, .json, which can hold labels of texts (cls); found 'test.conllu'"
    )
    assert expected in problem(tmp_path, "mood#tr")


# What is kept


def test_json_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "data/ner/tr/test.tsv", "a\tB-X\n")
    table = {"ner#tr": {"folder": "ner/tr", "label_map": {"X": "Y"}}}
    table |= {"pos#de": {"hub": {"name": "a/b", "revision": "1", "columns": {"words": "forms"}}}}
    monkeypatch.chdir(tmp_path)
    sources = build(Path("data"), "ner#tr", "pos#de", table=table)
    monkeypatch.chdir("/")
    kept = again(sources)
    assert kept.recorded() == sources.recorded()
    assert kept.pairs == sources.pairs
    assert [sentence.columns["ner"] for sentence in kept.read(*pairs("ner#tr"), "test")] == [("B-Y",)]
    for split in ("train", "test"):
        assert kept.has(*pairs("pos#de"), split)
    wrong = {"spec": spec(tmp_path).record(sources, ()).to_json()["spec"], "data": [{"pair": "ner#tr", "splits": {}}]}
    expected = r"data.json is not as Hyper-X writes it:\n  - data.0.column: expected a value; found nothing"
    with pytest.raises(HyperXError, match=expected):
        checked(wrong, DataRecord, "data.json")


def test_joined_sources(tmp_path: Path) -> None:
    put(tmp_path, "ner/tr/test.tsv")
    first, second = build(tmp_path, "ner#tr", "pos#tr"), build(tmp_path, "ner#tur", table={"ner#tr": {"hub": "a/b"}})
    joined = first.joined(second)
    assert joined.describe(*pairs("ner#tr"), "test") == "a/b (test)"
    assert set(map(str, joined.pairs)) == {"ner#tur", "pos#tr"}


def test_fingerprints_follow_content(tmp_path: Path) -> None:
    path = put(tmp_path, "ner/tr/test.tsv")
    sources, (pair,) = build(tmp_path, "ner#tr"), pairs("ner#tr")
    before = sources.fingerprint(pair, "test")
    assert sources.fingerprint(pair, "test") == before
    path.write_text("b\tO\n")
    assert sources.fingerprint(pair, "test") != before
    path.unlink()
    with pytest.raises(DataError, match="was it moved"):
        sources.fingerprint(pair, "test")


def test_fingerprints_follow_the_ending_which_chooses_the_reader(tmp_path: Path) -> None:
    path, (pair,) = put(tmp_path, "mood/tr/test.tsv", 'text\tlabel\n"a"\tgood\n'), pairs("mood#tr")
    found = []
    for ending in (".tsv", ".csv", ".CSV"):
        path = path.rename(path.with_suffix(ending))
        sources = build(tmp_path, "mood#tr")
        found.append(([one.text for one in sources.read(pair, "test")], sources.fingerprint(pair, "test")))
    tsv, csv, upper = found
    assert (tsv[0], csv[0]) == (['"a"'], ["a"])
    assert tsv[1] != csv[1]
    assert csv == upper


def test_fingerprints_follow_the_content_of_a_local_copy_of_a_data_set(tmp_path: Path) -> None:
    path = put(tmp_path, "copy/tr/train.parquet")
    sources, (pair,) = build(tmp_path, "ner#tr", table={"ner#tr": {"hub": "copy"}}), pairs("ner#tr")
    before = sources.fingerprint(pair, "train")
    assert sources.fingerprint(pair, "train") == before
    path.write_text("b\tO\n")
    assert sources.fingerprint(pair, "train") != before


def test_standard_experiments_resolve(shared: Path) -> None:
    data = shared / "data"
    if not (data / "ud").is_dir():
        pytest.skip("no ud in the folder shared/")
    table: dict[str, object] = {f"ner#{code}": f"wikiann/{code}" for code in ("en", "de", "ru")}
    table["pos#en"] = "ud/UD_English-EWT"
    table["pos#es"] = {"folder": "ud/UD_Spanish-GSD", "train": "ud/UD_Spanish-GSD/es_gsd-ud-dev.conllu"}
    table |= {f"pos#{code}": f"masakhapos/{code}" for code in ("kin", "wol")}
    sources = build(data, *table, table=table)
    assert all(next(sources.read(pair, "train")).words for pair in sources.pairs)
