"""The command line: ``hyperx COMMAND``, see :data:`COMMANDS`."""

from __future__ import annotations

import codecs
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from typing import get_type_hints

from hyperx.errors import HyperXError, UsageError, did_you_mean
from hyperx.interruption import ending_at_once
from hyperx.processes import together

COMMANDS = {
    "train": "train one hypernetwork on task–language pairs",
    "evaluate": "score a checkpoint on any pairs, including those without training data",
    "report": "tell of a run on one page: curves, scores, adapters, errors, confidences",
    "compare": "score runs side by side, with intervals of their differences",
    "predict": "tag text with a checkpoint",
    "serve": "answer HTTP requests with a checkpoint",
    "demo": "open a page on which a text is labelled, in two languages side by side",
    "adapt": "learn a language from a few sentences, beside a checkpoint that stays as it is",
    "probe": "rank the languages as which a text of another one is labelled best",
    "suggest": "choose sentences that the model is unsure of and label them, for people to correct",
    "check": "read and count the data of a run and list every problem, without training",
    "calibrate": "fit confidences to the share of labels that are right",
    "compress": "write a checkpoint in few bytes",
    "push": "share a checkpoint on the Hugging Face hub, with a card made from the run",
    "export": "write pairs of a checkpoint as ONNX, or for PyTorch or the library adapters alone",
    "languages": "list the languages of Universal Dependencies and WikiANN, and their treebanks",
    "models": "list the ready-made models, and print their cards",
    "import-published": "convert a checkpoint of the published program",
}

ASCII = str.maketrans({"–": "-", "—": "-", "«": '"', "»": '"', "…": "...", "×": "x", "→": "->"})
"""Punctuation that a terminal's encoding may lack."""

USAGE = """usage: hyperx COMMAND [OPTIONS]

One hypernetwork writes the adapters of a frozen multilingual encoder for every task and language.

commands:
{commands}

'hyperx COMMAND --help' explains a command's options, 'hyperx --version' prints the version."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0 for success, 1 for a problem that the message explains, 2 for a misused
    command line, 130 if interrupted (143 by SIGTERM)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    codecs.register_error("hyperx", _in_ascii)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")  # it would look through all installed packages for some
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "backslashreplace"):
            stream.reconfigure(errors="hyperx")
    if words[:1] == ["help"]:
        words = [*words[1:2], "--help"]
    if not words or words[0] in ("-h", "--help"):
        print(USAGE.format(commands="\n".join(f"  {name:<18}{line}" for name, line in COMMANDS.items())))
        return 0 if words else 2
    if words[0] == "--version":
        import hyperx

        print(f"hyperx {hyperx.__version__}")
        return 0
    if words[0] not in COMMANDS:
        known = ", ".join(COMMANDS)
        print(f"hyperx: no command {words[0]!r}: {known}.{did_you_mean(words[0], COMMANDS)}", file=sys.stderr)
        return 2
    return run(words[0], words[1:])


def _in_ascii(error: UnicodeError) -> tuple[str | bytes, int]:
    """What a stream's encoding lacks: punctuation in ASCII, other characters as Python escapes them."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(ASCII)
    return text.encode("ascii", "backslashreplace").decode("ascii"), error.end


def run(command: str, arguments: Sequence[str]) -> int:
    """Run one command, printing errors that a user can fix without a traceback."""
    try:
        # Other commands do not work together: each process of a launcher is one of its own.
        with together() if command in ("train", "evaluate", "adapt") else nullcontext(), ending_at_once(command):
            own = command if command in ("predict", "serve", "demo") else "commands"
            work = getattr(importlib.import_module(f"hyperx.cli.{own}"), command.replace("-", "_"))
            from hyperx.cli.options import parse, start_logging

            config = parse(get_type_hints(work)["config"], arguments, command)
            start_logging()
            work(config)
            sys.stdout.flush()
    except HyperXError as error:
        from hyperx.tables import print_text

        print_text(f"hyperx {command}: {error}", error=True)
        return 2 if isinstance(error, UsageError) else 1
    except BrokenPipeError:  # the reader of the output is gone (`| head`): buffered output has nowhere to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # a full disk, or no permission, wherever it is noticed
        print(f"hyperx {command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(f"hyperx {command}: interrupted", file=sys.stderr)
        return 128 + int(getattr(error, "number", signal.SIGINT))
    return 0
