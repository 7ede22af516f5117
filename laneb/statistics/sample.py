"""Which documents of a corpus are measured."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from laneb.statistics.symbols import IntArray


def checked_starts(document_starts: ArrayLike, size: int) -> NDArray[np.int64]:
    """Check where documents begin: 0 first, then rising, all below the number of tokens."""
    starts = np.asarray(document_starts)
    if starts.ndim != 1 or starts.size == 0 or not np.issubdtype(starts.dtype, np.integer):
        raise ValueError("document_starts: a sequence of integers is needed, one for each document.")
    starts = starts.astype(np.int64)
    if starts[0] != 0 or (starts[1:] <= starts[:-1]).any() or starts[-1] >= size:
        raise ValueError(
            f"document_starts: the first document begins at 0, each later one after the one before it, the last below "
            f"{size} (the number of tokens); got {starts[0]} to {starts[-1]}."
        )
    return starts


def sample_documents(
    tokens: IntArray, document_starts: ArrayLike, max_docs: int, max_tokens: int
) -> tuple[IntArray, NDArray[np.int64]]:
    """The first documents of a corpus, cut where the tokens are enough.

    Args:
        tokens: [N] the corpus, each document after the other; a memory map is not read beyond the sample.
        document_starts: [D] where each document begins, 0 first.
        max_docs: documents at most; -1 for all.
        max_tokens: tokens at most, the last document cut short; -1 for all.

    Returns:
        The sample's tokens (a view) and its document starts.

    Raises:
        ValueError: starts that don't rise from 0, or a limit that is neither positive nor -1.
    """
    for name, limit in (("max_docs", max_docs), ("max_tokens", max_tokens)):
        if limit != -1 and limit < 1:
            raise ValueError(f"{name}: {limit} samples nothing. Use a positive number, or -1 for all.")
    starts = checked_starts(document_starts, int(tokens.size))
    end = int(starts[max_docs]) if -1 < max_docs < starts.size else int(tokens.size)
    if max_tokens != -1:
        end = min(end, max_tokens)
    return tokens[:end], starts[starts < end]
