"""`laneb watch`, `laneb knobs`, `laneb profiles` and `laneb report`: as a person in a terminal meets them."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from laneb.settings import SECTIONS
from laneb_assets.cli import cli
from laneb_assets.commands.summary import lane_report, print_summary


@pytest.fixture
def laneb(simulated_once, monkeypatch):
    """Call the command line in this process, on the finished lane."""
    monkeypatch.setenv("LANE_B_PROFILE", str(simulated_once.profile))
    monkeypatch.setenv("DAGSTER_HOME", str(simulated_once.home))
    monkeypatch.setenv("NO_COLOR", "1")
    return lambda *arguments: CliRunner().invoke(cli, list(arguments), catch_exceptions=False)


def test_watch_shows_every_run_and_what_it_is_at(laneb, simulated_once) -> None:
    out = laneb("watch", "--once").output
    assert "13 of 13 runs so far are done" in out
    assert len(re.findall(r"^d1_\S+ +done", out, flags=re.M)) == 13


def test_watch_tells_a_run_that_trains_from_one_that_stopped(finished_simulated_lane, laneb, monkeypatch) -> None:
    monkeypatch.setenv("LANE_B_PROFILE", str(finished_simulated_lane.profile))
    runs = finished_simulated_lane.settings.locations.runs_dir
    for name, last in (("d1_i400_s41", {"event": "step", "step": 7}), ("d1_i400_s42", {"event": "end", "step": 9})):
        (runs / name / "result.json").unlink()
        (runs / name / "events.jsonl").write_text(json.dumps(last) + "\n")
    out = laneb("watch").output
    assert re.search(r"^d1_i400_s41 +trains +7 ", out, flags=re.M)
    assert re.search(r"^d1_i400_s42 +stopped +9 ", out, flags=re.M)
    assert out.index("d1_i400_s41") < out.index("d1_i400_s42") < out.index("d1_i400_s43")


def test_knobs_are_found_by_name_variable_and_meaning_in_80_columns(laneb) -> None:
    everything = laneb("knobs").output
    assert max(map(len, everything.splitlines())) <= 80
    assert len(re.findall(r"^\w+\.\w+(?= |$)", everything, flags=re.M)) == sum(len(s.model_fields) for s in SECTIONS)
    assert "Allowed: a number at least 0. Default: 0.02" in laneb("knobs", "LANE_B_THRESHOLD_OFFSET").output
    missing = laneb("knobs", "treshold_offset")
    assert missing.exit_code == 1
    assert "Did you mean threshold.threshold_offset?" in missing.stderr


def test_profiles_are_listed_with_what_they_are_for(laneb) -> None:
    assert "tiny: The whole lane in a few minutes" in laneb("profiles").output


def test_report_says_where_the_page_is_and_it_holds_the_terminals_sentence(laneb) -> None:
    done = laneb("report")
    assert done.exit_code == 0
    page = Path(done.output.strip()).read_text(encoding="utf-8")
    sentence = json.loads(laneb("summary", "--json").output)["answer"]
    assert sentence in page
    assert sentence in laneb("summary").output


def test_a_screen_of_80_columns_breaks_no_word_of_the_summary(laneb, simulated_once, monkeypatch) -> None:
    from rich.console import Console

    screen = Console(width=80, force_terminal=True, highlight=False, soft_wrap=True, no_color=True, record=True)
    monkeypatch.setattr("laneb_assets.commands.summary.console", lambda: screen)
    print_summary(simulated_once.settings)
    lines = screen.export_text().splitlines()
    assert max(map(len, lines)) <= 80
    whole = " ".join(" ".join(lines).split())
    assert lane_report(simulated_once.settings).answer.sentence in whole
