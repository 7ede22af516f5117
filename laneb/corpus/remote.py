"""Text in a bucket: copied to this machine once, file by file, and again where a file there changed."""

from __future__ import annotations

import functools
import glob
import hashlib
import json
import os
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock

from laneb.corpus.errors import CorpusError
from laneb.places import PlaceError, reach
from laneb.storage import shared
from laneb.storage.atomic import StorageError

INDEX = ".laneb_copied.json"
_MARKS = ("ETag", "etag", "md5Hash", "crc32c", "content_md5", "LastModified", "last_modified", "mtime")
"""What file systems call what changes with a file's content, the best first."""


def local_copy(url: str) -> str:
    """A path or glob on this machine that means the files that `url` (a file, folder or glob) means.

    Raises:
        CorpusError: there are no such files, or the bucket can't be read.
    """
    try:
        place: Any = reach(url)
        root, pattern, entries = shared.patiently(functools.partial(_listed, place), place)
        if not entries:
            raise CorpusError(f"{url}: no such file or folder (LANE_B_CORPUS)")
        name = PurePosixPath(root).name
        folder = _cache() / hashlib.sha256(f"{place.protocol}://{root}".encode()).hexdigest()[:16] / name
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{name}.lock")):
            _copy(place, root, entries, folder)
    except (StorageError, PlaceError, FileNotFoundError) as error:
        raise CorpusError(f"LANE_B_CORPUS={url}: {error}") from error
    except OSError as error:
        raise CorpusError(f"{error.filename}: the copy of {url} can't be kept ({error.strerror})") from error
    return str(folder / pattern)


def _listed(place: Any) -> tuple[str, str, dict[str, dict[str, Any]]]:
    """The folder that names are relative to, what is meant within it, and the files with what is known of each."""
    fs, path = place.fs, str(place.path).rstrip("/")
    fs.invalidate_cache()
    if glob.has_magic(path):
        fixed = next(part for part in PurePosixPath(path).parents if not glob.has_magic(str(part)))
        found = {name: info for name, info in fs.glob(path, detail=True).items() if info["type"] == "file"}
        return str(fixed), str(PurePosixPath(path).relative_to(fixed)), found
    if fs.isfile(path):
        return str(PurePosixPath(path).parent), PurePosixPath(path).name, {path: fs.info(path)}
    return path, "", fs.find(path, detail=True)


def _copy(place: Any, root: str, entries: dict[str, dict[str, Any]], folder: Path) -> None:
    try:
        known: dict[str, Any] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    wanted = {name.removeprefix(root).lstrip("/"): _mark(entry) for name, entry in entries.items()}
    for name, mark in wanted.items():
        target = folder / name
        if known.get(name) != mark or not target.is_file() or target.stat().st_size != mark[0]:
            source = f"{root}/{name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".{target.name}.copying")
            shared.patiently(functools.partial(place.fs.get_file, source, str(temporary)), place)
            temporary.replace(target)
    for name in known.keys() - wanted.keys():
        (folder / name).unlink(missing_ok=True)
    (folder / INDEX).write_text(json.dumps(wanted), encoding="utf-8")


def _mark(entry: dict[str, Any]) -> list[Any]:
    """Size, and what else tells that a file changed."""
    return [int(entry.get("size") or 0), next((str(entry[key]) for key in _MARKS if entry.get(key)), "")]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "laneb" / "corpus"
