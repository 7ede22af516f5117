"""Token shards: the corpus as token ids on disk, memory-mapped, split into training and validation.

A directory of shards holds, for each split, `<split>.bin` (ids, little-endian, every document behind its BOS) and
`<split>_starts.npy` (int64 [documents]: where each BOS stands), and `token_bytes.npy` and `meta.json` for both.
"""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from laneb.corpus.documents import Corpus, Document
from laneb.corpus.errors import CorpusError, Progress
from laneb.corpus.shard_writer import TRAIN, VALIDATION, JournalEntry, ShardWriter, finish, publish
from laneb.corpus.tokenizer import Tokenizer, load_tokenizer, token_dtype
from laneb.records.base import canonical_hash, utc_now
from laneb.records.corpus import TokenizerInfo, TokenShards

if TYPE_CHECKING:
    from filelock import BaseFileLock

SHARD_RULES = 1
"""Part of every shard fingerprint: raise it when the same text and tokenizer would give other shards."""

_HASHES = 2**64
_BATCH_BYTES = 1 << 20
_JOURNAL_BYTES = 16 << 20


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

    Raises:
        CorpusError: text that can't be read, fewer than two different documents, or a directory that can't be written.
    """
    fingerprint = shards_fingerprint(corpus, tokenizer_info.tokenizer_id, validation_share)
    if (existing := stored_shards(directory, fingerprint)) is not None:
        return existing
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with _only_builder(directory):
            if (existing := stored_shards(directory, fingerprint)) is not None:
                return existing
            partial = directory.with_name(directory.name + ".partial")
            if stored_shards(partial, fingerprint) is None:
                _build(corpus, tokenizer_info, partial, fingerprint, validation_share, progress)
            publish(partial, directory)
    except OSError as error:
        advice = "Free some space" if error.errno == errno.ENOSPC else "Make it writable or name another place"
        raise CorpusError(
            f"{directory}: can't write token shards ({error.strerror or error}). {advice}; what is done is kept"
        ) from error
    return open_shards(directory).info


def _only_builder(directory: Path) -> BaseFileLock:
    from filelock import FileLock

    return FileLock(directory.with_name(directory.name + ".lock"))


def _build(
    corpus: Corpus,
    tokenizer_info: TokenizerInfo,
    partial: Path,
    fingerprint: str,
    validation_share: float,
    progress: Progress | None,
) -> None:
    tokenizer = load_tokenizer(tokenizer_info.path)
    threshold = int(validation_share * _HASHES)
    counts = _tokenize(corpus, tokenizer, partial, fingerprint, threshold, progress)
    if not corpus.holds_out_files and not (counts.train.documents and counts.val.documents):
        # Of few documents, chance may hold out none or all: then it is the one with the lowest hash, or all but one.
        threshold = counts.lowest + 1 if not counts.val.documents else counts.highest
        if counts.lowest < counts.highest:
            counts = _tokenize(corpus, tokenizer, partial, fingerprint, threshold, progress)
    _check_both_splits(corpus, counts)
    info = TokenShards(
        timestamp_utc=utc_now(),
        dataset_id=tokenizer_info.dataset_id,
        tokenizer_id=tokenizer_info.tokenizer_id,
        corpus_fingerprint=fingerprint,
        path=str(partial),
        train_documents=counts.train.documents,
        train_tokens=counts.train.tokens,
        train_bytes=counts.train.bytes,
        val_documents=counts.val.documents,
        val_tokens=counts.val.tokens,
        val_bytes=counts.val.bytes,
        vocab_size=tokenizer.vocab_size,
        bos_id=tokenizer.bos_id,
    )
    dtype = token_dtype(tokenizer.vocab_size)
    meta = {**info.model_dump(mode="json"), "dtype": dtype.name}
    finish(partial, tokenizer.token_bytes, json.dumps(meta, indent=2, sort_keys=True) + "\n")


def _tokenize(
    corpus: Corpus, tokenizer: Tokenizer, partial: Path, fingerprint: str, threshold: int, progress: Progress | None
) -> JournalEntry:
    """Append every document that the journal doesn't yet have; what it has in the end."""
    writer = ShardWriter(partial, [fingerprint, threshold], token_dtype(tokenizer.vocab_size), tokenizer.bos_id)
    last: Document | None = None
    try:
        for batch in _batches(corpus.stream(writer.safe.place)):
            encoded = tokenizer.encode_batch([document.text for document in batch])
            for document, tokens in zip(batch, encoded, strict=True):
                text_hash = document_hash(document.utf8)
                held_out = document.held_out if corpus.holds_out_files else text_hash < threshold
                writer.add(VALIDATION if held_out else TRAIN, tokens, len(document.utf8), text_hash)
            last = batch[-1]
            if last.after.read - writer.safe.place.read >= _JOURNAL_BYTES:
                writer.commit(last.after)
            if progress:
                progress(int(last.share * corpus.total_bytes), corpus.total_bytes, f"tokenizing {last.name}")
        if last is not None:
            writer.commit(last.after)
    finally:
        writer.close()
    return writer.safe


def document_hash(utf8: bytes) -> int:
    """The hash that decides a document's split: 0 to 2^64 - 1."""
    return int.from_bytes(hashlib.blake2b(utf8, digest_size=8).digest(), "big")


def _batches(documents: Iterator[Document]) -> Iterator[list[Document]]:
    """Documents together until they are worth a parallel call, few enough to hold."""
    batch: list[Document] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document.utf8)
        if size >= _BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _check_both_splits(corpus: Corpus, counts: JournalEntry) -> None:
    documents = counts.train.documents + counts.val.documents
    if not corpus.holds_out_files and (documents < 2 or counts.lowest == counts.highest):
        several = f"{documents} times the same document" if documents > 1 else "one document"
        raise CorpusError(
            f"{corpus.dataset_id}: {several}, but at least two different ones are needed: one to train on, one to "
            "validate on. Give more files, or separate the documents of a text file with lines of <|endoftext|>"
        )
    for name, split in (("training", counts.train), ("validation", counts.val)):
        if not split.documents:
            raise CorpusError(f"{corpus.dataset_id}: the {name} shards hold no text. Download more of them")


def stored_shards(directory: Path, fingerprint: str) -> TokenShards | None:
    """The record of shards that are complete in `directory` and have this fingerprint, or None."""
    try:
        info = open_shards(directory).info
    except CorpusError:
        return None
    return info if info.corpus_fingerprint == fingerprint else None


def open_shards(path: str | Path) -> Shards:
    """Map token shards; nothing is read until it is used.

    Raises:
        CorpusError: there are none, or they are not whole.
    """
    directory = Path(path)
    try:
        meta = json.loads((directory / "meta.json").read_text(encoding="utf-8"))
        info = TokenShards.model_validate(meta).model_copy(update={"path": str(directory)})
        dtype = token_dtype(info.vocab_size)
        train = _open_split(directory, TRAIN, dtype, info.train_tokens, info.train_documents)
        val = _open_split(directory, VALIDATION, dtype, info.val_tokens, info.val_documents)
        token_bytes = np.load(directory / "token_bytes.npy")
    except FileNotFoundError as error:
        raise CorpusError(f"{error.filename}: no token shards there. Materialize the token shards") from error
    except (OSError, ValueError, EOFError) as error:
        raise CorpusError(
            f"{directory}: broken token shards ({error}). Delete the folder to build them again"
        ) from error
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
