"""``python -m hyperx``, the same as ``hyperx``."""

import sys

from hyperx.cli import main

if __name__ == "__main__":
    sys.exit(main())
