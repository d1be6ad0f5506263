"""MLflow's store is deleted, moved or changed by hand, while the ledger is kept."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from sqlalchemy.engine import make_url

from flows import forecast as forecasting
from flows import score as scoring
from flows.retrain import retrain
from flows.rollback import roll_back
from flows.tracking import registry, store
from rnn_core.config import Evaluation, File, Model, Training
from rnn_core.errors import ChampionMissing, ConfigError
from rnn_core.operations.ledger import Ledger
from tests.clock import on_that_day
from tests.flows.conftest import AAPL

forecast = on_that_day(forecasting.forecast)
score = on_that_day(scoring.score)
TICKER = "AAPL"
FIRST, SECOND, THIRD, FOURTH = (datetime(2013, 2, day, 22, tzinfo=UTC) for day in (25, 26, 27, 28))
SMALL: dict[str, Any] = {
    "ticker": TICKER,
    "source": File(path=AAPL),
    "model": Model(hidden_size=2),
    "training": Training(epochs=1, seeds=1),
    "evaluation": Evaluation(train_days=300, valid_days=60, test_days=1000),
}
NAME = registry.model_name(TICKER)


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store and a ledger: two champions, and a forecast by the second."""
    folder = tmp_path_factory.mktemp("lived") / "work"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        retrain(now=FIRST, **SMALL)
        retrain(now=SECOND, **SMALL)
        forecast(ticker=TICKER, now=SECOND)
    return folder


@pytest.fixture
def work(
    lived: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], MlflowClient]]:
    """A copy of that folder, which has never been opened; returns the client of its store."""
    folder = workplace / "work"
    shutil.copytree(lived, folder)
    hidden = lived.with_name("hidden")
    lived.rename(hidden)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    yield lambda: MlflowClient(store.uri())
    hidden.rename(lived)


def settled() -> tuple[int, int]:
    """Return how many forecasts are settled, and how many there are."""
    with Ledger.open() as ledger:
        forecasts = ledger.forecasts(TICKER)
    return int(forecasts["settled_at"].notna().sum()), len(forecasts)


def assert_works_again(promoted: int) -> None:
    """Retrain, forecast with the new champion, and settle all there is."""
    summary = retrain(now=THIRD, **SMALL)
    assert summary.judgement.promoted, summary.judgement.reason
    assert summary.version == promoted
    row = forecast(ticker=TICKER, now=THIRD)[TICKER]
    assert (row.session, row.run_id, row.counted) == (date(2013, 2, 28), summary.run_id, True)
    score(ticker=TICKER, now=FOURTH)
    done, made = settled()
    assert done == made == 2


def run_of_champion(client: MlflowClient) -> str:
    return str(client.get_model_version_by_alias(NAME, "champion").run_id)


def collect(client: MlflowClient, *options: str) -> None:
    command = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", store.uri(), *options]
    subprocess.run(command, check=True, capture_output=True)


def delete_database(_: MlflowClient) -> None:
    Path(str(make_url(store.uri()).database)).unlink()


def collect_run(client: MlflowClient) -> None:
    run_id = run_of_champion(client)
    client.delete_run(run_id)
    collect(client, "--run-ids", run_id)


