"""``hyperx evaluate``."""

from __future__ import annotations

from collections.abc import Sequence

from hyperx.cli.options import parse, start_logging
from hyperx.config import EvaluateConfig
from hyperx.tables import print_table


def main(arguments: Sequence[str]) -> None:
    """Score a checkpoint and print the table."""
    config = parse(EvaluateConfig, arguments, "evaluate")
    start_logging()
    from hyperx.evaluation.scoring import evaluate_checkpoint

    found = evaluate_checkpoint(config)
    print_table(f"Scores on the {config.split} split", *found.table(), text_columns=2)
    if found.tables is not None:
        others = f", with the scores of {found.others} other pairs from before" if found.others else ""
        print(f"Scores by label are in {found.tables}{others}")
