"""``hyperx predict --engine ray``: a corpus in pieces, which the workers of Ray label, each into a part of its own."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from glob import escape, iglob
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from hyperx.cli.predict import Labeller, checked, open_output, partial_of, tell_result
from hyperx.config import PredictConfig
from hyperx.data.read.formats import input_format, surely_raw
from hyperx.data.read.lines import FirstFaults
from hyperx.data.read.sentence import Prediction, Sentence
from hyperx.errors import DataError, HyperXError, counted
from hyperx.files import not_new

log = logging.getLogger(__name__)

PARQUET, JSONL = ".parquet", ".jsonl"
STORE = 200 << 20
"""Bytes of memory for Ray's objects on this machine: no text is among them."""
Row = dict[str, Any]


def predict_corpus(config: PredictConfig) -> None:
    """Label a corpus. A worker that dies loses nothing: another one takes its piece again."""
    problems, files, output = list[str](), corpus_files(config.input), config.output or Path()
    if importlib.util.find_spec("ray") is None:
        problems.append('--engine: ray needs the package ray: pip install "hyperx-nlp[ray]"')
    if not files:
        problems.append(f"--input: expected a file, a folder or a pattern such as 'in/*.txt'; found {config.input}")
    kinds = {PARQUET if file.suffix == PARQUET else input_format(file, config.input_format) for file in files}
    if len(kinds) > 1:
        problems.append(f"--input: expected files of one format, found {', '.join(sorted(kinds))}; name a pattern")
    if not kinds <= {PARQUET, "jsonl", "raw", "tokens"}:
        problems.append("--input_format: ray reads Parquet, and what has a sentence on a line: raw, tokens or jsonl")
    if output.suffix not in (PARQUET, JSONL) or config.output_format is not None:
        problems.append("--output: ray writes what the name ends in, .jsonl or .parquet, such as 'out/*.parquet'")
    elif "*" in output.name and (problem := not_new(output.parent)):
        problems.append(f"--output: {problem}")
    elif any(output.exists() and output.samefile(file) for file in files):
        problems.append(f"--output: {output} is a file of the input")
    given = "jsonl" if kinds == {PARQUET} else config.input_format
    one = replace(config, input=next(iter(files), None), input_format=given, output=None, output_format="jsonl")
    one = checked(one, problems)
    if config.checkpoint is None:  # on every machine that of its own package
        one = replace(one, checkpoint=None)
    pieces, objects = list[Row](), kinds == {"jsonl"}
    try:
        for path in files:
            first = 1
            for place in places_of(path, config.part_size, guessed=kinds == {"raw"} and given is None):
                pieces.append({"number": len(pieces), "path": str(path), "first": first, **place})
                first += place["rows"]
        if not pieces:
            raise DataError("expected text, found no line and no row", path=config.input)
        columns = pa.schema([*pa.array([{}, *(row for _, row in rows_of(pieces[0], objects, config.part_size))]).type])
        if kinds == {PARQUET}:
            columns = pa.unify_schemas([pq.read_schema(file) for file in files])
    except (pa.ArrowException, UnicodeError) as error:
        what = "expected Parquet, or the same columns everywhere; found"
        raise DataError(f"{what}: {error}", path=config.input) from error
    rows, faults, count = sum(piece["rows"] for piece in pieces), FirstFaults(most=5), 0
    log.info("starting Ray for %s in %s", counted(rows, "row"), counted(len(pieces), "part"))
    with (
        joined(output) as (parts, add),
        closing(answers(pieces, one, Path.cwd(), parts, columns, objects)) as told,
        tqdm(total=rows, desc="tagging", unit=" rows", disable=config.silent) as bar,
    ):
        for piece, answer in zip(pieces, told, strict=True):
            if answer["error"]:
                raise HyperXError(answer["error"])
            add(part_of(parts, piece))
            faults.count, count = faults.count + answer["faults"], count + answer["count"]
            faults.first += map(DataError, answer["first"][: faults.most - len(faults.first)])
            bar.update(piece["rows"])
    tell_result(config, faults, count)


