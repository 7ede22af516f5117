"""Dagster's UI as `laneb ui` serves it on a finished lane, in a real browser."""

import json
import shutil

import dagster as dg
import pytest
from click.testing import CliRunner
from server import serving, wait_until

from laneb.records.experiment import Experiment
from laneb_assets.cli import cli
from laneb_assets.jobs import BY_PARTITION

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed (apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def lane(simulated_once, tmp_path_factory):
    """A finished lane whose further runs take 20 seconds: they are drawn from a surface of its own."""
    lane = simulated_once.copied_to(tmp_path_factory.mktemp("browser") / "lane")
    surface = lane.folder / "surface.toml"
    surface.write_text(surface.read_text() + "pace = 0.5\n")
    lane.profile.write_text(lane.profile.read_text().replace(str(simulated_once.folder / surface.name), str(surface)))
    lane.store.write(Experiment.of(lane.settings))
    return lane


@pytest.fixture(scope="module")
def server(lane):
    with serving(lane, ui=True) as server:
        yield server


@pytest.fixture(scope="module")
def at(server):
    from browser import page

    with page() as at:
        yield at


def test_the_first_page_shows_the_runs_of_laneb_run_by_what_they_made(server, at) -> None:
    from browser import show_timeline

    shown = show_timeline(at, server.url, "analysis")
    assert all(job in shown for job in BY_PARTITION)
    assert "No runs" not in shown


def test_the_graph_renders_with_its_partitions_and_state(server, at) -> None:
    from browser import show_group

    show_group(at, server.url, "laneb", "baseline", "baseline_runs")
    assert at.get_by_text("baseline_threshold").count() >= 1


def test_the_plots_decode_and_the_gates_show(server, at) -> None:
    from browser import open_plot, show_asset

    show_asset(at, server.url, "simulated", "ratio_inference")
    images = open_plot(at)
    assert any(source == "data:image/png;base64," and width > 300 for source, width in images), images
    at.goto(f"{server.url}/assets/simulated/ratio_inference?view=checks")
    at.get_by_text("warmdown_pays").first.wait_for(timeout=60_000)


def test_materialize_all_opens_its_dialog(server, at) -> None:
    from browser import open_materialize_all

    at.goto(f"{server.url}/asset-groups")
    open_materialize_all(at)
    at.get_by_role("dialog").first.wait_for(timeout=60_000)
    assert at.get_by_text("partition").count() >= 1


def test_the_summarys_page_fits_and_begins_with_the_sentence_of_the_terminal(simulated_once, server, at) -> None:
    from browser import first_metadata, show_asset

    asked = ["summary", "--json", "--profile", str(simulated_once.profile)]
    said = CliRunner().invoke(cli, asked, catch_exceptions=False)
    show_asset(at, server.url, "simulated", "lane_b_summary")
    assert first_metadata(at) == ("answer", f"{json.loads(said.output)['answer']}.", True)


def test_a_click_materializes_experiment_without_asking_for_its_sections(lane, server, at) -> None:
    from browser import show_asset

    with lane.instance() as instance:
        key = dg.AssetKey(["simulated", "experiment"])

        def made() -> int:
            return len(instance.fetch_materializations(key, limit=9).records)

        before = made()
        show_asset(at, server.url, "simulated", "experiment")
        at.get_by_role("button", name="Materialize").first.click()
        wait_until(lambda: made() > before, "experiment is materialized", 60)
    assert at.get_by_role("dialog").count() == 0


def test_a_partitions_page_moves_while_it_trains(server, at) -> None:
    from browser import metadata_of_partition

    run = server.materialize(["simulated", "baseline_runs"], partition="41")
    steps: list[int] = []

    def moved() -> bool:
        found = metadata_of_partition(at, server.url, "simulated/baseline_runs", "41")
        if "eta_sec" in found and int(found["step"]) not in steps:
            steps.append(int(found["step"]))
        return len(steps) >= 2

    wait_until(moved, "the heartbeat moves", 90)
    assert steps == sorted(steps)
    server.terminate(run)
