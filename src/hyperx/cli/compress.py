"""``hyperx compress``."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hyperx import checkpoint
from hyperx.cli.options import parse, start_logging
from hyperx.config import CompressConfig
from hyperx.errors import CheckpointError, ConfigError
from hyperx.files import missing_encoder
from hyperx.options import value_problems
from hyperx.tables import print_table


def compress(arguments: Sequence[str]) -> None:
    """Write a checkpoint in few bytes, and print how many its parts take before and after."""
    config = parse(CompressConfig, arguments, "compress")
    start_logging()
    folder, output = checked_options(config)
    from hyperx.model import HyperX

    model = HyperX.from_pretrained(folder, encoder=config.model_name_or_path)
    if config.rank is not None:
        model.compress(config.rank)

    def fill(staged: Path) -> None:
        model.save_files(staged, bits=config.bits, encoder_rank=config.encoder_rank)
        if (folder / checkpoint.DATA).is_file():
            shutil.copyfile(folder / checkpoint.DATA, staged / checkpoint.DATA)

    checkpoint.write_folder(output, fill)
    before, after = Counter[str](), Counter[str]()
    for place, count in ((folder, before), (output, after)):
        for name, (size, _) in checkpoint.read_sizes(place).items():
            count[name.partition(".")[0].replace("_", " ")] += size
        count["all"] = (place / checkpoint.WEIGHTS).stat().st_size
    rows = [[part, f"{size:,}", f"{after[part]:,}", f"{after[part] / size:.1%}"] for part, size in before.items()]
    print_table(f"Bytes of {output / checkpoint.WEIGHTS}", ["part", "before", "after", "of before"], rows)
    print(f"Compressed. Evaluate it with: hyperx evaluate --eval_ckpt {output}")


def checked_options(config: CompressConfig) -> tuple[Path, Path]:
    """The checkpoint and the folder to write; raises a ConfigError with all that is wrong with the options, before
    weights or PyTorch are loaded."""
    problems, folder, output = value_problems(config), config.folder or Path(), config.output or Path()
    if config.output is None:
        problems.append("--output: name a new folder for the small checkpoint")
    elif output.exists() and (not output.is_dir() or any(output.iterdir())):
        problems.append(f"--output: {output} exists already; name a new folder")
    if config.bits not in (8, 32):
        problems.append(f"--bits: expected 8 or 32; found {config.bits}")
    if (config.bits, config.rank, config.encoder_rank) == (32, None, None):
        problems.append("--bits: with 32 alone nothing becomes smaller; use 8, or name --rank or --encoder_rank")
    if config.folder is None:
        raise ConfigError(["name a checkpoint or the output folder of a run", *problems])
    try:
        folder = checkpoint.resolve(folder)
        settings, sizes = checkpoint.read_config(folder), checkpoint.read_sizes(folder)
    except CheckpointError as error:
        raise ConfigError([str(error), *problems]) from None
    if missing := missing_encoder(config.model_name_or_path or settings.encoder):
        problems.append(f"--model_name_or_path: {missing}")
    if config.rank is not None and settings.incompressible:
        problems.append(f"--rank: {settings.incompressible}; leave it out")
    layers = any(dimensions > 1 for name, (_, dimensions) in sizes.items() if name.startswith("encoder."))
    if config.encoder_rank is not None and not layers:
        problems.append("--encoder_rank: the encoder's layers were not trained; leave it out")
    if problems:
        raise ConfigError(problems)
    return folder, output
