"""What a design can find out and which run is worth its time next, as people read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from laneb.report.answer import duration

if TYPE_CHECKING:
    from laneb.records.plan import NextStep, Plan


def plan_columns(plan: Plan) -> tuple[str, ...]:
    """The columns of `plan_rows`."""
    gains = (f"power {float(gain):.0%}" for gain in plan.forecasts[0].power)
    return ("design", "pairs", "horizons", "interval", *gains, "training")


def plan_rows(plan: Plan) -> list[tuple[str, ...]]:
    """A row per design: how wide the ratio's interval will be, how likely an ACCEPT is by true gain, what it costs."""
    gains = list(plan.forecasts[0].power)
    return [
        (
            row.name,
            str(row.seeds),
            str(row.horizons),
            "none" if row.half_width is None else f"+-{row.half_width:.1%}",
            *("-" if row.power[gain] is None else f"{row.power[gain]:.2f}" for gain in gains),
            duration(row.train_sec),
        )
        for row in plan.forecasts
    ]


def assumptions(plan: Plan) -> str:
    """Where the numbers come from, what they mean, and what can't be found out whatever it is."""
    stands = plan.forecasts[0]
    said = [f"Losses and spreads assumed: {plan.assumed_from}"]
    if stands.gain is not None and stands.power_at_gain is not None:
        said.append(
            f"On them the confirmation gains {stands.gain:.1%}, and is accepted at the first look with probability "
            f"{stands.power_at_gain:.2f}; power: that probability at other gains"
        )
    else:
        said.append("Power: of an ACCEPT at the first look, by true gain")
    if any(power is None for row in plan.forecasts for power in row.power.values()):
        said.append("-: no such gain is possible")
    if any(row.half_width is None for row in plan.forecasts):
        said.append("Interval none: no ratio is expected, or nothing measures how runs scatter")
    if stands.least_gain is not None and stands.least_gain > min(map(float, stands.power)):
        said.append(
            f"No gain below {stands.least_gain:.1%} can be accepted: evaluations lie too far apart "
            f"(LANE_B_EVAL_EVERY, LANE_B_EVAL_EVERY_LATE)"
        )
    return ". ".join(said)


def next_sentence(step: NextStep) -> str:
    """The next run, its price, and what it is for."""
    value = ",".join(map(str, step.value))
    now = "no interval" if step.half_width_now is None else f"+-{step.half_width_now:.1%}"
    return (
        f"{step.what} ({step.key}={value}), {duration(step.train_sec)} of training: the interval goes "
        f"from {now} to about +-{step.half_width_then:.1%}. laneb plan --set-next keeps it"
    )
