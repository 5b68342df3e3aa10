"""The command line: ``python -m benchmarks.transfer search | run | render``. See docs/transfer-suite.md."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
import yaml

from hyperx.cli.options import start_logging
from hyperx.config import TrainConfig
from hyperx.errors import ConfigError, DataError, HyperXError, did_you_mean
from hyperx.options import OptionLoader, option_types

from .experiment import Experiment
from .methods import METHODS, method
from .results import Results, Stage, found_rates
from .runs import OWN_OPTIONS, Run, options_text, perform
from .tables import INTRODUCTION, all_tables, comparisons, rates_table, update_page, write_data

OUTPUT = Path("runs/transfer")


@dataclass(frozen=True, kw_only=True)
class CommonOptions:
    """The options that search and run share."""

    experiment: str
    """mixed-6, african-16, or the path of a configuration of hyperx train with a table of data."""
    data_folder: Path | None = None
    """Folder of the data; by default the experiment's."""
    methods: tuple[str, ...] = tuple(METHODS)
    """Methods to train."""
    steps: int = 300
    """Training steps."""
    text_steps: int = 100
    """Additional steps on raw text for each language, in methods that use raw text."""
    options: tuple[str, ...] = ()
    """Options of hyperx train to change in every method, such as: adapter_dim=256 warmup_steps=30."""
    output_dir: Path = OUTPUT
    """Folder for results and checkpoints."""
    save_steps: int = 100
    """Steps between checkpoints, from which an interrupted run continues."""
    keep_checkpoints: bool = False
    """Keep the last checkpoint of every run."""


@dataclass(frozen=True, kw_only=True)
class SearchOptions(CommonOptions):
    """Try some learning rates for each method and score the seen pairs on dev data."""

    rates: tuple[float, ...] = ()
    """Rates to try; by default the four of each method."""
    seeds: tuple[int, ...] = (1,)
    """Seeds to train with."""
    max_eval_samples: int | None = 500
    """Number of sentences of each cell, starting from the first; None for all."""


@dataclass(frozen=True, kw_only=True)
class RunOptions(CommonOptions):
    """Train methods and score all cells of an experiment on test data, or those with dev data on it."""

    seeds: tuple[int, ...] = (1, 2, 3)
    """Seeds to train with."""
    rate: float | None = None
    """Learning rate for all methods; by default the best one that a search has found, else the method's own."""
    rates_from: int | None = None
    """Use the rates of a search with this number of steps; by default the same number as here."""
    split: Literal["test", "dev"] = "test"
    """Split to score: dev for choices, test for reports."""
    max_eval_samples: int | None = 1_000
    """Number of sentences of each cell, starting from the first; None for all."""
    curve_steps: int | None = None
    """Number of steps after which cells with dev data are scored, for learning curves; not for methods that train more
    than one model on labels."""
    curve_samples: int | None = 500
    """Number of sentences of each cell for learning curves; None for all."""


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """Write tables and plots of all results."""

    output_dir: Path = OUTPUT
    """Folder of the results; tables.md and plots are written there too."""
    baseline: str = "hyper-x"
    """The method that the others are compared with."""
    page: Path | None = None
    """A Markdown page to insert tables into: each between the comments <!-- HEADING -->, as in tables.md, and
    <!-- end -->."""
    formats: tuple[Literal["png", "svg", "pdf"], ...] = ("png", "svg")
    """Formats of the plots."""


COMMANDS: dict[str, type[Any]] = {"search": SearchOptions, "run": RunOptions, "render": RenderOptions}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0 for success, 1 for a problem that was printed, 2 for a misused command
    line, 130 if interrupted."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] not in COMMANDS:
        print(f"usage: python -m benchmarks.transfer {{{','.join(COMMANDS)}}} [OPTIONS]", file=sys.stderr)
        return 2
    name = f"benchmarks.transfer {words[0]}"
    options = tyro.cli(COMMANDS[words[0]], args=words[1:], prog=f"python -m {name}", use_underscores=True)
    try:
        if isinstance(options, RenderOptions):
            return render(options)
        return train_all(options)
    except HyperXError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{name}: interrupted; the same command goes on", file=sys.stderr)
        return 130


