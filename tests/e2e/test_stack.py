"""`python -m flows.stack` in a copy of the checkout: everything starts, and everything stops."""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.processes import run
from tests.stack_copy import STACK, Copy, copied


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Copy]:
    with copied(tmp_path) as copy:
        yield copy


def test_everything_comes_up_and_goes_down_with_it(copy: Copy) -> None:
    stack = copy.start_and_wait()
    assert f"export PREFECT_API_URL={copy.api}" in copy.said
    for port in (copy.prefect, copy.mlflow):
        assert f"http://127.0.0.1:{port}" in copy.said
        page = httpx.get(f"http://127.0.0.1:{port}/", follow_redirects=True, timeout=60)
        assert "<html" in page.raise_for_status().text
    for words in (f"port {copy.prefect} and {copy.mlflow}", "Waiting for Prefect's server"):
        assert words in copy.said
    with copy.client() as client:
        names = {deployment.name for deployment in client.read_deployments()}
        assert names >= {"daily", "adhoc"}
        [worker] = client.read_workers_for_work_pool("rnn")
        assert worker.status is not None
        assert worker.status.value == "ONLINE"
        assert client.read_global_concurrency_limit_by_name("yahoo").limit == 2
        [automation] = client.read_automations_by_name("rnnflow-lost")
        assert automation.enabled

    assert len(copy.programs()) >= 3
    second = run(*STACK, environment=copy.environment, cwd=copy.folder)
    assert second.returncode == 1
    assert f"another stack of {copy.folder} is running" in second.stderr
    stack.send_signal(signal.SIGTERM)
    assert stack.wait(90) == 0
    assert copy.programs() == {}


def test_a_busy_port_is_one_line_before_anything_starts(copy: Copy) -> None:
    with socket.create_server(("127.0.0.1", copy.prefect)):
        done = run(*STACK, environment=copy.environment, cwd=copy.folder)
    assert done.returncode == 1
    [line] = (done.stdout + done.stderr).splitlines()
    assert str(copy.prefect) in line
    assert "PREFECT_SERVER_API_PORT" in line
    assert list((copy.folder / "data/logs").glob("*.log")) == []


def test_help_starts_nothing(copy: Copy) -> None:
    done = run(*STACK, "--help", environment=copy.environment, cwd=copy.folder)
    assert done.returncode == 0
    assert "--auth" in done.stdout
    assert not (copy.folder / "data").exists()