def corpus_files(place: Path | None) -> list[Path]:
    """The files of a corpus by name: a file, those in a folder, or those of a pattern; no hidden ones."""
    if place is None or place.is_file():
        return [] if place is None else [place]
    pattern = f"{escape(str(place))}/**" if place.is_dir() else str(place)
    found = map(Path, iglob(pattern, recursive=True))  # noqa: PTH207 - Path has it for relative patterns only
    return sorted(file for file in found if file.is_file() and not file.name.startswith((".", "_")))


def places_of(path: Path, size: int, guessed: bool) -> Iterator[Row]:
    """The pieces of a file: lines from a byte on, or a batch of a row group of Parquet. A ConfigError if it is taken
    for raw text unasked and is none."""
    if path.suffix == PARQUET:
        facts = pq.read_metadata(path)
        for group in range(facts.num_row_groups):
            for start in range(0, rows := facts.row_group(group).num_rows, size):
                yield {"group": group, "start": start // size, "rows": min(size, rows - start)}
        return
    with path.open("rb") as file:
        lines, start = surely_raw(file) if guessed else file, 0
        while sizes := [*map(len, islice(lines, size))]:
            yield {"group": 0, "start": start, "rows": len(sizes)}
            start += sum(sizes)


def rows_of(piece: Row, objects: bool, size: int) -> Iterator[tuple[bytes, Row]]:
    """Each line of a piece, of Parquet as JSON, and what is kept of it: an object's columns, or where a text stands."""
    path = Path(piece["path"])
    if path.suffix == PARQUET:
        with pq.ParquetFile(path) as file:
            # Those before it are decoded as well, which takes a hundredth of the time that labels take.
            batches = islice(file.iter_batches(size, row_groups=[piece["group"]]), piece["start"], None)
            for row in next(batches).to_pylist():
                yield json.dumps(row, default=str).encode(), row
        return
    with path.open("rb") as file:
        file.seek(piece["start"])
        for number, line in enumerate(islice(file, piece["rows"]), piece["first"]):
            kept: Any = None if objects else {"id": f"{path}:{number}"}
            with suppress(ValueError, RecursionError):  # of which the reader tells
                kept = json.loads(line) if objects else kept
            yield line, kept if isinstance(kept, dict) else {}


def part_of(parts: Path, piece: Row) -> Path:
    """Where the answers to a piece are."""
    return parts.with_name(parts.name.replace("*", f"{piece['number']:05}"))


@contextmanager
def joined(output: Path) -> Iterator[tuple[Path, Callable[[Path], None]]]:
    """Where parts are written, and what is done with each in turn: if one file is asked for, it is added there."""
    with ExitStack() as stack:
        if "*" in output.name:
            output.parent.mkdir(parents=True, exist_ok=True)
            yield output, lambda _: None
            return
        target: Any = stack.enter_context(open_output(output))
        folder = stack.enter_context(TemporaryDirectory(prefix=f"{output.name}.", dir=output.parent))
        writers = list[pq.ParquetWriter]()

        def add(part: Path) -> None:
            if output.suffix == PARQUET:
                with pq.ParquetFile(part) as own:
                    if not writers:
                        writers.append(stack.enter_context(pq.ParquetWriter(target.buffer, own.schema_arrow)))
                    writers[0].write_table(own.read())
            else:
                with part.open("rb") as own:
                    shutil.copyfileobj(own, target.buffer)
            part.unlink()

        yield Path(folder, f"*{output.suffix}"), add


def answers(pieces: Sequence[Row], config: PredictConfig, *others: Any) -> Generator[Row]:
    """What workers of Ray tell of pieces, in order. A HyperXError if there is no room for them, or Ray gives up."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_LOG_LEVEL": "ERROR"}
    import ray

    context: Any = ray.data.DataContext.get_current()
    context.enable_progress_bars, context.execution_options.preserve_order = False, True
    context.execution_no_progress_timeout_s = -1  # a part takes as long as it takes
    alone = {"address": "local", "num_cpus": config.workers, "include_dashboard": False, "object_store_memory": STORE}
    ray.init(**({"address": "auto"} if "RAY_ADDRESS" in os.environ else alone), logging_level=logging.ERROR)
    try:
        room = ray.cluster_resources()  # type: ignore[no-untyped-call]
        gpus = 0 if config.no_cuda else int(room.get("GPU", 0))
        most = gpus or int(room["CPU"])
        if (config.workers or 1) > most:
            raise HyperXError(f"--workers: expected at most {most}, one for each {'GPU' if gpus else 'processor'}")
        workers = min(config.workers or most, len(pieces))
        data = ray.data.from_items(list(pieces), override_num_blocks=len(pieces))
        how: Any = {"compute": ray.data.ActorPoolStrategy(size=workers), "num_gpus": int(gpus > 0)}
        for row in data.map(cast(Any, Worker), fn_constructor_args=[config, *others], **how).iter_rows():
            yield json.loads(row["told"])
    except ray.exceptions.RayError as error:
        raise HyperXError(f"Ray gave up: {error}") from error
    finally:
        ray.shutdown()


class Worker:
    """A process of Ray's with a model, which is loaded with the first piece: what is asked of it, where relative paths
    start, where parts are written, the columns of the corpus, and whether its lines are objects of JSON."""

    def __init__(self, config: PredictConfig, folder: Path, parts: Path, columns: pa.Schema, objects: bool) -> None:
        self.config, self.parts, self.columns, self.objects = config, parts, columns, objects
        self.labeller: Labeller | None = None
        os.chdir(folder)

    def __call__(self, piece: Row) -> Row:
        """What is told of a piece, as JSON; a fault that ends the run as well, for the place in which it comes."""
        try:
            return {"told": json.dumps({"error": None, **self.answer(piece)})}
        except (HyperXError, OSError, UnicodeError, pa.ArrowException) as error:
            return {"told": json.dumps({"error": str(error)})}

    def answer(self, piece: Row) -> Row:
        """Write the part of a piece; how many sentences it has, and which cannot be read."""
        labeller = self.labeller = self.labeller or Labeller(self.config)
        faults = labeller.faults = FirstFaults(most=5)
        kept, table, part = deque[Row](), list[Row](), part_of(self.parts, piece)
        written = pa.schema([*pa.array([self.sample(labeller)]).type])

        def sentences() -> Iterator[Sentence]:
            for number, (line, row) in enumerate(rows_of(piece, self.objects, self.config.part_size), piece["first"]):
                for sentence in labeller.sentences([line], piece["path"], number):
                    kept.append({name: value for name, value in row.items() if name not in written.names})
                    yield sentence

        for number, prediction in enumerate(labeller.predictions(sentences()), 1):
            table.append(kept.popleft() | json.loads(labeller.writer.render(prediction, number)))
        with partial_of(part).open("wb") as file:
            if part.suffix == JSONL:
                lines = (json.dumps(row, ensure_ascii=False, default=str) + "\n" for row in table)
                file.writelines(line.encode(errors="replace") for line in lines)
            else:
                schema = pa.schema([*(own for own in self.columns if own.name not in written.names), *written])
                if other := set[str]().union(*table) - {*schema.names}:
                    what = "expected no other columns than the first rows have"
                    raise DataError(f"{what}, found also {min(other)!r}", path=piece["path"])
                pq.write_table(pa.Table.from_pylist(table, schema), file)
        partial_of(part).replace(part)
        return {"count": len(table), "faults": faults.count, "first": [*map(str, faults.first)]}

    def sample(self, labeller: Labeller) -> Row:
        """An answer with all that one can have, which says of what types Parquet is."""
        labels, sure, columns = dict[str, Any](), dict[str, Any](), dict[str, Any]()
        for task, names in labeller.places.items():
            columns[task], sure[task] = dict.fromkeys(names, ("",)), (0.5,) if names else 0.5
            labels[task] = ({"head": 0, "relation": ""},) if "head" in names else ("B-a",) if names else ""
        sentence = Sentence(("a",), text="a", text_pair="a", language="a", error="a", comments=("# sent_id = a",))
        sentence = replace(sentence, space_after=(True,), offsets=((0, 1),))
        prediction = Prediction(sentence, labels, columns, sure if self.config.confidence else None)
        return dict(json.loads(labeller.writer.render(prediction, 1)))
