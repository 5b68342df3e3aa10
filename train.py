import sys

from hyperx.cli import run

raise SystemExit(run("train", sys.argv[1:]))
