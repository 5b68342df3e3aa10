"""``hyperx check``."""

from __future__ import annotations

from collections.abc import Sequence

from hyperx.cli.options import parse, start_logging
from hyperx.config import CheckConfig
from hyperx.errors import HyperXError, problem_list
from hyperx.tables import print_table, print_text


def main(arguments: Sequence[str]) -> None:
    """Count the data of a run and list its problems; raises a HyperXError if there are any."""
    config = parse(CheckConfig, arguments, "check")
    start_logging()
    from hyperx.plan.options import plan_run
    from hyperx.plan.report import inspect_data

    found = inspect_data(plan_run(config, trains=False))
    print_table("Data", found.header, found.rows, text_columns=2)
    for note in found.notes:
        print_text(f"note: {note}")
    if found.problems:
        raise HyperXError(problem_list("data", found.problems))
    notes = ", but see the notes above" if found.notes else ""
    print_text(f"No problems{notes}. Start training with the same options: hyperx train")
