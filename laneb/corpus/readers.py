"""The documents of one file, streamed: plain text, Python source, JSON lines, parquet.

Every document comes with the position after it (documents, lines or rows passed, by kind of file), so that reading
can go on from there later, and with the share of the file read so far.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import tokenize
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from laneb.corpus.errors import CorpusError

if TYPE_CHECKING:
    from typing_extensions import Buffer

TEXT_SUFFIXES = (".txt", ".md")
JSON_SUFFIXES = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json.gz", ".json.zst")
"""Of one JSON object a line, as C4 and Dolma name their files too."""
PARQUET = ".parquet"
SUFFIXES = (*TEXT_SUFFIXES, ".py", *JSON_SUFFIXES, PARQUET)

SEPARATOR = "<|endoftext|>"
"""A line of plain text that ends a document, as TinyStories and other published text files have it."""

DOCUMENT_CHARACTERS = 32 * 1024
"""Plain text without separators is cut at the end of a paragraph at about this size, so that one long file still
splits into training and validation, and a file larger than memory streams."""

LONGEST_DOCUMENT = 128 << 20
"""Bytes of one document. It is held in memory several times over; what is longer is a file without line ends, or one
that was packed without being cut into documents."""

_ROWS = 512
_BATCH_BYTES = 32 << 20
_CHUNK = 1 << 17
_ZSTD_CHUNK = 1 << 12
"""Four bytes of Zstandard can stand for 128 KiB: this much input gives 128 MiB at most."""
_ZSTD_WINDOW = 1 << 31
"""The largest that the format's command line writes (--long=31)."""

LFS_POINTER = b"version https://git-lfs.github.com/spec/"


class Piece(NamedTuple):
    """One document of a file."""

    text: str
    position: int
    """Where to go on after it: documents (plain text), lines (JSON) or rows (parquet) passed."""
    share: float
    """Of the file's bytes or rows, how much is read: 0 to 1."""


def suffix_of(path: Path) -> str:
    """The suffix in SUFFIXES that the file name ends in, or "" when there is none."""
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")


def read_file(path: Path, *, text_column: str, skip: int = 0) -> Iterator[Piece]:
    """The documents of a file in order, from position `skip` on.

    Args:
        path: a file whose name ends in one of SUFFIXES.
        text_column: the parquet column or JSON key that holds the text; null values are passed over.
        skip: the `position` of the last document already read.

    Raises:
        CorpusError: the file can't be read or decoded, or has no such column; names file, line and key.
    """
    suffix = suffix_of(path)
    try:
        if suffix in TEXT_SUFFIXES:
            yield from _plain_text(path, skip)
        elif suffix == ".py":
            yield from _python_source(path, skip)
        elif suffix in JSON_SUFFIXES:
            yield from _json_lines(path, suffix, text_column, skip)
        elif suffix == PARQUET:
            yield from _parquet(path, text_column, skip)
        else:
            raise CorpusError(f"{path}: not a kind of file that holds text; allowed: {', '.join(SUFFIXES)}")
    except OSError as error:
        raise CorpusError(f"{path}: can't be read ({error.strerror or error})") from error


def _plain_text(path: Path, skip: int) -> Iterator[Piece]:
    size = max(path.stat().st_size, 1)
    position = 0
    refuse_pointer(path, size)
    try:
        with path.open("rb") as raw, io.TextIOWrapper(raw, encoding="utf-8-sig") as lines:
            for text in _cut(lines):
                position += 1
                if position > skip:
                    yield Piece(text, position, min(raw.tell() / size, 1.0))
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path}:{_first_undecodable_line(path)}: not UTF-8 ({error.reason}). Convert the file to UTF-8"
        ) from error


def _cut(lines: IO[str]) -> Iterator[str]:
    """Join lines to documents: up to a separator, or to about DOCUMENT_CHARACTERS at the end of a paragraph."""
    held: list[str] = []
    size = 0
    while line := lines.readline(DOCUMENT_CHARACTERS):
        separates = line.strip() == SEPARATOR
        if not separates:
            held.append(line)
            size += len(line)
        paragraph_ends = not line.strip() and size >= DOCUMENT_CHARACTERS // 2
        if separates or paragraph_ends or size >= DOCUMENT_CHARACTERS:
            yield "".join(held)
            held, size = [], 0
    if held:
        yield "".join(held)


