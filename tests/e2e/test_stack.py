"""`python -m flows.stack` in a copy of the checkout: everything starts, and everything stops."""

import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import httpx
import pytest

from tests.processes import CHECKOUT, end, free_port, isolated, processes, run, start, wait_for

STACK = (sys.executable, "-m", "flows.stack")


@dataclass(frozen=True)
class Copy:
    """What the stack needs of the checkout, in a folder of its own, and free ports."""

    folder: Path
    prefect: int
    mlflow: int
    environment: dict[str, str]

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def said(self) -> str:
        return (self.folder / "stack.log").read_text()

    def start(self) -> "Popen[bytes]":
        return start(
            *STACK, environment=self.environment, cwd=self.folder, log=self.folder / "stack.log"
        )

    def programs(self) -> dict[int, str]:
        """Command lines by process id of what the stack has started."""
        return {
            pid: line
            for pid, line in processes("PREFECT_HOME", self.home).items()
            if "flows.stack" not in line
        }


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Copy]:
    for name in ("flows", "rnn_core"):
        shutil.copytree(
            CHECKOUT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(CHECKOUT / "prefect.yaml", tmp_path)
    prefect, mlflow = free_port(), free_port()
    ports = {"PREFECT_SERVER_API_PORT": str(prefect), "MLFLOW_PORT": str(mlflow)}
    try:
        yield Copy(tmp_path, prefect, mlflow, isolated(tmp_path / "home", **ports))
    finally:
        end(tmp_path / "home")


def test_everything_comes_up_and_goes_down_with_it(copy: Copy) -> None:
    stack = copy.start()
    wait_for(lambda: "Ctrl-C" in copy.said or stack.poll() is not None, "the stack")
    api = f"http://127.0.0.1:{copy.prefect}/api"
    assert f"export PREFECT_API_URL={api}" in copy.said
    for port in (copy.prefect, copy.mlflow):
        assert f"http://127.0.0.1:{port}" in copy.said
        page = httpx.get(f"http://127.0.0.1:{port}/", follow_redirects=True, timeout=60)
        assert "<html" in page.raise_for_status().text
    deployments = httpx.post(f"{api}/deployments/filter", json={}, timeout=60).json()
    assert {deployment["name"] for deployment in deployments} >= {"daily", "adhoc"}
    [worker] = httpx.post(f"{api}/work_pools/rnn/workers/filter", json={}, timeout=60).json()
    assert worker["status"] == "ONLINE"
    assert httpx.get(f"{api}/v2/concurrency_limits/yahoo", timeout=60).json()["limit"] == 2

    assert len(copy.programs()) >= 3
    stack.send_signal(signal.SIGTERM)
    assert stack.wait(90) == 0
    assert copy.programs() == {}


def test_all_end_when_one_does(copy: Copy) -> None:
    stack = copy.start()
    [server] = wait_for(
        lambda: [pid for pid, line in copy.programs().items() if "server start" in line],
        "the server",
    )
    os.kill(server, signal.SIGKILL)
    assert stack.wait(90) == 1
    assert "error: prefect has ended; see data/logs/prefect.log" in copy.said
    assert copy.programs() == {}


def test_a_busy_port_is_one_line_before_anything_starts(copy: Copy) -> None:
    with socket.create_server(("127.0.0.1", copy.prefect)):
        done = run(*STACK, environment=copy.environment, cwd=copy.folder)
    assert done.returncode == 1
    [line] = (done.stdout + done.stderr).splitlines()
    assert str(copy.prefect) in line
    assert "PREFECT_SERVER_API_PORT" in line
    assert not (copy.folder / "data").exists()
