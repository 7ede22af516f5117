"""Dagster's UI on a finished lane, in a real browser."""

import shutil

import pytest
from server import serving

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed (apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def server(finished_once):
    with serving(finished_once, daemon=False) as server:
        yield server


@pytest.fixture
def at(server):
    from browser import page

    with page() as at:
        yield at


def test_the_graph_renders_with_its_partitions_and_state(server, at) -> None:
    from browser import show_group

    show_group(at, server.url, "laneb_assets.definitions", "baseline", "baseline_runs")
    assert at.get_by_text("baseline_threshold").count() >= 1


def test_the_plots_decode_and_the_gates_show(server, at) -> None:
    from browser import open_plot, show_asset

    show_asset(at, server.url, "micro", "ratio_inference")
    images = open_plot(at)
    assert any(source == "data:image/png;base64," and width > 300 for source, width in images), images
    at.goto(f"{server.url}/assets/micro/ratio_inference?view=checks")
    at.get_by_text("warmdown_pays").first.wait_for(timeout=60_000)


def test_materialize_all_opens_its_dialog(server, at) -> None:
    from browser import open_materialize_all

    at.goto(f"{server.url}/asset-groups")
    open_materialize_all(at)
    at.get_by_role("dialog").first.wait_for(timeout=60_000)
    assert at.get_by_text("partition").count() >= 1
