"""What accelerators reach at most, by the names that their drivers give them."""

from __future__ import annotations

import re

_PEAKS = (
    ("GB300|B300", 2.5e15),
    ("GB200", 2.5e15),
    ("B200", 2.25e15),
    ("B100", 1.75e15),
    ("GH200|H200|H20[0-9]", 989e12),
    ("H20", 148e12),
    ("H100 NVL", 835e12),
    ("H100 PCIe", 756e12),
    ("H800 PCIe", 756e12),
    ("H100|H800", 989e12),
    ("L40S", 362e12),
    ("L40", 181e12),
    ("L20", 119.5e12),
    ("L4", 121e12),
    ("A100|A800", 312e12),
    ("A40", 150e12),
    ("A30", 165e12),
    ("A16", 18e12),
    ("A10G", 70e12),
    ("A10", 125e12),
    ("A2", 18e12),
    ("RTX PRO 6000", 504e12),
    ("RTX 6000 Ada Generation", 364e12),
    ("RTX 5000 Ada Generation", 261e12),
    ("RTX 4000 Ada Generation", 107e12),
    ("RTX A6000", 155e12),
    ("RTX A5000", 111e12),
    ("RTX A4000", 77e12),
    ("RTX 5090", 209e12),
    ("RTX 5080", 113e12),
    ("RTX 5070 Ti", 88e12),
    ("RTX 5070", 62e12),
    ("RTX 4090", 165e12),
    ("RTX 4080 SUPER", 104e12),
    ("RTX 4080", 97e12),
    ("RTX 4070 Ti", 80e12),
    ("RTX 4070", 58e12),
    ("RTX 3090 Ti", 80e12),
    ("RTX 3090", 71e12),
    ("RTX 3080 Ti", 68e12),
    ("RTX 3080", 59e12),
    ("RTX 3070", 41e12),
    ("RTX 3060", 26e12),
    ("MI355X", 2.5e15),
    ("MI350X", 2.3e15),
    ("MI325X|MI300X", 1307e12),
    ("MI300A", 981e12),
    ("MI250X", 383e12),
    ("MI250", 362e12),
    ("MI210", 181e12),
)
"""Dense peak in bfloat16 with sums in float32 [FLOP/s], of a whole word of a name; from the makers' data sheets."""

_SMALLER = re.compile(r"\b(MIG|Laptop|Max-Q|Mobile|vGPU|GRID)\b", re.IGNORECASE)
"""A part of a card, or a slower one of the same name: their peaks aren't those of the name."""


def bfloat16_peak(name: str) -> float | None:
    """Dense bfloat16 peak [FLOP/s] of an accelerator of that name, or None where it isn't known.

    >>> bfloat16_peak("NVIDIA A100-SXM4-80GB")
    312000000000000.0
    >>> bfloat16_peak("NVIDIA RTX A1000") is None
    True
    """
    if _SMALLER.search(name):
        return None
    # A number that goes on, or "Ti" or "SUPER" behind it, makes another card of it.
    found = (
        peak
        for pattern, peak in _PEAKS
        if re.search(rf"(?<![A-Za-z0-9])(?:{pattern})(?![A-Za-z0-9]| Ti| SUPER| Ada)", name)
    )
    return next(found, None)
