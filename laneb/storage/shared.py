"""Files that several machines share: a local folder, one on NFS, or a bucket.

Every call is tried again while a server is away, with growing pauses, and then fails with one sentence.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from laneb.brought import is_plain_name
from laneb.buckets import OBJECT_STORES, complaint, is_of_a_client, refuses
from laneb.places import is_folder_path
from laneb.storage.atomic import StorageError, is_full, remedy, replace_file

if TYPE_CHECKING:
    from laneb.places import AnyPath

T = TypeVar("T")

PATIENCE_SECONDS = 120.0
"""How long a server that doesn't answer is waited for."""

_FINAL = (FileNotFoundError, FileExistsError, PermissionError, IsADirectoryError, NotADirectoryError)
_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK)


def patiently(call: Callable[[], T], path: AnyPath, seconds: float = PATIENCE_SECONDS) -> T:
    """What a call gives, tried again with growing pauses while the place doesn't answer.

    Args:
        call: reads or writes at `path`; a second call does no harm.
        path: for the message.
        seconds: how long to try.

    Raises:
        FileNotFoundError, FileExistsError: at once, as they are.
        StorageError: the place refuses, or did not answer all the while.
    """
    import tenacity

    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda error: not is_folder_path(path) and _may_pass(error)),
        wait=tenacity.wait_exponential(multiplier=0.2, max=10.0) + tenacity.wait_random(0, 0.5),
        stop=tenacity.stop_after_delay(seconds),
        reraise=True,
    )
    try:
        return retrying(call)
    except (FileNotFoundError, FileExistsError, StorageError) as error:
        if "bucket does not exist" in str(error):
            raise StorageError(f"{path}: there is no such bucket. Make it, or correct its name.") from error
        raise
    except Exception as error:
        if is_full(error) and not is_folder_path(path):
            raise  # of this machine's disk: the bucket is not at fault
        if is_folder_path(path):
            if isinstance(error, OSError):
                where = "or choose another place with LANE_B_WORK_DIR"
                raise StorageError(f"{path}: {error.strerror or error}. {remedy(error)}, {where}.") from error
        elif isinstance(error, OSError) or is_of_a_client(error):
            raise StorageError(complaint(path, error)) from error
        raise


def _may_pass(error: BaseException) -> bool:
    """Whether an error may be gone in a moment: the server is away or too busy, as opposed to refusing."""
    if isinstance(error, _FINAL) or is_full(error) or refuses(error):
        return False
    return isinstance(error, OSError) or is_of_a_client(error)


def read_or_none(path: AnyPath) -> bytes | None:
    """A file's bytes as they are now, or None where there is none."""

    def read() -> bytes:
        if is_folder_path(path):
            return bytes(path.read_bytes())
        return bytes(path.fs.cat_file(path.path))

    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return patiently(read, path)
    return None


def replace(path: AnyPath, data: bytes) -> None:
    """Write a file whole, in place of what is there."""
    if is_folder_path(path):
        patiently(lambda: replace_file(path, data), path)
    else:
        _make_folder(path)
        patiently(lambda: path.fs.pipe_file(path.path, data), path)


def _make_folder(path: AnyPath) -> None:
    """The folder of a file, on a server that has folders. A bucket that isn't there is an error, not to be made."""
    if not is_folder_path(path) and path.protocol not in OBJECT_STORES:
        patiently(lambda: path.fs.makedirs(path.parent.path, exist_ok=True), path)


def create(path: AnyPath, data: bytes) -> bool:
    """Write a file that isn't there yet; False where there is one. Of several that try at once, one succeeds.

    On a file system by a hard link, which NFS makes atomically; in a bucket by a conditional write.

    Raises:
        StorageError: the place can't be written.
    """
    if is_folder_path(path):
        return patiently(lambda: _link(path, data), path)

    _make_folder(path)

    def put() -> bool:
        try:
            path.fs.pipe_file(path.path, data, mode="create")
        except FileExistsError:
            # An answer that was lost on its way, and asked for again, finds our own.
            return bool(path.fs.cat_file(path.path) == data)
        except OSError:
            # Servers differ in how they say that the object exists, so what is there decides.
            try:
                return bool(path.fs.cat_file(path.path) == data)
            except FileNotFoundError:
                pass
            raise
        return True

    return patiently(put, path)


