"""What each gate says of its facts, and what to do where it fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

from laneb.inference.exponent import ExponentStatistics

if TYPE_CHECKING:
    from laneb.inference.gates import Facts
    from laneb.inference.warmdown import Warmdown


def finished_runs(facts: Facts) -> str:
    return "; ".join(facts.unfinished) if facts.unfinished else f"all {facts.runs} calibration runs finished"


def rerun(facts: Facts) -> str:
    return "Rerun them: materialize their calibration_runs partitions, or run: laneb run. See LANE_B_CALIB_ITERS."


def weakest_fit(stats: ExponentStatistics) -> float | None:
    """The smaller R^2 of the statistics' fits."""
    known = [r2 for r2 in (stats.corr_decay_r2, stats.entropy_decay_r2) if r2 is not None]
    return min(known) if known else None


def statistics_quality(facts: Facts) -> str:
    exponent = facts.exponent
    if not exponent.low_quality:
        return "the statistics' fits are of good quality"
    used = (
        "their exponent is used all the same"
        if exponent.source == "stats" and exponent.usable
        else f"the exponent comes from {exponent.source}"
    )
    return f"{exponent.weakness}; {used}"


def more_text(facts: Facts) -> str:
    return (
        "More text or a narrower fit window helps (LANE_B_STATS_MAX_TOKENS, LANE_B_ENT_MAX_CTX); "
        "LANE_B_ALLOW_LOW_QUALITY_STATS=1 uses a plausible exponent all the same."
    )


def plausible_exponent(facts: Facts) -> str:
    exponent, knobs = facts.exponent, facts.knobs
    shown = "none" if exponent.alpha is None else f"{exponent.alpha:.4g}"
    if exponent.usable and exponent.source == "stats":
        return f"the statistics' exponent {shown} lies in {knobs.alpha_min:g} to {knobs.alpha_max:g}"
    if exponent.usable:
        reason = f": {exponent.reason}" if exponent.reason else ""
        return f"the exponent {shown} comes from {exponent.source} and is judged by fit and extrapolation{reason}"
    return exponent.reason or f"the exponent {shown} can not be used"


def other_exponent(facts: Facts) -> str:
    return (
        "Let the finished runs give the exponent (LANE_B_ALPHA_FALLBACK_MODE=calibration), or set "
        "LANE_B_ALPHA_OVERRIDE."
    )


def solved(facts: Facts) -> str:
    if facts.solution.tokens is None:
        return f"no horizon was found ({facts.solution.status})"
    return f"the threshold is reached at {facts.solution.tokens:,.0f} tokens"


_SOLVE_REMEDIES = {
    "invalid_alpha": "The exponent is not positive; set LANE_B_ALPHA_OVERRIDE or let the finished runs give it.",
    "non_positive_A": "The fitted curve does not fall; calibrate at horizons further apart (LANE_B_CALIB_ITERS).",
    "threshold_not_above_asymptote": "The threshold lies at or below what any horizon reaches; raise "
    "LANE_B_THRESHOLD_OFFSET or calibrate longer.",
    "non_finite_target_tokens": "The threshold is out of reach; raise LANE_B_THRESHOLD_OFFSET.",
    "extrapolation_beyond_limit": "Calibrate at a horizon near the answer (LANE_B_CALIB_ITERS).",
    "noise_exceeds_spread": "Calibrate at horizons further apart, or with more seeds (LANE_B_CALIB_SEEDS).",
}


def solve_remedy(facts: Facts) -> str:
    return _SOLVE_REMEDIES[facts.solution.status]


def feasible(facts: Facts) -> str:
    tokens, limit = facts.solution.tokens, facts.limit_tokens
    if tokens is None:
        return "without a horizon the threshold counts as likely unreachable"
    if tokens <= limit:
        return f"{tokens:,.0f} tokens are within the limit of {limit:,.0f}"
    return (
        f"{tokens:,.0f} tokens are more than {facts.knobs.unreachable_mult:g} times the default ratio's ({limit:,.0f})"
    )


def feasible_remedy(facts: Facts) -> str:
    if facts.solution.tokens is None:
        return "Calibrate as `solved` says."
    return "Raise the threshold (LANE_B_THRESHOLD_OFFSET), or allow it with LANE_B_ALLOW_UNREACHABLE=1."


