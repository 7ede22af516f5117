"""What tests share: a lane of seconds, run once per test process and copied for tests that change it."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from filelock import FileLock
from forked_python import ForkedPython
from hypothesis import settings as hypothesis_settings

from laneb.settings import Settings, load_settings
from laneb.storage.store import Store
from laneb.storage.warehouse import Warehouse
from laneb_assets.definitions import definitions_of
from laneb_assets.lane import Lane as DagsterLane
from laneb_assets.lane_run.execution import materialize_step
from laneb_assets.lane_run.steps import Outcome, Step
from laneb_assets.lane_run.walk import run_lane

PROFILES = Path(__file__).parent
# Test processes share the cores: with a thread for each core in each of them, most of their time is spent waiting for
# one another. A training process has the threads that its spec says, whatever stands here.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The machines that tests run on are shared: how long an example takes says nothing.
hypothesis_settings.register_profile("shared", deadline=None)
hypothesis_settings.load_profile("shared")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that wait for a daemon begin first, so that the others run meanwhile, then those of whole processes.

    pytest-xdist would begin with the files that hold most tests: `make test` says --no-loadscope-reorder.
    """
    items.sort(key=lambda item: (item.get_closest_marker("slow") is None, "integration" not in item.path.parts))


@pytest.fixture(autouse=True)
def only_the_tests_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's LANE_B_* variables decide nothing in tests."""
    for name in list(os.environ):
        if name.startswith("LANE_B_") or name in ("NANOCHAT_BASE_DIR", "DAGSTER_HOME"):
            monkeypatch.delenv(name)


@functools.cache
def laneb_imported() -> ForkedPython:
    """What starts `laneb`: its verbs' modules are imported once for this test process."""
    verbs = ("doctor", "report", "run", "summary", "watch")
    return ForkedPython(*(f"laneb_assets.commands.{verb}" for verb in verbs), "laneb_assets.lane_run.walk")


