"""Token shards while they are written: tokens appended, a journal of what is safe on the disk, then published whole.

A folder `<name>.partial` holds the files until all is done. After each stretch of text the files are forced to the
disk and a line is added to the journal; a build that was killed goes on from the last line, and what lies beyond it
in the files is cut off. One process builds at a time.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from laneb.corpus.documents import Place
from laneb.storage.atomic import replace_file

TRAIN, VALIDATION = "train", "val"
SPLITS = (TRAIN, VALIDATION)
JOURNAL = "journal.jsonl"


class SplitCounts(NamedTuple):
    """What one split holds so far."""

    documents: int = 0
    tokens: int = 0
    bytes: int = 0


class JournalEntry(NamedTuple):
    """What is safe on the disk: where to read on, and what the files held then."""

    place: Place = Place()
    train: SplitCounts = SplitCounts()
    val: SplitCounts = SplitCounts()
    lowest: int = 2**64
    """Of all documents' hashes."""
    highest: int = -1


class ShardWriter:
    """The files of a partial folder, opened to go on where its journal ends."""

    def __init__(self, folder: Path, identity: list[Any], dtype: np.dtype[Any], bos_id: int) -> None:
        """Go on with the folder if its journal has this identity; else begin anew.

        Args:
            folder: the partial folder.
            identity: what decides the content, as JSON values.
            dtype: of the tokens.
            bos_id: written before each document.
        """
        self._folder = folder
        self._bos = np.array([bos_id], dtype=dtype).tobytes()
        entry = _last_entry(folder / JOURNAL, identity)
        if entry is None or not _holds(folder, entry, dtype):
            entry = None
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            replace_file(folder / JOURNAL, (json.dumps(identity) + "\n").encode())
        self.safe = entry or JournalEntry()
        self._counts = {TRAIN: self.safe.train, VALIDATION: self.safe.val}
        self._lowest, self._highest = self.safe.lowest, self.safe.highest
        sizes = _raw_sizes(self.safe, dtype)
        self._files = {name: (folder / name).open("ab", buffering=1 << 20) for name in sizes}
        for name, size in sizes.items():
            self._files[name].truncate(size)

    def add(self, split: str, tokens: NDArray[Any], text_bytes: int, text_hash: int) -> None:
        """Append a document: BOS, then its tokens."""
        counts = self._counts[split]
        self._files[f"{split}_starts"].write(counts.tokens.to_bytes(8, "little"))
        self._files[f"{split}.bin"].write(self._bos + tokens.tobytes())
        self._counts[split] = SplitCounts(
            counts.documents + 1, counts.tokens + 1 + len(tokens), counts.bytes + text_bytes
        )
        self._lowest, self._highest = min(self._lowest, text_hash), max(self._highest, text_hash)

    def commit(self, place: Place) -> None:
        """Force all files to the disk, then say so in the journal."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        self.safe = JournalEntry(place, self._counts[TRAIN], self._counts[VALIDATION], self._lowest, self._highest)
        with (self._folder / JOURNAL).open("ab") as journal:
            journal.write((json.dumps(self.safe) + "\n").encode())
            journal.flush()
            os.fsync(journal.fileno())

    def close(self) -> None:
        """Close the files as they are."""
        for file in self._files.values():
            # What can't be flushed, on a full disk, lies beyond the journal anyway.
            with suppress(OSError):
                file.close()


def finish(partial: Path, token_bytes: NDArray[np.int32], meta: str) -> None:
    """Turn the raw document starts into arrays and write meta.json, which marks the folder as whole."""
    for split in SPLITS:
        starts = np.fromfile(partial / f"{split}_starts", dtype="<i8")
        _save_array(partial / f"{split}_starts.npy", starts)
    _save_array(partial / "token_bytes.npy", token_bytes)
    replace_file(partial / "meta.json", meta.encode())


def _save_array(path: Path, array: NDArray[Any]) -> None:
    with path.open("wb") as file:
        np.save(file, array)
        file.flush()
        os.fsync(file.fileno())


def publish(partial: Path, directory: Path) -> None:
    """Rename a finished partial folder into place; what was there is removed."""
    for leftover in (JOURNAL, *(f"{split}_starts" for split in SPLITS)):
        (partial / leftover).unlink(missing_ok=True)
    old = directory.with_name(directory.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if directory.exists():
        directory.replace(old)
    partial.replace(directory)
    shutil.rmtree(old, ignore_errors=True)


def _raw_sizes(entry: JournalEntry, dtype: np.dtype[Any]) -> dict[str, int]:
    """The bytes that each file holds at a journal entry."""
    return {
        "train.bin": entry.train.tokens * dtype.itemsize,
        "val.bin": entry.val.tokens * dtype.itemsize,
        "train_starts": entry.train.documents * 8,
        "val_starts": entry.val.documents * 8,
    }


def _holds(folder: Path, entry: JournalEntry, dtype: np.dtype[Any]) -> bool:
    """The files have at least what the journal says; a copy of the folder may lack some."""
    sizes = {path.name: path.stat().st_size for path in folder.iterdir()}
    return all(sizes.get(name, 0) >= size for name, size in _raw_sizes(entry, dtype).items())


def _last_entry(journal: Path, identity: list[Any]) -> JournalEntry | None:
    """The last whole line of a journal with this identity, or None. A line cut short by a kill does not count."""
    try:
        first, *rest = journal.read_bytes().split(b"\n")[:-1]
        if json.loads(first) != identity:
            return None
    except (OSError, ValueError):
        return None
    entry = JournalEntry()
    for line in rest:
        try:
            place, train, val, lowest, highest = json.loads(line)
            entry = JournalEntry(Place(*place), SplitCounts(*train), SplitCounts(*val), lowest, highest)
        except (ValueError, TypeError):
            break
    return entry
