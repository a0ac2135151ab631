"""``python -m airbench.cli``."""

import sys

from airbench.cli import main

sys.exit(main())
