"""Buckets that can't be used, in one sentence."""

from __future__ import annotations

import functools
from typing import Any

from laneb.places import AnyPath, PlaceError, is_folder_path

OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss"})
"""Protocols without folders: a bucket is there or not, and is nothing to be made on the way."""

_CLIENTS = ("botocore", "aiobotocore", "s3fs", "aiohttp", "gcsfs", "google", "azure", "adlfs", "urllib3", "requests")


def is_of_a_client(error: BaseException) -> bool:
    """Whether an error is of a bucket's driver, which has many classes of its own."""
    return type(error).__module__.partition(".")[0] in _CLIENTS or isinstance(error, TimeoutError)


def refuses(error: BaseException) -> bool:
    """Whether a bucket won't have us, as opposed to being away."""
    return isinstance(error, PermissionError) or "Credentials" in type(error).__name__


def complaint(place: AnyPath, error: BaseException) -> str:
    """One sentence about a bucket that can't be used, and what to do."""
    said = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    if refuses(error):
        return f"{place}: the bucket refuses ({said}). Check its keys, such as AWS_ACCESS_KEY_ID."
    return (
        f"{place}: the bucket doesn't answer ({said}). Check its endpoint, such as AWS_ENDPOINT_URL, then run again: "
        "what was finished is kept."
    )


def check_bucket(place: AnyPath) -> None:
    """Say at once, and not after minutes of patience, that a bucket can't be used; a folder is no matter.

    Raises:
        PlaceError: there is no such bucket, it refuses, or its endpoint doesn't answer.
    """
    if not is_folder_path(place) and place.protocol in OBJECT_STORES:
        _check(str(place))


@functools.cache
def _check(url: str) -> None:
    from upath import UPath

    options: Any = {"config_kwargs": {"retries": {"max_attempts": 2}}} if url.startswith("s3") else {}
    quick: Any = UPath(url, **options)
    bucket = str(quick.path).strip("/").partition("/")[0]
    try:
        quick.fs.ls(bucket)
    except FileNotFoundError as error:
        raise PlaceError(f"{url}: there is no bucket {bucket}. Make it, or correct its name.") from error
    except Exception as error:
        if isinstance(error, OSError) or is_of_a_client(error):
            raise PlaceError(complaint(quick, error)) from error
        raise
