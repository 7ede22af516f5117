"""What a design can find out and which run is worth its time next, as people read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from laneb.report.answer import duration

if TYPE_CHECKING:
    from laneb.records.plan import NextStep, Plan


def plan_columns(plan: Plan) -> tuple[str, ...]:
    """The columns of `plan_rows`."""
    gains = (f"power at {float(gain):.0%}" for gain in plan.forecasts[0].power)
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
            *("not possible" if row.power[gain] is None else f"{row.power[gain]:.2f}" for gain in gains),
            duration(row.train_sec),
        )
        for row in plan.forecasts
    ]


def assumptions(plan: Plan) -> str:
    """Where the numbers come from."""
    return f"Losses and spreads assumed: {plan.assumed_from}. Power: of an ACCEPT at the first look"


def next_sentence(step: NextStep) -> str:
    """The next run, its price, and what it is for."""
    value = ",".join(map(str, step.value))
    now = "no interval" if step.half_width_now is None else f"+-{step.half_width_now:.1%}"
    return (
        f"{step.what} ({step.key}={value}), {duration(step.train_sec)} of training: the interval goes "
        f"from {now} to about +-{step.half_width_then:.1%}. laneb plan --set-next keeps it"
    )
