"""A nanochat checkout on this machine, and programs run in it by its own interpreter."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 600.0
"""What a checkout's imports may take: the first one compiles and reads gigabytes of libraries."""

CODE = (".py", ".toml", ".lock")
"""Endings of the files that decide what a checkout computes: its modules, and the versions of what they import."""


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
        """The commit that is checked out, with "-dirty" where files differ from it; empty where git does not know."""
        try:
            done = subprocess.run(
                ["git", "-C", str(self.directory), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
                capture_output=True,
                timeout=60,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout.decode("ascii", "replace").strip() if done.returncode == 0 else ""

    @property
    def code_fingerprint(self) -> str:
        """Identity of its code, 16 hex digits: of the files themselves, so that it needs no git and sees every change.

        Hidden folders, environments and what W&B keeps of earlier runs are no part of it.

        Raises:
            CheckoutError: a file can't be read.
        """
        digest = hashlib.sha256()
        try:
            for path in sorted(self._code_files()):
                name = path.relative_to(self.directory).as_posix()
                digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise CheckoutError(f"{error.filename} can't be read: {error.strerror}") from error
        return digest.hexdigest()[:16]

    def _code_files(self) -> Iterator[Path]:
        for place, folders, files in os.walk(self.directory):
            folder = Path(place)
            folders[:] = [name for name in folders if not _is_no_code(folder / name)]
            yield from (folder / name for name in files if name.endswith(CODE) and (folder / name).is_file())


def _is_no_code(folder: Path) -> bool:
    return folder.name.startswith(".") or folder.name == "wandb" or (folder / "pyvenv.cfg").exists()


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
