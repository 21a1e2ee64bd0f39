"""`python -m zdm.sandbox`."""

from __future__ import annotations

import argparse
import sys

from zdm.sandbox.cli import add_arguments, run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m zdm.sandbox", description="Two clusters of CQL nodes in memory, with faults on request."
    )
    add_arguments(parser)
    sys.exit(run(parser.parse_args()))
