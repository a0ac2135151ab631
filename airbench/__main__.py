"""``python -m airbench`` runs the command ``airbench``."""

import sys

from airbench.cli import main

sys.exit(main())