def fit_quality(facts: Facts) -> str:
    low, high = facts.estimate.own_alpha_interval
    in_use = f"the exponent in use, {facts.solution.exponent:.3g},"
    if not facts.exponent_told:
        return f"{in_use} stands at the end of the range it was looked for in"
    inside = facts.exponent_bounds[0] <= facts.solution.exponent <= facts.exponent_bounds[1]
    return (
        f"{in_use} {'lies in' if inside else 'lies outside'} the finals' own 95 % interval {low:.3g} to {high:.3g} "
        f"(R^2 of their curve {facts.estimate.curve.r2:.4f})"
    )


def fit_remedy(facts: Facts) -> str:
    if not facts.rests_on_curve:
        return "The answer is interpolated all the same. Calibrate at more horizons (LANE_B_CALIB_ITERS)."
    return (
        "The answer rests on the curve: let the finished runs give the exponent "
        "(LANE_B_ALPHA_FALLBACK_MODE=calibration, LANE_B_SOLVE_METHOD=finals), or calibrate at more horizons or seeds."
    )


def noise_below_spread(facts: Facts) -> str:
    found = facts.estimate
    return f"noise {found.noise_sd:.3g}, seed effects {found.seed_sd:.3g}, spread of the levels {found.spread:.3g}"


def further_apart(facts: Facts) -> str:
    return "Calibrate at horizons further apart (LANE_B_CALIB_ITERS), or with more seeds (LANE_B_CALIB_SEEDS)."


def bracketed(facts: Facts) -> str:
    shortest, longest = facts.estimate.levels[0], facts.estimate.levels[-1]
    levels = f"{shortest[1]:.6g} at {shortest[0]:,.0f} and {longest[1]:.6g} at {longest[0]:,.0f} tokens"
    if facts.bracketed:
        return f"the threshold lies between the levels {levels}"
    return f"the threshold does not lie between the levels {levels}: the answer is extrapolated"


def beyond_it(facts: Facts) -> str:
    return "Calibrate at a horizon beyond it (LANE_B_CALIB_ITERS)."


def extrapolation(facts: Facts) -> str:
    factor = facts.solution.extrapolation_factor
    if factor is None:
        return "there is no answer to place"
    if factor == 1.0:
        return "the answer lies within the horizons"
    limit = facts.estimate.extrapolation_limit
    which = "two horizons never extrapolate" if limit == 1 else f"limit {limit:g}"
    return f"the answer lies {factor:.2f} times outside the horizons ({which})"


def near_it(facts: Facts) -> str:
    return "Calibrate at a horizon near it (LANE_B_CALIB_ITERS)."


def interval(facts: Facts) -> str:
    scaling = facts.estimate.n_scaling_params
    if facts.solution.tokens is None:
        return "without a ratio there is no interval"
    if facts.solution.interval == (0.0, float("inf")):
        return "no interval: the finals do not bound the ratio, or do not measure their own scatter"
    low, high = (end / scaling for end in facts.solution.interval)
    return f"95 % interval of the ratio {low:.4g} to {high:.4g}" + (" (weak)" if facts.estimate.weak else "")


def more_seeds(facts: Facts) -> str:
    if facts.solution.tokens is None:
        return "Calibrate as `solved` says."
    what = "narrow it" if facts.solution.interval[0] > 0 else "bound it"
    return f"More seeds at each horizon {what} (LANE_B_CALIB_SEEDS)."


def warmdown_pays(facts: Facts) -> str:
    return warmdown_finding(facts.warmdown)


def warmdown_remedy(facts: Facts) -> str:
    return warmdown_advice(facts.warmdown)


def warmdown_finding(warmdown: Warmdown | None) -> str:
    if warmdown is None:
        return "no seed has finished runs at two horizons, so it is unknown whether the warmdown pays"
    shown = ", ".join(f"seed {pair.seed}: {pair.final:.4f} against {pair.longer_loss:.4f}" for pair in warmdown.pairs)
    return (
        f"runs finished at {warmdown.tokens:,.0f} tokens end {abs(warmdown.gain):.4f} bpb "
        f"{'below' if warmdown.gain >= 0 else 'above'} a longer run at the same step ({shown}; {warmdown.needed:.4f} "
        f"below is needed)"
    )


def warmdown_advice(warmdown: Warmdown | None) -> str:
    if warmdown is None:
        return "Calibrate one seed at two horizons (LANE_B_CALIB_ITERS)."
    return (
        "A longer horizon then reaches the threshold first: raise the learning rates (LANE_B_MATRIX_LR, "
        "LANE_B_EMBEDDING_LR), or take smaller batches and more steps."
    )
