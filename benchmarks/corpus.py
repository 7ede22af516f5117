"""Speed and memory of tokenizing a corpus to shards, against the plain way on the same text in one run.

The plain way holds all text, encodes it in one call with the library's own `encode_batch`, joins the ids and writes
them. Each build runs in a process of its own, in turns, so that peak memory is its own and a busy machine slows both.

    python benchmarks/corpus.py [--corpus PATH] [--megabytes 16] [--vocab-size 2048] [--repeats 3]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from laneb.corpus.documents import Corpus, open_corpus
from laneb.corpus.shards import build_shards
from laneb.corpus.tokenizer import load_tokenizer, stored_tokenizer, token_dtype, train_tokenizer
from laneb.training.hardware import peak_resident_mib

MEGABYTE = 1_000_000


def streamed(corpus: Corpus, tokenizer: Path, target: Path) -> int:
    """Tokens that our shards hold."""
    info = stored_tokenizer(tokenizer)
    assert info is not None
    shards = build_shards(corpus, info, target, validation_share=0.05)
    return shards.train_tokens + shards.val_tokens


def plain(corpus: Corpus, tokenizer: Path, target: Path) -> int:
    """Tokens that the plain way writes."""
    model = load_tokenizer(tokenizer)
    texts = list(corpus.documents())
    dtype = token_dtype(model.vocab_size)
    bos = np.array([model.bos_id], dtype=dtype)
    encoded = model.model.encode_batch(texts, add_special_tokens=False)
    tokens = np.concatenate([part for one in encoded for part in (bos, np.array(one.ids, dtype=dtype))])
    tokens.tofile(target)
    return len(tokens)


def child(way: str, corpus: str, max_bytes: int, tokenizer: Path, target: Path) -> None:
    """One build, timed within its process; prints JSON."""
    found = open_corpus(corpus, max_bytes=max_bytes)
    start = time.perf_counter()
    tokens = {"streamed": streamed, "plain": plain}[way](found, tokenizer, target)
    seconds = time.perf_counter() - start
    print(json.dumps({"tokens": tokens, "seconds": seconds, "peak_mib": peak_resident_mib()}))


def measure(way: str, corpus: str, max_bytes: int, tokenizer: Path, target: Path) -> dict[str, float]:
    """Run one build in a fresh process."""
    command = [sys.executable, __file__, "--child", way, corpus, str(max_bytes), str(tokenizer), str(target)]
    measured: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return measured


def compare(arguments: argparse.Namespace, folder: Path, tokenizer: Path) -> None:
    """Both ways in turns on the same text."""
    results: dict[str, list[dict[str, float]]] = {"plain": [], "streamed": []}
    for repeat in range(arguments.repeats):
        for way, rows in results.items():
            target = folder / f"{way}-{repeat}"
            rows.append(measure(way, arguments.corpus, arguments.megabytes * MEGABYTE, tokenizer, target))
    assert len({row["tokens"] for rows in results.values() for row in rows}) == 1, "the ways differ in their tokens"
    print(f"{'way':<10}{'tokens/s':>12}{'seconds':>10}{'peak MiB':>10}")
    speeds = {}
    for way, rows in results.items():
        speeds[way] = statistics.median(row["tokens"] / row["seconds"] for row in rows)
        seconds = statistics.median(row["seconds"] for row in rows)
        print(f"{way:<10}{speeds[way]:>12,.0f}{seconds:>10.2f}{max(row['peak_mib'] for row in rows):>10,.0f}")
    print(f"streamed / plain: {speeds['streamed'] / speeds['plain']:.2f}x")


def growth(arguments: argparse.Namespace, folder: Path, tokenizer: Path) -> None:
    """Peak memory on a file of JSON lines of 1, 2 and 4 times the text."""
    texts = list(open_corpus(arguments.corpus, max_bytes=arguments.megabytes * MEGABYTE).documents())
    print(f"{'text MB':<10}{'seconds':>10}{'peak MiB':>10}")
    for times in (1, 2, 4):
        path = folder / f"{times}.jsonl"
        with path.open("w") as file:
            for copy in range(times):
                file.writelines(json.dumps({"text": f"{copy}\n{text}"}) + "\n" for text in texts)
        row = measure("streamed", str(path), -1, tokenizer, folder / f"grown-{times}")
        print(f"{path.stat().st_size / MEGABYTE:<10.0f}{row['seconds']:>10.2f}{row['peak_mib']:>10,.0f}")
        path.unlink()


def main() -> None:
    """Train a tokenizer, then compare speed, then memory."""
    if sys.argv[1:2] == ["--child"]:
        way, corpus, max_bytes, tokenizer, target = sys.argv[2:]
        child(way, corpus, int(max_bytes), Path(tokenizer), Path(target))
        return
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpus", default="", help="file, folder or glob; empty: the embedded corpus")
    parser.add_argument("--megabytes", type=int, default=16, help="text to tokenize [MB]")
    parser.add_argument("--vocab-size", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        max_bytes = arguments.megabytes * MEGABYTE
        start = time.perf_counter()
        documents = open_corpus(arguments.corpus, max_bytes=max_bytes).documents()
        train_tokenizer(
            documents, arguments.vocab_size, max_bytes=max_bytes, directory=folder / "t", dataset_id="benchmark"
        )
        print(f"tokenizer of {arguments.vocab_size:,} on {arguments.megabytes} MB: {time.perf_counter() - start:.2f} s")
        compare(arguments, folder, folder / "t")
        growth(arguments, folder, folder / "t")


if __name__ == "__main__":
    main()
