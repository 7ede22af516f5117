"""A byte-level BPE tokenizer, trained on the corpus: every text encodes, and every token is a number of bytes.

The split into words follows GPT-4's idea, with digits in pairs as nanochat has them: a small vocabulary should not
go to numbers.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from laneb.corpus.documents import Corpus
from laneb.corpus.errors import CorpusError, Progress
from laneb.corpus.grouping import grouped
from laneb.records.base import DamagedError, canonical_hash, sealed_json, unsealed_json, utc_now
from laneb.records.corpus import TokenizerInfo
from laneb.storage.atomic import remedy, replace_file
from laneb.storage.checksums import FILES, listed, mismatch

if TYPE_CHECKING:
    import tokenizers

BOS = "<|bos|>"
"""Begins every document. In a text it is ordinary characters, so that no text can forge it."""

SPLIT_PATTERN = "|".join(
    (
        r"'(?i:[sdmt]|ll|ve|re)",  # English contractions
        r"[^\r\n\p{L}\p{N}]?\p{L}+",  # a word, with the blank or mark before it
        r"\p{N}{1,2}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",  # punctuation, up to the end of its line
        r"\s*[\r\n]+",
        r"\s+(?!\S)",  # blanks, but the last before a word: that belongs to the word
        r"\s+",
    )
)

MIN_VOCAB_SIZE = 257
"""The 256 bytes and BOS."""

TRAINING_RULES = 1
"""Part of a tokenizer's fingerprint: raise it when the same text would give another tokenizer."""

LONGEST_WORD = 1024
"""Characters: a longer run of letters, marks or blanks is learned from in parts of this size. Training looks through a
whole word for each of its merges, so that a megabyte of DNA would take minutes. No prose has such a word."""

_PIECE_CHARACTERS = 64 * 1024
_MANY_BLANKS = re.compile(rf"\s{{{LONGEST_WORD + 1}}}")
_CALL_CHARACTERS = 2 << 20
_SAMPLE_BYTES = 1_000_000
_FILES, _INFO = ("tokenizer.json", "token_bytes.npy"), "info.json"


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """The smallest little-endian dtype that holds every id: uint16 up to 65,536 tokens, else uint32."""
    return np.dtype("<u2" if vocab_size <= 2**16 else "<u4")


def tokenizer_fingerprint(corpus: Corpus, vocab_size: int, max_bytes: int) -> str:
    """Identity of the tokenizer that this text and these settings give; reads no text but for the content hashes."""
    return canonical_hash(["tokenizer", TRAINING_RULES, SPLIT_PATTERN, corpus.fingerprint, vocab_size, max_bytes])


