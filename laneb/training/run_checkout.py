"""Run a nanochat checkout's training script with a seed of our choice. Run by the checkout's interpreter; needs nothing
of this package.

`run_checkout.py --checkout DIR [--module NAME] [--seed N] [--set NAME=VALUE ...] --then ARGUMENTS OF THE SCRIPT`
`run_checkout.py --checkout DIR --describe`: say what flags the script takes, and train nothing.
"""

import argparse
import importlib
import json
import os
import random
import runpy
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

WATCH_SECONDS = 1.0
THEN = "--then"
"""Ends our own arguments. Not "--", which torchrun takes for itself in some places, and in others hands on."""

DESCRIBED = "flags of the script: "
"""How the line begins that says them."""


def main(arguments: list[str]) -> None:
    """Become the script."""
    # torchrun must not look for its own options among ours; it takes the "--" away with some Pythons, not with others.
    arguments = arguments[1:] if arguments[:1] == ["--"] else arguments
    cut = arguments.index(THEN) if THEN in arguments else len(arguments)
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkout", required=True)
    parser.add_argument("--module", default="scripts.base_train")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--set", action="append", default=[], dest="variables")
    parser.add_argument("--describe", action="store_true")
    own = parser.parse_args(arguments[:cut])
    for variable in own.variables:
        name, _, value = variable.partition("=")
        os.environ[name] = value
    # The script's folder stands first, where modules of ours could be taken for the checkout's.
    sys.path[0] = own.checkout
    os.chdir(own.checkout)
    threading.Thread(target=_leave_with_parent, args=(os.getppid(),), daemon=True).start()
    if own.seed is not None:
        always_seed(own.seed)
    if own.describe:
        for name in ("parse_args", "parse_known_args"):
            setattr(argparse.ArgumentParser, name, _describe)
    sys.argv = [own.module, *arguments[cut + 1 :]]
    runpy.run_module(own.module, run_name="__main__", alter_sys=True)


def _describe(parser: argparse.ArgumentParser, *_: Any, **__: Any) -> Any:
    """Print what a parser takes, where it would have parsed, and end."""
    flags = []
    for action in parser._actions:
        spelled = next((option[2:] for option in action.option_strings if option.startswith("--")), "")
        if spelled and spelled != "help":
            kind = "int" if action.type is int else "float" if action.type is float else "str"
            kind = "switch" if action.nargs == 0 else kind
            default = action.default if isinstance(action.default, (bool, int, float, str)) else None
            flags.append({"spelled": spelled, "kind": kind, "default": default, "meaning": action.help or ""})
    print("\n" + DESCRIBED + json.dumps(flags), flush=True)
    raise SystemExit(0)


def always_seed(seed: int) -> None:
    """Seed every generator, and again with the same seed whenever the script seeds one with its own constant."""
    random.seed(seed)
    torch = importlib.import_module("torch")
    for module in (torch, torch.random, torch.cuda, torch.cuda.random):
        for name in ("manual_seed", "manual_seed_all"):
            if hasattr(module, name):
                setattr(module, name, _with_seed(getattr(module, name), seed))
    torch.manual_seed(seed)


def _with_seed(original: Callable[[int], Any], seed: int) -> Callable[[int], Any]:
    def manual_seed(_constant: int) -> Any:
        return original(seed)

    return manual_seed


def _leave_with_parent(parent: int) -> None:
    """A run must not go on, unseen, when the process that keeps its log was killed."""
    while os.getppid() == parent:
        time.sleep(WATCH_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1:])