def _first_undecodable_line(path: Path) -> int:
    decoder, number = codecs.getincrementaldecoder("utf-8")(), 1
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            try:
                number += decoder.decode(block).count("\n")
            except UnicodeDecodeError as error:
                # The error's place is in what was held back from the last block and this one.
                return number + error.object[: error.start].count(b"\n")
    return number


def refuse_pointer(path: Path, size: int) -> None:
    """Raise a CorpusError for what Git LFS leaves where a file was not fetched: a few lines that name it."""
    if size < 1024:
        with path.open("rb") as file:
            if file.read(len(LFS_POINTER)) == LFS_POINTER:
                raise CorpusError(f"{path}: a Git LFS pointer, not the file itself. Fetch it with: git lfs pull")


def _python_source(path: Path, skip: int) -> Iterator[Piece]:
    """A source file is one document, decoded as its coding line says."""
    if skip:
        return
    if path.stat().st_size > LONGEST_DOCUMENT:
        raise _too_long(f"{path}: {path.stat().st_size:,} bytes")
    refuse_pointer(path, path.stat().st_size)
    try:
        with tokenize.open(path) as source:
            yield Piece(source.read(), 1, 1.0)
    except (SyntaxError, LookupError, ValueError) as error:
        raise CorpusError(f"{path}: not UTF-8 and no coding line that says what it is ({error})") from error


def _json_lines(path: Path, suffix: str, text_column: str, skip: int) -> Iterator[Piece]:
    size = max(path.stat().st_size, 1)
    number = skip
    try:
        with path.open("rb") as raw, _decompressed(raw, suffix) as lines:
            for number, line in enumerate(_lines(lines, path), start=1):
                if number > skip and line.strip():
                    text = _json_text(line, f"{path}:{number}", text_column, first=number == 1)
                    if text is not None:
                        yield Piece(text, number, min(raw.tell() / size, 1.0))
    except _decompression_errors(suffix) as error:
        raise CorpusError(f"{path}: broken {suffix} after line {number} ({error}). Fetch it again") from error


def _lines(lines: IO[bytes] | io.BufferedIOBase, path: Path) -> Iterator[bytes]:
    number = 0
    while line := lines.readline(LONGEST_DOCUMENT + 1):
        number += 1
        if len(line) > LONGEST_DOCUMENT:
            raise _too_long(f"{path}:{number}: more than {LONGEST_DOCUMENT >> 20} MiB without a line end")
        yield line


def _too_long(what: str) -> CorpusError:
    return CorpusError(
        f"{what}: a document has {LONGEST_DOCUMENT >> 20} MiB at most. Cut the text into documents, one a line of JSON"
    )


def _json_text(line: bytes, where: str, text_column: str, *, first: bool) -> str | None:
    try:
        record = json.loads(line.decode("utf-8-sig" if first else "utf-8"))
    except UnicodeDecodeError as error:
        raise CorpusError(f"{where}: not UTF-8 ({error.reason} at byte {error.start + 1} of the line)") from error
    except json.JSONDecodeError as error:
        reason = f"{error.msg} at column {error.colno}"
        raise CorpusError(f"{where}: not JSON ({reason}). Each line has to be one JSON object") from error
    except RecursionError as error:
        raise CorpusError(f"{where}: JSON nested too deeply") from error
    except ValueError as error:  # a number of more than 4,300 digits
        raise CorpusError(f"{where}: not JSON that can be read ({error})") from error
    if not isinstance(record, dict):
        raise CorpusError(
            f"{where}: a JSON {type(record).__name__} where an object with the key {text_column!r} belongs"
        )
    if text_column not in record:
        raise CorpusError(f"{where}: no key {text_column!r}; there are {_named(record)}. {_CHOOSE_COLUMN}")
    text = record[text_column]
    if text is not None and not isinstance(text, str):
        raise CorpusError(f"{where}: {text_column!r} holds {type(text).__name__}, not text. {_CHOOSE_COLUMN}")
    return text


_CHOOSE_COLUMN = "Name the one that holds the text with LANE_B_TEXT_COLUMN"


def _named(names: Any) -> str:
    return ", ".join(repr(str(name)) for name in names) or "none"


