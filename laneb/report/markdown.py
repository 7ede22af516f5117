"""Tables in Markdown, as Dagster's UI and summary.md show them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""A table; a bar within a cell stays within it.

    >>> print(markdown_table(("run", "bpb"), [("200|41", "0.9")]))
    | run | bpb |
    |---|---|
    | 200\|41 | 0.9 |
    """
    lines = (" | ".join(cell.replace("|", r"\|") for cell in line) for line in (columns, *rows))
    head, *body = (f"| {line} |" for line in lines)
    return "\n".join([head, f"|{'---|' * len(columns)}", *body])
