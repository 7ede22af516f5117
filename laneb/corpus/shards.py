"""Token shards: the corpus as token ids on disk, memory-mapped, split into training and validation.

A directory of shards holds, for each split, `<split>.bin` (ids, little-endian, every document behind its BOS) and
`<split>_starts.npy` (int64 [documents]: where each BOS stands), and `token_bytes.npy` and `meta.json` for both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from laneb.corpus.checkout_tokenizer import CHECKOUT_FILE, CheckoutTokenizer, load_checkout_tokenizer
from laneb.corpus.documents import Corpus, Document
from laneb.corpus.errors import CorpusError, Progress
from laneb.corpus.grouping import grouped
from laneb.corpus.shard_writer import META, TRAIN, VALIDATION, JournalEntry, ShardWriter, finish, publish
from laneb.corpus.tokenizer import Tokenizer, load_tokenizer, token_dtype
from laneb.records.base import DamagedError, canonical_hash, unsealed_json, utc_now
from laneb.records.corpus import TokenizerInfo, TokenShards
from laneb.storage.atomic import remedy
from laneb.storage.checksums import FILES, mismatch

SHARD_RULES = 1
"""Part of every shard fingerprint: raise it when the same text and tokenizer would give other shards."""

_HASHES = 2**64
_BATCH_BYTES = 1 << 20


@dataclass(frozen=True)
class Split:
    """One split's tokens and documents."""

    tokens: np.memmap[Any, np.dtype[Any]]
    """uint16 or uint32 [tokens], read-only."""
    document_starts: NDArray[np.int64]
    """[documents]: the position of each document's BOS, rising from 0."""


@dataclass(frozen=True)
class Shards:
    """Token shards on disk, opened."""

    train: Split
    val: Split
    token_bytes: NDArray[np.int32]
    """[vocab]: UTF-8 bytes per token, 0 for BOS."""
    info: TokenShards


def shards_fingerprint(corpus: Corpus, tokenizer_id: str, validation_share: float) -> str:
    """Identity of the shards that this text, tokenizer and split give; reads no text but for the content hashes."""
    share = None if corpus.holds_out_files else validation_share
    return canonical_hash(["shards", SHARD_RULES, corpus.fingerprint, tokenizer_id, share])


def build_shards(
    corpus: Corpus,
    tokenizer_info: TokenizerInfo,
    directory: Path,
    *,
    validation_share: float,
    progress: Progress | None = None,
    journal_bytes: int = 16 << 20,
) -> TokenShards:
    """Tokenize a corpus into `directory`, or return what is there if it already holds the same.

    Streams: memory does not grow with the corpus. A build that was killed goes on from its journal in
    `<directory>.partial`; a second process that builds the same waits for the first.

    Args:
        corpus: the text.
        tokenizer_info: a trained tokenizer; its `path` is where it is loaded from.
        directory: replaced if it holds other shards.
        validation_share: the chance of a document to be held out, decided by a hash of its text, so that equal
            documents are never on both sides. Unused where whole files are held out (nanochat's last shard).
        progress: called with bytes of the corpus done and in all, and what is being read.
        journal_bytes: text between two lines of the journal [bytes]: what a kill can cost at most.

    Raises:
        CorpusError: text that can't be read, fewer than two different documents, or a directory that can't be written.
    """
    fingerprint = shards_fingerprint(corpus, tokenizer_info.tokenizer_id, validation_share)
    build = _Build(corpus, tokenizer_info, directory, fingerprint, progress, journal_bytes)
    try:
        if stored_shards(directory, fingerprint) is None:
            directory.parent.mkdir(parents=True, exist_ok=True)
            with _only_builder(directory, progress):
                build.publish_once(validation_share)
    except OSError as error:
        raise _unwritable(directory, error) from error
    # Shards are shared by experiments that may call the same text by other names.
    return open_shards(directory).info.model_copy(update={"dataset_id": tokenizer_info.dataset_id})


def _unwritable(directory: Path, error: OSError, wanted: float | None = None) -> CorpusError:
    return CorpusError(
        f"{directory}: can't write token shards ({error.strerror or error}). {remedy(error, wanted)}; what is done is "
        "kept"
    )


