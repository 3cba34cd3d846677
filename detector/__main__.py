"""``python -m detector``."""

import sys

from detector.cli.main import main_of_module

sys.exit(main_of_module())
