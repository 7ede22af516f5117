"""Which process of a run this is: torchrun says it, and Slurm's srun in its own words."""

from __future__ import annotations

import re
from collections.abc import MutableMapping

_TORCH = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
_FIRST_PORT, _PORTS = 20_000, 30_000


def adopt_launcher(environ: MutableMapping[str, str]) -> bool:
    """Whether this process is one of a run's; what torch reads of its place is set where only srun said it.

    srun's words count in a step of several tasks alone: a batch script has them too, and is one process. The first
    node of the step is where the processes meet.

    Args:
        environ: the process's environment; gets RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT.
    """
    if all(name in environ for name in _TORCH):
        return True
    tasks = environ.get("SLURM_STEP_NUM_TASKS", "1")
    if not tasks.isdigit() or int(tasks) < 2 or "SLURM_PROCID" not in environ or "SLURM_LOCALID" not in environ:
        return False
    environ["RANK"], environ["WORLD_SIZE"] = environ["SLURM_PROCID"], tasks
    environ["LOCAL_RANK"] = environ["SLURM_LOCALID"]
    nodes = environ.get("SLURM_STEP_NODELIST") or environ.get("SLURM_JOB_NODELIST", "")
    environ.setdefault("MASTER_ADDR", first_node(nodes) or "127.0.0.1")
    job, step = (int(re.sub(r"\D", "", environ.get(name, "")) or 0) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    environ.setdefault("MASTER_PORT", str(_FIRST_PORT + (job * 31 + step) % _PORTS))
    return True


def first_node(nodes: str) -> str:
    """The first host of a Slurm node list.

    >>> first_node("gpu[03-05,9],login1"), first_node("one,two"), first_node("rack2-n[1-4]-ib")
    ('gpu03', 'one', 'rack2-n1-ib')
    """
    match = re.match(r"([^\[,]*)(?:\[(\d+)[^\]]*\])?([^\[,]*)", nodes)
    return "".join(part or "" for part in match.groups()) if match else ""
