"""Whether enough candidates reach the threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from laneb.records.verdict import ArmTime, Reach


def reach_of(candidate: Sequence[ArmTime], threshold: float, required_share: float) -> Reach:
    """How many runs of a mode reach the threshold, and how surely fewer do than is required.

    Where all finished and their margins (threshold less lowest loss) spread, the margins tell more than the count: with
    margins of mean m and sd s, normal over seeds, the share that reaches is Phi(m / s), and sqrt(n) m / s has a
    noncentral t distribution. Else the count is binomial. A run that failed has not reached.

    Args:
        candidate: the mode's rows.
        threshold: loss to reach [bpb].
        required_share: above 0 and below 1.

    >>> reach_of([], threshold=0.9, required_share=0.25).p_below is None
    True
    """
    margins = [threshold - row.min_val_bpb for row in candidate if row.status == "ok" and row.min_val_bpb is not None]
    reached = sum(row.reached for row in candidate)
    return Reach(
        reached=reached,
        runs=len(candidate),
        required_share=required_share,
        p_below=_p_below(margins, reached, len(candidate), required_share),
    )


def _p_below(margins: Sequence[float], reached: int, runs: int, required_share: float) -> float | None:
    from scipy.stats import binom, nct, norm

    if not runs:
        return None
    values = np.array(margins)
    sd = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    if len(values) < runs or sd <= 1e-9:
        return float(binom.cdf(reached, runs, required_share))
    t = float(values.mean()) / (sd / math.sqrt(runs))
    p = float(nct.cdf(t, runs - 1, math.sqrt(runs) * float(norm.ppf(required_share))))
    # Far out in its tail scipy's noncentral t returns NaN.
    return p if math.isfinite(p) else float(t > 0)
