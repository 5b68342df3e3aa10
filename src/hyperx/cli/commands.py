"""The commands, each with its options. Libraries that take long to load are imported once the options are checked:
messages do not wait."""

from __future__ import annotations

import itertools
import shlex
import shutil
from collections.abc import Collection
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hyperx import packing
from hyperx.config import (
    AdaptConfig,
    CalibrateConfig,
    CheckConfig,
    CompareConfig,
    CompressConfig,
    EvaluateConfig,
    ExportConfig,
    ImportConfig,
    LanguagesConfig,
    ModelsConfig,
    PredictConfig,
    ProbeConfig,
    PushConfig,
    ReportConfig,
    SuggestConfig,
    TrainConfig,
)
from hyperx.data.read.detection import AUTO
from hyperx.errors import ConfigError, DataError, HyperXError, counted, printable, problem_list
from hyperx.files import not_new
from hyperx.languages import Language, canonical, is_language, known_languages
from hyperx.options import value_problems
from hyperx.pairs import TaskLanguagePair, parse_pairs
from hyperx.processes import is_main
from hyperx.tables import print_table, print_text

if TYPE_CHECKING:
    from hyperx.data.read.sentence import Sentence
    from hyperx.model import HyperX

PLOTS = (".png", ".svg")
"""Endings of the files that --plot draws."""


def train(config: TrainConfig) -> None:
    """Train and say what to do next."""
    from hyperx import checkpoint
    from hyperx.plan.options import plan_run

    plan = plan_run(config)
    from hyperx.training.loop import train

    output_dir = train(config, plan)
    if not is_main():  # another machine may not see the folder
        return
    print(f"Trained. Evaluate it on all pairs with: hyperx evaluate --eval_ckpt {output_dir}")
    settings = checkpoint.read_config(checkpoint.resolve(output_dir))
    if untrained := [task for task in settings.kinds if task not in settings.trained_tasks]:
        print(f"Not trained, as no training pair has the task: {', '.join(untrained)}")


def adapt(config: AdaptConfig) -> None:
    """Learn a language beside a checkpoint, and print what it changed."""
    from hyperx.plan.adaptation import plan_adaptation

    adaptation = plan_adaptation(config)
    from hyperx.training.adapting import adapt

    learnt = adapt(adaptation)
    rows = []
    for pair, values in learnt.scores.items():
        cells = ["-" if value is None else f"{100 * value:.1f}" for value in values]
        rows.append([pair, f"{learnt.add_on.pairs[pair]:,}", *cells])
    if rows:
        print_table(f"Scores on {learnt.measured_on}", ["pair", "learnt from", "before", "after"], rows)
    elif config.folds != 0:
        print_text("note: what it gains was not measured; labelled sentences in --dev would tell")
    if learnt.strength < 1:
        told = f"{learnt.strength:.0%} of what was learnt is kept" if learnt.strength else "nothing of it is kept"
        print_text(f"{told}, as all of it is worse on held-out sentences. More sentences teach more")
    worse = [pair for pair, (before, after) in learnt.scores.items() if (before or 0) > (after or 0)]
    if worse:
        print_text(f"note: {', '.join(worse)} is worse after it: give it more sentences, or leave it out of --pairs")
    size = f"{learnt.output.stat().st_size / 1000:.0f} kB"
    where = [] if config.folder is None else ["--checkpoint", str(config.folder)]
    words = ["hyperx", "predict", *where, "--language", learnt.add_on.language, "--add_on", str(learnt.output)]
    print(f"Learnt: {learnt.output} ({size}). Use it with: {shlex.join(words)}")


def evaluate(config: EvaluateConfig) -> None:
    """Score a checkpoint and print the table; raises a HyperXError in the end if data of some pairs cannot be read."""
    from hyperx.evaluation.scoring import evaluate_checkpoint

    scores = evaluate_checkpoint(config, together=True)
    print_table(f"Scores on the {config.split} split", *scores.table(), text_columns=2)
    if scores.tables is not None:
        others = f", with the scores of {counted(scores.others, 'other pair')} from before" if scores.others else ""
        print(f"Scores by label are in {scores.tables}{others}")
    _check_read(scores.unread)


def _check_read(unread: Collection[TaskLanguagePair]) -> None:
    """Raise a HyperXError if the data of some pairs could not be read."""
    if unread:
        raise HyperXError(f"left out, as their data cannot be read (see above): {' '.join(map(str, unread))}")