def _decompressed(raw: IO[bytes], suffix: str) -> IO[bytes] | io.BufferedIOBase:
    if suffix.endswith(".gz"):
        return gzip.GzipFile(fileobj=raw)
    if suffix.endswith(".zst"):
        return io.BufferedReader(_Chunks(_zstandard_chunks(raw)), 1 << 20)
    return raw


def _decompression_errors(suffix: str) -> tuple[type[Exception], ...]:
    if suffix.endswith(".zst"):
        import zstandard

        return (zstandard.ZstdError, EOFError)
    return (EOFError, gzip.BadGzipFile, zlib.error)


def _zstandard_chunks(raw: IO[bytes]) -> Iterator[bytes]:
    """Decompress frame by frame. The library's own stream reader takes a file cut short for a whole one."""
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    frame = decompressor.decompressobj()
    while data := raw.read(_ZSTD_CHUNK):
        while data:
            if frame.eof:
                frame = decompressor.decompressobj()
            yield frame.decompress(data)
            data = frame.unused_data if frame.eof else b""
    if not frame.eof and raw.tell():
        raise EOFError("it ends in the middle of a frame")


class _Chunks(io.RawIOBase):
    """A file-like over an iterator of bytes, so that lines are found in C."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        target = memoryview(buffer)
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _parquet(path: Path, text_column: str, skip: int) -> Iterator[Piece]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        # Buffered reading holds one page of a column chunk at a time, whatever the size of a row group.
        with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
            _check_column(path, file.schema_arrow, text_column)
            rows = max(file.metadata.num_rows, 1)
            groups, position = _groups_after(file.metadata, skip)
            size = _batch_rows(path, file.metadata, text_column)
            for batch in file.iter_batches(size, row_groups=groups, columns=[text_column], use_threads=False):
                for value in batch.column(0).to_pylist():
                    position += 1
                    if position > skip and value is not None:
                        yield Piece(_parquet_text(value, path, position), position, position / rows)
    except (pa.ArrowException, UnicodeDecodeError, OverflowError) as error:
        reason = (str(error).splitlines() or ["no reason given"])[0]
        raise CorpusError(f"{path}: not a readable parquet file ({reason}). Fetch this shard again") from error


def _parquet_text(value: Any, path: Path, row: int) -> str:
    """The text of a cell; bytes, as some libraries write text, are UTF-8."""
    try:
        return value if isinstance(value, str) else bytes(value).decode()
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"{path} row {row}: bytes that are not UTF-8 ({error.reason} at byte {error.start + 1}). {_CHOOSE_COLUMN}"
        ) from error


def _batch_rows(path: Path, metadata: Any, text_column: str) -> int:
    """Rows to read at a time, so that a batch stays small whatever the size of documents."""
    largest = 0.0
    names = [metadata.schema.column(number).path for number in range(metadata.num_columns)]
    column = names.index(text_column) if text_column in names else 0
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        largest = max(largest, group.column(column).total_uncompressed_size / max(group.num_rows, 1))
    if largest > LONGEST_DOCUMENT:
        raise _too_long(f"{path}: {largest:,.0f} bytes a row")
    return max(1, min(_ROWS, int(_BATCH_BYTES / max(largest, 1))))


def _groups_after(metadata: Any, skip: int) -> tuple[list[int], int]:
    """The row groups that hold rows after the first `skip`, and the number of rows before those groups."""
    before = 0
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        if before + rows > skip:
            return list(range(group, metadata.num_row_groups)), before
        before += rows
    return [], before


def _check_column(path: Path, schema: Any, text_column: str) -> None:
    import pyarrow.types as kinds

    if text_column not in schema.names:
        raise CorpusError(f"{path}: no column {text_column!r}; there are {_named(schema.names)}. {_CHOOSE_COLUMN}")
    kind = schema.field(text_column).type
    plain = kind.value_type if kinds.is_dictionary(kind) else kind
    texts = (kinds.is_string, kinds.is_large_string, kinds.is_string_view)
    bytes_ = (kinds.is_binary, kinds.is_large_binary, kinds.is_binary_view)
    if not any(is_kind(plain) for is_kind in (*texts, *bytes_)):
        raise CorpusError(f"{path}: column {text_column!r} holds {kind}, not text. {_CHOOSE_COLUMN}")