def _link(path: Path, data: bytes) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        replace_file(temporary, data)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return path.read_bytes() == data
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _open_new(path, data)
        return True
    finally:
        temporary.unlink(missing_ok=True)


def _open_new(path: Path, data: bytes) -> bool:
    """`_link` where there are no hard links: whole for one who looks a moment later."""
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        return False
    return True


def names(folder: AnyPath) -> list[str]:
    """Names of the files in a folder as they are now; none where there is no such folder."""

    def listed() -> list[str]:
        if is_folder_path(folder):
            return [path.name for path in folder.iterdir() if path.is_file()]
        fs: Any = folder.fs
        fs.invalidate_cache()
        entries = fs.ls(folder.path, detail=True)
        return [str(entry["name"]).rpartition("/")[2] for entry in entries if entry["type"] == "file"]

    try:
        found = patiently(listed, folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(name for name in found if is_plain_name(name))


def remove(path: AnyPath) -> None:
    """Delete a file, if it is there."""

    def delete() -> None:
        if is_folder_path(path):
            path.unlink()
        else:
            path.fs.rm_file(path.path)

    with contextlib.suppress(FileNotFoundError):
        patiently(delete, path)


def upload(source: Path, target: AnyPath) -> None:
    """Copy a local file to `target`, which is seen whole or not at all.

    Raises:
        FileNotFoundError: no such file here.
        StorageError: the place can't be written.
    """
    if is_folder_path(target):
        patiently(lambda: _copy(source, target), target)
    else:
        source.stat()
        _make_folder(target)
        patiently(lambda: target.fs.put_file(str(source), target.path), target)


def download(source: AnyPath, target: Path) -> None:
    """Copy a file to a local one, which is seen whole or not at all.

    Raises:
        FileNotFoundError: no such file.
        StorageError: it can't be read, or this disk is full.
    """
    if is_folder_path(source):
        patiently(lambda: _copy(source, target), target)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        patiently(lambda: source.fs.get_file(source.path, str(temporary)), source)
        temporary.replace(target)
    except OSError as error:
        if not is_full(error):
            raise
        wanted = source.fs.size(source.path)
        raise StorageError(f"{target} can't be written: {error.strerror or error}. {remedy(error, wanted)}.") from error
    finally:
        temporary.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        shutil.copyfile(source, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def names_below(folder: AnyPath) -> list[str]:
    """Names of the files in a folder and those below it, relative to it; none where there is no such folder."""

    def found() -> list[str]:
        if is_folder_path(folder):
            return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        fs: Any = folder.fs
        fs.invalidate_cache()
        root = fs._strip_protocol(folder.path).rstrip("/") + "/"
        return [str(name).removeprefix(root) for name in fs.find(folder.path)]

    try:
        listed = patiently(found, folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    # A bucket's keys may hold `..`, which would be another folder where they are copied to.
    return sorted(name for name in listed if _stays_below(name))


def _stays_below(name: str) -> bool:
    """Whether a relative name leads to a file below its folder that is not hidden; folders on the way may be."""
    *folders, file = name.split("/")
    return is_plain_name(file) and all(is_plain_name(folder.removeprefix(".")) for folder in folders)


def move(source: AnyPath, target: AnyPath) -> None:
    """Move a file within a folder or a bucket, where it is copied, then deleted."""
    if is_folder_path(source):
        assert is_folder_path(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
        return
    fs, places = source.fs, [str(place.path) for place in (source, target) if not is_folder_path(place)]

    def moved() -> None:
        fs.copy(*places)
        fs.rm_file(places[0])

    patiently(moved, source)
