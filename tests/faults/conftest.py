"""A Prefect server that processes of these tests share. All of these tests take minutes."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.processes import end, free_port, isolated, start, wait_for


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the tests of this folder to `make test-all`."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Of processes with a real Prefect server, and with a store and a ledger of their own."""
    home = tmp_path_factory.mktemp("home")
    port = str(free_port())
    environment = isolated(
        home,
        PREFECT_API_URL=f"http://127.0.0.1:{port}/api",
        MLFLOW_TRACKING_URI=f"sqlite:///{home}/mlflow.db",
        LEDGER_URL=f"sqlite:///{home}/ledger.db",
        PYTHONPATH=str(Path(__file__).parents[2]),
    )
    server = ("prefect", "server", "start", "--host", "127.0.0.1", "--port", port)

    def healthy() -> bool:
        try:
            return httpx.get(f"{environment['PREFECT_API_URL']}/health").is_success
        except httpx.TransportError:
            return False

    try:
        start(*server, environment=environment, cwd=home, log=home / "server.log")
        wait_for(healthy, "the Prefect server")
        yield environment
    finally:
        end(home)