@contextmanager
def _only_builder(directory: Path, progress: Progress | None) -> Iterator[None]:
    """Hold the lock on a directory, which the system frees when its holder dies."""
    from filelock import FileLock, Timeout

    lock = FileLock(directory.with_name(directory.name + ".lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if progress:
            progress(0, 1, "waiting for another process that builds these shards")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@dataclass(frozen=True)
class _Build:
    """One build of a directory."""

    corpus: Corpus
    tokenizer_info: TokenizerInfo
    directory: Path
    fingerprint: str
    progress: Progress | None
    journal_bytes: int

    @cached_property
    def tokenizer(self) -> Tokenizer | CheckoutTokenizer:
        directory = Path(self.tokenizer_info.path)
        if (directory / CHECKOUT_FILE).is_file():
            return load_checkout_tokenizer(directory)
        return load_tokenizer(directory)

    @property
    def partial(self) -> Path:
        return self.directory.with_name(self.directory.name + ".partial")

    def publish_once(self, validation_share: float) -> None:
        """Build, unless another process did while this one waited, or a build was killed before it was renamed."""
        if stored_shards(self.directory, self.fingerprint) is None:
            if stored_shards(self.partial, self.fingerprint) is None:
                self.run(validation_share)
            publish(self.partial, self.directory)

    def run(self, validation_share: float) -> None:
        """Tokenize what is still missing, split it, and mark the folder as whole."""
        counts = self._tokenize(int(validation_share * _HASHES))
        if not self.corpus.holds_out_files:
            counts = self._both_splits(counts)
        for name, split in (("training", counts.train), ("validation", counts.val)):
            if not split.documents:
                raise CorpusError(f"{self.corpus.dataset_id}: the {name} shards hold no text. Download more of them")
        info = TokenShards(
            timestamp_utc=utc_now(),
            dataset_id=self.tokenizer_info.dataset_id,
            tokenizer_id=self.tokenizer_info.tokenizer_id,
            corpus_fingerprint=self.fingerprint,
            path=".",
            train_documents=counts.train.documents,
            train_tokens=counts.train.tokens,
            train_bytes=counts.train.bytes,
            val_documents=counts.val.documents,
            val_tokens=counts.val.tokens,
            val_bytes=counts.val.bytes,
            vocab_size=self.tokenizer.vocab_size,
            bos_id=self.tokenizer.bos_id,
        )
        meta = {**info.model_dump(mode="json"), "dtype": token_dtype(info.vocab_size).name}
        finish(self.partial, self.tokenizer.token_bytes, meta)

    def _both_splits(self, counts: JournalEntry) -> JournalEntry:
        """Of few documents, chance may hold out none or all: then the lowest hash, or all but the highest, is."""
        documents = counts.train.documents + counts.val.documents
        if documents < 2 or counts.lowest == counts.highest:
            several = f"{documents} times the same document" if documents > 1 else "one document"
            raise CorpusError(
                f"{self.corpus.dataset_id}: {several}, but at least two different ones are needed: one to train on, "
                "one to validate on. Give more text, or separate documents in a text file by lines of <|endoftext|>"
            )
        if not counts.val.documents:
            return self._tokenize(counts.lowest + 1)
        if not counts.train.documents:
            return self._tokenize(counts.highest)
        return counts

    def _tokenize(self, threshold: int) -> JournalEntry:
        """Append every document that the journal doesn't yet have; what it has in the end."""
        dtype = token_dtype(self.tokenizer.vocab_size)
        writer = ShardWriter(self.partial, [self.fingerprint, threshold], dtype, self.tokenizer.bos_id)
        total = self.corpus.total_bytes
        last: Document | None = None
        try:
            documents = self.corpus.stream(writer.safe.place)
            for batch in grouped(documents, _utf8_bytes, min(_BATCH_BYTES, self.journal_bytes)):
                last = batch[-1]
                self._append(writer, batch, threshold)
                if last.after.read - writer.safe.place.read >= self.journal_bytes:
                    writer.commit(last.after)
                if self.progress:
                    self.progress(int(last.share * total), total, f"tokenizing {last.name}")
            if last is not None:
                writer.commit(last.after)
        except OSError as error:
            wanted = writer.size / last.share - writer.safe_size if last is not None and last.share else None
            raise _unwritable(self.directory, error, wanted) from error
        finally:
            writer.close()
        return writer.safe

    def _append(self, writer: ShardWriter, batch: list[Document], threshold: int) -> None:
        encoded = self.tokenizer.encode_batch([document.text for document in batch])
        for document, tokens in zip(batch, encoded, strict=True):
            text_hash = document_hash(document.utf8)
            held_out = document.held_out if self.corpus.holds_out_files else text_hash < threshold
            writer.add(VALIDATION if held_out else TRAIN, tokens, len(document.utf8), text_hash)


def _utf8_bytes(document: Document) -> int:
    return len(document.utf8)


def document_hash(utf8: bytes) -> int:
    """The hash that decides a document's split: 0 to 2^64 - 1."""
    return int.from_bytes(hashlib.blake2b(utf8, digest_size=8).digest(), "big")


def stored_shards(directory: Path, fingerprint: str) -> TokenShards | None:
    """The record of shards that are complete in `directory` and have this fingerprint, or None."""
    try:
        info = open_shards(directory).info
    except CorpusError:
        return None
    return info if info.corpus_fingerprint == fingerprint else None


def open_shards(path: str | Path) -> Shards:
    """Map token shards, when every file is proved to be what was written: once per process and state of the file.

    Raises:
        CorpusError: there are none, or they are not whole.
    """
    directory = Path(path)
    try:
        meta = unsealed_json((directory / META).read_text(encoding="utf-8"))
        damage = mismatch(directory, meta.get(FILES, {}))
        if damage:
            raise DamagedError(damage)
        info = TokenShards.model_validate(meta).model_copy(update={"path": str(directory)})
        dtype = token_dtype(info.vocab_size)
        train = _open_split(directory, TRAIN, dtype, info.train_tokens, info.train_documents)
        val = _open_split(directory, VALIDATION, dtype, info.val_tokens, info.val_documents)
        token_bytes = np.load(directory / "token_bytes.npy")
    except FileNotFoundError as error:
        raise CorpusError(f"{error.filename}: no token shards there. `laneb run` makes them") from error
    except (OSError, ValueError, EOFError, KeyError, TypeError) as error:
        raise CorpusError(f"{directory}: broken token shards ({error}). `laneb run` makes them again") from error
    return Shards(train, val, token_bytes, info)


def _open_split(directory: Path, split: str, dtype: np.dtype[Any], tokens: int, documents: int) -> Split:
    file = directory / f"{split}.bin"
    size = file.stat().st_size
    if size != tokens * dtype.itemsize:
        raise ValueError(f"{file.name} has {size:,} bytes where {tokens * dtype.itemsize:,} belong")
    starts: NDArray[np.int64] = np.load(directory / f"{split}_starts.npy", mmap_mode="r")
    if starts.shape != (documents,):
        raise ValueError(f"{split}_starts.npy has {len(starts):,} documents where {documents:,} belong")
    return Split(np.memmap(file, dtype=dtype, mode="r"), starts)
