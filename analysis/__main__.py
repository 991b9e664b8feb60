"""``python -m analysis``: the command ``analysis``."""

from __future__ import annotations

import sys

from analysis.console import main

if __name__ == "__main__":
    sys.exit(main())
