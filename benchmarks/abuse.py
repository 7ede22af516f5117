"""What a damaged file does to a lane: every file that it wrote, damaged in every way, then `laneb run`.

A lane is run to its end on simulated training. For each of its files and each kind of damage it is put back as it was,
damaged, and run again. Right is the same answer as before (what was damaged was made again, or decided nothing), or a
refusal that names a file and what to do. A failure is another answer, an exception, a refusal that names nothing, or a
lane that is not up to date after it.

    python benchmarks/abuse.py [--only WORD] [--limit N] [--part 1/4]

Prints a row for each kind of file; the last column should be 0.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import dagster as dg  # noqa: E402

from laneb.records.base import canonical_hash  # noqa: E402
from laneb.settings import load_settings  # noqa: E402
from laneb.storage.products import PRODUCTS  # noqa: E402
from laneb.storage.store import Store  # noqa: E402
from laneb.storage.warehouse import Warehouse  # noqa: E402
from laneb_assets.automation.staleness import Staleness  # noqa: E402
from laneb_assets.definitions import definitions_of  # noqa: E402
from laneb_assets.lane import Lane as DagsterLane  # noqa: E402
from laneb_assets.lane_run.steps import levels_of  # noqa: E402
from laneb_assets.lane_run.walk import run_lane  # noqa: E402

DRAW = random.Random(11)


def _flipped(data: bytes) -> bytes:
    changed = bytearray(data)
    changed[DRAW.randrange(len(changed))] ^= 1 << DRAW.randrange(8)
    return bytes(changed)


def _other_digit(data: bytes) -> bytes:
    """A number in the text changed: what no reader of the format can see."""
    places = [match.start() for match in re.finditer(rb"(?<=\.)\d", data)] or [len(data) // 2]
    place = DRAW.choice(places)
    return data[:place] + (b"7" if data[place : place + 1] != b"7" else b"3") + data[place + 1 :]


DAMAGES: dict[str, Callable[[bytes], bytes | None]] = {
    "deleted": lambda data: None,
    "cut": lambda data: data[: len(data) // 2],
    "zeroed": lambda data: b"\0" * len(data),
    "flipped": _flipped,
    "digit": _other_digit,
    "random": lambda data: DRAW.randbytes(len(data)),
}


class Lane:
    """A finished lane in a folder, and a copy of it to put it back from."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.kept = folder / "lane", folder / "kept"
        self.folder.mkdir()
        corpus = self.folder / "corpus"
        corpus.mkdir()
        draw = random.Random(7)
        words = [
            "the",
            "loss",
            "of",
            "a",
            "model",
            "falls",
            "with",
            "tokens",
            "and",
            "then",
            "rises",
            "slowly",
            "again",
        ]
        for number in range(60):
            sentences = [" ".join(draw.choice(words) for _ in range(draw.randint(4, 12))) for _ in range(40)]
            (corpus / f"{number:03d}.txt").write_text(". ".join(sentences).capitalize() + f". {number}\n")
        profile = (ROOT / "tests" / "simulated.toml").read_text()
        profile = profile.replace("[data]", f'[data]\ncorpus = "{corpus}"')
        (self.folder / "simulated.toml").write_text(f'{profile}\n[places]\nbase_dir = "{self.folder / "data"}"\n')
        shutil.copy(ROOT / "tests" / "surface.toml", self.folder)
        (self.folder / "home").mkdir()
        shutil.copy(ROOT / "dagster.yaml", self.folder / "home")
        failed = [outcome.error for outcome in self.run() if outcome.state == "failed"]
        if failed:
            raise SystemExit(f"the lane itself failed: {failed[0]}")
        self.store = Store(load_settings(str(self.folder / "simulated.toml")).locations)
        shutil.copytree(self.folder, self.kept)

    def run(self) -> list[Any]:
        """What `laneb run` does; an instance of its own, as a process would have."""
        settings = load_settings(str(self.folder / "simulated.toml"))
        with dg.DagsterInstance.from_config(str(self.folder / "home")) as instance:
            return run_lane(settings, instance, before=lambda step: None, after=lambda outcome: None)

    def stale(self) -> list[str]:
        """What the next `laneb run` would make again."""
        settings = load_settings(str(self.folder / "simulated.toml"))
        definitions = definitions_of(settings)
        lane = DagsterLane(settings, definitions.resolve_asset_graph())
        with dg.DagsterInstance.from_config(str(self.folder / "home")) as instance:
            state = Staleness(lane, instance)
            steps = [step for level in levels_of(lane) for step in level]
            return [step.label for step in steps if not state.up_to_date(step.asset, step.partition)]

    def put_back(self) -> None:
        """As it was when it had finished, times of the files included."""
        for name in ("data", "home"):
            shutil.rmtree(self.folder / name)
            shutil.copytree(self.kept / name, self.folder / name)

    def answer(self) -> str:
        """Identity of all that the lane says."""
        records = [self.store.path(product.record) for product in PRODUCTS.values() if product.record is not None]
        lines = [line for path in records for line in path.read_text().splitlines()]
        said = [line for line in lines if "timestamp_utc" not in line and '"checksum"' not in line]
        rows = Warehouse(self.store.locations.duckdb_path).current_rows("simulated").drop(columns="timestamp_utc")
        return canonical_hash([said, rows.astype(str).values.tolist()])

    def files(self) -> list[Path]:
        """What the lane wrote, but for locks and the runs' own page of plots."""
        found = sorted(path for path in (self.kept / "data").rglob("*") if path.is_file())
        return [path.relative_to(self.kept) for path in found if not path.name.endswith((".lock", ".png", ".holder"))]


