"""`python -m laneb.training RUN_DIR/spec.json`: train the run that a spec describes, in the spec's directory.

With `--parent PROCESS` it stops, as by SIGTERM, when the process that started it is no longer that one.

Exit status: 0, the run has a result; 1, it failed, and standard error says why; 2, no spec given; 75, another process
is training it; 130 and 143, stopped by SIGINT or SIGTERM, with a checkpoint to go on from.
"""

from __future__ import annotations

import sys
from pathlib import Path

from laneb.training.backends import train
from laneb.training.interruption import Interrupted, ProcessLostError, StopRequest
from laneb.training.run_directory import HELD_BY_ANOTHER, RunHeldError, note_failure, read_spec, reason_of


def main(arguments: list[str]) -> int:
    """Train; gives the exit status."""
    spec_file, *watched = arguments or [""]
    if not spec_file or spec_file.startswith("-") or (watched and not _is_parent(watched)):
        print("usage: python -m laneb.training RUN_DIR/spec.json [--parent PROCESS]", file=sys.stderr)
        return 2
    stop = StopRequest(int(watched[1]) if watched else None)
    stop.listen()
    run_dir: Path | None = None
    try:
        spec_path = Path(spec_file).resolve()
        spec, run_dir = read_spec(spec_path), spec_path.parent
        train(spec, run_dir, stop)
        return 0
    except Interrupted as interruption:
        print(f"{spec_file}: {interruption}", file=sys.stderr)
        return 128 + interruption.signal_number
    except RunHeldError as error:
        print(f"error: {error}: wait until it ends, or stop it", file=sys.stderr)
        return HELD_BY_ANOTHER
    except (ValueError, OSError) as error:
        reason = reason_of(error, run_dir)
        print(f"error: {reason}", file=sys.stderr)
        if run_dir is not None:
            note_failure(run_dir, reason, passing=isinstance(error, ProcessLostError))
        return 1


def _is_parent(arguments: list[str]) -> bool:
    return len(arguments) == 2 and arguments[0] == "--parent" and arguments[1].isdigit()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
