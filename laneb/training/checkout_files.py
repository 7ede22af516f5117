"""The files of a checkout's run: its own base directory, with the data that it was asked for, and its checkpoints."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from laneb.corpus.checkout import CheckoutError
from laneb.corpus.checkout_data import CheckoutData, training_files

NOT_SHARED = re.compile(r".*_checkpoints|report|laneb|runs|\..*")
"""What a run keeps for itself of a base directory: checkpoints and reports. Tokenizer and data are shared."""


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
    kept = "" if data is None or data_dir is None or data_dir.parent != shared else data_dir.name
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


def latest_checkpoint(base_dir: Path, folder: str) -> int:
    """Step of the latest whole checkpoint in the folders of that name (a glob), or 0."""
    latest = 0
    for path in base_dir.glob(f"base_checkpoints/{folder}/model_*.pt"):
        digits = path.stem.removeprefix("model_")
        if digits.isdigit() and _checkpoint_files(path.parent, digits):
            latest = max(latest, int(digits))
    return latest


def _checkpoint_files(folder: Path, digits: str) -> list[Path]:
    """The files of a checkpoint, or none when one is missing."""
    optimizers = sorted(folder.glob(f"optim_{digits}*.pt"))
    files = [folder / f"model_{digits}.pt", folder / f"meta_{digits}.json", *optimizers]
    return files if optimizers and all(file.is_file() for file in files) else []


def set_aside(base_dir: Path, folder: str, step: int) -> None:
    for place in base_dir.glob(f"base_checkpoints/{folder}"):
        for file in _checkpoint_files(place, f"{step:06d}"):
            file.rename(file.with_name(f"{file.name}.broken"))