@dataclass(frozen=True)
class Lane:
    """An experiment in a folder of its own, with its Dagster instance."""

    folder: Path
    name: str = "micro"

    @property
    def profile(self) -> Path:
        return self.folder / f"{self.name}.toml"

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def settings(self) -> Settings:
        return load_settings(str(self.profile))

    @property
    def store(self) -> Store:
        return Store(self.settings.locations)

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.settings.locations.duckdb_path)

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.home))

    def assets(self) -> tuple[DagsterLane, dg.Definitions]:
        """Its assets as they load now, and their definitions."""
        definitions = definitions_of(self.settings)
        return DagsterLane(self.settings, definitions.resolve_asset_graph()), definitions

    def run(self, instance: dg.DagsterInstance | None = None) -> list[Outcome]:
        """What `laneb run` does."""
        with contextlib.nullcontext(instance) if instance else self.instance() as instance:
            return run_lane(self.settings, instance, before=lambda step: None, after=lambda outcome: None)

    def materialize(self, asset: str, partition: str | None = None) -> Outcome:
        """One step, as `laneb run` would make it, whether it is up to date or not."""
        assets, definitions = self.assets()
        with self.instance() as instance:
            return materialize_step(assets, definitions, instance, Step(asset, partition))

    def copied_to(self, folder: Path) -> Lane:
        """A copy of it in another folder, to be changed at will."""
        shutil.copytree(self.folder, folder)
        copy = Lane(folder, self.name)
        text = copy.profile.read_text(encoding="utf-8").replace(f'base_dir = "{self.folder}', f'base_dir = "{folder}')
        # The same surface, as the same corpus: with one that lies elsewhere all its settings would be others.
        text = text.replace('"surface.toml"', f'"{(self.folder / "surface.toml").as_posix()}"')
        copy.profile.write_text(text, encoding="utf-8")
        return copy

    def laneb(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """The console script, in a process of its own."""
        process = laneb_imported().start(
            "-m", "laneb_assets.cli", *arguments, environment=self.environment() | variables, folder=self.folder
        )
        said, errors = process.communicate()
        return subprocess.CompletedProcess(["laneb", *arguments], process.wait(), said, errors)

    def environment(self) -> dict[str, str]:
        """For processes: this lane's instance and profile, and nothing of the person's."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LANE_B_")}
        return kept | {"DAGSTER_HOME": str(self.home), "LANE_B_PROFILE": str(self.profile), "NO_COLOR": "1"}


def write_corpus(folder: Path, documents: int = 60) -> Path:
    """Prose-like text: sentences of a few words that follow each other unevenly."""
    folder.mkdir(parents=True)
    draw = random.Random(7)
    words = ["the", "loss", "of", "a", "model", "falls", "with", "tokens", "and", "then", "rises", "slowly", "again"]
    for number in range(documents):
        sentences = [" ".join(draw.choice(words) for _ in range(draw.randint(4, 12))) for _ in range(40)]
        text = ". ".join(sentences).capitalize() + f". {number}\n"
        (folder / f"document_{number:03d}.txt").write_text(text, encoding="utf-8")
    return folder


def new_lane(folder: Path, name: str = "micro") -> Lane:
    """A lane that nothing was run of yet, of a profile in this folder: `micro` trains, `simulated` does not."""
    folder.mkdir(parents=True, exist_ok=True)
    corpus = write_corpus(folder / "corpus")
    text = (
        (PROFILES / f"{name}.toml")
        .read_text(encoding="utf-8")
        .replace("[data]", f'[data]\ncorpus = "{corpus.as_posix()}"')
    )
    places = f'\n[places]\nbase_dir = "{(folder / "data").as_posix()}"\n'
    (folder / f"{name}.toml").write_text(text + places, encoding="utf-8")
    shutil.copy(PROFILES / "surface.toml", folder)
    home = folder / "home"
    home.mkdir()
    shutil.copy(PROFILES.parent / "dagster.yaml", home)
    return Lane(folder, name)


@pytest.fixture(scope="session")
def lane_made_in() -> Callable[[Path, str], Lane]:
    """`new_lane`, for fixtures of a module."""
    return new_lane


@pytest.fixture
def lane(tmp_path: Path) -> Lane:
    """A lane that nothing was run of yet."""
    return new_lane(tmp_path / "lane")


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Lane:
    """A lane that `laneb run` has finished. Not to be changed: see `finished_lane`."""
    return finished_among_all(tmp_path_factory, "micro")


def finished_among_all(tmp_path_factory: pytest.TempPathFactory, name: str) -> Lane:
    """A finished lane of a profile in this folder: one for all processes of pytest-xdist, made by the first."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / f"finished_{name}"
    with FileLock(shared / f"finished_{name}.lock"):
        whole = folder / "whole"
        if not whole.exists():
            shutil.rmtree(folder, ignore_errors=True)
            run_to_its_end(new_lane(folder / "lane", name))
            whole.touch()
    return Lane(folder / "lane", name)


def run_to_its_end(finished: Lane) -> Lane:
    """Materialize the whole graph of a lane."""
    outcomes = finished.run()
    assert [outcome.error for outcome in outcomes if outcome.state == "failed"] == []
    return finished


@pytest.fixture
def finished_lane(finished_once: Lane, tmp_path: Path) -> Iterator[Lane]:
    """A copy of a finished lane, to be changed at will."""
    yield finished_once.copied_to(tmp_path / "lane")


@pytest.fixture
def simulated_lane(tmp_path: Path) -> Lane:
    """A lane without training that nothing was run of yet: ten seconds to its end."""
    return new_lane(tmp_path / "lane", "simulated")


@pytest.fixture(scope="session")
def simulated_once(tmp_path_factory: pytest.TempPathFactory) -> Lane:
    """A lane without training that `laneb run` has finished. Not to be changed: see `finished_simulated_lane`."""
    return finished_among_all(tmp_path_factory, "simulated")


@pytest.fixture
def finished_simulated_lane(simulated_once: Lane, tmp_path: Path) -> Lane:
    """A copy of a finished lane without training, to be changed at will."""
    return simulated_once.copied_to(tmp_path / "lane")
