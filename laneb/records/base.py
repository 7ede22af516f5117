"""What every record has in common: frozen, typed, and identified by what it says."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import datetime, timezone
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer
from typing_extensions import Self

from laneb.brought import is_plain_name, shortened


def _from_yes_no(value: object) -> object:
    return {"yes": True, "no": False}.get(value, value) if isinstance(value, str) else value


YesNo = Annotated[
    bool, BeforeValidator(_from_yes_no), PlainSerializer(lambda flag: "yes" if flag else "no", return_type=str)
]
"""A bool that files spell "yes" or "no"."""


def _plain_name(text: str) -> str:
    if text and not is_plain_name(text):
        raise ValueError(f"{shortened(text)!r} is no name of a file or folder")
    return text


PlainName = Annotated[str, AfterValidator(_plain_name)]
"""A text that paths are made of: the name of one file or folder, or empty where there is none. What data brings never
leads out of the folder that it is joined to."""


def utc_now() -> str:
    """The time as `YYYY-MM-DDTHH:MM:SSZ`."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def finite(value: Any) -> Any:
    """The same value with every NaN and infinity replaced by None, which JSON files hold as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def canonical_hash(value: Any) -> str:
    """sha256 (first 16 hex digits) of a JSON-able value's canonical form."""
    text = json.dumps(finite(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


CHECKSUM = "checksum"
"""Key that a JSON file of ours carries: the hash of everything else in it."""


class DamagedError(ValueError):
    """A file that is not what was written: cut, changed or rotted since."""


def sealed_json(data: dict[str, Any]) -> str:
    """The text of a JSON file with its checksum: sorted keys, indent 2, null for what is unknown, a final newline."""
    data = finite(data)
    sealed = {**data, CHECKSUM: canonical_hash(data)}
    return json.dumps(sealed, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def unsealed_json(text: str) -> dict[str, Any]:
    """What `sealed_json` was given. How the file is laid out doesn't matter; one from before checksums is believed.

    Raises:
        DamagedError: no JSON object, or its checksum doesn't match.
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"it is no JSON ({error}): it was cut or overwritten") from None
    if not isinstance(data, dict):
        raise DamagedError(f"it holds a JSON {type(data).__name__} where an object belongs")
    checksum = data.pop(CHECKSUM, None)
    if checksum is not None and checksum != canonical_hash(data):
        raise DamagedError("its content does not match its checksum: it was changed or damaged after it was written")
    return data


class Record(BaseModel):
    """One step's answer. Field names are the keys of its file (see docs/formats.md)."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)
    volatile: ClassVar[frozenset[str]] = frozenset({"timestamp_utc"})
    """Fields that say when or where, not what: left out of the content hash."""

    def to_json(self) -> str:
        """The text of the record's file, with its checksum (see `sealed_json`)."""
        return sealed_json(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The record of a file's text.

        Raises:
            DamagedError: not what `to_json` wrote.
            pydantic.ValidationError: a ValueError that names each bad key.
        """
        unsealed_json(text)
        return cls.model_validate_json(text)

    def content_hash(self) -> str:
        """Identity of what the record says; equal for two records that differ only in when they were made."""
        return canonical_hash(self.model_dump(mode="json", exclude=set(self.volatile)))
