"""Flows run in this process, against Prefect's test server and an MLflow store of their own."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.flow_engine import FlowRunEngine
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness

from flows.steps.learning import FIGURES
from rnn_core.config import Evaluation, Model, Training
from rnn_core.reporting import figures
from tests.processes import wait_for

AAPL = Path(__file__).parents[1] / "data" / "AAPL.csv"
EVERY_FIGURE = figures.figures
FEW_FOLDS = Evaluation(train_days=300, valid_days=60, test_days=1000)
TINY = {
    "model": Model(hidden_size=4),
    "training": Training(epochs=2, seeds=2),
    "evaluation": FEW_FOLDS,
}


@pytest.fixture(scope="session", autouse=True)
def prefect_server() -> Iterator[str]:
    """The API's address of a Prefect server, which flows in this process use, and others may."""
    with pytest.MonkeyPatch.context() as patch, prefect_test_harness(server_startup_timeout=180):
        patch.setattr(FlowRunEngine, "heartbeat_seconds", None)  # a flow takes a second to end them
        yield str(PREFECT_API_URL.value())


@pytest.fixture(scope="module", autouse=True)
def _one_figure() -> Iterator[None]:
    """A large part of the time of a small run is eight figures, which are tested elsewhere.

    Of a module, not of the session: the tests after these in the same process are of all.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "figures", lambda *rest: EVERY_FIGURE(*rest[:5], FIGURES))
        yield


@contextmanager
def every_figure() -> Iterator[None]:
    """Every figure, as in the processes that a flow starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "figures", EVERY_FIGURE)
        yield


@pytest.fixture(scope="session")
def runs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, runs_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test in a folder of its own, all with one MLflow store, which takes seconds to make."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{runs_folder}/mlflow.db")
    return tmp_path


@pytest.fixture(autouse=True)
def _own_code(workplace: Path) -> Iterator[None]:
    """A model that a test loads leaves its copy of the code first on the path; remove it."""
    before = list(sys.path)
    yield
    sys.path[:] = before


@pytest.fixture
def runs(runs_folder: Path) -> Callable[[], list[Run]]:
    """The runs of the experiment `retrain`, latest first."""
    client = MlflowClient(f"sqlite:///{runs_folder}/mlflow.db")

    def latest_first() -> list[Run]:
        found = client.get_experiment_by_name("retrain")
        return (
            list(client.search_runs([found.experiment_id], order_by=["attributes.start_time DESC"]))
            if found
            else []
        )

    return latest_first


@pytest.fixture
def wait_for_event() -> Callable[[str, str], None]:
    """Waits until Prefect's server knows an event of this name whose text has these words."""

    def known(name: str, words: str) -> bool:
        answer = httpx.post(
            f"{PREFECT_API_URL.value()}/events/filter", json={"filter": {"event": {"name": [name]}}}
        )
        return any(
            words in event["payload"]["text"]
            for event in answer.raise_for_status().json()["events"]
        )

    def wait(name: str, words: str) -> None:
        wait_for(lambda: known(name, words), f"the event {name}: {words}", seconds=30)

    return wait
