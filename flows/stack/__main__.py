"""The whole stack on this machine, up and down with one command: `python -m flows.stack`."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from filelock import FileLock, Timeout
from rich.console import Console

from flows import command_line
from flows.stack import doors
from flows.stack.programs import MARK, Programs, marked, send, stop_processes
from rnn_core.commands import Stack
from rnn_core.errors import StackError
from rnn_core.safe_text import safe

HOST = "127.0.0.1"
CHECKOUT = Path(__file__).resolve().parents[2]
LOGS = Path("data/logs")
LOCK = LOGS / "stack.lock"
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
SAY = Console(soft_wrap=True, highlight=False, markup=False).print


def up(programs: Programs, prefect: int, mlflow: int | None) -> None:
    """Start everything on these ports and print where it is."""
    from flows.steps import prefect_database

    SAY(f"Starting on port {prefect}{f' and {mlflow}' if mlflow else ''}; logs are in {LOGS}")
    if copy := prefect_database.copy_if_older():
        SAY(f"Prefect's database is of an older release and is migrated; its copy is {copy}")
    server = ("--factory", "flows.stack.prefect_server:app", "--host", HOST, "--port", str(prefect))
    programs.start("prefect", "uvicorn", *server)
    if mlflow:
        start_mlflow(programs, mlflow)
    programs.wait_for("Prefect's server", lambda: answer(prefect, "/api/health") != "")
    serve(programs)
    if mlflow:
        programs.wait_for("MLflow", lambda: answer(mlflow, "/health") != "")
    welcome(prefect, mlflow)


def start_mlflow(programs: Programs, port: int) -> None:
    """Start the MLflow UI on a store that exists."""
    from flows.tracking import store

    store.experiment_id("retrain")  # makes the tables: the server's processes fail if both do
    address = ("--host", HOST, "--port", str(port))
    backend = ("--backend-store-uri", store.uri())
    programs.start(
        "mlflow", "mlflow", "server", *backend, *address, "--workers", "1", *asks_for_password()
    )


def asks_for_password() -> tuple[str, ...]:
    """Return the options of MLflow's server that make it ask for a password, if it shall."""
    return ("--app-name", "basic-auth") if "MLFLOW_AUTH_CONFIG_PATH" in os.environ else ()


def serve(programs: Programs) -> None:
    """End lost runs, start a worker, and create the deployments."""
    from prefect.client.orchestration import get_client

    from flows.stack import healing

    with get_client(sync_client=True) as client:
        healing.set_up(client)
        healing.crash_lost_runs(client, SAY)
        worker = ("worker", "start", "--pool", healing.POOL, "--type", "process")
        programs.start("worker", "prefect", *worker, "--name", healing.WORKER)
        programs.wait_for("the worker", lambda: healing.pool_is_ready(client))
        healing.limit_queue(client)
    SAY("Waiting for the deployments")
    programs.run("deploy", "prefect", "--no-prompt", "deploy", "--all")


def welcome(prefect: int, mlflow: int | None) -> None:
    """Print where everything is, and how to start a run."""
    program = os.path.relpath(Path(sys.executable).with_name("prefect"))
    SAY(f"Prefect  http://{HOST}:{prefect}")
    tracking = f"http://{HOST}:{mlflow}" if mlflow else os.environ["MLFLOW_TRACKING_URI"]
    SAY(f"MLflow   {safe(tracking)}\n")
    SAY("A run when you want one, in another terminal:\n")
    SAY(f"  export PREFECT_API_URL={os.environ['PREFECT_API_URL']}")
    if asks_for_password():
        SAY(f'  export PREFECT_API_AUTH_STRING="{doors.where_credentials_are()}"')
    SAY(f"  {program} deployment run 'retrain/adhoc' -p ticker=MSFT --watch\n")
    SAY("Ctrl-C stops everything.")


def answer(port: int, path: str) -> str:
    """Return what the server on `port` answers, past any proxy; nothing unless it succeeds."""
    opener = build_opener(ProxyHandler({}))
    with suppress(OSError), opener.open(f"http://{HOST}:{port}{path}", timeout=10) as response:
        return str(response.read(), "utf-8")
    return ""


def free_port(variable: str, default: int) -> int:
    """Return the port that an environment variable names.

    Raises:
        StackError: something listens there.
    """
    number = int(os.environ.get(variable, default))
    try:
        socket.create_server((HOST, number)).close()
    except OSError as error:
        raise StackError(
            f"port {number} cannot be used ({error.strerror}); set {variable} to another"
        ) from error
    return number


@contextmanager
def only_stack_of_this_folder() -> Iterator[None]:
    """Hold a lock, which ends with this process, and end what an earlier stack has left running.

    Raises:
        StackError: another stack of this folder is running.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(LOCK, timeout=0):
            os.environ[MARK] = str(CHECKOUT)
            if left := marked():
                SAY(f"Ending {len(left)} processes that an earlier stack has left")
                stop_processes(left)
                send(signal.SIGKILL, marked())
            yield
    except Timeout as error:
        raise StackError(f"another stack of {CHECKOUT} is running; stop it first") from error


def main(config: Stack) -> None:
    """Bring the stack up in the checkout, and down again on Ctrl-C."""
    os.chdir(CHECKOUT)
    with only_stack_of_this_folder():
        # The variables of the tools themselves
        prefect = free_port("PREFECT_SERVER_API_PORT", 4200)
        is_remote = os.environ.get("MLFLOW_TRACKING_URI", "").startswith("http")
        mlflow = None if is_remote else free_port("MLFLOW_PORT", 5000)
        os.environ["PWD"] = str(CHECKOUT)  # prefect.yaml deploys from it
        os.environ.update(doors.addresses(prefect, mlflow))
        if config.auth:
            os.environ.update(doors.passwords())
        for number in STOP_SIGNALS:
            signal.signal(number, lambda *_: sys.exit(0))
        programs = Programs(LOGS, SAY)
        try:
            up(programs, prefect, mlflow)
            programs.keep_alive_until(lambda: False)
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
            programs.stop()


if __name__ == "__main__":
    command_line.run(Stack, main, asks_prefect=False)
