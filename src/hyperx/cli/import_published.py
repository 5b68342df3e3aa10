"""``hyperx import-published``."""

from __future__ import annotations

from collections.abc import Sequence

from hyperx.cli.options import parse, start_logging
from hyperx.config import ImportConfig


def main(arguments: Sequence[str]) -> None:
    """Import and say what to do next."""
    config = parse(ImportConfig, arguments, "import-published")
    start_logging()
    from hyperx.published.arguments import checked_options

    checked_options(config)
    from hyperx.published.importing import import_published  # imports PyTorch, for which these messages do not wait

    output = import_published(config)
    print(f"Imported. Evaluate it with: hyperx evaluate --eval_ckpt {output}")
