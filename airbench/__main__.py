"""``python -m airbench``: the same as the command ``airbench``."""

import sys

from airbench.cli import main

sys.exit(main())
