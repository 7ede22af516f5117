"""Content hashes of files, remembered so that a large corpus is hashed once.

A hash is remembered under the file's path, size and times; those only say whether the file has to be read again and
are no part of the hash.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from laneb.corpus.errors import CorpusError
from laneb.storage.atomic import replace_file

_RACY_SECONDS = 2.0
"""A file that changed this recently could change again within one tick of its clock, unnoticed."""

_BLOCK = 1 << 20

Stamp = tuple[int, int, int]
_remembered: dict[str, tuple[Stamp, str]] = {}


def content_hashes(paths: Iterable[Path], cache: Path | None = None) -> list[str]:
    """BLAKE2b (16 bytes, hex) of each file's content, in the order given.

    Args:
        paths: files.
        cache: a JSON file that keeps hashes between processes, made when it isn't there.

    Raises:
        CorpusError: a file can't be read.
    """
    known = {**_load(cache), **_remembered}
    files = [path.absolute() for path in paths]
    stamps = [_stamp(path) for path in files]
    stale = [
        (path, stamp) for path, stamp in zip(files, stamps, strict=True) if known.get(str(path), (None, ""))[0] != stamp
    ]
    # blake2b and reading release the GIL; more threads than this only make a disk seek.
    with ThreadPoolExecutor(max_workers=4) as pool:
        hashes = list(pool.map(_hash, (path for path, _ in stale)))
    fresh = {str(path): (stamp, digest) for (path, stamp), digest in zip(stale, hashes, strict=True)}
    known.update(fresh)
    settled = {path: entry for path, entry in fresh.items() if not _racy(entry[0])}
    _remembered.update(settled)
    if cache is not None and settled:
        with suppress(OSError):  # on a full disk too, a cache only costs time
            _save(cache, {path: entry for path, entry in known.items() if not _racy(entry[0])})
    return [known[str(path)][1] for path in files]


def _stamp(path: Path) -> Stamp:
    try:
        status = path.stat()
    except OSError as error:
        raise CorpusError(f"{path}: can't be read ({error.strerror})") from error
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _racy(stamp: Stamp) -> bool:
    return time.time() - max(stamp[1], stamp[2]) / 1e9 < _RACY_SECONDS


def _hash(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise CorpusError(f"{path}: can't be read ({error.strerror})") from error
    return digest.hexdigest()


def _load(cache: Path | None) -> dict[str, tuple[Stamp, str]]:
    """The kept hashes; a cache that is missing or broken only costs the time to hash again."""
    if cache is None:
        return {}
    try:
        entries = json.loads(cache.read_text(encoding="utf-8"))
        return {
            str(path): ((int(size), int(modified), int(changed)), str(digest))
            for path, (size, modified, changed, digest) in entries.items()
        }
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _save(cache: Path, entries: dict[str, tuple[Stamp, str]]) -> None:
    rows = {path: [*stamp, digest] for path, (stamp, digest) in sorted(entries.items())}
    replace_file(cache, (json.dumps(rows, indent=2, sort_keys=True) + "\n").encode())
