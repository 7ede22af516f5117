"""The flags of a checkout's training script: how each is spelled, what it is when nobody gives it, what is said of it.

Three styles of command line are known: settings at the top of the script that `--key=value` overrides (before 2026),
argparse with underscores, argparse with dashes. The list is read from the script's source, so that it needs none of the
checkout's dependencies and takes no time; what the source alone can't tell, its own parser is asked for.
"""

from __future__ import annotations

import ast
import io
import json
import operator
import tokenize
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from laneb.corpus.checkout import TRAIN_SCRIPT, Checkout, CheckoutError
from laneb.training.run_checkout import DESCRIBED

SCRIPT = Path(__file__).with_name("run_checkout.py")

Value = bool | int | float | str | None
Kind = Literal["int", "float", "str", "switch"]
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Pow: operator.pow, ast.LShift: operator.lshift,
}  # fmt: skip
_PARSER_CALLS = {"add_argument", "parse_args", "parse_known_args"}


@dataclass(frozen=True)
class Flag:
    """A flag: its name with underscores, how it is spelled, its kind, its default, and what the script says of it."""

    name: str
    spelled: str
    kind: Kind
    default: Value
    meaning: str = ""

    def value(self, given: object) -> Value:
        """A value as the script will hold it.

        Raises:
            ValueError: it is of another kind.
        """
        if self.kind == "switch" or given is None:
            return None if given is None else bool(given)
        if self.kind == "float":
            return float(str(given))
        return int(str(given)) if self.kind == "int" else str(given)

    def argument(self, given: object) -> str:
        """How the command line gives it this value."""
        if self.kind == "switch":
            return f"--{self.spelled}"
        return f"--{self.spelled}={self.value(given)}"


@dataclass(frozen=True)
class FlagList:
    """All flags of a checkout's script, by name."""

    configurator: bool
    """`--key=value` alone: no switches, and a word without dashes would be run as a file of settings."""
    flags: Mapping[str, Flag]


class _UnreadableError(Exception):
    """The source alone doesn't tell the flags."""


def read_flags(checkout: Checkout) -> FlagList:
    """The flags that a checkout's training script takes.

    Raises:
        CheckoutError: the script can't be read, or shows no flags in any known way.
    """
    try:
        source = (checkout.directory / TRAIN_SCRIPT).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise CheckoutError(f"{checkout.directory / TRAIN_SCRIPT} can't be read: {error.strerror}") from error
    return _flags_in(source, checkout)


@lru_cache(maxsize=16)
def _flags_in(source: str, checkout: Checkout) -> FlagList:
    """Of each version of a script, read once: asking its parser takes as long as importing torch."""
    try:
        module = ast.parse(source)
    except SyntaxError as error:
        raise CheckoutError(f"{checkout.directory / TRAIN_SCRIPT} is no Python: {error}") from error
    configurator = "configurator.py" in source and "argparse" not in source
    try:
        flags = _settings(module, _comments(source)) if configurator else _options(module)
    except _UnreadableError:
        flags = _asked(checkout)
    if not flags:
        raise CheckoutError(
            f"{checkout.directory / TRAIN_SCRIPT} shows no flags, neither by argparse nor by nanochat's configurator: "
            "it is no version of nanochat that can be told what to train"
        )
    return FlagList(configurator, flags)


def _settings(module: ast.Module, comments: Mapping[int, str]) -> dict[str, Flag]:
    """Settings that stand above the line that runs the configurator."""
    flags = {}
    for statement in module.body:
        if "configurator.py" in ast.unparse(statement):
            break
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            name = statement.targets[0].id
            try:
                default = _constant(statement.value)
            except _UnreadableError:
                continue
            if default is not None and not name.startswith("_"):
                flags[name] = Flag(name, name, _kind_of(default), default, comments.get(statement.lineno, ""))
    return flags


def _comments(source: str) -> dict[int, str]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT}


def _options(module: ast.Module) -> dict[str, Flag]:
    """What the script adds to its parser, where nothing else could add to it and all of it is spelled out."""
    parsers = {
        target.id
        for node in ast.walk(module)
        if isinstance(node, ast.Assign) and "ArgumentParser(" in ast.unparse(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    uses = [node for node in ast.walk(module) if isinstance(node, ast.Name) and node.id in parsers]
    calls = [(call, name) for call in ast.walk(module) if (name := _method(call, parsers))]
    # What is added within a loop or under a condition, or by another function, the source alone doesn't tell.
    plain = [node.value for node in module.body if isinstance(node, ast.Expr)]
    added = [call for call, name in calls if name == "add_argument"]
    if len(parsers) != 1 or len(uses) != 1 + len(calls) or not all(call in plain for call in added):
        raise _UnreadableError
    return {flag.name: flag for flag in map(_option, added) if flag is not None}


def _method(node: ast.AST, parsers: set[str]) -> str:
    """The parser's method that is called here, or nothing."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
        return node.func.attr if node.func.value.id in parsers and node.func.attr in _PARSER_CALLS else ""
    return ""


def _option(call: ast.AST) -> Flag | None:
    assert isinstance(call, ast.Call)
    words = {keyword.arg or "": keyword.value for keyword in call.keywords}
    names = [str(_constant(argument)) for argument in call.args]
    kind = ast.unparse(words["type"]) if "type" in words else "str"
    action = _constant(words["action"]) if "action" in words else "store"
    if "" in words or kind not in ("int", "float", "str") or action not in ("store", "store_true"):
        raise _UnreadableError
    default = _constant(words["default"]) if "default" in words else None
    return _flag(names, "switch" if action == "store_true" else kind, default, words.get("help"))


def _flag(names: list[str], kind: str, default: Value, meaning: ast.expr | None) -> Flag | None:
    spelled = next((name[2:] for name in names if name.startswith("--")), "")
    if not spelled:
        return None
    said = str(_constant(meaning)) if isinstance(meaning, ast.Constant) else ""
    return described_flag({"spelled": spelled, "kind": kind, "default": default, "meaning": said})


def described_flag(said: Mapping[str, Any]) -> Flag:
    """A flag as its parser describes it; a default of a flag for numbers with a fraction is one too."""
    name, kind = str(said["spelled"]).replace("-", "_"), said["kind"]
    flag = Flag(name, str(said["spelled"]), kind, None, str(said["meaning"]))
    default = bool(said["default"]) if kind == "switch" else said["default"]
    return Flag(name, flag.spelled, kind, flag.value(default), flag.meaning)


def _constant(node: ast.expr) -> Value:
    """The value of a literal, or of an arithmetic of literals such as `20*524288`."""
    if isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool | int | float | str)):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_number(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        result = _OPERATORS[type(node.op)](_number(node.left), _number(node.right))
        if isinstance(result, int | float):
            return result
    raise _UnreadableError


def _number(node: ast.expr) -> int | float:
    value = _constant(node)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _UnreadableError
    return value


def _kind_of(default: Value) -> Kind:
    """Of a setting, whose values have to be of the default's own type."""
    if isinstance(default, bool):
        return "str"
    return "int" if isinstance(default, int) else "float" if isinstance(default, float) else "str"


def _asked(checkout: Checkout) -> dict[str, Flag]:
    """What the script's own parser says of itself, in the checkout's interpreter."""
    said = checkout.run(str(SCRIPT), "--checkout", str(checkout.directory), "--describe")
    line = next((line for line in said.splitlines() if line.startswith(DESCRIBED)), "")
    if not line:
        return {}
    return {flag.name: flag for flag in map(described_flag, json.loads(line.removeprefix(DESCRIBED)))}
