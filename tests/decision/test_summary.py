"""The summary of schema rows."""

from __future__ import annotations

import pandas as pd
import pytest

from laneb.decision import summarize


def rows(*values: tuple[int, str, object, object] | tuple[int, str, object, object, str]) -> pd.DataFrame:
    """(seed, mode, measured, extrapolated[, status])."""
    return pd.DataFrame(
        [
            {
                "run_id": f"laneb_{mode}_s{seed}", "seed": seed, "lane_b_decision": mode,
                "time_to_target_sec_measured": measured, "time_to_target_sec_extrapolated": extrapolated,
                "status": status[0] if status else "ok",
            }
            for seed, mode, measured, extrapolated, *status in values
        ]
    )  # fmt: skip


def winners(frame: pd.DataFrame) -> dict[int, str]:
    return {winner.seed: winner.winner for winner in summarize(frame).winners}


def test_the_least_time_wins_its_seed_and_most_wins_are_recommended() -> None:
    summary = summarize(
        rows(
            (41, "inferred", 10, None), (41, "confirmation", 9, None), (42, "inferred", 10, None),
            (42, "confirmation", 9, None), (43, "inferred", 8, None), (43, "confirmation", 9, None),
        )
    )  # fmt: skip
    assert {winner.seed: winner.winner for winner in summary.winners} == {
        41: "confirmation",
        42: "confirmation",
        43: "inferred",
    }
    assert summary.tally == {"inferred": 1, "confirmation": 2, "fallback": 0, "tie_or_missing": 0}
    assert summary.recommended_lane_b_decision == "confirmation"


def test_a_single_mode_with_a_time_wins() -> None:
    assert winners(rows((41, "inferred", None, None), (41, "confirmation", 12, None))) == {41: "confirmation"}


def test_an_extrapolated_time_counts_only_where_none_is_measured() -> None:
    assert winners(rows((41, "inferred", None, 5), (41, "confirmation", 12, None))) == {41: "confirmation"}
    assert winners(rows((41, "inferred", None, 5), (41, "confirmation", None, 6))) == {41: "inferred"}


@pytest.mark.parametrize(
    "pair", [((41, "inferred", 10, None), (41, "confirmation", 10.0, None)), ((41, "inferred", "", ""),)]
)
def test_an_exact_tie_or_no_time_is_tie_or_missing(pair: tuple) -> None:
    assert winners(rows(*pair)) == {41: "tie_or_missing"}


def test_equal_wins_go_by_the_order_of_modes() -> None:
    frame = rows(
        (41, "inferred", 9, None),
        (41, "confirmation", 10, None),
        (42, "inferred", 9, None),
        (42, "confirmation", 8, None),
    )
    assert summarize(frame).recommended_lane_b_decision == "inferred"


def test_runs_that_are_not_ok_are_named_and_never_ranked() -> None:
    summary = summarize(rows((41, "inferred", 1, None, "failed_nan"), (41, "confirmation", 10, None)))
    assert summary.recommended_lane_b_decision == "confirmation"
    assert summary.not_ok_runs == ("laneb_inferred_s41: failed_nan",)


@pytest.mark.parametrize(
    "frame",
    [
        rows((41, "inferred", 1, None, "failed")),
        rows((41, "inferred", None, None)),
        rows((1, "inferred", 1, 1)).iloc[:0],
    ],
)
def test_without_a_usable_run_the_fallback_is_recommended(frame: pd.DataFrame) -> None:
    assert summarize(frame).recommended_lane_b_decision == "fallback"


def test_the_later_row_of_a_run_counts() -> None:
    frame = pd.concat([rows((41, "inferred", 1, None), (41, "confirmation", 2, None)), rows((41, "inferred", 3, None))])
    assert winners(frame) == {41: "confirmation"}


def test_rows_that_are_no_schema_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="no column status"):
        summarize(rows((41, "inferred", 1, None)).drop(columns="status"))
    with pytest.raises(ValueError, match="'best' is none of"):
        summarize(rows((41, "best", 1, None)))
    with pytest.raises(ValueError, match="not an integer"):
        summarize(rows((41, "inferred", 1, None)).assign(seed="x"))
