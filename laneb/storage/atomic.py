"""Writing a file so that a reader sees the old one or the new one, never half of either."""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from laneb.brought import SPECIAL, is_special
from laneb.places import is_folder_path

if TYPE_CHECKING:
    from laneb.places import AnyPath


_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class StorageError(ValueError):
    """A place that can't be read or written, with the path and what to do."""


def write_text(path: AnyPath, text: str) -> None:
    """Write UTF-8 text as `write_bytes` does, line ends as they are."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: AnyPath, data: bytes) -> None:
    """Write bytes under a temporary name beside `path` and rename it into place.

    An object store's put is atomic by itself, so a bucket is written directly.

    Raises:
        StorageError: the place is not writable or the disk is full; what was there is untouched.
    """
    try:
        if is_folder_path(path):
            replace_file(path, data)
        else:
            from laneb.storage import shared  # which stands on this module

            shared.replace(path, data)
    except OSError as error:
        raise StorageError(
            f"{path} can't be written: {error.strerror or error}. {remedy(error, len(data))}, or choose another place "
            "with LANE_B_WORK_DIR or NANOCHAT_BASE_DIR."
        ) from error


def replace_file(path: Path, data: bytes) -> None:
    """Write under a temporary name beside `path`, force it to the disk, and rename it into place.

    Raises:
        OSError: the place is not writable or no file's, or the disk is full; what was there is untouched.
    """
    if is_special(path) or path.parent == Path("/dev"):
        # A rename would put a file in the place of /dev/full.
        raise OSError(errno.EINVAL, SPECIAL, str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def is_full(error: BaseException | None) -> bool:
    """Whether a place has no room left: on its disk, of its quota, or of what a file may have."""
    return isinstance(error, OSError) and error.errno in _NO_SPACE


def why_unwritable(folder: Path, size: int) -> OSError | None:
    """Why a file of so many bytes can't be written in a folder; None where it can."""
    probe = folder / f".{uuid.uuid4().hex}.probe"
    try:
        # Buffered: a disk that takes a part of it takes it without an error.
        with probe.open("wb") as file:
            file.write(bytes(size))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
    return None


def remedy(error: OSError, wanted: float | None = None) -> str:
    """What to do about a place that can't be written; begins a sentence.

    >>> remedy(OSError(errno.ENOSPC, "No space left on device"), 12_345_678)
    'Free some space (12.3 MB are wanted)'

    Args:
        error: why it could not be written.
        wanted: how much was to be written [bytes], where that is known.
    """
    if error.errno == errno.EINVAL:
        return "Name a file"
    if not is_full(error):
        return "Make it writable"
    if not wanted:
        return "Free some space"
    unit, name = next(
        (unit, name) for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if wanted >= unit or unit == 1e3
    )
    return f"Free some space ({wanted / unit:.1f} {name} are wanted)"


def read_text(path: AnyPath, made_by: str) -> str:
    """The text of a file that the asset `made_by` makes.

    Raises:
        StorageError: not there or not readable; the message names the asset.
    """
    try:
        if is_folder_path(path):
            with path.open("r", encoding="utf-8", newline="") as file:
                text = file.read()
        else:
            from laneb.storage import shared  # which stands on this module

            data = shared.read_or_none(path)
            if data is None:
                raise FileNotFoundError(path)
            text = data.decode("utf-8")
    except FileNotFoundError:
        raise StorageError(f"{path} is not there yet: materialize {made_by} first (or run: laneb run).") from None
    except UnicodeDecodeError as error:
        raise StorageError(f"{path} is no text: it was damaged or overwritten. `laneb run` makes it again.") from error
    except OSError as error:
        raise StorageError(f"{path} can't be read: {error.strerror or error}.") from error
    return text
