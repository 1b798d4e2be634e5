"""A Slurm of one node on this machine, started and stopped by hand: no systemd, no database."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import psutil

CONFIGURATION = Path("/etc/slurm/slurm.conf")
"""Where clients look: Snakemake's executor keeps SLURM_CONF from them."""

FOLDER = "vmm-slurm"
"""How the names of folders of clusters begin."""

DAEMONS = ("slurmd", "slurmctld", "munged")
PROGRAMS = (*DAEMONS, "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
N_GPUS = 2

# More processors and memory than the machine may have, so that only GPUs are scarce. A job is
# killed when its processes hold more memory than it asked for. JobRequeue=0: nothing is queued
# again that was not submitted with --requeue.
TEMPLATE = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerParameters=sched_interval=5,bf_interval=5
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
JobRequeue=0
MinJobAge=3600
KillWait=5
OverTimeLimit=0
GresTypes=gpu
SlurmdParameters=config_overrides
NodeName=node NodeHostname={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory=64000 Gres=gpu:fake:{n_gpus}
PartitionName=main Nodes=node Default=YES MaxTime=INFINITE DefMemPerCPU=1000
"""
GPUS = "Name=gpu Type=fake File={folder}/nvidia[0-{last}] Flags=nvidia_gpu_env\n"


class SlurmJob(NamedTuple):
    """What Slurm says of a job."""

    number: int
    what: str
    state: str
    restarts: int
    minutes: int
    memory_mb: int
    gpus: int
    log: Path


def obstacle() -> str | None:
    """Return why no cluster can be started here, if so."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"Slurm is not installed ({', '.join(missing)}); `make test-slurm` installs it"
    if os.geteuid() != 0:
        return "only root can start Slurm"
    if os.path.lexists(CONFIGURATION) and left_over() is None:
        return f"{CONFIGURATION} is there: this machine has a Slurm of its own"
    return None


def left_over() -> Cluster | None:
    """Return the cluster of tests that were killed, whose configuration is still in place."""
    folder = CONFIGURATION.readlink().parent if CONFIGURATION.is_symlink() else Path()
    return Cluster(folder) if folder.name.startswith(FOLDER) else None


class Cluster:
    """One node with two pretended GPUs.

    Parameters
    ----------
    folder : path
        Empty, of a name that begins with `FOLDER`; gets configuration, state, logs and pid files.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def start(self) -> None:
        """Start the daemons and wait until the node is idle."""
        if (before := left_over()) is not None:
            before.stop()
        self._configure()
        conf = self.folder / "slurm.conf"
        # --force: though other users could not reach the socket, in a folder of pytest.
        files = [f"--{key}={self.folder / name}" for key, name in MUNGE_FILES.items()]
        run("munged", "--force", *files)
        run("slurmctld", "-c", "-f", conf)
        run("slurmd", "-N", "node", "-f", conf)
        deadline = time.monotonic() + 30
        while "idle" not in output("sinfo", "--noheader", "--format=%T", check=False):
            assert time.monotonic() < deadline, (self.folder / "slurmctld.log").read_text()
            time.sleep(0.1)

    def _configure(self) -> None:
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True)
        for index in range(N_GPUS):
            os.mknod(self.folder / f"nvidia{index}", 0o600 | 0o020000, os.makedev(195, index))
        key = self.folder / "munge.key"
        key.touch(0o400)
        key.write_bytes(secrets.token_bytes(128))
        host = socket.gethostname().partition(".")[0]
        text = TEMPLATE.format(folder=self.folder, host=host, ports=free_ports(2), n_gpus=N_GPUS)
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "gres.conf").write_text(GPUS.format(folder=self.folder, last=N_GPUS - 1))
        CONFIGURATION.parent.mkdir(exist_ok=True)
        CONFIGURATION.symlink_to(self.folder / "slurm.conf")

    def stop(self) -> None:
        """Cancel what still runs, stop the daemons, take the configuration away."""
        processes = {name: self._process(name) for name in DAEMONS}
        if processes["slurmctld"]:
            run("scancel", "--user=root", check=False)
            deadline = time.monotonic() + 20
            while output("squeue", "--noheader", check=False) and time.monotonic() < deadline:
                time.sleep(0.2)
        for process in filter(None, processes.values()):
            process.send_signal(signal.SIGTERM)
            psutil.wait_procs([process], timeout=20)
        CONFIGURATION.unlink(missing_ok=True)

    def _process(self, daemon: str) -> psutil.Process | None:
        """Return the process of a daemon that this cluster started, if it runs."""
        try:
            process = psutil.Process(int((self.folder / f"{daemon}.pid").read_text()))
            ours = any(str(self.folder) in word for word in process.cmdline())
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return None
        return process if ours and process.name() == daemon else None

    def jobs(self) -> list[SlurmJob]:
        """Return all jobs since the start, in the order of submission."""
        text = output("scontrol", "show", "jobs", "--oneliner")
        lines = [line for line in text.splitlines() if line.startswith("JobId=")]
        return sorted(map(parse, lines))


MUNGE_FILES = {
    "key-file": "munge.key",
    "socket": "munge.socket",
    "pid-file": "munged.pid",
    "log-file": "munged.log",
    "seed-file": "munge.seed",
}


def parse(line: str) -> SlurmJob:
    """Return a job from its line of `scontrol show jobs --oneliner`."""
    fields = dict(re.findall(r"(\S+?)=(\S*)", line))
    hours, minutes, _ = map(int, fields["TimeLimit"].split("-")[-1].split(":"))
    return SlurmJob(
        number=int(fields["JobId"]),
        what=fields["Comment"].removeprefix("rule_").replace("_wildcards_", " "),
        state=fields["JobState"],
        restarts=int(fields["Restarts"]),
        minutes=60 * hours + minutes,
        memory_mb=int(re.search(r"\bmem=(\d+)M", fields["TRES"])[1]),
        gpus=int(re.sub(r"\D", "", fields.get("TresPerJob", "0"))),
        log=Path(fields["StdOut"]),
    )


def run(*command: str | Path, check: bool = True) -> None:
    """Run a command that says nothing of interest."""
    subprocess.run(command, check=check, stdin=subprocess.DEVNULL, timeout=60)


def output(*command: str, check: bool = True) -> str:
    """Return what a command says."""
    done = subprocess.run(command, check=check, capture_output=True, text=True, timeout=60)
    return done.stdout


def free_ports(number: int) -> list[int]:
    """Return ports of this machine that nothing listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
