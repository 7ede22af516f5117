"""The documents of a corpus: text from the embedded default, from files, or from nanochat's shards, streamed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from laneb.corpus.errors import CorpusError as CorpusError
from laneb.corpus.hashing import content_hashes
from laneb.corpus.readers import read_file
from laneb.corpus.sources import Kind, SourceFile, find_source, reading_order, refuse_outputs
from laneb.records.base import canonical_hash

READING_RULES = 1
"""Part of every fingerprint: raise it when the same files would give other documents."""

HELD_OUT_SHARE = 0.05
"""Of max_bytes, what is kept for the files that are held out as a whole."""


class Place(NamedTuple):
    """How far a corpus has been read."""

    file: int = 0
    """Files of the reading order that are done."""
    position: int = 0
    """Position within the next one (see `Piece`)."""
    read: int = 0
    """UTF-8 bytes of text read so far."""


START = Place()


class Document(NamedTuple):
    """A document and where reading stands after it."""

    text: str
    utf8: bytes
    """The same text, encoded: [bytes]."""
    held_out: bool
    """It comes from a file that is for validation as a whole."""
    after: Place
    share: float
    """Of the whole corpus, how much is read: 0 to 1."""
    name: str
    """The file it comes from."""


@dataclass(frozen=True)
class Corpus:
    """Text on disk. Nothing of it is held in memory; every pass reads the files again."""

    kind: Kind
    dataset_id: str
    """The name that the corpus goes by when the person gives none."""
    sources: tuple[SourceFile, ...]
    text_column: str
    max_bytes: int
    hash_cache: Path | None

    @property
    def files(self) -> tuple[Path, ...]:
        """All files, in the order of their names."""
        return tuple(source.path for source in self.sources)

    @cached_property
    def holds_out_files(self) -> bool:
        """Whole files are for validation, instead of documents by their hash."""
        return any(source.held_out for source in self.sources)

    @cached_property
    def total_bytes(self) -> int:
        """What a pass reads at most: bytes on disk (compressed, where the files are), or max_bytes if that is less."""
        size = sum(source.size for source in self.sources)
        return size if self.max_bytes < 0 else min(size, self.max_bytes)

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the text: names within the corpus, content, and how it is read; not where or when it was made."""
        hashes = content_hashes(self.files, self.hash_cache)
        return canonical_hash(
            {
                "rules": READING_RULES,
                "kind": self.kind,
                "files": [[source.name, digest] for source, digest in zip(self.sources, hashes, strict=True)],
                "text_column": self.text_column,
                "max_bytes": self.max_bytes,
            }
        )

    def documents(self) -> Iterator[str]:
        """Every document's text, in reading order, up to max_bytes of UTF-8; the last one is cut there."""
        return (document.text for document in self.stream())

    def stream(self, after: Place = START) -> Iterator[Document]:
        """The documents from a place on. The same place always goes on with the same document."""
        order = reading_order(self.sources)
        disk_bytes = max(sum(source.size for source in order), 1)
        passed = sum(source.size for source in order[: after.file])
        for index in range(after.file, len(order)):
            position = after.position if index == after.file else 0
            for document in self._stream_file(order[index], Place(index, position, after.read)):
                after = document.after
                share = (passed + document.share * order[index].size) / disk_bytes
                yield document._replace(share=share if self.max_bytes < 0 else max(share, after.read / self.max_bytes))
            passed += order[index].size

    def _stream_file(self, source: SourceFile, after: Place) -> Iterator[Document]:
        index, position, read = after
        limit = self._limit(source)
        if read >= limit or not source.size:
            return
        try:
            for piece in read_file(source.path, text_column=self.text_column, skip=position):
                text, utf8 = _encoded(piece.text)
                room = limit - read
                read = min(read + len(utf8), limit)
                if len(utf8) > room:
                    text = utf8[:room].decode(errors="ignore")
                    utf8 = text.encode()
                if text.strip():
                    place = Place(index, piece.position, read)
                    yield Document(text, utf8, source.held_out, place, piece.share, source.name)
                if read >= limit:
                    return
        except CorpusError:
            # The library's own tests hold files that are broken on purpose.
            if self.kind != "embedded":
                raise

    def _limit(self, source: SourceFile) -> int:
        """UTF-8 bytes after which no more of this file is read."""
        if self.max_bytes < 0:
            return sys.maxsize
        if source.held_out or not self.holds_out_files:
            return self.max_bytes
        return self.max_bytes - max(int(self.max_bytes * HELD_OUT_SHARE), 1)


def _encoded(text: str) -> tuple[str, bytes]:
    """The text and its UTF-8; half a surrogate pair, which JSON can spell, becomes U+FFFD."""
    try:
        return text, text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return text, text.encode()


def open_corpus(
    corpus: str,
    *,
    text_column: str = "text",
    max_bytes: int = -1,
    hash_cache: Path | None = None,
    outputs: Iterable[Path] = (),
) -> Corpus:
    """Find the text that a setting means and read its first document, so that what can't be used shows at once.

    Args:
        corpus: empty for the embedded corpus (the running Python's standard library sources); a file, a folder or a
            glob of .txt, .md, .py, .jsonl and .json.gz (or .zst) of an object a line, .parquet; a folder of nanochat's
            shard_*.parquet, whose last shard is for validation; or a data set's folder as the Hugging Face hub has it,
            whose train and validation files are the splits.
        text_column: parquet column or JSON key that holds the text.
        max_bytes: UTF-8 bytes of text read at most, from files in an order that mixes them; -1: all.
        hash_cache: a JSON file that keeps content hashes, so that a large corpus is hashed once.
        outputs: folders that are written to, which may not lie within the corpus.

    Raises:
        CorpusError: missing, empty, no usable files, a file that was cut or never fetched, or a first document that
            can't be read.
    """
    if max_bytes == 0 or max_bytes < -1:
        raise CorpusError(
            f"LANE_B_CORPUS_MAX_BYTES={max_bytes}: nothing would be read. Give bytes above 0, or -1 for all"
        )
    source = find_source(corpus.strip())
    refuse_outputs(source, outputs)
    found = Corpus(source.kind, source.dataset_id, source.files, text_column, max_bytes, hash_cache)
    if next(found.documents(), None) is None:
        raise CorpusError(
            f"{corpus or 'the embedded corpus'}: holds no text but blanks{_within(max_bytes)}. "
            "Name a corpus that holds text with LANE_B_CORPUS"
        )
    return found


def _within(max_bytes: int) -> str:
    return "" if max_bytes < 0 else f" in its first {max_bytes:,} bytes (LANE_B_CORPUS_MAX_BYTES)"
