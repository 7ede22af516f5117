"""`python -m laneb.engines.kubernetes_job --image IMAGE NAME COMMAND...`: the manifest of a run's job on Kubernetes.

For the engine `command`, whose template pipes it to `kubectl apply -f -`. Prints JSON, which is YAML too.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

STOP_SECONDS = 600
"""Between SIGTERM and SIGKILL: time for a checkpoint, which may have to go into a bucket."""

KEPT_SECONDS = 86_400
"""How long a job that ended stays to be looked at."""


def manifest(
    name: str, command: Sequence[str], *, image: str, gpus: int = 0, secret: str = "", claim: str = ""
) -> dict[str, Any]:
    """A job of one pod that is started once: who coordinates the run starts it again.

    Args:
        name: the job's.
        command: what the pod runs.
        image: with laneb for the command's Python.
        gpus: NVIDIA GPUs of the pod.
        secret: whose entries become variables, such as a bucket's keys; empty for none.
        claim: a volume claim that is mounted at /shared, where the work directory is no bucket; empty for none.
    """
    container: dict[str, Any] = {
        "name": "run",
        "image": image,
        "command": list(command),
        # Processes of one run pass data through shared memory, of which a pod has 64 MB otherwise.
        "volumeMounts": [{"name": "shared-memory", "mountPath": "/dev/shm"}],
    }
    volumes: list[dict[str, Any]] = [{"name": "shared-memory", "emptyDir": {"medium": "Memory"}}]
    if gpus:
        container["resources"] = {"limits": {"nvidia.com/gpu": gpus}}
    if secret:
        container["envFrom"] = [{"secretRef": {"name": secret}}]
    if claim:
        container["volumeMounts"].append({"name": "shared", "mountPath": "/shared"})
        volumes.append({"name": "shared", "persistentVolumeClaim": {"claimName": claim}})
    pod = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": STOP_SECONDS,
        "containers": [container],
        "volumes": volumes,
    }
    labels = {"app": "laneb"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def main(arguments: list[str]) -> int:
    """Print the manifest."""
    parser = argparse.ArgumentParser(prog="python -m laneb.engines.kubernetes_job", description=__doc__)
    parser.add_argument("--image", required=True, help="with laneb for the command's Python")
    parser.add_argument("--gpus", type=int, default=0, help="NVIDIA GPUs of the pod")
    parser.add_argument("--secret", default="", help="whose entries become variables, such as a bucket's keys")
    parser.add_argument("--claim", default="", help="volume claim that is mounted at /shared")
    parser.add_argument("name")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args(arguments)
    print(json.dumps(manifest(**vars(given)), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
