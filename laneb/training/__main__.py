"""`python -m laneb.training RUN_DIR/spec.json`: train the run that a spec describes, in the spec's directory.

Exit status: 0, the run has a result; 1, it failed, and standard error says why; 2, no spec given; 75, another process
is training it; 130 and 143, stopped by SIGINT or SIGTERM, with a checkpoint to go on from.
"""

from __future__ import annotations

import sys
from pathlib import Path

from laneb.training.backends import train
from laneb.training.interruption import Interrupted, StopRequest
from laneb.training.run_directory import HELD_BY_ANOTHER, RunHeldError, note_failure, read_spec


def main(arguments: list[str]) -> int:
    """Train; gives the exit status."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m laneb.training RUN_DIR/spec.json", file=sys.stderr)
        return 2
    stop = StopRequest()
    stop.listen()
    run_dir: Path | None = None
    try:
        spec_path = Path(arguments[0]).resolve()
        spec, run_dir = read_spec(spec_path), spec_path.parent
        train(spec, run_dir, stop)
        return 0
    except Interrupted as interruption:
        print(f"{arguments[0]}: {interruption}", file=sys.stderr)
        return 128 + interruption.signal_number
    except RunHeldError as error:
        print(f"error: {error}: wait until it ends, or stop it", file=sys.stderr)
        return HELD_BY_ANOTHER
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        if run_dir is not None:
            note_failure(run_dir, str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
