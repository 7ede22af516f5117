"""A nanochat checkout on this machine, and programs run in it by its own interpreter."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 600.0
"""What a checkout's imports may take: the first one compiles and reads gigabytes of libraries."""


class CheckoutError(ValueError):
    """A checkout that can't do what is asked of it: what, why, and what to do."""


@dataclass(frozen=True)
class Checkout:
    """A checkout's root and the interpreter that has its dependencies."""

    directory: Path
    python: Path

    def run(self, *arguments: str, timeout: float = START_SECONDS) -> str:
        """What a program of the checkout prints on standard output.

        Args:
            arguments: of the interpreter, such as `-m`, `scripts.base_train`, `--help`.
            timeout: seconds that it may take.

        Raises:
            CheckoutError: it can't be started, fails or takes too long; the end of what it said stands in the message.
        """
        said = " ".join(arguments)
        try:
            done = subprocess.run(
                [str(self.python), *arguments],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CheckoutError(f"{self.directory}: {said} took more than {timeout:.0f} s") from None
        except OSError as error:
            raise CheckoutError(
                f"{self.python} can't be started ({error.strerror}): set LANE_B_NANOCHAT_PYTHON"
            ) from error
        if done.returncode != 0:
            raise CheckoutError(
                f"{self.directory}: {said} failed with exit status {done.returncode}: {last_words(done.stderr)}. Does "
                f"{self.python} have the checkout's dependencies? If not, set LANE_B_NANOCHAT_PYTHON"
            )
        return done.stdout.decode("utf-8", "replace")

    @property
    def commit(self) -> str:
        """The commit that is checked out, or an empty string where git does not know."""
        try:
            done = subprocess.run(
                ["git", "-C", str(self.directory), "rev-parse", "--short=12", "HEAD"],
                capture_output=True,
                timeout=60,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.decode("ascii", "replace").strip() if done.returncode == 0 else ""


def find_checkout(directory: str, python: str = "") -> Checkout:
    """The checkout in a directory.

    Args:
        directory: its root.
        python: its interpreter, a path or a command; empty for that of its `.venv`, else the one that runs this.

    Raises:
        CheckoutError: there is no checkout, or no such interpreter.
    """
    root = Path(directory).expanduser().absolute()
    if not directory or not (root / "scripts" / "base_train.py").is_file():
        raise CheckoutError(
            f"LANE_B_NANOCHAT_DIR={directory!r}: no scripts/base_train.py there. Give the root of a nanochat checkout"
        )
    if python:
        found = shutil.which(Path(python).expanduser())
        if found is None:
            raise CheckoutError(f"LANE_B_NANOCHAT_PYTHON={python!r}: no such interpreter. Give its path")
        # Not resolved: an interpreter knows its environment by the link that it was called by.
        return Checkout(root, Path(found).absolute())
    own = (root / ".venv" / "bin" / "python", root / ".venv" / "Scripts" / "python.exe")
    return Checkout(root, next((path for path in own if path.exists()), Path(sys.executable)))


def last_words(output: bytes, lines: int = 3) -> str:
    """The end of what a program said, in one line."""
    text = output.decode("utf-8", "replace")
    said = [line.strip() for line in text.splitlines() if line.strip()]
    return " / ".join(said[-lines:]) or "it said nothing"
