"""What a checkout's script prints of the run that it begins, held against the run that was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from laneb.corpus.checkout import CheckoutError
from laneb.model.scaling import count_parameters
from laneb.training.log import scaling_params

if TYPE_CHECKING:
    from laneb.training.spec import RunSpec

COUNT_TOLERANCE = 0.01
"""Versions of nanochat differ by a few small gates; more than this is another model."""

RATIO_TOLERANCE = 0.006
"""Ratios are printed with two decimals."""


def check_headers(spec: RunSpec, headers: Mapping[str, float]) -> None:
    """Compare what is printed before the first step, at any version's wording, with the spec.

    Args:
        spec: the run that was asked for.
        headers: facts by name, as the log's reader gives them; what a version doesn't print is not compared.

    Raises:
        CheckoutError: the script trains another run: its model, vocabulary, batch, horizon or ratio differ.
    """
    for counted, known, what in _counts(spec, headers):
        if all(abs(counted - one) > COUNT_TOLERANCE * one for one in known):
            raise CheckoutError(
                f"the checkout's model has {counted:,} {what} and that of the settings {known[0]:,}: this version of "
                "nanochat builds another model. Take another version"
            )
    expected = {
        "vocab_size": spec.vocab_size,
        "depth": spec.depth,
        "total_batch_size": spec.total_batch_size,
        "horizon": spec.steps,
        "total_tokens": spec.steps * spec.total_batch_size,
    }
    for name, value in expected.items():
        if name in headers and int(headers[name]) != value:
            remedy = f". Set LANE_B_TOTAL_BATCH_SIZE={int(headers[name])}" if name == "total_batch_size" else ""
            raise CheckoutError(
                f"the checkout trains with {name.replace('_', ' ')} {int(headers[name]):,} where {value:,} was asked "
                f"for{remedy}"
            )
    _check_ratio(spec, headers)


def _counts(spec: RunSpec, headers: Mapping[str, float]) -> Iterator[tuple[int, tuple[int, ...], str]]:
    """Parameters as printed, what they may be, and which they are."""
    counted = scaling_params(headers)
    if counted is not None:
        yield counted, (spec.n_scaling_params,), "scaling parameters"
    elif "parameters" in headers:
        # Versions that print one number alone had no tables of value embeddings at first.
        counts = count_parameters(spec.shape).param_counts
        yield int(headers["parameters"]), (counts.total - counts.value_embeds, counts.total), "parameters"


def _check_ratio(spec: RunSpec, headers: Mapping[str, float]) -> None:
    """The ratio as the version counts it: of the scaling parameters, before 2026-01-27 of all."""
    for name, counted in (("ratio", scaling_params(headers)), ("params_ratio", headers.get("parameters"))):
        if name in headers and counted:
            ratio = spec.steps * spec.total_batch_size / counted
            if abs(headers[name] - ratio) > RATIO_TOLERANCE + 1e-3 * ratio:
                raise CheckoutError(
                    f"the checkout trains at {headers[name]:g} tokens per parameter where {ratio:.2f} were asked for"
                )
