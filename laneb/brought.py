"""What people bring as settings: values as shells, env files and other systems' editors leave them.

What can mean one thing alone is read as that; everything else is refused in a sentence.
"""

from __future__ import annotations

import re
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST_TOML = 1 << 20
"""Bytes of a settings file; what is larger is something else under its name."""

SPECIAL = "it is a device, socket or pipe, not a file"

LONGEST_SHOWN = 200
"""Characters of a value that a sentence repeats."""

LONGEST_NAME = 200
"""Bytes of a file's name, with room for what is added to it."""

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def unquoted(text: str) -> str:
    r"""A value without what surrounds it: blanks, a line end's `\r`, the quotation marks that env files keep.

    >>> unquoted(' "/data/my runs"\r')
    '/data/my runs'
    >>> unquoted('"--constraint=a" "--mem=8G"')
    '"--constraint=a" "--mem=8G"'
    """
    text = text.strip()
    if len(text) > 1 and text[0] in "\"'" and text.find(text[0], 1) == len(text) - 1:
        text = text[1:-1].strip()
    return text


def place(text: str, environ: Mapping[str, str]) -> str:
    """A place with `~`, `$NAME` and `${NAME}` filled in, as a shell would have done where the value is not quoted.

    Raises:
        ValueError: a variable that is not set, a quotation mark or a control character: no place that anybody meant.
    """
    if text[:1] in ("'", '"') or text[-1:] in ("'", '"'):
        raise ValueError("a quotation mark is left at one end of it")
    if _CONTROL.search(text):
        raise ValueError("there is a control character in it, such as a line end")

    def filled(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if not environ.get(name):
            raise ValueError(f"it names {match[0]}, and {name} is not set")
        return environ[name]

    text = _VARIABLE.sub(filled, text)
    try:
        return str(Path(text).expanduser()) if text.startswith("~") else text
    except RuntimeError as error:
        raise ValueError("it begins with ~, and whose home that is is not known here") from error


def is_plain_name(text: str) -> bool:
    """Whether a text that data brought can be the name of one file or folder, and of nothing beyond it.

    >>> [is_plain_name(name) for name in ("baseline_d12_s41", "a run", "..", "../x", "/etc", "a\\n", ".hidden", "")]
    [True, True, False, False, False, False, False, False]
    """
    short = 0 < len(text.encode("utf-8", "replace")) <= LONGEST_NAME
    return short and text.isprintable() and text[0] not in ". " and text[-1] != " " and not set("/\\") & set(text)


def shortened(text: str) -> str:
    """A value as a sentence repeats it: its beginning, where it is long."""
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}... ({len(text):,} characters)"


def is_special(path: Path) -> bool:
    """Whether a path names a device, socket or pipe: reading it could wait or go on for ever, and writing replace it.

    What a shell hands over open, as `<(zcat train.log.gz)` is, has somebody at its other end and is none of these.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # a name that no file can have
        return False
    handed_over = str(path).startswith(("/dev/fd/", "/dev/stdin", "/proc/")) and stat.S_ISFIFO(mode)
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or handed_over)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        ValueError: it can't be read, is no file or not TOML; the message says which, without the path.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ValueError("it is a folder; name the .toml file in it")
        if is_special(path):
            raise ValueError(SPECIAL)
        if status.st_size > LARGEST_TOML:
            raise ValueError(f"it has {status.st_size:,} bytes, and {LARGEST_TOML:,} at most can be settings")
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"it can't be read: {error.strerror or error}") from error
    text = _text(data)
    try:
        return tomllib.loads(text)
    except ValueError as error:  # a number of more than 4,300 digits too
        raise ValueError(f"it is not valid TOML: {error}") from error
    except RecursionError:
        raise ValueError("it is nested too deeply for settings") from None


def _text(data: bytes) -> str:
    """UTF-8, whatever ends its lines. A byte order mark in front, as Windows' editors write it, is no part of it."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("it is UTF-16, not UTF-8: save it as UTF-8")
    if b"\0" in data:
        raise ValueError("it has zero bytes: UTF-16 without its mark, or no text. Save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(f"line {line} is not UTF-8 ({error.reason}): save it as UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")