def report(config: ReportConfig) -> None:
    """Write the page of a run, and say where it is; raises a HyperXError in the end as :func:`evaluate` does."""
    from hyperx.reporting.report import report

    drawn, unread = report(config)
    size = config.output.stat().st_size / 1000
    told = "" if config.pictures is None else f" Its {drawn} pictures are in {config.pictures}, as PNG and SVG."
    print(f"Report: {config.output} ({size:.0f} kB). Open it in a browser.{told}")
    _check_read(unread)


def compare(config: CompareConfig) -> None:
    """Score runs side by side and print the table; raises a HyperXError in the end as :func:`evaluate` does."""
    from hyperx.reporting.comparing import compare

    header, rows, left_out, unread = compare(config)
    print_table(f"Scores on the {config.split} split", header, rows, text_columns=2)
    if left_out:
        print_text(f"note: not every run has a score of {', '.join(left_out)}")
    if config.output is not None:
        print(f"The table is in {config.output}")
    _check_read(unread)


def calibrate(config: CalibrateConfig) -> None:
    """Fit the temperatures of a checkpoint's confidences, and print them; raises a HyperXError in the end as
    :func:`evaluate` does."""
    from hyperx.evaluation.calibration import calibrate

    folder, fits, unread = calibrate(config)
    rows = [[task, group, f"{count:,}", *(f"{one:.3f}" for one in numbers)] for task, group, count, *numbers in fits]
    header = ["task", "group", "labels", "temperature", "NLL before", "after"]
    print_table(f"Temperatures, fitted on {config.split} data", header, rows, text_columns=2)
    if all(group == "seen" for _, group, *_ in fits):
        print_text("note: pairs without training data use the same; name data of some to fit theirs")
    print(f"Calibrated: {folder}. See how far it holds with: hyperx evaluate --eval_ckpt {folder} --calibration")
    _check_read(unread)


def check(config: CheckConfig) -> None:
    """Count the data of a run and list its problems; raises a HyperXError if there are any."""
    from hyperx.plan.options import plan_run
    from hyperx.plan.report import inspect_data

    report = inspect_data(plan_run(config, trains=False))
    print_table("Data", report.header, report.rows, text_columns=2)
    for note in report.notes:
        print_text(f"note: {note}")
    if report.problems:
        raise HyperXError(problem_list("data", report.problems))
    notes = ", but see the notes above" if report.notes else ""
    print_text(f"No problems{notes}. Start training with the same options: hyperx train")


def compress(config: CompressConfig) -> None:
    """Write a checkpoint in few bytes, and print how many its parts take before and after."""
    from hyperx import checkpoint
    from hyperx.add_on_file import checked_checkpoint

    problems, output = value_problems(config), config.output or Path()
    if problem := not_new(config.output):
        problems.append(f"--output: {problem}")
    if config.bits not in packing.BITS:
        problems.append(f"--bits: expected 8 or 32; found {config.bits}")
    if config.encoder_bits not in (None, *packing.ENCODER_BITS):
        problems.append(f"--encoder_bits: expected 2, 8 or 32; found {config.encoder_bits}")
    if config.bits == 32 and config.rank is None and config.encoder_bits in (None, 32) and not config.add_on:
        problems.append("--bits: with 32 alone nothing becomes smaller; use 8, or name --rank or --encoder_bits")
    if config.folder is None:
        raise ConfigError(["name a checkpoint or the output folder of a run", *problems])
    folder, settings, add_ons = checked_checkpoint(config.folder, config, problems, config.add_on)
    if config.rank is not None and settings.incompressible:
        problems.append(f"--rank: {settings.incompressible}; leave it out")
    sizes = checkpoint.read_sizes(folder)
    layers = any(dimensions > 1 for name, (_, dimensions, _) in sizes.items() if name.startswith("encoder."))
    if config.encoder_bits is not None and not layers:
        problems.append("--encoder_bits: the encoder's layers were not trained; leave it out")
    if problems:
        raise ConfigError(problems)
    from safetensors.torch import load_file

    from hyperx.model import HyperX

    model = HyperX.from_pretrained(folder, encoder=config.model_name_or_path, add_ons=add_ons)
    if config.rank is not None:
        model.compress(config.rank)

    def fill(staged: Path) -> None:
        own = load_file(folder / checkpoint.WEIGHTS)
        model.save_files(staged, bits=config.bits, encoder_bits=config.encoder_bits, stored=own)
        for name in (checkpoint.DATA, checkpoint.OPTIONS, checkpoint.RUN):  # what its card tells
            if (folder / name).is_file():
                shutil.copyfile(folder / name, staged / name)

    checkpoint.write_folder(output, fill)
    before, after = checkpoint.part_sizes(folder), checkpoint.part_sizes(output)
    for place, count in ((folder, before), (output, after)):
        count["all"] = (place / checkpoint.WEIGHTS).stat().st_size
    rows = [
        [part, f"{before[part]:,}", f"{size:,}", f"{size / before[part]:.1%}" if before[part] else ""]
        for part, size in after.items()
    ]
    print_table(f"Bytes of {output / checkpoint.WEIGHTS}", ["part", "before", "after", "of before"], rows)
    done = "Compressed" if after["all"] < before["all"] else "Written, and not smaller than before"
    print(f"{done}. Evaluate it with: hyperx evaluate --eval_ckpt {output}")


