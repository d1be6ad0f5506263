"""The whole stack on this machine, up and down with one command: `python -m flows.stack`."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from rich.console import Console

from flows.steps.prices import YAHOO, YAHOO_SLOTS
from flows.tracking import store
from rnn_core.errors import TrackingError

HOST = "127.0.0.1"
CHECKOUT = Path(__file__).resolve().parents[1]
LOGS = Path("data/logs")
MARK, MARKED = (
    "RNNFLOW_STACK",
    str(os.getpid()),
)  # in the environment of whatever the stack has started
STOP = 20.0  # seconds that flow runs are given, and each program
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAY = Console(soft_wrap=True, highlight=False).print


class Stack(dict[str, subprocess.Popen[bytes]]):
    """Programs by name that start one by one, run while all of them do, and stop together."""

    def start(self, name: str, *command: str) -> None:
        """Start a Python program out of reach of the terminal's Ctrl-C: `stop` decides who ends first."""
        with (LOGS / f"{name}.log").open("wb") as log:
            self[name] = subprocess.Popen(
                [sys.executable, "-m", *command], stdout=log, stderr=log, process_group=0
            )

    def run(self, name: str, *command: str, may_fail: bool = False) -> None:
        """Run a Python program to its end; exit 1 when it fails, unless it may."""
        self.start(name, *command)
        self.wait_until(
            lambda: self[name].poll() is not None if may_fail else self[name].poll() == 0
        )
        del self[name]

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for `condition`; exit 1 when a program ends before."""
        while True:
            ended = [name for name, process in self.items() if process.poll() is not None]
            if condition():
                return
            if ended:
                sys.exit(f"error: {ended[0]} has ended; see {LOGS / ended[0]}.log")
            time.sleep(0.2)

    def stop(self) -> None:
        """End flow runs, then the programs, last started first; kill what is left after a while."""
        programs = ([process.pid] for process in reversed(self.values()))
        for stage in (
            marked("PREFECT__FLOW_RUN_ID"),
            *programs,
        ):  # a worker would wait for its flow runs
            send(signal.SIGTERM, stage)
            deadline = time.monotonic() + STOP
            while time.monotonic() < deadline and set(stage) & set(marked()):
                time.sleep(0.1)
        send(signal.SIGKILL, marked())
        for process in self.values():
            process.wait()


def up(stack: Stack, prefect: int, mlflow: int | None) -> None:
    """Start everything on these ports and say where it is."""
    SAY(f"Starting; logs are in {LOGS}")
    stack.start("prefect", "prefect", "server", "start", "--host", HOST, "--port", str(prefect))
    if mlflow:
        store.experiment_id("retrain")  # makes the tables, alone: two that do it at once fail
        options = ("--host", HOST, "--port", str(mlflow), "--workers", "1")
        stack.start("mlflow", "mlflow", "server", "--backend-store-uri", store.uri(), *options)
    stack.wait_until(lambda: answer(prefect, "/api/health") != "")
    stack.run(
        "limit", "prefect", "gcl", "create", YAHOO, "--limit", str(YAHOO_SLOTS), may_fail=True
    )  # it may be there
    stack.start(
        "worker",
        "prefect",
        "worker",
        "start",
        "--pool",
        "rnn",
        "--type",
        "process",
        "--name",
        "stack",
    )
    stack.wait_until(
        lambda: '"READY"' in answer(prefect, "/api/work_pools/rnn")
    )  # the worker makes the pool
    stack.run("deploy", "prefect", "--no-prompt", "deploy", "--all")
    stack.wait_until(lambda: mlflow is None or answer(mlflow, "/health") != "")
    SAY(
        f"Prefect  http://{HOST}:{prefect}\nMLflow   {f'http://{HOST}:{mlflow}' if mlflow else store.uri()}\n"
    )
    SAY(
        f"A run when you want one, in another terminal:\n\n  export PREFECT_API_URL={os.environ['PREFECT_API_URL']}"
    )
    command = os.path.relpath(Path(sys.executable).with_name("prefect"))
    SAY(
        f"  {command} deployment run 'retrain/adhoc' -p ticker=MSFT --watch\n\nCtrl-C stops everything."
    )


def answer(port: int, path: str) -> str:
    """What the server on `port` says, past any proxy; nothing unless it answers with success."""
    with (
        suppress(OSError),
        build_opener(ProxyHandler({})).open(f"http://{HOST}:{port}{path}", timeout=10) as response,
    ):
        return str(response.read(), "utf-8")
    return ""


def marked(variable: str = MARK) -> list[int]:
    """Processes of this stack, whoever started them, with `variable` in their environment (where there is a /proc)."""
    found = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            environment = dict(
                entry.partition("=")[::2] for entry in file.read_text(errors="replace").split("\0")
            )
            if environment.get(MARK) == MARKED and variable in environment:
                found.append(int(file.parent.name))
    return found


def send(number: signal.Signals, pids: list[int]) -> None:
    """Send a signal to those that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def port(variable: str, default: int) -> int:
    """The port that `variable` names; exit 1 if something listens there."""
    number = int(os.environ.get(variable, default))
    try:
        socket.create_server((HOST, number)).close()
    except OSError as error:
        sys.exit(
            f"error: port {number} cannot be used ({error.strerror}); set {variable} to another"
        )
    return number


def main() -> None:
    """Bring the stack up in the checkout, and down again on Ctrl-C."""
    os.chdir(CHECKOUT)
    prefect = port("PREFECT_SERVER_API_PORT", 4200)  # the variables of the tools themselves
    mlflow = None if store.uri().startswith("http") else port("MLFLOW_PORT", 5000)
    os.environ |= {
        MARK: MARKED,
        "PWD": str(CHECKOUT),
        "PREFECT_API_URL": f"http://{HOST}:{prefect}/api",
    }
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = (
        "false"  # eight processes that nothing here uses
    )
    LOGS.mkdir(parents=True, exist_ok=True)
    for number in STOP_SIGNALS:
        signal.signal(number, lambda *_: sys.exit(0))
    stack = Stack()
    try:
        up(stack, prefect, mlflow)
        stack.wait_until(lambda: False)
    except TrackingError as error:
        sys.exit(f"error: {error}")
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        stack.stop()


if __name__ == "__main__":
    main()
