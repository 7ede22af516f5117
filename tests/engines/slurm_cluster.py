"""A Slurm cluster of Slurm's own daemons on this machine, in a folder of its own."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from servers import until_up

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch")

CONFIGURATION = """\
ClusterName=laneb
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
MpiDefault=none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2,batch_sched_delay=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=20
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=5
MinJobAge=60
{nodes}
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime=20 MaxTime=60 State=UP
PartitionName=high Nodes=ALL PriorityTier=10 PreemptMode=OFF MaxTime=60 State=UP
"""
NODE = "NodeName=n{number} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=4000 State=UNKNOWN"


def missing() -> str:
    """Why there can be no cluster here; empty where there can."""
    absent = [daemon for daemon in DAEMONS if shutil.which(daemon) is None]
    if absent:
        return f"no {', '.join(absent)} here: apt-get install --no-install-recommends slurm-wlm munge"
    return "" if os.geteuid() == 0 else "Slurm's daemons start jobs as their users, which takes root"


@dataclass
class Cluster:
    """Nodes n1, n2 and so on, of two cores; jobs of the partition `high` preempt those of `low`, the default."""

    folder: Path
    ports: list[int]
    daemons: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    @property
    def configuration(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def numbers(self) -> range:
        return range(1, len(self.ports))

    def start(self) -> None:
        for name in ("state", *(f"spool/n{number}" for number in self.numbers)):
            (self.folder / name).mkdir(parents=True)
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        nodes = [NODE.format(number=number, port=self.ports[number]) for number in self.numbers]
        text = CONFIGURATION.format(folder=self.folder, port=self.ports[0], nodes="\n".join(nodes))
        self.configuration.write_text(text, encoding="utf-8")
        files = [f"--{name}={self.folder}/munge.{end}" for name, end in
                 (("key-file", "key"), ("socket", "socket"), ("seed-file", "seed"))]  # fmt: skip
        files += [f"--pid-file={self.folder}/munged.pid", f"--log-file={self.folder}/munged.log"]
        self._daemon("munged", ["munged", "--foreground", "--force", *files])
        self._wait(lambda: (self.folder / "munge.socket").exists())
        self._daemon("slurmctld", ["slurmctld", "-D", "-f", str(self.configuration)])
        for number in self.numbers:
            self.start_node(number)
        self._wait(lambda: self.ask("sinfo", "--noheader", "--partition=low", "--format=%T").split() == ["idle"])

    def start_node(self, number: int) -> None:
        self._daemon(f"slurmd{number}", ["slurmd", "-D", "-f", str(self.configuration), "-N", f"n{number}"])

    def ask(self, *command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    def _daemon(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.out").open("wb") as output:
            self.daemons[name] = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)

    def _wait(self, happens: Callable[[], object]) -> None:
        until_up(happens, self.daemons, self.folder, 30)

    def stop(self) -> None:
        self.ask("scancel", "--user=root", "--signal=KILL", "--full")
        for name in reversed(self.daemons):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.daemons[name].pid, signal.SIGKILL)
            self.daemons[name].wait()
        for pid in jobs_of(self.folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def jobs_of(folder: Path, number: str = "") -> list[int]:
    """Processes of a cluster's jobs, or of those on one node."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            environment = (entry / "environ").read_bytes() if entry.name.isdigit() else b""
            of_a_job = b"SLURM_JOB_ID=" in environment or b"slurmstepd" in (entry / "cmdline").read_bytes()
            of_the_node = not number or f"SLURMD_NODENAME=n{number}\0".encode() in environment
            if str(folder).encode() in environment and of_a_job and of_the_node:
                found.append(int(entry.name))
    return found


@contextlib.contextmanager
def cluster(folder: Path, ports: list[int]) -> Iterator[Cluster]:
    """A cluster while the block runs; `SLURM_CONF` has to name its configuration there."""
    made = Cluster(folder, ports)
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(made.configuration)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        if before is None:
            del os.environ["SLURM_CONF"]
        else:
            os.environ["SLURM_CONF"] = before
