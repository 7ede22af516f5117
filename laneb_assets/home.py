"""Where Dagster keeps its history, DAGSTER_HOME, and what can be wrong with it. Nothing here imports dagster."""

import contextlib
import errno
import fcntl
import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

from laneb.brought import place, shortened, unquoted
from laneb.places import checkout_root
from laneb.settings import SettingsError
from laneb.storage.atomic import is_full, why_unwritable

CONFIG = "dagster.yaml"
WRITING_SECONDS = 1.0
"""A run that is at work holds a file for a moment; what is held longer is the one that an error was about."""

LITTLE_ROOM = 1 << 17
"""Bytes that SQLite may need beside its files."""

PATIENCE_SECONDS = 5.0
"""How long another process may hold a file before it counts as locked, as for SQLite itself."""


class InstanceError(ValueError):
    """Dagster's storage can't be used; says which file and what to do."""


def checkout_home() -> Path:
    """The checkout's own DAGSTER_HOME, which its .env gives to dagster and dg."""
    return checkout_root() / ".dagster"


def home_in_use() -> Path:
    """DAGSTER_HOME if it is set, else `.dagster` in the checkout; nothing is made.

    Raises:
        SettingsError: DAGSTER_HOME is not an absolute path.
    """
    chosen = unquoted(os.environ.get("DAGSTER_HOME", ""))
    try:
        home = Path(place(chosen, os.environ)) if chosen else checkout_home()
    except ValueError as error:
        raise SettingsError([f'DAGSTER_HOME="{shortened(chosen)}": {error}.']) from None
    if not home.is_absolute():
        raise SettingsError([f'DAGSTER_HOME="{chosen}": must be an absolute path to a folder.'])
    return home


def dagster_home() -> Path:
    """`home_in_use()`, made ready.

    Raises:
        SettingsError: it can't be made or is no folder.
    """
    home = home_in_use()
    make_ready(home)
    if note := foreign(home):
        print(f"laneb: {note}", file=sys.stderr)
    return home


def make_ready(home: Path) -> None:
    """Give a new or empty folder the checkout's dagster.yaml; any other is left as it is.

    Raises:
        SettingsError: it can't be made or is no folder.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        # Two first starts at once: the second finds the file whole.
        with only_opener(home):
            if not any(home.iterdir()):
                (home / CONFIG).write_text((checkout_root() / CONFIG).read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as error:
        raise SettingsError([f"DAGSTER_HOME {home} can't be used: {error.strerror or error}."]) from None


def foreign(home: Path) -> str:
    """What a person should know of a folder that Lane B did not make; empty if there is nothing to say."""
    if not home.is_dir() or (home / CONFIG).exists() or not any(home.iterdir()):
        return ""
    return (
        f"DAGSTER_HOME {home} holds other things and no {CONFIG}: it is left as it is, with Dagster's own limits, by "
        f"which several runs train at once. To change that: cp {checkout_root() / CONFIG} {home}"
    )


@contextlib.contextmanager
def only_opener(home: Path) -> Iterator[None]:
    """One process at a time: two that make the same SQLite file leave one that no later process can open."""
    folder = os.open(home, os.O_RDONLY)
    try:
        # Some network file systems lock no folders; there the first start has to be alone.
        with contextlib.suppress(OSError):
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


@contextlib.contextmanager
def faults_explained(home: Path) -> Iterator[None]:
    """Say what is wrong with Dagster's storage in a sentence or two, in place of its own pages of it.

    Raises:
        InstanceError: in place of an error that came of the storage; all others pass.
    """
    try:
        yield
    except Exception as error:
        if said := fault_of(error, home):
            raise InstanceError(said) from error
        raise


def fault_of(error: BaseException, home: Path) -> str:
    """What an error says of Dagster's storage, with the file and the way out; empty if it is about something else."""
    for cause in _causes(error):
        text = str(cause)
        if isinstance(cause, sqlite3.Error) or "sqlite3." in text:
            return _sqlite_fault(text, home)
        if isinstance(cause, OSError) and cause.filename and Path(os.fsdecode(cause.filename)).is_relative_to(home):
            full = cause.errno in (errno.ENOSPC, errno.EDQUOT)
            return _full(home) if full else _unwritable(Path(os.fsdecode(cause.filename)), home, cause.strerror or text)
        if type(cause).__module__.startswith("yaml.") or type(cause).__name__ == "DagsterInvalidConfigError":
            return _bad_config(home, text)
        if type(cause).__module__.startswith("alembic."):
            return (
                f"DAGSTER_HOME {home} was written by another release of Dagster, or broken while it was made ({text}). "
                f"{_elsewhere(home)}"
            )
    return ""


