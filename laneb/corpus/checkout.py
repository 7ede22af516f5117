"""A nanochat checkout on this machine, and programs run in it by its own interpreter."""

from __future__ import annotations

import ast
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

START_SECONDS = 600.0
"""What a checkout's imports may take: the first one compiles and reads gigabytes of libraries."""

TRAIN_SCRIPT = "scripts/base_train.py"
REQUIREMENTS = ("pyproject.toml", "uv.lock")
"""Files that decide which versions of other libraries train."""


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
        """Identity of the code that trains, 16 hex digits: of the files themselves, so that it needs no git.

        These are the training script, the checkout's modules that it imports, whatever those import, and what names
        the versions of other libraries; not the chat, later stages, tests or documents.

        Raises:
            CheckoutError: a file can't be read.
        """
        digest = hashlib.sha256()
        try:
            for path in sorted({*self._imported(self.directory / TRAIN_SCRIPT), *self._requirements()}):
                name = path.relative_to(self.directory).as_posix()
                digest.update(name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise CheckoutError(f"{error.filename} can't be read: {error.strerror}") from error
        return digest.hexdigest()[:16]

    def _requirements(self) -> Iterator[Path]:
        yield from (path for name in REQUIREMENTS if (path := self.directory / name).is_file())

    def _imported(self, script: Path) -> set[Path]:
        """A file and the checkout's files that it imports or runs, directly or through others."""
        seen, waiting = {script}, [script]
        while waiting:
            for found in self._named_in(waiting.pop()):
                if found not in seen:
                    seen.add(found)
                    waiting.append(found)
        return seen

    def _named_in(self, path: Path) -> Iterator[Path]:
        try:
            nodes = ast.walk(ast.parse(path.read_bytes()))
        except (SyntaxError, ValueError):
            return
        for node in nodes:
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                package = path.relative_to(self.directory).parts[: -node.level] if node.level else ()
                module = ".".join([*package, *([node.module] if node.module else [])])
                names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 100:
                # Modules that are imported by a string, and files that are read and run, as configurator.py is.
                yield from self._files_called(node.value)
                names = [node.value] if "." in node.value else []
            else:
                continue
            for name in names:
                yield from self._module_files(name)

    def _module_files(self, name: str) -> Iterator[Path]:
        """The files of a module and of the packages that it lies in, where they are the checkout's."""
        parts = name.split(".")
        if not all(part.isidentifier() for part in parts):
            return
        for end in range(1, len(parts) + 1):
            place = self.directory.joinpath(*parts[:end])
            for file in (place.with_suffix(".py"), place / "__init__.py"):
                if file.is_file():
                    yield file

    def _files_called(self, name: str) -> Iterator[Path]:
        if name.endswith(".py") and "\0" not in name:
            for folder in (self.directory, self.directory / "nanochat", self.directory / "scripts"):
                if (folder / name).is_file() and folder in (folder / name).parents:
                    yield folder / name


def find_checkout(directory: str, python: str = "") -> Checkout:
    """The checkout in a directory.

    Args:
        directory: its root.
        python: its interpreter, a path or a command; empty for that of its `.venv`, else the one that runs this.

    Raises:
        CheckoutError: there is no checkout, or no such interpreter.
    """
    root = Path(directory).expanduser().absolute()
    if not directory or not (root / TRAIN_SCRIPT).is_file():
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
