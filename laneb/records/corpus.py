"""The tokenizer and the token shards of a corpus."""

from __future__ import annotations

from laneb.records.base import Record


class TokenizerInfo(Record):
    """A trained tokenizer on disk."""

    timestamp_utc: str
    dataset_id: str
    tokenizer_id: str
    """Hash of the vocabulary and merges, and so of every id that it gives."""
    vocab_size: int
    bos_id: int
    path: str
    """Directory with `tokenizer.json` and `token_bytes.npy`."""
    trained_bytes: int
    bytes_per_token: float

    volatile = frozenset({"timestamp_utc", "path"})


class TokenShards(Record):
    """The tokenized corpus on disk, split into train and validation by document hash."""

    timestamp_utc: str
    dataset_id: str
    tokenizer_id: str
    corpus_fingerprint: str
    """Hash of the text read, the split and the tokenizer: equal fingerprints hold equal tokens."""
    path: str
    train_documents: int
    train_tokens: int
    train_bytes: int
    val_documents: int
    val_tokens: int
    val_bytes: int
    vocab_size: int
    bos_id: int

    volatile = frozenset({"timestamp_utc", "path"})