def train_all(options: SearchOptions | RunOptions) -> int:
    """Perform all runs that do not have their rows yet, one after the other."""
    experiment = Experiment.read(options.experiment, options.data_folder)
    results = Results(options.output_dir.resolve())
    start_logging()
    runs = list(_planned(options, experiment, results))
    rows = results.rows()
    due = [run for run in runs if not run.is_done(experiment, rows)]
    print(f"{experiment.name}: {len(runs)} runs, {len(runs) - len(due)} of them have their rows already", flush=True)
    failed, begin = [], time.monotonic()
    for number, run in enumerate(due):
        minutes = (time.monotonic() - begin) / max(number, 1) * (len(due) - number) / 60
        left = f", about {minutes:.0f} min left" if number else ""
        what = f"{run.method}, rate {run.rate:g}, seed {run.seed}, {run.steps} steps"
        print(f"[{number + 1} of {len(due)}{left}] {what}", flush=True)
        try:
            perform(run, experiment, results)
        except HyperXError as error:
            print(f"{experiment.name} {run.method} seed {run.seed} rate {run.rate:g}: {error}", file=sys.stderr)
            failed.append(what)
    if isinstance(options, SearchOptions):
        print(rates_table(results))
    if failed:
        raise HyperXError(f"{len(failed)} of {len(due)} runs failed, see above: {'; '.join(failed)}")
    return 0


def _planned(options: SearchOptions | RunOptions, experiment: Experiment, results: Results) -> Iterator[Run]:
    """The runs that the options ask for, seed by seed, so that after the first one all methods can be compared."""
    changes, frame = read_changes(options.options), results.frame()
    stage: Stage = "search" if isinstance(options, SearchOptions) else "final" if options.split == "test" else "dev"
    for seed, name in itertools.product(options.seeds, options.methods):
        how, curve = method(name), dict[str, Any]()
        if isinstance(options, SearchOptions):
            rates = options.rates or how.rates
        else:
            text, steps = options_text(name, changes, options.text_steps), options.rates_from or options.steps
            found = found_rates(frame, experiment=experiment.name, method=name, options=text, steps=steps)
            rates = (options.rate or (max(found, key=lambda rate: found[rate]) if found else how.rate),)
            why = "as asked for" if options.rate else "the best on dev data" if found else "its default, no search"
            if seed == options.seeds[0]:
                print(f"{name}: rate {rates[0]:g}, {why}", flush=True)
            if not how.several:
                curve = {"curve_steps": options.curve_steps, "curve_limit": options.curve_samples}
        for rate in rates:
            yield Run(
                method=name, seed=seed, steps=options.steps, rate=rate, stage=stage, limit=options.max_eval_samples,
                changes=changes, text_steps=options.text_steps, save_steps=options.save_steps,
                keep=options.keep_checkpoints, **curve,
            )  # fmt: skip


def read_changes(entries: Sequence[str]) -> dict[str, Any]:
    """Options of ``hyperx train`` given as ``name=value``; raises a ConfigError that names those that are not."""
    known, changes, problems = option_types(TrainConfig), {}, []
    for entry in entries:
        name, separator, value = entry.partition("=")
        if not separator or name not in known:
            problems.append(f"--options: expected NAME=VALUE; found {entry!r}.{did_you_mean(name, known)}")
        elif name in OWN_OPTIONS:
            problems.append(f"--options: {name} follows from the experiment and the suite's options; leave it out")
        elif name in changes:
            problems.append(f"--options: {name} is given twice; keep one of them")
        try:
            changes[name] = yaml.load(value, Loader=OptionLoader)  # a SafeLoader
        except yaml.YAMLError as error:
            problems.append(f"--options: {name}: {value!r} is not YAML: {' '.join(str(error).split())}")
    if problems:
        raise ConfigError(problems)
    return changes


def render(options: RenderOptions) -> int:
    """Write all tables and plots."""
    from .plots import curves, heat_map  # matplotlib is slow to import, and training does not need it

    results = Results(options.output_dir)
    if not results.rows():
        raise DataError("there are no results; `run` writes some", path=results.path)
    compared = comparisons(results)
    sections = all_tables(results, compared, options.baseline)
    versions = ", ".join(sorted(results.frame()["version"].unique()))
    parts = [INTRODUCTION, *(f"## {title}\n\n{text}" for title, text in sections.items()), f"Versions: {versions}\n"]
    written = [results.folder / "tables.md"]
    written[0].write_text("\n".join(parts), encoding="utf-8")
    write_data(compared, results.folder / "data")
    if options.page is not None:
        update_page(options.page, sections)
        write_data(compared, options.page.parent / "data")
    for comparison in compared:
        figure = curves(comparison) if comparison.stage == "curve" else heat_map(comparison)
        for ending in options.formats:
            written.append(results.folder / f"{comparison.file}.{ending}")
            figure.savefig(written[-1], dpi=200)
    print(*written, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