def test_a_store_that_was_moved_is_used_where_it_is(
    work: Callable[[], MlflowClient], lived: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forecast(ticker=TICKER, now=SECOND)
    assert f"its files are in {Path.cwd()}/mlruns, not in {lived}/mlruns" in caplog.text
    caplog.clear()
    score(ticker=TICKER, now=THIRD)
    assert settled() == (1, 1)
    assert_works_again(promoted=3)
    assert not lived.exists(), "the old folder came back"
    assert "was moved" not in caplog.text


def test_a_copy_without_files_of_its_own_is_left_as_it_is(
    lived: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(lived / "mlflow.db", workplace)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workplace}/mlflow.db")
    experiment = store.client().get_experiment_by_name("retrain")
    assert experiment is not None
    assert experiment.artifact_location == f"{lived}/mlruns/retrain"


def test_a_deleted_experiment_is_restored_with_a_warning(
    work: Callable[[], MlflowClient], caplog: pytest.LogCaptureFixture
) -> None:
    client = work()
    experiment = client.get_experiment_by_name("retrain")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    score(ticker=TICKER, now=THIRD)
    assert settled() == (1, 1)
    assert_works_again(promoted=3)
    assert caplog.text.count("experiment retrain was deleted in MLflow; it is restored") == 1


def test_a_renamed_experiment_is_made_anew(work: Callable[[], MlflowClient]) -> None:
    client = work()
    experiment = client.get_experiment_by_name("retrain")
    assert experiment is not None
    client.rename_experiment(experiment.experiment_id, "of old")
    score(ticker=TICKER, now=THIRD)
    assert settled() == (1, 1)
    assert_works_again(promoted=3)


@pytest.mark.parametrize("version", [1, 2])
def test_a_deleted_database_is_begun_anew(
    work: Callable[[], MlflowClient], version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first version of the new store may have the number of the ledger's champion."""
    if version == 1:
        roll_back(TICKER, SECOND + timedelta(hours=1))
        fresh = Path.cwd() / "fresh.db"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{fresh}")
    else:
        delete_database(work())
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{Path.cwd()}/./mlflow.db")
    with pytest.raises(ConfigError, match=r"^source must be named to settle .* was deleted$"):
        score(ticker=TICKER, now=THIRD)
    with pytest.raises(ChampionMissing, match=r"was deleted, or its alias taken away; retrain it"):
        forecast(ticker=TICKER, now=THIRD)
    score(ticker=TICKER, source=File(path=AAPL), now=THIRD)
    assert settled() == (1, 1)
    assert_works_again(promoted=1)


def test_a_champion_whose_run_is_gone_is_replaced(work: Callable[[], MlflowClient]) -> None:
    run_id = run_of_champion(work())
    store.client()  # corrects the paths, as the folder is a copy
    collect_run(work())
    reason = f"the champion of AAPL cannot be used: its run {run_id} was deleted"
    with pytest.raises(ChampionMissing, match=f"^{reason}; retrain it"):
        forecast(ticker=TICKER, now=THIRD)
    standing = score(ticker=TICKER, source=File(path=AAPL), now=THIRD)[TICKER]
    assert settled() == (1, 1)
    assert standing.champion is None
    assert reason in "".join(alarm.text for alarm in standing.alarms if alarm.kind == "champion")
    assert_works_again(promoted=3)
    with Ledger.open() as ledger:
        assert ledger.promotions(TICKER)["reason"].iloc[-1].endswith(reason)


def test_one_can_roll_back_from_a_champion_whose_run_is_gone(
    work: Callable[[], MlflowClient],
) -> None:
    store.client()
    collect_run(work())
    assert roll_back(TICKER, THIRD) == 1
    assert forecast(ticker=TICKER, now=THIRD)[TICKER].model_version == 1


@pytest.mark.parametrize("made_by", ["no run", "a run of another kind", "another ticker"])
def test_a_foreign_version_with_the_alias_is_replaced(
    work: Callable[[], MlflowClient], made_by: str
) -> None:
    store.client()
    client = work()
    run_id = None
    if made_by != "no run":
        tags = {"ticker": "MSFT", "config_hash": "x"} if made_by == "another ticker" else {}
        run_id = client.create_run(client.create_experiment("foreign"), tags=tags).info.run_id
    foreign = client.create_model_version(NAME, "/nowhere", run_id=run_id).version
    client.set_registered_model_alias(NAME, "champion", foreign)
    reason = f"version {foreign} was not made by a retrain of AAPL; retrain it, or move the alias"
    with pytest.raises(ChampionMissing, match=reason):
        forecast(ticker=TICKER, now=THIRD)
    score(ticker=TICKER, now=THIRD)
    assert settled() == (1, 1)
    assert_works_again(promoted=int(foreign) + 1)
    with Ledger.open() as ledger:
        assert int(foreign) not in ledger.versions(TICKER)