def export(config: ExportConfig) -> None:
    """Write pairs without the hypernetwork, and say how they are used."""
    from hyperx.exporting import facts

    config = facts.checked_export(config)
    from hyperx.exporting.writing import export_pairs

    output, pairs = export_pairs(config), [TaskLanguagePair.parse(name) for name in config.pairs]
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    tasks = [pair.task for pair in pairs if pair.key[1] == pairs[0].key[1]]
    words = ["hyperx", "predict", "--checkpoint", str(output), "--tasks", *tasks, "--language", pairs[0].language]
    use = {
        "onnx": f"Use it with: {shlex.join(words)}",
        "torch": f"Load it with torch.export.load({str(output / facts.PROGRAM)!r})",
        "adapters": "Load encoder/ with AutoAdapterModel of the library adapters, other folders with its load_adapter",
    }[config.format]
    print(f"Exported, {size / 1e6:.1f} MB. {use}")


def probe(config: ProbeConfig) -> None:
    """Print the trained languages by how well a text is labelled as if it was of theirs, for each task."""
    from hyperx.cli.predict import checked

    shared = {one.name: getattr(config, one.name) for one in fields(config) if one.name != "samples"}
    given = checked(PredictConfig(**shared))
    if given.language in (None, AUTO):
        raise ConfigError(["--language: name the language of the text, such as gsw"])
    from hyperx.prediction.probing import probe

    model, tasks, sentences = _read(given, config.samples)
    for task in tasks:
        suited = probe(model, sentences, task=task, language=given.language, disable_progress_bar=config.silent)
        rows = [[one.language, f"{one.agreement:.1%}", f"{one.confidence:.1%}"] for one in suited]
        print_table(f"{task} of {len(sentences)}", ["tagged as", "agreement", "confidence"], rows)
    print_text(f"Where {given.language} is not the first, tag it as that one: hyperx predict --like LANGUAGE ...")


def _read(
    config: PredictConfig, most: int, without: Collection[object] = ()
) -> tuple[HyperX, tuple[str, ...], list[Sentence]]:
    """The model, its tasks, and the first sentences of the input without those that have such words, or such a text;
    raises a DataError if there is none."""
    from hyperx.cli.predict import opened
    from hyperx.data.read.base import Request
    from hyperx.data.read.formats import input_format, read_input
    from hyperx.model import load
    from hyperx.prediction.request import predicted_tasks

    model, origin = load(config.checkpoint, config, config.add_on), str(config.input or "<stdin>")
    tasks = predicted_tasks(model.config, config.tasks)
    request = Request(origin, reads={model.tasks[task].reads for task in tasks}, language=str(config.language))
    with opened(config.input) as stream:
        read = read_input(stream, input_format(config.input, config.input_format), request)
        new = (one for one in read if (one.words or one.raw_text) not in without)
        sentences = list(itertools.islice(new, most))
    if not sentences:
        raise DataError("expected text, found no sentence", path=origin)
    return model, tasks, sentences


