"""Programs that run side by side: one that dies is started again, and all are stopped together."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from rnn_core.errors import StackError

MARK = "RNNFLOW_STACK"  # environment variable of every process of a stack; its value is the folder
STOP_SECONDS = 20.0  # for flow runs to stop, and for each program
QUICK_SECONDS = 60.0  # a program that ran for less died quickly
MOST_QUICK_DEATHS = 5  # in a row
FIRST_DELAY = 1.0  # seconds before a program is started again; each next time twice as long
LAST_LINES = 10  # of the log of a program that cannot be kept alive
BETWEEN_LOOKS = 0.2  # seconds


@dataclass
class Program:
    """A Python program of the stack, and how often it has died quickly in a row."""

    name: str
    arguments: tuple[str, ...]
    log: Path
    process: "subprocess.Popen[bytes]" = field(init=False)
    started: float = field(init=False)
    starts_at: float | None = None  # of the monotonic clock, while it waits to be started again
    quick_deaths: int = 0

    def start(self) -> None:
        """Start it in a group of its own, which Ctrl-C in the terminal does not reach."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.arguments], stdout=log, stderr=log, process_group=0
            )
        self.started = time.monotonic()
        self.starts_at = None

    @property
    def last_lines(self) -> str:
        """The end of its log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-LAST_LINES:])


class Programs:
    """Programs by name, in the order in which they were started.

    Args:
        logs: the folder of their logs; each start of the stack begins them anew.
        say: takes what a user should know, a line at a time.
    """

    def __init__(self, logs: Path, say: Callable[[str], None]) -> None:
        self._logs = logs
        self._say = say
        self._programs: dict[str, Program] = {}

    def start(self, name: str, *arguments: str) -> None:
        """Start `python -m` with these arguments, and start it again whenever it dies."""
        program = self._new(name, arguments)
        program.start()
        self._programs[name] = program

    def run(self, name: str, *arguments: str) -> None:
        """Run `python -m` with these arguments to its end, and keep the others alive meanwhile.

        Raises:
            StackError: it fails, or another program cannot be kept alive.
        """
        program = self._new(name, arguments)
        program.start()
        self.keep_alive_until(lambda: program.process.poll() is not None)
        if program.process.returncode:
            raise StackError(_in_words(program))

    def wait_for(self, what: str, condition: Callable[[], bool]) -> None:
        """Say what is waited for, and keep the programs alive until `condition` is true.

        Raises:
            StackError: a program cannot be kept alive.
        """
        self._say(f"Waiting for {what}")
        self.keep_alive_until(condition)

    def keep_alive_until(self, condition: Callable[[], bool]) -> None:
        """Start programs that have died again, until `condition` is true.

        Raises:
            StackError: a program died quickly for the fifth time in a row.
        """
        while not condition():
            for program in self._programs.values():
                self._look_after(program)
            time.sleep(BETWEEN_LOOKS)

    def stop(self) -> None:
        """Stop flow runs, then the programs, the last started first; kill what is left then."""
        stop_processes(marked("PREFECT__FLOW_RUN_ID"))  # a worker would wait for its flow runs
        processes = [program.process for program in self._programs.values()]
        for process in reversed(processes):
            stop_processes([process.pid])
        send(signal.SIGKILL, marked())
        for process in processes:
            process.wait()

    def _new(self, name: str, arguments: tuple[str, ...]) -> Program:
        log = self._logs / f"{name}.log"
        log.write_bytes(b"")
        return Program(name, arguments, log)

    def _look_after(self, program: Program) -> None:
        now = time.monotonic()
        if program.starts_at is not None:
            if now >= program.starts_at:
                program.start()
            return
        if program.process.poll() is None:
            return
        was_quick = now - program.started < QUICK_SECONDS
        program.quick_deaths = program.quick_deaths + 1 if was_quick else 1
        if program.quick_deaths >= MOST_QUICK_DEATHS:
            raise StackError(_in_words(program))
        delay = FIRST_DELAY * 2 ** (program.quick_deaths - 1)
        self._say(f"{_how_it_ended(program)}; starting it again in {delay:g} s ({program.log})")
        program.starts_at = now + delay


def marked(variable: str = MARK) -> list[int]:
    """Return the processes of this folder's stack that have `variable` in their environment.

    Their number does not depend on who started them. Where there is no /proc, there are none.
    """
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        environment = environment_of(int(folder.name))
        if environment.get(MARK) == os.environ.get(MARK, "") and variable in environment:
            found.append(int(folder.name))
    return [pid for pid in found if pid != os.getpid()]


def environment_of(pid: int) -> Mapping[str, str]:
    """Return the environment that a process was started with; empty if there is no such process."""
    with suppress(OSError):
        entries = Path(f"/proc/{pid}/environ").read_text(errors="replace").split("\0")
        return dict(entry.partition("=")[::2] for entry in entries)
    return {}


def stop_processes(pids: list[int]) -> None:
    """Ask processes to stop, and wait until they have, for a while."""
    send(signal.SIGTERM, pids)
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline and set(pids) & set(marked()):
        time.sleep(0.1)


def send(number: signal.Signals, pids: list[int]) -> None:
    """Send a signal to the processes that still exist."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _how_it_ended(program: Program) -> str:
    """Say with which code a program ended, or by which signal."""
    code = program.process.returncode
    how = f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"
    return f"{program.name} has ended ({how})"


def _in_words(program: Program) -> str:
    times = f", {program.quick_deaths} times in a row" if program.quick_deaths > 1 else ""
    return f"{_how_it_ended(program)}{times}; the end of {program.log}:\n{program.last_lines}"
