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
MARK = "RNNFLOW_STACK"  # environment variable of every process that this stack has started
STACK_ID = str(os.getpid())  # its value
STOP_SECONDS = 20.0  # for flow runs to stop, and for each program
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAY = Console(soft_wrap=True, highlight=False).print


class Stack(dict[str, subprocess.Popen[bytes]]):
    """Programs by name: started one after the other, run while all of them do, stopped together."""

    def start(self, name: str, *command: str) -> None:
        """Start a Python program that Ctrl-C in the terminal does not reach: `stop` ends it."""
        with (LOGS / f"{name}.log").open("wb") as log:
            self[name] = subprocess.Popen(
                [sys.executable, "-m", *command], stdout=log, stderr=log, process_group=0
            )

    def run(self, name: str, *command: str, may_fail: bool = False) -> None:
        """Run a Python program to its end; exit 1 if it fails, unless it may."""
        self.start(name, *command)
        process = self[name]

        def has_ended_well() -> bool:
            code = process.poll()
            return code == 0 or (may_fail and code is not None)

        self.wait_until(has_ended_well)
        del self[name]

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for `condition`; exit 1 if a program ends before."""
        while True:
            ended = [name for name, process in self.items() if process.poll() is not None]
            if condition():
                return
            if ended:
                sys.exit(f"error: {ended[0]} has ended; see {LOGS / ended[0]}.log")
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop flow runs, then the programs, the last started first; kill what is left then."""
        stop_processes(marked("PREFECT__FLOW_RUN_ID"))  # a worker would wait for its flow runs
        for process in reversed(self.values()):
            stop_processes([process.pid])
        send(signal.SIGKILL, marked())
        for process in self.values():
            process.wait()


def up(stack: Stack, prefect: int, mlflow: int | None) -> None:
    """Start everything on these ports and print where it is."""
    SAY(f"Starting; logs are in {LOGS}")
    stack.start("prefect", "prefect", "server", "start", "--host", HOST, "--port", str(prefect))
    if mlflow:
        start_mlflow(stack, mlflow)
    stack.wait_until(lambda: answer(prefect, "/api/health") != "")
    deploy(stack, prefect)
    stack.wait_until(lambda: mlflow is None or answer(mlflow, "/health") != "")
    welcome(prefect, mlflow)


def start_mlflow(stack: Stack, port: int) -> None:
    """Start the MLflow UI on a store that exists."""
    store.experiment_id("retrain")  # makes the tables: the server's processes fail if both do
    address = ("--host", HOST, "--port", str(port))
    backend = ("--backend-store-uri", store.uri())
    stack.start("mlflow", "mlflow", "server", *backend, *address, "--workers", "1")


def deploy(stack: Stack, prefect: int) -> None:
    """Set the limit on who asks Yahoo, start a worker, and create the deployments."""
    limit = ("gcl", "create", YAHOO, "--limit", str(YAHOO_SLOTS))
    stack.run("limit", "prefect", *limit, may_fail=True)  # it may exist
    worker = ("worker", "start", "--pool", "rnn", "--type", "process", "--name", "stack")
    stack.start("worker", "prefect", *worker)
    # The worker makes the pool
    stack.wait_until(lambda: '"READY"' in answer(prefect, "/api/work_pools/rnn"))
    stack.run("deploy", "prefect", "--no-prompt", "deploy", "--all")


def welcome(prefect: int, mlflow: int | None) -> None:
    """Print where everything is, and how to start a run."""
    program = os.path.relpath(Path(sys.executable).with_name("prefect"))
    SAY(f"Prefect  http://{HOST}:{prefect}")
    SAY(f"MLflow   {f'http://{HOST}:{mlflow}' if mlflow else store.uri()}\n")
    SAY("A run when you want one, in another terminal:\n")
    SAY(f"  export PREFECT_API_URL={os.environ['PREFECT_API_URL']}")
    SAY(f"  {program} deployment run 'retrain/adhoc' -p ticker=MSFT --watch\n")
    SAY("Ctrl-C stops everything.")


def answer(port: int, path: str) -> str:
    """Return what the server on `port` answers, past any proxy; nothing unless it succeeds."""
    opener = build_opener(ProxyHandler({}))
    with suppress(OSError), opener.open(f"http://{HOST}:{port}{path}", timeout=10) as response:
        return str(response.read(), "utf-8")
    return ""


def marked(variable: str = MARK) -> list[int]:
    """Return the processes of this stack that have `variable` in their environment.

    Their number does not depend on who started them. Where there is no /proc, there are none.
    """
    pids = []
    for file in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            entries = file.read_text(errors="replace").split("\0")
            environment = dict(entry.partition("=")[::2] for entry in entries)
            if environment.get(MARK) == STACK_ID and variable in environment:
                pids.append(int(file.parent.name))
    return pids


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


def port(variable: str, default: int) -> int:
    """Return the port that an environment variable names; exit 1 if something listens there."""
    number = int(os.environ.get(variable, default))
    try:
        socket.create_server((HOST, number)).close()
    except OSError as error:
        sys.exit(
            f"error: port {number} cannot be used ({error.strerror}); set {variable} to another"
        )
    return number


def set_environment(prefect: int) -> None:
    """Set what the programs of the stack, and what they start, read from the environment."""
    os.environ[MARK] = STACK_ID
    os.environ["PWD"] = str(CHECKOUT)  # prefect.yaml deploys from it
    os.environ["PREFECT_API_URL"] = f"http://{HOST}:{prefect}/api"
    # Otherwise MLflow starts eight processes that nothing here uses
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"


def main() -> None:
    """Bring the stack up in the checkout, and down again on Ctrl-C."""
    os.chdir(CHECKOUT)
    prefect = port("PREFECT_SERVER_API_PORT", 4200)  # the variables of the tools themselves
    mlflow = None if store.is_server() else port("MLFLOW_PORT", 5000)
    set_environment(prefect)
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
