"""`python -m simulator.cli` is `roadline`."""

import sys

from simulator.cli import main

sys.exit(main())
