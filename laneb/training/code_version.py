"""Which code trained a run."""

from __future__ import annotations

import subprocess

from laneb.places import checkout_root


def code_commit() -> str:
    """The commit of the checkout that this package lies in, `+` behind it where files differ; empty outside of one."""
    root = checkout_root()
    if not (root / ".git").exists():
        return ""
    try:
        commit = _git("-C", str(root), "rev-parse", "HEAD")
        return commit + ("+" if _git("-C", str(root), "status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()
