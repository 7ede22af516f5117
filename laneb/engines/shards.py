"""Token shards for machines that don't share a disk: put into the bucket once, fetched once by each node."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from laneb.corpus.shards import stored_shards
from laneb.places import is_folder_path, reach
from laneb.storage import shared

if TYPE_CHECKING:
    from laneb.engines.job import Job
    from laneb.places import AnyPath
    from laneb.training.spec import RunSpec

META = "meta.json"


def publish_shards(shards: Path, place: AnyPath) -> None:
    """Copy shards into a bucket, under a name that holds their fingerprint. The file that says that they are whole
    comes last, so that a copy which was cut off is done again."""
    there = set(shared.names(place))
    if META in there:
        return
    names = [path.name for path in shards.iterdir() if path.is_file() and not path.name.startswith(".")]
    for name in sorted(names, key=lambda name: name == META):
        shared.upload(shards / name, place / name)


def shards_here(job: Job, spec: RunSpec, scratch: Path) -> Path:
    """Folder of a run's shards on this machine: fetched where they lie in a bucket, or where a scratch was named.

    Raises:
        CorpusError, ValueError: they can't be had.
    """
    place = reach(job.shards)
    if is_folder_path(place) and not job.scratch:
        return place
    target = scratch / "laneb-corpus" / spec.corpus_fingerprint
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        if stored_shards(target, spec.corpus_fingerprint) is None:
            for name in sorted(shared.names(place), key=lambda name: name == META):
                shared.download(place / name, target / name)
    if stored_shards(target, spec.corpus_fingerprint) is None:
        raise ValueError(
            f"{place} holds no whole token shards of the run (fingerprint {spec.corpus_fingerprint}): materialize "
            "token_shards again"
        )
    return target
