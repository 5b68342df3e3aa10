import sys

from hyperx.cli import run

raise SystemExit(run("evaluate", sys.argv[1:]))
