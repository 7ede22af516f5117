"""Seeds and horizons as Dagster partitions. They come from the settings when the code location loads."""

from dataclasses import dataclass

import dagster as dg

from laneb.settings import Settings


@dataclass(frozen=True)
class Partitions:
    """The partition sets of one experiment."""

    baseline_seed: dg.StaticPartitionsDefinition
    horizon_and_seed: dg.MultiPartitionsDefinition
    run_seed: dg.StaticPartitionsDefinition


def partitions_of(settings: Settings) -> Partitions:
    """Baseline seeds, calibration horizons x seeds, and run seeds."""
    return Partitions(
        baseline_seed=_static(settings.baseline.seeds),
        horizon_and_seed=dg.MultiPartitionsDefinition(
            {"horizon": _static(settings.calibration.iterations), "seed": _static(settings.calibration.all_seeds)}
        ),
        run_seed=_static(settings.candidates.run_seeds),
    )


def _static(values: tuple[int, ...]) -> dg.StaticPartitionsDefinition:
    return dg.StaticPartitionsDefinition([str(value) for value in values])
