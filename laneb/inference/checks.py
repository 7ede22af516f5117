"""Refusals of arguments that are no usable numbers, as sentences."""

from __future__ import annotations

import math
from numbers import Real


def checked_number(
    name: str, value: object, *, above: float = -math.inf, below: float = math.inf, unit: str = ""
) -> float:
    """The value as a float strictly between `above` and `below`.

    Raises:
        ValueError: it is no real number (a text, None, a list, true), not finite, or out of the range.

    >>> checked_number("confidence", 0.95, above=0, below=1)
    0.95
    >>> checked_number("confidence", 95, above=0, below=1)
    Traceback (most recent call last):
    ValueError: confidence 95 is not allowed; it is a finite number between 0 and 1
    """
    allowed = "a finite number" + _range(above, below) + (f" [{unit}]" if unit else "")
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} {value!r} is not a number; it is {allowed}")
    number = float(value)
    if not math.isfinite(number) or not above < number < below:
        raise ValueError(f"{name} {number:g} is not allowed; it is {allowed}")
    return number


def checked_pair(name: str, value: object, *, above: float = -math.inf, infinite: bool = False) -> tuple[float, float]:
    """Two numbers above `above`, with `infinite` also infinities.

    Raises:
        ValueError: it is no pair, or one of the two is no such number.
    """
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise ValueError(f"{name} {value!r} is not a pair of numbers")
    first, second = (
        part if infinite and isinstance(part, float) and math.isinf(part) else checked_number(name, part, above=above)
        for part in value
    )
    return first, second


def checked_count(name: str, value: object, *, least: int = 1) -> int:
    """The value as an integer of at least `least`.

    Raises:
        ValueError: it is no integer (a text, None, a list, a fraction, NaN), or smaller.
    """
    if isinstance(value, bool) or not isinstance(value, Real) or not float(value).is_integer():
        raise ValueError(f"{name} {value!r} is not an integer; it is one of at least {least}")
    count = int(float(value))
    if count < least:
        raise ValueError(f"{name} {count} is not allowed; it is an integer of at least {least}")
    return count


def _range(above: float, below: float) -> str:
    if math.isfinite(above) and math.isfinite(below):
        return f" between {above:g} and {below:g}"
    if math.isfinite(above):
        return f" above {above:g}"
    return f" below {below:g}" if math.isfinite(below) else ""
