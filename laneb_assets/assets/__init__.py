"""The lane's assets; importing this package declares them all."""

from laneb_assets.assets import (  # noqa: F401
    baseline,
    calibration,
    candidates,
    corpus,
    inference,
    scaling,
    statistics,
    summary,
    threshold,
)
