"""Token shards while they are written: tokens appended, a journal of what is safe on the disk, then published whole.

A folder `<name>.partial` holds the files until all is done. After each stretch of text the files are forced to the
disk and a line is added to the journal; a build that was killed goes on from the last line up to which the files are
what was written, and what lies beyond it in the files is cut off. One process builds at a time.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import xxhash
from numpy.typing import NDArray

from laneb.corpus.documents import Place
from laneb.records.base import canonical_hash, sealed_json
from laneb.storage.atomic import replace_file
from laneb.storage.checksums import FILES, listed

TRAIN, VALIDATION = "train", "val"
SPLITS = (TRAIN, VALIDATION)
JOURNAL, META = "journal.jsonl", "meta.json"
SHARD_FILES = (*(f"{split}{end}" for split in SPLITS for end in (".bin", "_starts.npy")), "token_bytes.npy")
"""What meta.json lists with their checksums."""


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
        self._folder, self._dtype = folder, dtype
        self._bos = np.array([bos_id], dtype=dtype).tobytes()
        entry = _last_whole_entry(folder, identity, dtype)
        if entry is None:
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
        self._digests = {name: xxhash.xxh3_128() for name in sizes}

    def add(self, split: str, tokens: NDArray[Any], text_bytes: int, text_hash: int) -> None:
        """Append a document: BOS, then its tokens."""
        counts = self._counts[split]
        self._write(f"{split}_starts", counts.tokens.to_bytes(8, "little"))
        self._write(f"{split}.bin", self._bos + tokens.tobytes())
        self._counts[split] = SplitCounts(
            counts.documents + 1, counts.tokens + 1 + len(tokens), counts.bytes + text_bytes
        )
        self._lowest, self._highest = min(self._lowest, text_hash), max(self._highest, text_hash)

    @property
    def size(self) -> int:
        """What the files hold, with what waits to be written [bytes]."""
        return sum(
            _raw_sizes(JournalEntry(train=self._counts[TRAIN], val=self._counts[VALIDATION]), self._dtype).values()
        )

    @property
    def safe_size(self) -> int:
        """What of it is safe on the disk [bytes]."""
        return sum(_raw_sizes(self.safe, self._dtype).values())

    def _write(self, name: str, data: bytes) -> None:
        self._files[name].write(data)
        self._digests[name].update(data)

    def commit(self, place: Place) -> None:
        """Force all files to the disk, then say so in the journal."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        self.safe = JournalEntry(place, self._counts[TRAIN], self._counts[VALIDATION], self._lowest, self._highest)
        line = [*self.safe, _line_checksum(self.safe, self._digests)]
        with (self._folder / JOURNAL).open("ab") as journal:
            journal.write((json.dumps(line) + "\n").encode())
            journal.flush()
            os.fsync(journal.fileno())
        for digest in self._digests.values():
            digest.reset()

    def close(self) -> None:
        """Close the files as they are."""
        for file in self._files.values():
            # What can't be flushed, on a full disk, lies beyond the journal anyway.
            with suppress(OSError):
                file.close()


def finish(partial: Path, token_bytes: NDArray[np.int32], meta: dict[str, Any]) -> None:
    """Turn the raw document starts into arrays and write meta.json with all checksums, which marks the folder as whole.

    Raises:
        OSError: the disk is full or not writable.
    """
    for split in SPLITS:
        starts = np.fromfile(partial / f"{split}_starts", dtype="<i8")
        _save_array(partial / f"{split}_starts.npy", starts)
    _save_array(partial / "token_bytes.npy", token_bytes)
    replace_file(partial / META, sealed_json({**meta, FILES: listed(partial, SHARD_FILES)}).encode())


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


def _line_checksum(entry: JournalEntry, written: Mapping[str, xxhash.xxh3_128]) -> str:
    """Of a journal line: what it says, and what was written to each file since the line before."""
    return canonical_hash([list(entry), {name: digest.hexdigest() for name, digest in written.items()}])


def _last_whole_entry(folder: Path, identity: list[Any], dtype: np.dtype[Any]) -> JournalEntry | None:
    """The last entry of a journal up to which the files are what was written; None for another identity.

    A line cut short by a kill does not count, nor what follows a stretch that rotted or is missing in a copy.
    """
    try:
        first, *rest = (folder / JOURNAL).read_bytes().split(b"\n")[:-1]
        if json.loads(first) != identity:
            return None
        with ExitStack() as stack:
            names = _raw_sizes(JournalEntry(), dtype)
            files = {name: stack.enter_context((folder / name).open("rb")) for name in names}
            return _verified(rest, files, dtype)
    except (OSError, ValueError):
        return None


def _verified(lines: Iterable[bytes], files: Mapping[str, IO[bytes]], dtype: np.dtype[Any]) -> JournalEntry:
    entry = JournalEntry()
    for line in lines:
        try:
            place, train, val, lowest, highest, said = json.loads(line)
            after = JournalEntry(Place(*place), SplitCounts(*train), SplitCounts(*val), lowest, highest)
            sizes, before = _raw_sizes(after, dtype), _raw_sizes(entry, dtype)
            read = {name: _digest_of(file, sizes[name] - before[name]) for name, file in files.items()}
        except (ValueError, TypeError):
            break
        if _line_checksum(after, read) != said:
            break
        entry = after
    return entry


def _digest_of(file: IO[bytes], size: int) -> xxhash.xxh3_128:
    digest = xxhash.xxh3_128()
    while size > 0 and (block := file.read(min(size, 1 << 20))):
        digest.update(block)
        size -= len(block)
    return digest
