"""``python -m detector``."""

import sys

from detector.cli.main import main

sys.exit(main())
