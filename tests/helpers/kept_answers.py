"""Whole answers kept in a JSON file, so that no number or sentence of them moves unseen."""

from __future__ import annotations

from typing import Any

import pytest


def rounded(value: Any, digits: int) -> Any:
    """An answer as it is kept: with numbers to so many digits that every machine agrees on them."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {key: rounded(part, digits) for key, part in value.items()}
    return [rounded(part, digits) for part in value] if isinstance(value, list | tuple) else value


def assert_same(found: Any, kept: Any, where: str, *, rel: float, abs: float) -> None:
    """The answer is the one that was kept: numbers to `rel` or `abs`, all else to the letter."""
    if isinstance(kept, dict):
        assert sorted(found) == sorted(kept), where
        for key in kept:
            assert_same(found[key], kept[key], f"{where}.{key}", rel=rel, abs=abs)
    elif isinstance(kept, list):
        assert len(found) == len(kept), where
        for index, (one, other) in enumerate(zip(found, kept, strict=True)):
            assert_same(one, other, f"{where}[{index}]", rel=rel, abs=abs)
    elif isinstance(kept, float):
        assert found == pytest.approx(kept, rel=rel, abs=abs), where
    else:
        assert found == kept, where
