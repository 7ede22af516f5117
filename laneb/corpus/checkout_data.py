"""The text that a checkout trains on: parquet files of its base directory, whose last one is for validation.

Nothing in a nanochat log names them, and a download that goes on in the background changes them. So the files are part
of a run's identity, by name and content, and a run sees those alone that its spec was made with.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from laneb.corpus.checkout import Checkout, CheckoutError
from laneb.corpus.documents import Corpus
from laneb.corpus.hashing import content_hashes
from laneb.corpus.sources import find_source, nanochat_source
from laneb.records.base import canonical_hash
from laneb.storage.atomic import replace_file

DATA_FILE = "checkout_data.json"
"""Beside the token shards that were made of the files."""

HASH_CACHE = "content_hashes.json"
"""Beside the folders of token shards."""

STATISTICS_BYTES = 100_000_000
"""Text read [bytes] where nobody says how much: the checkout reads its files itself, and statistics sample far less."""


@dataclass(frozen=True)
class CheckoutData:
    """The files that a checkout trains on, in its order: (name, content hash) each; the last one is for validation."""

    files: tuple[tuple[str, str], ...]

    @property
    def fingerprint(self) -> str:
        """Identity of what is trained and validated on."""
        return canonical_hash(["checkout data", self.files])

    @classmethod
    def in_files(cls, paths: Iterable[Path], hash_cache: Path | None) -> CheckoutData:
        """The files as they are now.

        Raises:
            CorpusError: one can't be read.
        """
        files = tuple(paths)
        hashes = content_hashes(files, hash_cache)
        return cls(tuple((path.name, digest) for path, digest in zip(files, hashes, strict=True)))

    def write(self, shards: Path, before: CheckoutData | None = None) -> None:
        """Keep them beside the token shards, and what is otherwise than before."""
        said = {"files": self.files, "change": self.change_since(before) if before else ""}
        replace_file(shards / DATA_FILE, (json.dumps(said, indent=2) + "\n").encode())

    def change_since(self, before: CheckoutData) -> str:
        """What is otherwise than it was, in a sentence; nothing where the files are the same."""
        if self == before:
            return ""
        now, then = dict(self.files), dict(before.files)
        both = now.keys() & then.keys()
        counts = {
            "added": len(now.keys() - then.keys()),
            "removed": len(then.keys() - now.keys()),
            "changed": sum(now[name] != then[name] for name in both),
        }
        said = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
        held_out = "" if self.files[-1] == before.files[-1] else f", and {self.files[-1][0]} is for validation now"
        return f"the checkout's data is not what it was: of its files {said}{held_out}. Every run is another one"


def read_checkout_data(shards: str) -> CheckoutData | None:
    """The files that token shards were made of; None where it wasn't a checkout's data, or it is not known."""
    if not shards:
        return None
    try:
        said = json.loads((Path(shards) / DATA_FILE).read_text(encoding="utf-8"))
        return CheckoutData(tuple((str(name), str(digest)) for name, digest in said["files"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def change_noted(shards: str) -> str:
    """What was otherwise than before when these token shards were made or found again; nothing where nothing was."""
    try:
        return str(json.loads((Path(shards) / DATA_FILE).read_text(encoding="utf-8"))["change"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def data_folder(checkout: Checkout) -> Path:
    """The folder of the files that the checkout's version trains on, as its own modules say.

    Raises:
        CheckoutError: the checkout has no tokenizer, or its interpreter lacks its dependencies.
    """
    return _asked_folder(checkout, os.environ.get("NANOCHAT_BASE_DIR", ""))


@lru_cache(maxsize=16)
def _asked_folder(checkout: Checkout, base_dir: str) -> Path:
    """Asked once in a process: it takes as long as importing torch."""
    from laneb.corpus.checkout_tokenizer import CheckoutTokenizer  # with numpy, which a spec does without

    with CheckoutTokenizer(checkout) as tokenizer:
        return tokenizer.data_dir


def training_files(folder: Path) -> list[Path]:
    """The files of a folder that nanochat trains on, in its order.

    Raises:
        CheckoutError: fewer than two, of which one would be left for validation and none to train on.
    """
    files = sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))
    if len(files) < 2:
        found = f"one parquet file alone, {files[0].name}" if files else "no parquet file"
        raise CheckoutError(
            f"{folder} holds {found}. nanochat keeps the last one for validation and would wait for others to train "
            "on, for ever: download more with `python -m nanochat.dataset -n 8` in the checkout"
        )
    return files


def open_checkout_corpus(
    checkout: Checkout, corpus: str, *, text_column: str = "text", max_bytes: int = -1, hash_cache: Path | None = None
) -> Corpus:
    """The text that a checkout trains on, as a corpus.

    Args:
        checkout: whose data.
        corpus: what LANE_B_CORPUS says: nothing, or the same files.
        text_column: parquet column that holds the text.
        max_bytes: UTF-8 bytes of text read at most; -1: as many as the statistics can need.
        hash_cache: a JSON file that keeps content hashes.

    Raises:
        CheckoutError: fewer than two files, or LANE_B_CORPUS means others.
        CorpusError: a file can't be read.
    """
    folder = data_folder(checkout)
    files = training_files(folder)
    if corpus.strip():
        meant = {file.path.resolve() for file in find_source(corpus.strip()).files}
        if meant != {file.resolve() for file in files}:
            raise CheckoutError(
                f"LANE_B_CORPUS={corpus}: the checkout at {checkout.directory} trains on the {len(files)} files in "
                f"{folder}, and the statistics have to be those of the same text. Leave LANE_B_CORPUS out"
            )
    source = nanochat_source(folder, files)
    limit = STATISTICS_BYTES if max_bytes == -1 else max_bytes
    return Corpus(source.kind, source.dataset_id, source.files, text_column, limit, hash_cache)