def kind_of(path: Path) -> str:
    """The kind of file: runs and seeds side by side."""
    name = "/".join(part for part in path.parts if part not in ("data", "laneb", "simulated"))
    return re.sub(r"_[0-9a-f]{16}", "_*", re.sub(r"d\d+_i\d+_s\d+|_s\d+|(?<=_)\d+(?=_|\.)", "*", name))


def judged(lane: Lane, expected: str) -> str:
    """How a run on a damaged lane went: "same", "refused", or what is wrong with it."""
    try:
        outcomes = lane.run()
    except (KeyboardInterrupt, SystemExit):
        raise
    except ValueError as error:  # a sentence at the start: exit status 2
        return "refused" if str(lane.folder) in str(error) else f"a refusal that names no file: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    if failed:
        said = failed[0].error
        return "refused" if str(lane.folder) in said and "\n  " not in said else f"said: {said}"
    try:
        said = lane.answer()
    except ValueError as error:
        return f"up to date, and can not be read: {error}"
    if said != expected:
        return "another answer"
    again = lane.stale()
    return f"not up to date after it: {again}" if again else "same"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what Dagster and the training processes print out of the table."""
    sys.stdout.flush()
    kept = [os.dup(number) for number in (1, 2)]
    with tempfile.TemporaryFile() as nowhere:
        for number in (1, 2):
            os.dup2(nowhere.fileno(), number)
        try:
            yield
        finally:
            for number, place in zip((1, 2), kept, strict=True):
                os.dup2(place, number)
                os.close(place)


def main() -> None:
    """Damage every kind of file and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="kinds of file whose name has this word")
    parser.add_argument("--limit", type=int, default=1, help="files of each kind")
    parser.add_argument("--part", default="1/1", metavar="I/N", help="every N-th kind of file, from the I-th on")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="laneb_abuse_") as place:
        with quiet():
            lane = Lane(Path(place))
            expected = lane.answer()
        kinds: dict[str, list[Path]] = {}
        for path in lane.files():
            if options.only in kind_of(path):
                kinds.setdefault(kind_of(path), []).append(path)
        first, every = map(int, options.part.split("/"))
        kinds = dict(list(kinds.items())[first - 1 :: every])
        print(f"{'file':44} {'tried':>5} {'same':>5} {'refused':>7} {'failed':>6}")
        wrong: list[str] = []
        totals = [0, 0, 0, 0]
        for kind, paths in kinds.items():
            counts = [0, 0, 0, 0]
            for path in paths[: options.limit]:
                for damage, change in DAMAGES.items():
                    with quiet():
                        lane.put_back()
                        file = lane.folder / path
                        data = change(file.read_bytes()) if file.stat().st_size else None
                        file.unlink() if data is None else file.write_bytes(data)
                        how = judged(lane, expected)
                    counts[0] += 1
                    counts[{"same": 1, "refused": 2}.get(how, 3)] += 1
                    if how not in ("same", "refused"):
                        wrong.append(f"{kind} {damage}: {how[:300]}")
            print(f"{kind:44} {counts[0]:5} {counts[1]:5} {counts[2]:7} {counts[3]:6}", flush=True)
            totals = [total + count for total, count in zip(totals, counts, strict=True)]
        took = f"in {time.monotonic() - began:.0f} s"
        print(f"{'all':44} {totals[0]:5} {totals[1]:5} {totals[2]:7} {totals[3]:6}  {took}")
        for line in wrong:
            print("failed:", line)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
