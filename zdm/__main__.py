"""`python -m zdm` is `zdm-proxy`."""

from __future__ import annotations

import sys

from zdm.cli import main

sys.exit(main())