def suggest(config: SuggestConfig) -> None:
    """Write sentences that the model is unsure of, labelled, and say how to go on."""
    from hyperx import checkpoint
    from hyperx.cli.predict import checked, open_output
    from hyperx.data.read.formats import SUGGESTED, endings, read_file
    from hyperx.tasks.registry import KINDS, kinds_of

    problems, output = list[str](), config.output or Path()
    pairs, ending = parse_pairs(config.pairs, "--pairs", problems, KINDS), output.suffix.lower()
    if len({pair.key[1] for pair in pairs}) != 1:
        problems.append("--pairs: name a pair, such as ner#sw, or several of one language")
    if ending not in SUGGESTED or (len(pairs) > 1 and ending != ".conllu"):
        problems.append(f"--output: name a file that ends in {' or '.join(SUGGESTED)}; for several pairs .conllu")
    elif output.exists():
        problems.append(f"--output: {output} exists already; name a new file")
    if problems:
        raise ConfigError(problems)
    shared = {
        name: getattr(config, name) for name in ("input", "input_format", "add_on", "model_name_or_path", "no_cuda")
    }
    given = checked(
        PredictConfig(
            checkpoint=config.folder, tasks=tuple(pair.task for pair in pairs), language=pairs[0].language, **shared
        )
    )
    kinds = kinds_of(checkpoint.read_config(checkpoint.resolve(given.checkpoint)).kinds)
    if unfit := [task for task in given.tasks if ending not in endings(kinds[task].column)]:
        fit = [one for one in SUGGESTED if one in endings(kinds[unfit[0]].column)]
        raise ConfigError([f"--output: {output} cannot hold {unfit[0]}; name a file that ends in {' or '.join(fit)}"])
    files = [read_file(path, kinds[given.tasks[0]].column, language=pairs[0].language) for path in config.labelled]
    known = {one.words or one.raw_text for one in itertools.chain(*files)}
    from hyperx.prediction.suggesting import suggest

    model, tasks, sentences = _read(given, config.pool, known)
    chosen = suggest(
        model,
        sentences,
        tasks=tasks,
        language=pairs[0].language,
        samples=config.samples,
        disable_progress_bar=config.silent,
    )
    with open_output(output) as target:
        target.write(SUGGESTED[ending](chosen, tasks[0]))
    where = [] if config.folder is None else [str(config.folder)]
    words = ["hyperx", "adapt", *where, "--pairs", *map(str, pairs), "--train", "EXPORT", "--output", "NEW.addon"]
    print_text(f"Chosen: {len(chosen)} of {len(sentences):,} sentences, in {output}. Correct them, and learn:")
    print(shlex.join(words))


def languages(config: LanguagesConfig) -> None:
    """Print the table of languages; raises a HyperXError if none is called by the words."""
    words = config.words
    if config.plot is not None and config.plot.suffix not in PLOTS:
        raise ConfigError([f"--plot: expected a file {' or '.join(PLOTS)}; found {config.plot}"])
    if config.checkpoint is not None:
        _print_languages_of(config, config.checkpoint)
        return
    if config.plot is not None or config.task is not None:
        raise ConfigError(["--plot, --task: they are of the languages of a --checkpoint; name one"])
    every = known_languages().values()
    rows = []
    for language in every:
        if not words or any(_is_called(language, word) for word in words):
            names = [treebank.name + ("" if "train" in treebank.splits else "*") for treebank in language.treebanks]
            first, others = "".join(names[:1]), ", ".join(names[1:])
            rows.append([language.code, language.name, first, others, language.wikiann or ""])
    if not rows:
        all_of = "`hyperx languages` lists all, and those of a model with --checkpoint"
        raise HyperXError(f"no language or treebank is called {' or '.join(words)}; {all_of}")
    header = ["code", "language", "default treebank", "other treebanks", "WikiANN"]
    print_table("Languages", header, rows, text_columns=len(header))
    print_text(
        f"{len(rows)} of {len(every)} languages. * has no train split. Choose with: --treebanks LANGUAGE=TREEBANK"
    )


