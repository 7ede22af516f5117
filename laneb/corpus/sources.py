"""Which files a corpus setting means."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import sys
import sysconfig
from pathlib import Path
from typing import Literal, NamedTuple

from laneb.corpus.errors import CorpusError
from laneb.corpus.readers import SUFFIXES, suffix_of
from laneb.corpus.remote import local_copy

Kind = Literal["embedded", "files", "nanochat"]

_SHARD = re.compile(r"shard_\d+\.parquet")
_NOT_THE_LIBRARY = {"__pycache__", "site-packages", "dist-packages"}
_ALLOWED = f"files that end in {', '.join(SUFFIXES)}"


class SourceFile(NamedTuple):
    """A file of the corpus."""

    path: Path
    name: str
    """Relative to the corpus, with forward slashes: the same wherever the corpus lies."""
    size: int
    held_out: bool
    """Its documents are for validation, whatever their hash (nanochat's last shard)."""


class Source(NamedTuple):
    """What a corpus setting means: its kind, its default name, its files in the order of their names."""

    kind: Kind
    dataset_id: str
    files: tuple[SourceFile, ...]


def find_source(corpus: str) -> Source:
    """The files that `corpus` (a file, folder or glob, here or in a bucket; empty: the embedded text) means.

    Raises:
        CorpusError: there is no such file, none that can be used, or none that holds anything.
    """
    if not corpus:
        return _embedded()
    if "://" in corpus:
        corpus = local_copy(corpus)
    place = Path(corpus).expanduser()
    if place.is_dir():
        shards = sorted(path for path in place.iterdir() if _SHARD.fullmatch(path.name))
        return _nanochat(place, shards) if shards else _files(place.absolute().name, place, _walk(place))
    if place.exists():
        if not suffix_of(place):
            raise CorpusError(f"{place}: not a kind of file that holds text; allowed are {_ALLOWED}")
        return _files(place.name[: -len(suffix_of(place))] or place.name, place.parent, [place])
    if not glob.has_magic(corpus):
        raise CorpusError(
            f"{place}: no such file or folder (LANE_B_CORPUS). Give a file, folder or glob of text, "
            "or leave it empty for the embedded corpus"
        )
    return _matches(place)


def _embedded() -> Source:
    root = Path(sysconfig.get_paths()["stdlib"])
    paths = [path for path in _walk(root, skip=_NOT_THE_LIBRARY) if path.suffix == ".py"]
    version = ".".join(str(part) for part in sys.version_info[:3])
    if not paths:
        raise CorpusError(f"{root}: this Python comes without its library's sources. Name a corpus with LANE_B_CORPUS")
    return Source("embedded", f"python-{version}-stdlib", _described(root, paths, "the embedded corpus"))


def _nanochat(folder: Path, shards: list[Path]) -> Source:
    if len(shards) < 2:
        raise CorpusError(
            f"{folder}: one shard, {shards[0].name}, but nanochat's last shard is for validation, so two are needed. "
            f"Download another, or name the file itself to split it by document"
        )
    return nanochat_source(folder, shards)


def nanochat_source(folder: Path, shards: list[Path]) -> Source:
    """Files that nanochat trains on, the last one held out.

    Raises:
        CorpusError: a file can't be read, or is empty.
    """
    files = _described(folder, shards, str(folder))
    empty = [file.name for file in files if not file.size]
    if empty:
        raise CorpusError(f"{folder}: {empty[0]} is empty. Download it again")
    return Source("nanochat", folder.absolute().name, (*files[:-1], files[-1]._replace(held_out=True)))


def _matches(pattern: Path) -> Source:
    parts = pattern.parts
    fixed = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    root = Path(*parts[:fixed]) if fixed else Path()
    # Not Path.glob: before Python 3.13 its final ** finds folders only.
    matches = glob.glob(str(pattern), recursive=True)  # noqa: PTH207
    paths = [path for match in matches if (path := Path(match)).is_file()]
    return _files(root.absolute().name, root, paths, described=str(pattern))


def _files(dataset_id: str, root: Path, paths: list[Path], described: str = "") -> Source:
    described = described or str(paths[0] if len(paths) == 1 else root)
    usable = [path for path in paths if suffix_of(path)]
    if not usable:
        seen = ", ".join(sorted({path.suffix or path.name for path in paths})[:8])
        found = f"only {seen}" if seen else "nothing"
        raise CorpusError(f"{described}: no text to use, {found} there; allowed are {_ALLOWED}")
    return Source("files", dataset_id, _described(root, usable, described))


def _described(root: Path, paths: list[Path], described: str) -> tuple[SourceFile, ...]:
    files = []
    for path in paths:
        try:
            name = Path(os.path.relpath(path, root)).as_posix()
            files.append(SourceFile(path, name, path.stat().st_size, held_out=False))
        except OSError as error:
            raise CorpusError(f"{path}: can't be read ({error.strerror})") from error
    if not any(file.size for file in files):
        is_empty = "is empty" if len(files) == 1 else f"holds {len(files)} files, all empty"
        raise CorpusError(f"{described}: {is_empty}. Name a corpus that holds text with LANE_B_CORPUS")
    return tuple(sorted(files, key=lambda file: file.name))


def _walk(root: Path, skip: set[str] | frozenset[str] = frozenset()) -> list[Path]:
    """All files below a folder, without hidden ones (a .git or .venv in it is no text)."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in skip)
        found += [Path(folder, name) for name in names if not name.startswith(".")]
    return found


def reading_order(files: tuple[SourceFile, ...]) -> tuple[SourceFile, ...]:
    """The order in which a corpus is read: by the hash of the name, held-out files last.

    Names sort by topic or source; a corpus that is cut (max_bytes) or read from its start should be varied instead.
    """

    def key(file: SourceFile) -> tuple[bool, bytes]:
        return file.held_out, hashlib.blake2b(file.name.encode("utf-8", "surrogateescape"), digest_size=16).digest()

    return tuple(sorted(files, key=key))
