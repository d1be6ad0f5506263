"""One Prefect server, one worker and the deployments of `prefect.yaml`, set up as a user does."""

from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.prefect_site import Site
from tests.processes import CHECKOUT, end, free_port, isolated, run, start, wait_for


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("site")
    elsewhere = tmp_path_factory.mktemp("worker")
    port = str(free_port())
    address = f"http://127.0.0.1:{port}"
    environment = isolated(
        home,
        PREFECT_API_URL=f"{address}/api",
        MLFLOW_TRACKING_URI=f"sqlite:///{home}/mlflow.db",
        LEDGER_URL=f"sqlite:///{home}/ledger.db",
        RNNFLOW_DATA=str(CHECKOUT / "tests/data"),
        PREFECT_WORKER_QUERY_SECONDS="1",  # 10 by default, waited for before each flow run
    )
    site = Site(address, home, environment)
    try:
        start(
            *("prefect", "server", "start", "--host", "127.0.0.1", "--port", port),
            environment=environment,
            cwd=home,
            log=home / "server.log",
        )
        site.mlflow.search_experiments()  # makes the tables
        wait_for(lambda: _healthy(address), "the Prefect server")
        done = site.prefect("--no-prompt", "work-pool", "create", "rnn", "--type", "process")
        assert done.returncode == 0, done.stdout + done.stderr
        start(
            *("prefect", "worker", "start", "--pool", "rnn"),
            environment=environment,
            cwd=elsewhere,
            log=home / "worker.log",
        )
        done = run(
            "prefect", "--no-prompt", "deploy", "--all", environment=environment, cwd=CHECKOUT
        )
        assert done.returncode == 0, done.stdout + done.stderr
        yield site
    finally:
        end(home)


def _healthy(address: str) -> bool:
    try:
        return httpx.get(f"{address}/api/health").is_success
    except httpx.TransportError:
        return False
