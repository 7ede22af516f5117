"""The files of a checkout's run: its own base directory, with the data that it was asked for, and its checkpoints."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from laneb.corpus.checkout import CheckoutError
from laneb.corpus.checkout_data import CheckoutData, training_files

NOT_SHARED = re.compile(r".*_checkpoints|report|laneb|runs|\..*")
"""What a run keeps for itself of a base directory: checkpoints and reports. Tokenizer and data are shared."""


KEPT = 2
"""Checkpoints of a run that trains: the latest may be cut short, the one before is whole."""

BROKEN = ".broken"
KEPT_OF_MODEL = ("model_", "meta_")
_CHECKPOINT_FILE = re.compile(r"(?:model|meta|optim)_(\d+)(?:_rank\d+)?\.(?:pt|json)(?:\.broken)?")


def added_since(data: CheckoutData, folder: Path, hash_cache: Path) -> list[str]:
    """Files that came to the checkout's data since a run was asked for; those that it was asked with are unchanged.

    Raises:
        CheckoutError: one of them is missing or changed.
    """
    present = {path.name: path for path in training_files(folder)}
    now = CheckoutData.in_files((present[name] for name, _ in data.files if name in present), hash_cache)
    if now != data:
        raise CheckoutError(
            f"{folder}: {now.change_since(data) if now.files else 'none of its files is there any more'}. Materialize "
            "token_shards, and with them what follows"
        )
    return [name for name in present if name not in dict(data.files)]


def own_base_dir(
    shared: Path, own: Path, data_dir: Path | None = None, data: CheckoutData | None = None
) -> Path | None:
    """A base directory for one run, which has links to all that runs share; None where links can't be made.

    Args:
        shared: the checkout's base directory.
        own: the run's.
        data_dir: where the training data lie.
        data: which of them the run has; None: all, whatever comes to them.
    """
    apart = data is None or data_dir is None or data_dir.resolve().parent != shared.resolve()
    kept = "" if apart or data_dir is None else data_dir.name
    try:
        own.mkdir(parents=True, exist_ok=True)
        _link(own, (entry for entry in shared.iterdir() if not NOT_SHARED.fullmatch(entry.name) and entry.name != kept))
        if kept and data is not None and data_dir is not None:
            # What a download adds while the run trains, or waits to go on, must not become its data.
            folder = own / kept
            if folder.is_symlink():
                folder.unlink()
            folder.mkdir(exist_ok=True)
            _link(folder, (data_dir / name for name, _ in data.files))
            for link in folder.iterdir():
                if link.name not in dict(data.files):
                    link.unlink()
    except OSError:
        return None
    return own


def _link(folder: Path, entries: Iterable[Path]) -> None:
    for entry in entries:
        link = folder / entry.name
        if link.is_symlink() and link.readlink() == entry.absolute():
            continue
        if link.is_symlink():
            link.unlink()
        link.symlink_to(entry.absolute(), target_is_directory=entry.is_dir())


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints that the script of a run writes.

    Attributes:
        base_dir: the run's base directory.
        folder: their folder's name in it, or a glob of such names.
        world_size: processes, each of which writes the state of its optimizer.
    """

    base_dir: Path
    folder: str
    world_size: int = 1

    def latest(self) -> int:
        """Step of the latest whole one, or 0."""
        return max(self._whole(), default=0)

    def prune(self) -> None:
        """Remove what is older than the latest two: the script itself keeps all."""
        steps = sorted(self._whole(), reverse=True)
        for step, files in self._files().items():
            if len(steps) >= KEPT and step < steps[KEPT - 1]:
                _remove(files)

    def drop(self, keep_model: bool) -> None:
        """Remove those of a run that is finished, but for the last weights if they are to be kept."""
        found = self._files()
        for step, files in found.items():
            kept = KEPT_OF_MODEL if keep_model and step == max(found) else ()
            _remove(file for file in files if not file.name.startswith(kept) or file.suffix == BROKEN)

    def set_aside(self, step: int) -> None:
        """Keep one that can't be loaded out of the way."""
        for file in self._files().get(step, []):
            file.rename(file.with_name(file.name + BROKEN))

    def _whole(self) -> list[int]:
        """Steps of those that have weights, facts, and the optimizer's state of every process."""
        steps = []
        for step, files in self._files().items():
            kinds = [file.name.partition("_")[0] for file in files if file.suffix != BROKEN]
            if {"model", "meta"} <= set(kinds) and kinds.count("optim") >= self.world_size:
                steps.append(step)
        return steps

    def _files(self) -> dict[int, list[Path]]:
        files: dict[int, list[Path]] = {}
        for path in self.base_dir.glob(f"base_checkpoints/{self.folder}/*"):
            if match := _CHECKPOINT_FILE.fullmatch(path.name):
                files.setdefault(int(match[1]), []).append(path)
        return files


def _remove(files: Iterable[Path]) -> None:
    for file in files:
        # A disk that can't be written is said where something has to be written.
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