def _print_languages_of(config: LanguagesConfig, folder: Path) -> None:
    """Print a table of the languages of a checkpoint, those with training data first, and draw their map; raises a
    HyperXError if none is called by the words."""
    from hyperx import checkpoint
    from hyperx.data.locate.spec import DataRecord

    path, words, plot = checkpoint.resolve(folder), config.words, config.plot
    from hyperx.evaluation import kinship
    from hyperx.model import HyperX

    model = HyperX.from_pretrained(path, encoder=config.model_name_or_path)
    settings, known, counts = model.config, known_languages(), dict[tuple[str, str], str]()
    shown = config.task or next(iter(settings.kinds))
    compared, similarity = kinship.similar_adapters(model, shown)
    near = {
        canonical(code): [(row, other) for other in similarity[row].argsort(descending=True)[1:4].tolist()]
        for row, code in enumerate(compared)
    }
    record = checkpoint.read_json(path / checkpoint.DATA, DataRecord) if (path / checkpoint.DATA).is_file() else None
    for name in settings.trained_pairs:
        told = record.sentences.get(name) if record else None
        counts[TaskLanguagePair.parse(name).key] = "yes" if told is None else f"{told:,}"
    for add_on in settings.add_ons:
        counts |= {TaskLanguagePair.parse(name).key: f"{count:,} (add-on)" for name, count in add_on.pairs.items()}
    own = {canonical(code): code for code in [*settings.languages, *(one.language for one in settings.add_ons)]}
    called = {code for code in known for word in words if _is_called(known[code], word)}
    wanted = [code for code in own if code in called or not words]
    wanted += [code for word in words if (code := canonical(word)) not in wanted and (code in own or is_language(word))]
    if not wanted:
        raise HyperXError(f"no language of {folder} is called {' or '.join(words)}; without names all are listed")
    header, rows = ["code", "language", "trained on", f"nearest in {shown}", "reads, where it was not"], []
    for code in sorted(wanted, key=lambda code: not any(language == code for _, language in counts)):
        trained = [f"{task} {counts[task, code]}" for task in settings.kinds if (task, code) in counts]
        reads = model.shares(code, [task for task in settings.kinds if (task, code) not in counts])
        nearest = ", ".join(f"{compared[other]} {similarity[place, other]:.2f}" for place, other in near.get(code, ()))
        name = known[code].name if code in known else ""
        rows.append([own.get(code, code), name, ", ".join(trained), nearest, reads])
    print_table(f"Languages of {folder}", header, rows, text_columns=len(header))
    if plot is not None:
        if not compared:
            raise HyperXError(f"--plot: {shown} has no two trained languages whose adapters are generated")
        kinship.draw_map(compared, similarity, shown, plot)
        print_text(f"The map of the {len(compared)} languages that {shown} was trained in: {plot}")


def _is_called(language: Language, word: str) -> bool:
    """Whether a word is the language's code or, if it is no language's code, part of its name or of a treebank's."""
    if canonical(word) in known_languages():
        return canonical(word) == language.code
    names = [language.name, *(name for one in language.treebanks for name in (one.name, one.folder))]
    return any(word.lower() in name.lower() for name in names)


def models(config: ModelsConfig) -> None:
    """Print the table of ready-made models, or cards; raises a HyperXError if there is no such model."""
    from hyperx import checkpoint

    for name in config.names:
        from hyperx.card import card

        print(printable(card(checkpoint.resolve(Path(name)), name)))
    rows = []
    for name, folder in checkpoint.ready_made().items() if not config.names else ():
        size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
        rows.append([name, checkpoint.read_config(folder).trained_on, f"{size:.1f} MB", str(folder)])
    if rows:
        header = ["name", "trained on", "size", "folder"]
        print_table("Ready-made models, the default one last", header, rows, text_columns=len(header))
    elif not config.names:
        print_text("No model comes with this package. Train one: hyperx train --help")


def push(config: PushConfig) -> None:
    """Write a checkpoint into a repository of the hub, and say how others use it."""
    if config.folder is None or config.repo is None:
        raise ConfigError(["name a checkpoint, or the output folder of a run, and a repository, OWNER/NAME"])
    from hyperx import checkpoint, sharing

    address = sharing.push(replace(config, folder=checkpoint.resolve(config.folder)))
    name = config.repo if config.revision is None else f"{config.repo}@{config.revision}"
    print(f"Pushed: {address}\nUse it with: hyperx predict --checkpoint {name} --language LANGUAGE")


def import_published(config: ImportConfig) -> None:
    """Import and say what to do next."""
    from hyperx.published.arguments import checked_options

    checked_options(config)
    from hyperx.published.importing import import_published

    output = import_published(config)
    print(f"Imported. Evaluate it with: hyperx evaluate --eval_ckpt {output}")
