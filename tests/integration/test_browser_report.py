"""The report in a real browser, on a phone and a desk."""

import json
import shutil
import subprocess
import sys

import pytest

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
