"""What goes wrong with a corpus, in words for the person who chose it."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int, str], None]
"""Called as `progress(done_bytes, total_bytes, note)` while something long runs; `note` says what it is at."""


class CorpusError(ValueError):
    """Text that can't be used: where it is, what is wrong, what is allowed and what to do."""
