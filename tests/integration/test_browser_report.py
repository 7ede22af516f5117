"""The answer, seen in a real browser: the report on a phone and a desk, and a run's heartbeat in Dagster's UI."""

import json
import shutil
import subprocess
import sys

import pytest
from server import serving, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed (apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def sentence(simulated_once) -> str:
    """What the terminal says."""
    command = [sys.executable, "-m", "laneb_assets.cli", "summary", "--json"]
    environment = simulated_once.environment()
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    return str(json.loads(done.stdout)["answer"])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_report_fits_the_screen_and_says_what_the_terminal_says(simulated_once, sentence, width, scheme) -> None:
    from browser import look_at_report

    seen = look_at_report(simulated_once.settings.locations.report_html, width=width, scheme=scheme)
    assert seen.sentence == f"{sentence}."
    assert seen.scroll_width <= width
    assert seen.undecoded == []
    assert seen.charts == 2, "both charts answer to the pointer"
    assert seen.problems == []
    assert seen.contrast >= 4.5
    assert seen.requested == []


def test_the_report_is_whole_without_scripts(simulated_once) -> None:
    from browser import look_at_report

    seen = look_at_report(simulated_once.settings.locations.report_html, width=390, scheme="light", scripts=False)
    assert seen.scroll_width <= 390
    assert seen.pictures == 2


def test_the_ui_shows_the_sentence_and_a_partitions_heartbeat_moves(simulated_lane) -> None:
    from browser import page

    lane = simulated_lane
    surface = lane.folder / "surface.toml"
    for asset in ("experiment", "tokenizer", "token_shards"):
        lane.materialize(asset)
    surface.write_text(surface.read_text() + "pace = 1.0\n")  # the run takes its 40 seconds
    with serving(lane, daemon=True) as server, page() as at:
        server.materialize(["simulated", "baseline_runs"], partition="41")
        steps: list[int] = []

        def moved() -> bool:
            found = observed_step(server)
            if found is not None and found not in steps:
                steps.append(found)
            return len(steps) >= 2

        wait_until(moved, "the heartbeat moves", 90)
        assert steps == sorted(steps)
        at.goto(f"{server.url}/assets/simulated/baseline_runs?view=events")
        at.get_by_text("eta_sec").first.wait_for(timeout=60_000)


def observed_step(server) -> int | None:
    """The step of the latest observation of a partition, as the UI asks for it."""
    query = """query($key: AssetKeyInput!) { assetOrError(assetKey: $key) { ... on Asset {
        assetObservations(limit: 1, partitions: ["41"]) {
            metadataEntries { label ... on IntMetadataEntry { intValue } } } } } }"""
    asset = server.ask(query, key={"path": ["simulated", "baseline_runs"]})["assetOrError"]
    for observation in asset.get("assetObservations", []):
        for entry in observation["metadataEntries"]:
            if entry["label"] == "step":
                return int(entry["intValue"])
    return None


def test_the_summarys_page_begins_with_the_sentence(simulated_once, sentence) -> None:
    from browser import page, show_asset

    with serving(simulated_once, daemon=False) as server, page() as at:
        show_asset(at, server.url, "simulated", "lane_b_summary")
        at.get_by_text(sentence[:60]).first.wait_for(timeout=60_000)
