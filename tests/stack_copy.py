"""The stack in a folder of its own: what it needs of the checkout, and free ports."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from tests.processes import CHECKOUT, end, free_port, isolated, processes, start, wait_for

STACK = (sys.executable, "-m", "flows.stack")
UP = "Ctrl-C"  # the last words of a stack that has come up


@dataclass(frozen=True)
class Copy:
    """A folder with the code, and the ports of its servers."""

    folder: Path
    prefect: int
    mlflow: int
    environment: dict[str, str]

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.prefect}/api"

    @property
    def said(self) -> str:
        return (self.folder / "stack.log").read_text()

    def start(self, *options: str) -> "Popen[bytes]":
        log = self.folder / "stack.log"
        return start(*STACK, *options, environment=self.environment, cwd=self.folder, log=log)

    def start_and_wait(self, *options: str) -> "Popen[bytes]":
        """Start the stack and wait until it is up."""
        stack = self.start(*options)
        wait_for(lambda: UP in self.said or stack.poll() is not None, "the stack")
        assert stack.poll() is None, self.said
        return stack

    def programs(self) -> dict[int, str]:
        """Command lines by process id of what the stack has started."""
        found = processes("PREFECT_HOME", self.home).items()
        return {pid: line for pid, line in found if "flows.stack" not in line.split("--factory")[0]}

    def kill_everything(self) -> None:
        """Kill every process at once, as a power cut does, so that none can clean up."""
        for pid in processes("PREFECT_HOME", self.home):
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not processes("PREFECT_HOME", self.home), "everything to be gone")

    def client(self) -> SyncPrefectClient:
        auth = self.environment.get("PREFECT_API_AUTH_STRING")
        return SyncPrefectClient(self.api, auth_string=auth)

    def run(self, deployment: str, **parameters: Any) -> FlowRun:
        """Start a run of a deployment."""
        with self.client() as client:
            found = client.read_deployment_by_name(deployment)
            return client.create_flow_run_from_deployment(found.id, parameters=parameters)

    def state(self, run: FlowRun) -> str:
        with self.client() as client:
            state = client.read_flow_run(run.id).state
            return state.type.value if state else ""


@contextmanager
def copied(folder: Path, **variables: str) -> Iterator[Copy]:
    """Copy what the stack needs to a folder, and end whatever runs there afterwards."""
    for name in ("flows", "rnn_core"):
        shutil.copytree(
            CHECKOUT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(CHECKOUT / "prefect.yaml", folder)
    prefect, mlflow = free_port(), free_port()
    ports = {"PREFECT_SERVER_API_PORT": str(prefect), "MLFLOW_PORT": str(mlflow)}
    often = {"PREFECT_WORKER_QUERY_SECONDS": "1"}  # 10 by default, waited for before each flow run
    environment = isolated(folder / "home", **ports, **often, **variables)
    try:
        yield Copy(folder, prefect, mlflow, environment)
    finally:
        end(folder / "home")
