"""Texts too large to hold: two gigabytes of zeros that a few kilobytes unpack to, and a single text of two gigabytes.

Each is opened as a corpus in a process of its own and read to its end, or until it is refused; plain text is tokenized
too, as far as a lane of 50 MB would. Right is a refusal by size in one sentence, or all of it read, and either way in a
bounded amount of memory, however large the file.

Run: python benchmarks/abuse_corpus.py [--megabytes 2000]
"""

from __future__ import annotations

import argparse
import gzip
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from laneb.training.hardware import peak_resident_mib

LIMIT_MIB = 700
"""Memory that reading may take beyond what the process had: the longest document that is taken, several times over."""

MEBIBYTE = 1 << 20
PROSE = b"the loss of a model falls with tokens and then rises slowly again, as it has to. "


def _zeros(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def _parts(path: Path, size: int, part: bytes, *, head: bytes = b"", end: bytes = b"") -> None:
    with path.open("wb") as file:
        file.write(head)
        for _ in range(size >> 20):
            file.write(part)
        file.write(end)


def _packed(pack: Callable[[bytes], bytes]) -> Callable[[Path, int], None]:
    """Of members that were packed once: all such formats may hold several."""
    return lambda path, size: _parts(path, size, pack(bytes(MEBIBYTE)))


def _zst(data: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor().compress(data)


def _parquet(path: Path, size: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # One cell of an eighth: the writer holds it, which is no part of what is measured.
    pq.write_table(pa.table({"text": pa.array(["0" * (size // 8)], pa.large_string())}), path, compression="zstd")


_prose = (PROSE * (MEBIBYTE // len(PROSE) + 1))[:MEBIBYTE]
KINDS: dict[str, tuple[str, Callable[[Path, int], None]]] = {
    "zeros, .jsonl.gz": ("a.jsonl.gz", _packed(lambda data: gzip.compress(data, 9))),
    "zeros, .json.zst": ("a.json.zst", _packed(_zst)),
    "zeros, .txt": ("a.txt", _zeros),
    "zeros, .py": ("a.py", _zeros),
    "one line of prose, .txt": ("b.txt", lambda path, size: _parts(path, size, _prose)),
    "one document, .jsonl": ("b.jsonl", lambda path, size: _parts(path, size, _prose, head=b'{"text": "', end=b'"}\n')),
    "one document, .jsonl.gz": ("b.jsonl.gz", _packed(lambda data: gzip.compress(_prose, 1))),
    "one cell, .parquet": ("b.parquet", _parquet),
}


def measure(place: str) -> None:
    """Read a corpus to its end; print seconds, more memory [MiB], megabytes of text and what was said."""
    from laneb.corpus.documents import CorpusError, open_corpus
    from laneb.corpus.shards import build_shards
    from laneb.corpus.tokenizer import train_tokenizer

    text = ["a warm start", "of everything that is imported"]
    with tempfile.TemporaryDirectory() as folder:
        train_tokenizer(text, 257, max_bytes=1000, directory=Path(folder) / "warm", dataset_id="warm")
        before, began, read, said = peak_resident_mib(), time.monotonic(), 0, "read"
        try:
            read = sum(len(document.utf8) for document in open_corpus(place).stream())
            some = open_corpus(place, max_bytes=50_000_000)
            tokenizer = train_tokenizer(
                some.documents(), 260, max_bytes=2_000_000, directory=Path(folder) / "t", dataset_id="t"
            )
            shards = build_shards(some, tokenizer, Path(folder) / "s", validation_share=0.1)
            said = f"read, {shards.train_tokens + shards.val_tokens:,} tokens"
        except CorpusError as error:
            said = str(error).replace(place, Path(place).name)
    print(time.monotonic() - began, peak_resident_mib() - before, read / 1e6, said.replace("\n", "\\n"), sep="\t")


def rows(megabytes: int) -> Iterable[tuple[str, bool]]:
    """A row for each kind, and whether it went well."""
    with tempfile.TemporaryDirectory(prefix="laneb_corpus_") as folder:
        for kind, (name, write) in KINDS.items():
            path = Path(folder) / name
            write(path, megabytes * 1_000_000)
            size = path.stat().st_size / 1e6
            command = [sys.executable, __file__, "--measure", str(path)]
            done = subprocess.run(command, capture_output=True, text=True)
            path.unlink()
            if done.returncode:
                yield f"{kind:26} {size:8.1f} MB  {done.stderr.strip()[-300:]}", False
                continue
            seconds, more, read, said = done.stdout.rstrip("\n").split("\t")
            right = float(more) < LIMIT_MIB and (said.startswith("read") or name in said) and "\\n" not in said
            row = f"{kind:26} {size:8.1f} MB {float(seconds):7.1f} s {float(more):6.0f} MiB more, {float(read):7.1f} MB"
            yield f"{row}: {said}", right


def main() -> None:
    """Print a row a kind; exit 1 if memory was not bounded or something else was said."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--measure", metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure)
        return
    failed = 0
    for row, right in rows(options.megabytes):
        failed += not right
        print(row if right else f"failed: {row}", flush=True)
    print(
        f"{len(KINDS)} kinds of {options.megabytes:,} MB, {failed} failed (more than {LIMIT_MIB} MiB, or no sentence)"
    )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
