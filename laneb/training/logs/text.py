"""A log file's bytes to lines: packed or not, coloured, and whatever a launcher put before each of them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import IO, Protocol, cast

from laneb.training.logs.grammar import FLAGS, STARTS

BLOCK_BYTES = 1 << 18

LONGEST_LINE = 1 << 16
"""No line of a training run is longer; of one that is (a binary blob), only the end is looked at."""

LARGEST_WINDOW = 1 << 31
"""The longest window that zstd's format has (`zstd --long=31`)."""

ESCAPE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|[@-Z\\-_])")
"""Colours, cursor moves and links of a terminal."""

_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
# Blanks, and the byte order marks of UTF-8 and UTF-16.
_MARKS = b" \t\xef\xbb\xbf\xff\xfe"
_PREFIXES = (
    rb"\[[^\]\n]{1,60}\](?:<\w{1,10}>)?:? ?",  # [rank0]: of torchrun, [1,0]<stdout>: of mpirun, [2026-02-03 10:11:12]
    rb"\([^()\n]{1,80}\):? ?",  # (RayTrainWorker pid=1, ip=10.0.0.1) of Ray
    rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?[ \t:|,-]{1,8}",  # ISO times
    rb"\d\d:\d\d:\d\d(?:[.,]\d{1,9})?[ \t:|-]{1,8}",
    rb"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d [\w.-]{1,64} [\w./@-]{1,64}(?:\[\d{1,9}\])?: ",  # syslog and journald
    rb"(?:stdout|stderr) [FP] ",  # container runtimes
    rb"(?:INFO|DEBUG|WARNING|ERROR)[ \t:|-]{1,8}",
    rb" {0,6}\d{1,6}: ?",  # 0: of srun --label
    rb"[\w.@/-]{1,80} {0,40}\| ?",  # trainer-1  | of docker compose
)
_PREFIX = re.compile(
    rb"(?:" + rb"|".join(_PREFIXES) + rb"){1,5}[ \t]{0,8}(?=" + rb"|".join(map(re.escape, STARTS)) + rb")"
)
_BEFORE_STARTS = frozenset(b"[( \t\xef\xff\xfe0123456789")
_FIRST_BYTES = _BEFORE_STARTS | frozenset(start[0] for start in STARTS)
_MONTH = re.compile(rb"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d")


class LogError(ValueError):
    """A log that can't be opened or read."""


class NoLogError(LogError):
    """A file in which there is no pretraining run."""


class Readable(Protocol):
    """A file, a stream of a bucket, bytes in memory."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to `size` bytes; none at the end."""


def without_colours(line: bytes) -> bytes:
    """A line without a terminal's escape sequences."""
    return ESCAPE.sub(b"", line) if b"\x1b" in line else line


def plain(line: bytes) -> bytes:
    """A line without what launchers put before it, if a line of a training run follows; else without blanks around."""
    if line.startswith(STARTS):
        return line
    line = line.strip(_MARKS)
    if line.startswith(STARTS):
        return line
    prefix = _PREFIX.match(line)
    return line[prefix.end() :] if prefix else line


def read_lines(stream: Readable) -> Iterator[tuple[list[bytes], bool]]:
    """Lines that may say something, a block of the file at a time, without their ends, colours and prefixes.

    A carriage return ends a line too (CRLF files, redrawn progress bars). NUL bytes are dropped: they come from
    files of two bytes a character, as some shells write them, and from file systems that lost power.

    Yields:
        Lines, and whether they were ended; a last line without an end, which may have been cut, comes alone.

    Raises:
        LogError: a packed file is damaged.
    """
    rest = b""
    for block in read_blocks(stream):
        for odd, even in ((b"\r", b"\n"), (b"\x00", b"")):
            if odd in block:
                block = block.replace(odd, even)
        block = rest + block
        end = block.rfind(b"\n") + 1
        rest = block[max(end, len(block) - LONGEST_LINE) :]
        block = without_colours(block[:end])
        lines = block.split(b"\n")
        # Flags can stand anywhere in a line; everything else begins one.
        if any(flag in block for flag in FLAGS):
            yield [plain(line) for line in lines if line], True
        else:
            yield _telling(lines), True
    if rest:
        yield [plain(without_colours(rest))], False


def _telling(lines: list[bytes]) -> list[bytes]:
    """Those of a block's lines that may say something. Most of a file may be other libraries' lines: quick."""
    kept = []
    for line in lines:
        if line.startswith((b"step ", b"Step ")):
            kept.append(line)
        elif line and (line[0] in _FIRST_BYTES or b"|" in line[:96] or _MONTH.match(line)):
            line = plain(line)
            if line.startswith(STARTS):
                kept.append(line)
    return kept


def read_blocks(stream: Readable) -> Iterator[bytes]:
    """A file's content in blocks of bounded size, unpacked where it was packed by gzip or zstd.

    What was cut off the end of a packed file is missing, as from one that was not packed.

    Raises:
        LogError: the packed data is damaged.
    """
    head = stream.read(max(BLOCK_BYTES, len(_ZSTD)))
    if head.startswith(_GZIP):
        yield from _gunzipped(_FromHead(head, stream))
    elif head.startswith(_ZSTD):
        yield from _unzstd(_FromHead(head, stream))
    else:
        while head:
            yield head
            head = stream.read(BLOCK_BYTES)


class _FromHead:
    """A stream of which the beginning was read already."""

    def __init__(self, head: bytes, stream: Readable) -> None:
        self._head, self._stream = head, stream

    def read(self, size: int = BLOCK_BYTES, /) -> bytes:
        if not self._head:
            return self._stream.read(size)
        part, self._head = self._head[:size], self._head[size:]
        return part


def _gunzipped(packed: Readable) -> Iterator[bytes]:
    unpacker, begun = zlib.decompressobj(wbits=31), False
    try:
        while block := packed.read(BLOCK_BYTES):
            # `cat a.gz b.gz` is a gzip file too, and tapes fill up with zeros.
            while block := block if begun else block.lstrip(b"\x00"):
                begun = True
                if unpacked := unpacker.decompress(block, BLOCK_BYTES):
                    yield unpacked
                block = unpacker.unconsumed_tail
                if unpacker.eof:
                    block = unpacker.unused_data
                    unpacker, begun = zlib.decompressobj(wbits=31), False
        if unpacked := unpacker.flush():
            yield unpacked
    except zlib.error as error:
        raise LogError(f"its gzip data is damaged ({error})") from None


def _unzstd(packed: Readable) -> Iterator[bytes]:
    import zstandard

    unpacker = zstandard.ZstdDecompressor(max_window_size=LARGEST_WINDOW)
    try:
        with unpacker.stream_reader(cast("IO[bytes]", packed), read_across_frames=True, closefd=False) as reader:
            while block := reader.read(BLOCK_BYTES):
                yield block
    except zstandard.ZstdError as error:
        raise LogError(f"its zstd data is damaged ({error})") from None
