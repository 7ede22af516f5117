"""Polar Express: quintics that drive singular values to 1 fast (Amsel et al. 2025, arXiv:2505.16932)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

QUINTICS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)
"""Each the best odd quintic for what those before leave of singular values in [1e-3, 1], with nanochat's margin."""


def polar_express(x: Tensor) -> Tensor:
    """About U V^T of matrices U S V^T (n, R, K) whose largest singular value is at most 1.

    In bfloat16 the order of operations shows, so each is nanochat's: products of the smaller side, no fused sums.
    """
    tall = x.size(-2) > x.size(-1)
    for a, b, c in QUINTICS:
        gram = x.mT @ x if tall else x @ x.mT
        bent = b * gram + c * (gram @ gram)
        x = a * x + (x @ bent if tall else bent @ x)
    return x
