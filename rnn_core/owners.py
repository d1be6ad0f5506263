"""Which process a run or a temporary folder belongs to, and whether that process is gone."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple, Self

PROC = Path("/proc")
MACHINE_ID = Path("/etc/machine-id")
SEPARATOR = "+"  # neither in host names nor in ids, and allowed in names of files
FOLDER = "rnnflow"  # what the names of our temporary folders start with
UNKNOWN = "unknown"


class Owner(NamedTuple):
    """A process, told from every other one there was or will be.

    Attributes:
        host: name of its machine, and a hash that tells machines and containers of one name apart.
        boot: id of the start of the machine; empty where it has none.
        pid: number of the process.
        started: when it started, as the operating system says it.
    """

    host: str
    boot: str
    pid: int
    started: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the owner that `str` has made a text of, None for any other text."""
        host, *rest = text.split(SEPARATOR)
        if len(rest) != 3 or not rest[1].isdecimal():
            return None
        return cls(host, rest[0], int(rest[1]), rest[2])

    def __str__(self) -> str:
        return SEPARATOR.join(map(str, self))

    @property
    def is_gone(self) -> bool:
        """True if the process has ended; False as well if that cannot be known from here."""
        if self.host != host():
            return False
        return self.boot != _boot() or _started(self.pid) not in (self.started, UNKNOWN)

    @property
    def is_alive(self) -> bool:
        """True if the process still runs; False as well if that cannot be known from here."""
        same_boot = self.host == host() and self.boot == _boot()
        return same_boot and _started(self.pid) == self.started


def this_process() -> Owner:
    """Return the process that asks."""
    return _owner(os.getpid())


@cache
def host() -> str:
    """Return the name of this machine, with a hash that tells it from others of its name.

    Each container numbers its processes itself, so it counts as another host.
    """
    marks = [MACHINE_ID.read_text()] if MACHINE_ID.exists() else []
    with suppress(OSError):
        marks.append(str((PROC / "self/ns/pid").readlink()))
    return f"{socket.gethostname()}-{sha256(''.join(marks).encode()).hexdigest()[:8]}"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield an empty folder, and delete it at the end; its name says which process it belongs to.

    If the process is killed, `delete_folders_of_gone` deletes the folder.
    """
    with tempfile.TemporaryDirectory(prefix=folder_prefix()) as folder:
        yield Path(folder)


def folder_prefix() -> str:
    """Return what the names of this process's temporary folders start with."""
    return SEPARATOR.join([FOLDER, str(this_process()), ""])


def delete_folders_of_gone() -> None:
    """Delete the temporary folders that processes which are gone have left."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}{SEPARATOR}*"):
        owner = Owner.parse(SEPARATOR.join(folder.name.split(SEPARATOR)[1:-1]))
        if owner is not None and owner.is_gone:
            shutil.rmtree(folder, ignore_errors=True)  # another user's cannot be deleted


@cache
def _owner(pid: int) -> Owner:
    return Owner(host(), _boot(), pid, _started(pid))


@cache
def _boot() -> str:
    file = PROC / "sys/kernel/random/boot_id"
    return file.read_text().strip() if file.exists() else ""


def _started(pid: int) -> str:
    """Return when a process started: empty if there is none, UNKNOWN if that is kept secret."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:  # another user's
        pass
    if not PROC.exists():
        command = ["ps", "-o", "lstart=", "-p", str(pid)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return "".join(filter(str.isalnum, done.stdout))
    try:
        stat = (PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return UNKNOWN
    state, *fields = stat.rpartition(")")[2].split()  # after the name, which may hold anything
    return "" if state in "ZX" else fields[18]  # a zombie has ended; field 22 of proc(5)
