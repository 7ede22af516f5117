"""Which files a corpus setting means."""

from __future__ import annotations

import glob
import hashlib
import os
import re
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from laneb.corpus.errors import CorpusError
from laneb.corpus.readers import JSON_SUFFIXES, PARQUET, SUFFIXES, refuse_pointer, suffix_of
from laneb.corpus.remote import local_copy

Kind = Literal["embedded", "files", "nanochat"]

_SHARD = re.compile(r"shard_\d+\.parquet")
_ABOUT = re.compile(r"(readme|licen[cs]e|copying|notice|citation|changelog|contributing)\b.*", re.IGNORECASE)
"""Files beside the data of a data set, as the Hugging Face hub has them, that tell about it."""
_SPLIT = re.compile(r"(?<![a-z])(train|training|validation|valid|val|dev|test|testing|eval)(?![a-z])", re.IGNORECASE)
_HELD_OUT_NAMES = ("validation", "valid", "val", "dev", "eval", "test", "testing")
_NOT_THE_LIBRARY = {"__pycache__", "site-packages", "dist-packages"}
_PARQUET_MAGIC = b"PAR1"
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
    root: Path | None = None
    """The folder that was searched with all below it, where one was."""


def find_source(corpus: str) -> Source:
    """The files that `corpus` (a file, folder or glob, here or in a bucket; empty: the embedded text) means.

    Raises:
        CorpusError: there is no such file, none that can be used, or none that holds anything.
    """
    if not corpus:
        return _embedded()
    if "://" in corpus:
        corpus = local_copy(corpus)
    try:
        return _at(Path(corpus).expanduser(), corpus)
    except (OSError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise CorpusError(f"{corpus[:200]}: can't be read ({reason}). Choose another LANE_B_CORPUS") from error


def _at(place: Path, corpus: str) -> Source:
    if place.is_dir():
        shards = sorted(path for path in place.iterdir() if _SHARD.fullmatch(path.name))
        return _nanochat(place, shards) if shards else _folder(place)
    if place.exists():
        if not place.is_file():
            raise CorpusError(f"{place}: a device, socket or pipe, not a file (LANE_B_CORPUS). Give a file or folder")
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


def _folder(folder: Path) -> Source:
    """A folder of files. Of a data set's, what tells about it is no text of it: README, LICENSE, a loading script."""
    paths = _walk(folder)
    data = [path for path in paths if _is_data(path)]
    if data:
        script = folder / f"{folder.absolute().name}.py"
        paths = [path for path in paths if _is_data(path) or not (_ABOUT.fullmatch(path.name) or path == script)]
    return _files(folder.absolute().name, folder, paths)._replace(root=folder)


def _is_data(path: Path) -> bool:
    return suffix_of(path) in (*JSON_SUFFIXES, PARQUET)


def _by_split_names(files: tuple[SourceFile, ...]) -> tuple[SourceFile, ...]:
    """Files that are named after their splits, as a data set's are: the validation files are held out.

    Without any, the test files are; with both, the test files are left out. Where not every file of data names one
    split, or there is nothing to train on or to hold out, names mean nothing.
    """
    named: dict[str, list[SourceFile]] = {}
    for file in files:
        splits = {word.lower() for word in _SPLIT.findall(file.name)}
        if not _is_data(file.path) or len(splits) != 1:
            return files
        named.setdefault(splits.pop(), []).append(file)
    train = [file for name in ("train", "training") for file in named.get(name, [])]
    filled = [named[name] for name in _HELD_OUT_NAMES if any(file.size for file in named.get(name, []))]
    if not any(file.size for file in train) or not filled:
        return files
    held_out = [file._replace(held_out=True) for file in filled[0]]
    return tuple(sorted([*train, *held_out], key=lambda file: file.name))


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
    return Source("nanochat", folder.absolute().name, (*files[:-1], files[-1]._replace(held_out=True)))


def _matches(pattern: Path) -> Source:
    parts = pattern.parts
    fixed = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    root = Path(*parts[:fixed]) if fixed else Path()
    # Not Path.glob: before Python 3.13 its final ** finds folders only.
    matches = glob.glob(str(pattern), recursive=True)  # noqa: PTH207
    paths = [path for match in matches if (path := Path(match)).is_file()]
    found = _files(root.absolute().name, root, paths, described=str(pattern))
    return found._replace(root=root) if "**" in parts else found


def _files(dataset_id: str, root: Path, paths: list[Path], described: str = "") -> Source:
    described = described or str(paths[0] if len(paths) == 1 else root)
    usable = [path for path in paths if suffix_of(path)]
    if not usable:
        seen = ", ".join(sorted({path.suffix or path.name for path in paths})[:8])
        found = f"only {seen}" if seen else "nothing"
        raise CorpusError(f"{described}: no text to use, {found} there; allowed are {_ALLOWED}")
    return Source("files", dataset_id, _by_split_names(_described(root, usable, described)))


def _described(root: Path, paths: list[Path], described: str) -> tuple[SourceFile, ...]:
    files = []
    for path in paths:
        try:
            name = Path(os.path.relpath(path, root)).as_posix()
            files.append(SourceFile(path, name, _checked_size(path), held_out=False))
        except OSError as error:
            raise CorpusError(f"{path}: can't be read ({error.strerror})") from error
    if not any(file.size for file in files):
        is_empty = "is empty" if len(files) == 1 else f"holds {len(files)} files, all empty"
        raise CorpusError(f"{described}: {is_empty}. Name a corpus that holds text with LANE_B_CORPUS")
    return tuple(sorted(files, key=lambda file: file.name))


def _checked_size(path: Path) -> int:
    """The size of a file, if it can be whole: a shard that was cut or never fetched shows here, not after hours."""
    size = path.stat().st_size
    if not _is_data(path):
        return size
    refuse_pointer(path, size)
    if suffix_of(path) == PARQUET:
        with path.open("rb") as file:
            begins = file.read(4)
            file.seek(max(size - 8, 0))
            footer, ends = int.from_bytes(file.read(4), "little"), file.read(4)
        if begins != _PARQUET_MAGIC:
            raise CorpusError(f"{path}: not a readable parquet file: {_instead(size, begins)}. Fetch this shard again")
        if ends != _PARQUET_MAGIC or footer > size - 12:
            raise CorpusError(
                f"{path}: not a readable parquet file: it was cut after {size:,} bytes. Fetch this shard again"
            )
    return size


def _instead(size: int, begins: bytes) -> str:
    return f"it begins with {begins!r}" if size else "it is empty"


def refuse_outputs(source: Source, folders: Iterable[Path]) -> None:
    """Raise a CorpusError where a lane's own files would become text of its corpus, and change it with every run."""
    for folder in folders:
        inside = [file.path for file in source.files if file.path.absolute().is_relative_to(folder)]
        if source.root is not None and folder.is_relative_to(source.root.absolute()):
            below = folder.relative_to(source.root.absolute()).parts
            inside += [] if any(part.startswith(".") for part in below) else [folder]
        if inside:
            raise CorpusError(
                f"LANE_B_CORPUS: {folder}, where this experiment writes its files, lies within the corpus"
                f"{'' if source.root is None else f' {source.root}'}. Choose another place with LANE_B_WORK_DIR or "
                "NANOCHAT_BASE_DIR, or give the corpus a folder of its own"
            )


def _walk(root: Path, skip: set[str] | frozenset[str] = frozenset()) -> list[Path]:
    """All files below a folder, without hidden ones (a .git or .venv in it is no text)."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in skip)
        found += [path for name in names if not name.startswith(".") and not _is_special(path := Path(folder, name))]
    return found


def _is_special(path: Path) -> bool:
    """A pipe, socket or device: no text, and reading it could wait for ever. A link that leads nowhere is none."""
    return path.exists() and not path.is_file()


def reading_order(files: tuple[SourceFile, ...]) -> tuple[SourceFile, ...]:
    """The order in which a corpus is read: by the hash of the name, held-out files last.

    Names sort by topic or source; a corpus that is cut (max_bytes) or read from its start should be varied instead.
    """

    def key(file: SourceFile) -> tuple[bool, bytes]:
        return file.held_out, hashlib.blake2b(file.name.encode("utf-8", "surrogateescape"), digest_size=16).digest()

    return tuple(sorted(files, key=key))
