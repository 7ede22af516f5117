"""Run a nanochat checkout's training script with a seed of our choice. Run by the checkout's interpreter; needs nothing
of this package.

`run_checkout.py --checkout DIR [--seed N] [--set NAME=VALUE ...] -- ARGUMENTS OF THE SCRIPT`
"""

import argparse
import importlib
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


def main(arguments: list[str]) -> None:
    """Become the script."""
    cut = arguments.index("--")
    parser = argparse.ArgumentParser()
    parser.add_argument("--checkout", required=True)
    parser.add_argument("--module", default="scripts.base_train")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--set", action="append", default=[], dest="variables")
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
    sys.argv = [own.module, *arguments[cut + 1 :]]
    runpy.run_module(own.module, run_name="__main__", alter_sys=True)


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
