"""What of a checkpoint leaves this machine, without its paths; and a model on the Hugging Face hub."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path
from typing import Any, get_args

from hyperx import checkpoint
from hyperx.add_on_file import checked_add_ons, read_header
from hyperx.card import model_card
from hyperx.config import PushConfig, TrainConfig
from hyperx.data.locate.spec import DataRecord
from hyperx.errors import CheckpointError
from hyperx.files import checked, placeless, write_json, write_text
from hyperx.hub import ADD_ON, upload
from hyperx.options import option_types

log = logging.getLogger(__name__)

SCORES = ("group", "sentences", "style", "measures", "repeats")
"""What is shared of the results of a pair."""
_PLACES = {"_name_or_path", "name_or_path", "tokenizer_file"}
"""Where the libraries note the paths of an encoder that is stored in a checkpoint."""


def push(config: PushConfig, *, token: str | bool | None = None) -> str:
    """Write a checkpoint, add-ons and a model card into a repository of the hub, as one commit.

    Args:
        config: what to write, and where; ``folder`` is the checkpoint itself.
        token: for the hub, if it is another one than that of the environment or of ``hf auth login``.

    Returns:
        The address of the commit.

    Raises:
        CheckpointError: if a file is missing, damaged, or an add-on of another model.
        HyperXError: if the repository cannot be written, with the reason.
    """
    folder, repo, encoder = config.folder or Path(), config.repo or "", config.model_name_or_path
    settings, problems = checkpoint.read_config(folder), list[str]()
    add_ons = checked_add_ons(config.add_on, settings, folder, problems)
    names = [path for path in add_ons if path.suffix != ADD_ON]
    problems += [f"--add_on: {path}: expected an add-on whose name ends in {ADD_ON}; rename it" for path in names]
    if problems:
        raise CheckpointError("\n".join(problems))
    with tempfile.TemporaryDirectory() as name:
        staged = Path(name)
        fill(folder, staged, encoder=encoder)
        told = checkpoint.read_json(staged / checkpoint.CONFIG, dict[str, Any])["encoder"]
        if told not in (settings.encoder, encoder, checkpoint.INSIDE):
            name_it = "whoever loads the model must name theirs, unless you name one of the hub (--model_name_or_path)"
            log.warning("the encoder is a local folder, of which only the name %r is told: %s", told, name_it)
        for path in add_ons:
            shutil.copyfile(path, staged / path.name)
        told_of = {path.name: read_header(path).add_on for path in add_ons}
        card = model_card(folder, repo, told_of, encoder=encoder, licence=config.license)
        if "\nlicense: " not in card:
            log.warning("the card tells no licence, as that of some training data is not known; name one (--license)")
        write_text(staged / checkpoint.README, card)
        return upload(staged, config, replaced=checkpoint.SHARED, token=token)


def fill(folder: Path, target: Path, *, encoder: str | None = None) -> None:
    """Write what of a checkpoint others can use into an existing folder: no path of this machine, no state of training,
    no log.

    Args:
        folder: the checkpoint.
        target: the folder.
        encoder: the name by which others find the encoder; by default that of training, of a path the last part.
    """
    config = checkpoint.read_json(folder / checkpoint.CONFIG, dict[str, Any])
    own = config["encoder"] if config["encoder"] == checkpoint.INSIDE else placeless(config["encoder"])
    write_json(target / checkpoint.CONFIG, {**config, "encoder": encoder or own})
    shutil.copyfile(folder / checkpoint.WEIGHTS, target / checkpoint.WEIGHTS)
    if (folder / checkpoint.RUN).is_file():
        shutil.copyfile(folder / checkpoint.RUN, target / checkpoint.RUN)
    for path in (folder / name for name in checkpoint.SHARED if name.startswith(f"{checkpoint.ENCODER}/")):
        if path.is_file():
            (target / checkpoint.ENCODER).mkdir(exist_ok=True)
            place = target / checkpoint.ENCODER / path.name
            if path.suffix == ".json" and path.name != "tokenizer.json":
                value = checkpoint.read_json(path, dict[str, Any])
                write_json(place, {key: one for key, one in value.items() if key not in _PLACES})
            else:
                shutil.copyfile(path, place)
    if (folder / checkpoint.DATA).is_file():
        record = checkpoint.read_json(folder / checkpoint.DATA, DataRecord)
        write_json(target / checkpoint.DATA, {**record.placeless().to_json(), "mark": ""})
    if (folder / checkpoint.OPTIONS).is_file():
        types, options = option_types(TrainConfig), dict[str, str]()
        for name, told in checkpoint.read_json(folder / checkpoint.OPTIONS, dict[str, str]).items():
            if name in types and name != "data":  # which the record has
                is_path = Path in (types[name], *get_args(types[name])) or name == "model_name_or_path"
                options[name] = placeless(told) if is_path else told
        write_json(target / checkpoint.OPTIONS, options)
    if (folder / checkpoint.RESULTS).is_file():
        results = checkpoint.read_json(folder / checkpoint.RESULTS, dict[str, Any])
        entries = checked(results.get("pairs"), dict[str, dict[str, Any]], folder / checkpoint.RESULTS)
        pairs = {pair: {key: entry.get(key) for key in SCORES} for pair, entry in entries.items()}
        write_json(target / checkpoint.RESULTS, {"split": "test", "averages": results.get("averages"), "pairs": pairs})
