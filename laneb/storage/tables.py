"""CSV tables as scripts, pandas and spreadsheets leave them, read by one reader: results.csv and the schema CSV.

What is read: UTF-8 with or without a mark, UTF-16, Windows' Latin letters; line ends of every kind; a `sep=` line;
commas, semicolons or tabs between cells; trailing empty columns; None, NA, NaN and null for what is unknown; decimal
commas and thousands separators, where a number can mean one thing only. All else is refused by line and column.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from laneb.storage.atomic import StorageError

UNKNOWN = frozenset(["", "None", "none", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "-nan", "null", "NULL"])
"""What scripts and spreadsheets write for an unknown value."""

_SEPARATORS = (",", ";", "\t", "|")
_SEP_LINE = re.compile(r"\s*\"?sep=(.)\"?\s*(?:\r\n|\r|\n|$)", re.IGNORECASE)
_PLAIN = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:inf|infinity)", re.ASCII | re.IGNORECASE)
# Blanks, apostrophes and underscores only ever group digits.
_GROUPED = re.compile(r"([-+]?\d{1,3}(?:[ \u00a0\u202f'\u2019_]\d{3})+)([.,]\d+)?", re.ASCII)
_COMMAS_POINT = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+\.\d*", re.ASCII)
_POINTS_COMMA = re.compile(r"[-+]?\d{1,3}(?:\.\d{3})+,\d*", re.ASCII)
_MANY_GROUPS = re.compile(r"[-+]?[1-9]\d{0,2}(?:(?:,\d{3}){2,}|(?:\.\d{3}){2,})", re.ASCII)
_ONE_GROUP = re.compile(r"[-+]?[1-9]\d{0,2}[.,]\d{3}", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class TableRow:
    """A row: the lines it begins and ends on, its cells under the table's header, and its text with its line end."""

    first_line: int
    last_line: int
    cells: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Table:
    """A table's cells, and how its numbers are written.

    Attributes:
        path: for messages.
        header: column names, without blanks around and without trailing empty ones.
        rows: rows that have a cell.
        separator: what stands between cells.
        decimal_signs: which of `.` and `,` some number of the table has beyond doubt before its decimals.
        error: what is raised.
    """

    path: str
    header: tuple[str, ...]
    rows: tuple[TableRow, ...]
    separator: str
    decimal_signs: frozenset[str]
    error: type[StorageError]

    def values(self, row: TableRow, kinds: Mapping[str, type], line: int) -> dict[str, Any]:
        """A row's values by column: text, int or float, None for an unknown number.

        Raises:
            error: a cell isn't what its column holds, or can mean several things: names line, column and value.
        """
        cells = dict(zip(self.header, row.cells, strict=True))
        return {name: self._value(cells[name].strip(), name, kind, line) for name, kind in kinds.items()}

    def _value(self, cell: str, name: str, kind: type, line: int) -> Any:
        if cell in UNKNOWN:
            return "" if kind is str else None
        if kind is str:
            return cell
        number = self._number(cell, name, kind, line)
        if not math.isfinite(number):
            return None
        if kind is int:
            # Spreadsheets and frames write 41 as 41.0.
            if number != int(number) or abs(number) >= 2**53:
                raise self._refused(cell, name, line, "a whole number, or empty for unknown")
            return int(number)
        return number

    def _number(self, cell: str, name: str, kind: type, line: int) -> float:
        if _ONE_GROUP.fullmatch(cell):
            return self._one_group(cell, name, kind, line)
        plain = cell if _PLAIN.fullmatch(cell) else _plain_form(cell)
        if plain is None:
            raise self._refused(cell, name, line, "a number, or empty for unknown")
        return float(plain)

    def _one_group(self, cell: str, name: str, kind: type, line: int) -> float:
        """1,234 or 1.234: a whole number has no decimals; else the table's other numbers tell, if they agree."""
        sign = "," if "," in cell else "."
        whole, decimal = cell.replace(sign, ""), cell.replace(sign, ".")
        if sign == "." and "," not in self.decimal_signs:
            return float(decimal)
        if kind is int or (sign == "," and self.decimal_signs == {"."}):
            return float(whole)
        if sign == "," and self.decimal_signs == {","}:
            return float(decimal)
        both = f"it can be {whole} as well as {decimal}. Write it without a thousands separator, or with more decimals"
        raise self._refused(cell, name, line, both)

    def _refused(self, cell: str, name: str, line: int, allowed: str) -> StorageError:
        return self.error(f"{self.path} line {line}: {name}={cell!r}: {allowed}.")