@dataclass(frozen=True)
class Tokenizer:
    """A trained tokenizer. Text in, ids out, and back."""

    model: tokenizers.Tokenizer
    token_bytes: NDArray[np.int32]
    """[vocab]: UTF-8 bytes that each token stands for; 0 for BOS, which stands for none."""

    @cached_property
    def vocab_size(self) -> int:
        """Tokens, BOS included."""
        return len(self.token_bytes)

    @cached_property
    def bos_id(self) -> int:
        """The id that begins every document."""
        token = self.model.token_to_id(BOS)
        if token is None:
            raise CorpusError(f"the tokenizer has no {BOS}")
        return token

    def encode_batch(self, texts: Sequence[str]) -> list[NDArray[Any]]:
        """The ids of each text, without BOS, on all cores.

        Returns:
            One array per text: uint16 [tokens] (uint32 above 65,536 tokens in the vocabulary).
        """
        pieces = [list(split_text(text)) for text in texts]
        encoded = self._encode(piece for of_text in pieces for piece in of_text)
        return [self._joined([next(encoded) for _ in of_text]) for of_text in pieces]

    def _encode(self, pieces: Iterable[str]) -> Iterator[NDArray[Any]]:
        """Encode a few MB at a time: the library holds about 100 bytes per token while it does."""
        dtype = token_dtype(self.vocab_size)
        for group in grouped(pieces, len, _CALL_CHARACTERS):
            for encoding in self.model.encode_batch_fast(group, add_special_tokens=False):
                yield np.array(encoding.ids, dtype=dtype)

    def _joined(self, arrays: list[NDArray[Any]]) -> NDArray[Any]:
        if len(arrays) == 1:
            return arrays[0]
        return np.concatenate(arrays) if arrays else np.empty(0, dtype=token_dtype(self.vocab_size))

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids. Bytes that are no UTF-8 (ids cut within a character) become U+FFFD."""
        return str(self.model.decode([int(token) for token in ids], skip_special_tokens=False))


def split_text(text: str, characters: int = _PIECE_CHARACTERS) -> Iterator[str]:
    """Cut a long text where no token can span: after a newline that no blank follows. Joined, the pieces are the text.

    Parallel encoding and bounded memory need pieces of similar size. Where a text has no such place for twice
    `characters`, it is cut anyway, at the cost of one token more.
    """
    start = 0
    while len(text) - start > 2 * characters:
        cut = _token_boundary(text, start + characters, start + 2 * characters)
        yield text[start:cut]
        start = cut
    if start < len(text):
        yield text[start:]


def _token_boundary(text: str, low: int, high: int) -> int:
    place = text.find("\n", low, high - 1)
    while place >= 0:
        if not text[place + 1].isspace():
            return place + 1
        place = text.find("\n", place + 1, high - 1)
    return high


def train_tokenizer(
    documents: Iterable[str],
    vocab_size: int,
    *,
    max_bytes: int,
    directory: Path,
    dataset_id: str,
    progress: Progress | None = None,
) -> TokenizerInfo:
    """Train byte-level BPE and write tokenizer.json, token_bytes.npy and info.json into `directory`.

    The same documents give the same tokenizer, whatever the number of cores.

    Args:
        documents: text, read once and only as far as needed.
        vocab_size: tokens, BOS and the 256 bytes included.
        max_bytes: UTF-8 bytes to learn from at most.
        directory: made when it isn't there; its files are replaced one by one, info.json last.
        dataset_id: name in the record.
        progress: called while text is read.

    Raises:
        CorpusError: the text can't fill the vocabulary (says how many tokens it allows), or there is none.
    """
    from tokenizers import trainers
    from tokenizers.pre_tokenizers import ByteLevel

    if vocab_size < MIN_VOCAB_SIZE:
        raise CorpusError(f"LANE_B_VOCAB_SIZE={vocab_size}: at least {MIN_VOCAB_SIZE}, the 256 bytes and {BOS}")
    model = _untrained()
    text = _TrainingText(documents, max_bytes, progress)
    # A merge that was seen once names one place, not a pattern.
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=[BOS],
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    model.train_from_iterator(text, trainer)
    tokenizer = _ready(model)
    _check_filled(tokenizer.vocab_size, vocab_size, text.bytes, dataset_id)
    info = TokenizerInfo(
        timestamp_utc=utc_now(),
        dataset_id=dataset_id,
        tokenizer_id=_identity(model),
        vocab_size=tokenizer.vocab_size,
        bos_id=tokenizer.bos_id,
        path=str(directory),
        trained_bytes=text.bytes,
        bytes_per_token=round(text.sample_bytes / sum(map(len, tokenizer.encode_batch(text.sample))), 6),
    )
    _write(directory, tokenizer, info)
    return info


class _TrainingText:
    """The pieces to learn from; counts their bytes, and keeps the first to measure bytes per token on."""

    def __init__(self, documents: Iterable[str], max_bytes: int, progress: Progress | None) -> None:
        self.bytes = 0
        self.sample: list[str] = []
        self.sample_bytes = 0
        self._documents = documents
        self._max_bytes = max_bytes
        self._progress = progress

    def __iter__(self) -> Iterator[str]:
        for document in self._documents:
            for piece in split_text(document):
                utf8 = piece.encode()[: self._max_bytes - self.bytes]
                text = utf8.decode(errors="ignore")
                self.bytes += len(utf8)
                if self.sample_bytes < _SAMPLE_BYTES and text:
                    self.sample.append(text)
                    self.sample_bytes += len(utf8)
                yield from _with_short_words(text)
                if self.bytes >= self._max_bytes:
                    return
            if self._progress:
                self._progress(self.bytes, self._max_bytes, "reading text for the tokenizer")


def _with_short_words(text: str) -> Iterator[str]:
    """The text, cut within words longer than LONGEST_WORD: as it is, where there are none."""
    if max(map(len, text.split()), default=0) <= LONGEST_WORD and not _MANY_BLANKS.search(text):
        yield text
        return
    start = 0
    for _, (begin, end) in _words().pre_tokenize_str(text):
        if end - begin > LONGEST_WORD:
            if begin > start:
                yield text[start:begin]
            yield from (text[place : min(place + LONGEST_WORD, end)] for place in range(begin, end, LONGEST_WORD))
            start = end
    if start < len(text):
        yield text[start:]


def _words() -> Any:
    from tokenizers import Regex
    from tokenizers.pre_tokenizers import Split

    return Split(Regex(SPLIT_PATTERN), "isolated")


def _untrained() -> tokenizers.Tokenizer:
    from tokenizers import Tokenizer, decoders, models
    from tokenizers.pre_tokenizers import ByteLevel, Sequence

    model = Tokenizer(models.BPE())
    model.pre_tokenizer = Sequence([_words(), ByteLevel(add_prefix_space=False, use_regex=False)])
    model.decoder = decoders.ByteLevel()
    return model


def _ready(model: tokenizers.Tokenizer) -> Tokenizer:
    model.encode_special_tokens = True
    by_id = sorted(model.get_vocab().items(), key=lambda item: item[1])
    # Byte-level BPE spells a token with one character per byte.
    token_bytes = np.array([0 if token == BOS else len(token) for token, _ in by_id], dtype=np.int32)
    return Tokenizer(model, token_bytes)


def _check_filled(filled: int, wanted: int, text_bytes: int, dataset_id: str) -> None:
    if not text_bytes:
        raise CorpusError(f"{dataset_id}: no text to train a tokenizer on. Name a corpus with LANE_B_CORPUS")
    if filled < wanted:
        raise CorpusError(
            f"LANE_B_VOCAB_SIZE={wanted}: the vocabulary is larger than the text allows; {text_bytes:,} bytes of "
            f"{dataset_id} give {filled} tokens. Set LANE_B_VOCAB_SIZE to {filled} or less, or give more text "
            f"(LANE_B_CORPUS, LANE_B_CORPUS_MAX_BYTES, LANE_B_TOKENIZER_BYTES)"
        )


def _identity(model: tokenizers.Tokenizer) -> str:
    """Hash of what decides the ids; the file's layout, which changes with the library's version, is left out."""
    bpe = json.loads(model.to_str())["model"]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in bpe["merges"]]
    return canonical_hash([SPLIT_PATTERN, sorted(bpe["vocab"].items(), key=lambda item: item[1]), merges])


def _write(directory: Path, tokenizer: Tokenizer, info: TokenizerInfo) -> None:
    array = io.BytesIO()
    np.save(array, tokenizer.token_bytes)
    contents = (tokenizer.model.to_str().encode(), array.getvalue())
    size = sum(map(len, contents))
    try:
        for name, content in zip(_FILES, contents, strict=True):
            replace_file(directory / name, content)
        record = {**info.model_dump(mode="json"), "path": ".", FILES: listed(directory, _FILES)}
        replace_file(directory / _INFO, sealed_json(record).encode())
    except OSError as error:
        raise CorpusError(
            f"{directory}: can't write the tokenizer ({error.strerror}). {remedy(error, size)}"
        ) from error


def stored_tokenizer(directory: Path) -> TokenizerInfo | None:
    """The record of a tokenizer that is whole in `directory`, or None."""
    try:
        text = (directory / _INFO).read_text(encoding="utf-8")
        info = TokenizerInfo.from_json(text)
        whole = not mismatch(directory, unsealed_json(text).get(FILES, {}))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    complete = whole and all((directory / name).is_file() for name in _FILES)
    return info.model_copy(update={"path": str(directory)}) if complete else None


def load_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer in a directory that `train_tokenizer` wrote.

    Raises:
        CorpusError: it isn't there, or is not what was written.
    """
    import tokenizers

    directory = Path(path)
    file = directory / "tokenizer.json"
    if not file.is_file():
        raise CorpusError(f"{file}: no tokenizer there. `laneb run` makes it")
    try:
        if (directory / _INFO).is_file():
            damage = mismatch(directory, unsealed_json((directory / _INFO).read_text(encoding="utf-8")).get(FILES, {}))
            if damage:
                raise DamagedError(damage)
        tokenizer = _ready(tokenizers.Tokenizer.from_file(str(file)))
        tokenizer.bos_id  # noqa: B018 - a file without BOS fails here
    except Exception as error:  # the library raises plain Exception
        raise CorpusError(f"{file}: not a tokenizer of ours ({error}). `laneb run` makes it again") from error
    return tokenizer
