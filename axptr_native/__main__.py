# SPDX-License-Identifier: MIT
"""``python -m axptr_native``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