def decode_table(content: bytes, path: str, error: type[StorageError] = StorageError) -> str:
    """The text of a table's file.

    Raises:
        error: it is no text.
    """
    try:
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            return content.decode("utf-16")
        if content[:1] != b"\x00" and content[1:2] == b"\x00":
            return content.decode("utf-16-le")
        if content[:1] == b"\x00" and content[1:2] != b"\x00":
            return content.decode("utf-16-be")
        if b"\x00" in content:
            raise error(f"{path} can't be read: it holds NUL bytes, as a binary file does. A table is text.")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        if b"\x00" in content:
            raise error(f"{path} can't be read: it is cut within a character, or no text.") from None
    # What is no UTF-8 was written by a spreadsheet of Windows; every byte is a letter there.
    return content.decode("cp1252", "replace")


def parse_table(text: str, path: str, columns: Mapping[str, type], error: type[StorageError] = StorageError) -> Table:
    """A table's cells.

    Args:
        text: the file's text.
        path: for messages.
        columns: the columns that are wanted, and what they hold; by them the separator is found.
        error: what is raised.

    Raises:
        error: no CSV, empty, a column more than once, or a row with more or fewer cells than the header.
    """
    told = _SEP_LINE.match(text)
    first_line, text = (2, text[told.end() :]) if told else (1, text)
    separator = told[1] if told else _separator(text, columns)
    header: tuple[str, ...] | None = None
    rows = []
    try:
        for first, last, cells, raw in _records(text, separator, first_line):
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = _header(cells)
                continue
            rows.append(TableRow(first, last, _trimmed(cells, header, f"{path} line {last}", error), raw))
    except csv.Error as reason:
        raise error(f"{path}: no CSV: {reason}.") from None
    if header is None:
        raise error(f"{path} is empty: it must begin with the header {','.join(columns)}.")
    numbers = [index for index, name in enumerate(header) if columns.get(name, str) is not str]
    signs = frozenset(sign for row in rows for index in numbers for sign in _sure_sign(row.cells[index].strip()))
    return Table(path, header, tuple(rows), separator, signs, error)


def _header(cells: list[str]) -> tuple[str, ...]:
    names = [cell.strip().lstrip("\ufeff") for cell in cells]
    while names and not names[-1]:
        names.pop()
    return tuple(names)


def _trimmed(cells: list[str], header: tuple[str, ...], where: str, error: type[StorageError]) -> tuple[str, ...]:
    """Cells without the empty ones that spreadsheets put after the last column."""
    if len(cells) > len(header) and not any(cell.strip() for cell in cells[len(header) :]):
        cells = cells[: len(header)]
    if len(cells) != len(header):
        said = "was the row cut short?" if len(cells) < len(header) else "is a text with a separator in it not quoted?"
        raise error(f"{where} has {len(cells)} cells and the header {len(header)}: {said}")
    return tuple(cells)


def _separator(text: str, columns: Mapping[str, type]) -> str:
    """The separator by which the header names most of the wanted columns."""
    line = next((line for line in io.StringIO(text) if line.strip()), "")

    def named(separator: str) -> int:
        return len({cell.strip().strip('"\ufeff') for cell in line.split(separator)} & columns.keys())

    return max(_SEPARATORS, key=named)


def _records(text: str, separator: str, number: int) -> Iterator[tuple[int, int, list[str], str]]:
    """First and last line, cells, and raw text of each CSV record; a quoted cell may span lines."""
    # Only \n, \r and \r\n end lines here: str.splitlines knows more, which may stand inside a cell.
    lines = io.StringIO(text, newline="")
    read: list[str] = []

    def feed() -> Iterator[str]:
        for line in lines:
            read.append(line)
            yield line

    for cells in csv.reader(feed(), delimiter=separator, strict=False):
        yield number, number + len(read) - 1, cells, "".join(read)
        number += len(read)
        read.clear()


def _plain_form(cell: str) -> str | None:
    """A number in the form that every program reads, or None where it is none."""
    if match := _GROUPED.fullmatch(cell):
        return re.sub(r"[^\d+-]", "", match[1]) + (match[2] or "").replace(",", ".")
    if _COMMAS_POINT.fullmatch(cell):
        return cell.replace(",", "")
    if _POINTS_COMMA.fullmatch(cell):
        return cell.replace(".", "").replace(",", ".")
    if _MANY_GROUPS.fullmatch(cell):
        return re.sub(r"[.,]", "", cell)
    if _DECIMAL_COMMA.fullmatch(cell):
        return cell.replace(",", ".")
    return None


def _sure_sign(cell: str) -> str:
    """The decimal sign of a number that can be read in one way only; empty where it has none or is in doubt."""
    if _ONE_GROUP.fullmatch(cell):
        return ""
    if _PLAIN.fullmatch(cell):
        return "." if "." in cell else ""
    if _COMMAS_POINT.fullmatch(cell):
        return "."
    match = _GROUPED.fullmatch(cell)
    if match:
        return (match[2] or "")[:1]
    return "," if _POINTS_COMMA.fullmatch(cell) or _DECIMAL_COMMA.fullmatch(cell) else ""