def fault_on_disk(home: Path, *, quick: bool = False) -> str:
    """What is wrong with a DAGSTER_HOME that nothing has opened yet; empty if nothing was found.

    Args:
        home: the folder.
        quick: look only whether what all runs share can be written.
    """
    if not home.exists():
        return ""
    if not _is_writable(home):
        return _unwritable(home, home, "not writable")
    for file in _databases(home):
        if quick and not _is_shared(file):
            break
        if text := _probe(file, PATIENCE_SECONDS, whole=not quick):
            return _sqlite_fault(text, home, file)
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        cause = waiting.pop(0)
        if cause is not None and id(cause) not in seen:
            seen.add(id(cause))
            yield cause
            waiting += [getattr(cause, "orig", None), cause.__cause__, cause.__context__]


def _sqlite_fault(text: str, home: Path, file: Path | None = None) -> str:
    file = file or next((file for file in _databases(home) if _probe(file)), home)
    if "locked" in text:
        return (
            f"{file} is locked by another process: wait until it is done (laneb ui, dagster dev, a copy under way) or "
            "end it, then run it again."
        )
    # SQLite calls a full disk an I/O error where it is its shared memory that finds no room.
    if "full" in text or is_full(why_unwritable(home, LITTLE_ROOM)):
        return _full(home)
    if "malformed" in text or "not a database" in text:
        return (
            f"{file} is damaged (no whole SQLite file). Move it aside: mv '{file}' '{file}.damaged'. Dagster begins a "
            "new one; what was trained is kept and not trained again."
        )
    if "readonly" in text or "unable to open" in text:
        closed = next((place for place in (home, file.parent) if not _is_writable(place)), file)
        return _unwritable(closed, home, "not writable")
    return f"{file}: Dagster's storage fails: {text.splitlines()[0]}. {_elsewhere(home)}"


def _unwritable(file: Path, home: Path, why: str) -> str:
    return (
        f"{file} can't be written ({why.lower()}), and Dagster keeps its history there. Make it writable. "
        f"{_elsewhere(home)}"
    )


def _full(home: Path) -> str:
    return f"no room left on the disk of DAGSTER_HOME {home}: make some, then run it again; what was made is kept."


def _bad_config(home: Path, text: str) -> str:
    # What Dagster expected is a schema of pages.
    said = " ".join(text.partition("Expected:")[0].split())[:300]
    return f"{home / CONFIG} is no config of Dagster: {said.rstrip('.')}. Mend it, or take {checkout_root() / CONFIG}."


def _elsewhere(home: Path) -> str:
    return f"To begin in another folder: DAGSTER_HOME=/path laneb ... ({home} is in use now)."


def _databases(home: Path) -> list[Path]:
    """Dagster's SQLite files, those that all runs share first. The other folders hold a folder for each run."""
    found = [*(home / "history").rglob("*.db"), *(home / "schedules").rglob("*.db")]
    return sorted(found, key=lambda file: (not _is_shared(file), file))


def _is_writable(place: Path) -> bool:
    """For the process as it is: its user may differ from who began it."""
    return os.access(place, os.W_OK, effective_ids=os.access in os.supports_effective_ids)


def _is_shared(file: Path) -> bool:
    """Whether all runs are in it: those of a single run are called as the run, by a UUID."""
    return len(file.stem) < 36


def _probe(file: Path, patience: float = WRITING_SECONDS, *, whole: bool = True) -> str:
    """What SQLite says of a file when it is asked to write, and whether it is `whole`; empty if nothing."""
    try:
        with contextlib.closing(sqlite3.connect(file, timeout=patience, isolation_level=None)) as connection:
            if whole:
                [(answer,), *_] = connection.execute("PRAGMA quick_check(1)").fetchall()
                if answer != "ok":
                    return f"malformed: {answer}"
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        return str(error)
    return "" if _is_writable(file) else "readonly"
