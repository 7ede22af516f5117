"""What tests share: a lane of seconds, run once per test process and copied for tests that change it."""

import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from hypothesis import settings as hypothesis_settings

from laneb.settings import Settings, load_settings
from laneb.storage.store import Store
from laneb.storage.warehouse import Warehouse

MICRO = Path(__file__).parent / "micro.toml"

# The machines that tests run on are shared: how long an example takes says nothing.
hypothesis_settings.register_profile("shared", deadline=None)
hypothesis_settings.load_profile("shared")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that wait for a daemon begin first, so that the others run meanwhile.

    pytest-xdist would begin with the files that hold most tests: `make test` says --no-loadscope-reorder.
    """
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True)
def only_the_tests_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's LANE_B_* variables decide nothing in tests."""
    for name in list(os.environ):
        if name.startswith("LANE_B_") or name in ("NANOCHAT_BASE_DIR", "DAGSTER_HOME"):
            monkeypatch.delenv(name)


@dataclass(frozen=True)
class Lane:
    """An experiment in a folder of its own, with its Dagster instance."""

    folder: Path

    @property
    def profile(self) -> Path:
        return self.folder / "micro.toml"

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


def new_lane(folder: Path) -> Lane:
    """A lane that nothing was run of yet."""
    folder.mkdir(parents=True, exist_ok=True)
    corpus = write_corpus(folder / "corpus")
    text = MICRO.read_text(encoding="utf-8").replace("[data]", f'[data]\ncorpus = "{corpus.as_posix()}"')
    places = f'\n[places]\nbase_dir = "{(folder / "data").as_posix()}"\n'
    (folder / "micro.toml").write_text(text + places, encoding="utf-8")
    home = folder / "home"
    home.mkdir()
    shutil.copy(MICRO.parent.parent / "dagster.yaml", home)
    return Lane(folder)


@pytest.fixture
def lane(tmp_path: Path) -> Lane:
    """A lane that nothing was run of yet."""
    return new_lane(tmp_path / "lane")


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory: pytest.TempPathFactory) -> Lane:
    """A lane that `laneb run` has finished. Not to be changed: see `finished_lane`."""
    from laneb_assets.headless import run_lane

    finished = new_lane(tmp_path_factory.mktemp("finished") / "lane")
    with finished.instance() as instance:
        outcomes = run_lane(finished.settings, instance, before=lambda step: None, after=lambda outcome: None)
    assert [outcome.error for outcome in outcomes if outcome.state == "failed"] == []
    return finished


@pytest.fixture
def finished_lane(finished_once: Lane, tmp_path: Path) -> Iterator[Lane]:
    """A copy of a finished lane, to be changed at will."""
    folder = tmp_path / "lane"
    shutil.copytree(finished_once.folder, folder)
    profile = folder / "micro.toml"
    text = profile.read_text(encoding="utf-8").replace(f'base_dir = "{finished_once.folder}', f'base_dir = "{folder}')
    profile.write_text(text, encoding="utf-8")
    yield Lane(folder)
