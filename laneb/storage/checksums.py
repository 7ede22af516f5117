"""Checksums of files, so that what rotted on a disk is never taken for what was written.

XXH3 at 128 bits reads faster than any disk. A file is read once per process for each state that it is seen in: what a
disk returns wrongly later in the same process is the one thing that this can't see.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import xxhash

_BLOCK = 4 << 20
_SETTLED_SECONDS = 2.0
"""A file that changed this recently could change again within one tick of its clock, unnoticed."""

_State = tuple[int, int, int, int]
_seen: dict[str, tuple[_State, str]] = {}

FILES = "files"
"""Key under which a folder's JSON file lists the files beside it."""


def checksum(data: bytes | memoryview) -> str:
    """XXH3 (128 bits, hex) of bytes."""
    return xxhash.xxh3_128_hexdigest(data)


def file_checksum(path: Path) -> str:
    """XXH3 (128 bits, hex) of a file's content.

    Raises:
        OSError: it can't be read.
    """
    with path.open("rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        state = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        known = _seen.get(str(path))
        if known is not None and known[0] == state:
            return known[1]
        digest, block = xxhash.xxh3_128(), memoryview(bytearray(_BLOCK))
        while count := file.readinto(block):
            digest.update(block[:count])
    if time.time() - max(state[2:]) / 1e9 > _SETTLED_SECONDS:
        _seen[str(path)] = state, digest.hexdigest()
    return digest.hexdigest()


def listed(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Size and checksum of each file in a folder, for the JSON file that stands beside them."""
    return {name: {"bytes": (folder / name).stat().st_size, "xxh3_128": file_checksum(folder / name)} for name in names}


def mismatch(folder: Path, files: Mapping[str, Any]) -> str:
    """What is wrong with the first file that isn't as it was `listed`, or "" when all are.

    Raises:
        OSError: a file is missing or can't be read.
    """
    for name, entry in files.items():
        size = (folder / name).stat().st_size
        if size != entry["bytes"]:
            return f"{name} has {size:,} bytes where {entry['bytes']:,} were written"
        if file_checksum(folder / name) != entry["xxh3_128"]:
            return f"{name} is damaged: its content does not match its checksum"
    return ""
