"""The DuckDB file under load: sixteen processes write and read it at once, some are killed, nothing is lost or doubled.

Every writer says each row once it is written; readers hold what they find against what was said before they looked.
In the end every row that was said is there once, and of a killed writer at most the one that it was at.

Run: python benchmarks/warehouse_load.py [--writers 10] [--readers 6] [--rows 20] [--kills 5] [--rounds 3]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "storage"))

from warehouse_load import load


def main() -> None:
    """Print a row a round; exit 1 if anything was lost, doubled or failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writers", type=int, default=10)
    parser.add_argument("--readers", type=int, default=6)
    parser.add_argument("--rows", type=int, default=20, help="of each writer")
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    names = ("written", "killed", "reads", "lost", "doubled", "foreign", "failed", "seconds")
    print(*(f"{name:>8}" for name in names))
    wrong = False
    for seed in range(options.rounds):
        with tempfile.TemporaryDirectory(prefix="laneb_warehouse_") as folder:
            found = load(Path(folder), writers=options.writers, readers=options.readers, rows=options.rows,
                         kills=options.kills, seed=seed)  # fmt: skip
        counts = (found.written, found.killed, found.reads, found.lost, found.doubled, found.foreign)
        print(*(f"{count:8}" for count in (*counts, len(found.failures))), f"{found.seconds:8.1f}", flush=True)
        for failure in found.failures:
            print("failed:", failure)
        wrong |= bool(found.lost or found.doubled or found.foreign or found.failures)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
