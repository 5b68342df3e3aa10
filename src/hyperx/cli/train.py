"""``hyperx train``."""

from __future__ import annotations

from collections.abc import Sequence

from hyperx.cli.options import parse, start_logging
from hyperx.config import TrainConfig


def main(arguments: Sequence[str]) -> None:
    """Train and say what to do next."""
    config = parse(TrainConfig, arguments, "train")
    start_logging()
    from hyperx import checkpoint
    from hyperx.plan.options import plan_run

    plan = plan_run(config)
    from hyperx.training.loop import train  # imports PyTorch, for which messages about the options do not wait

    output_dir = train(config, plan)
    print(f"Trained. Evaluate it on all pairs with: hyperx evaluate --eval_ckpt {output_dir}")
    settings = checkpoint.read_config(checkpoint.resolve(output_dir))
    if untrained := [task for task in settings.kinds if task not in settings.trained_tasks]:
        print(f"Not trained, as no training pair has the task: {', '.join(untrained)}")
