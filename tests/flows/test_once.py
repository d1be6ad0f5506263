"""A session is retrained for once: by source, by its price, and by one of several starts."""

import os
import signal
import sqlite3
import sys
import tarfile
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.settings import PREFECT_API_URL

from flows.retrain import retrain
from flows.tracking import queries
from flows.universe.flow import retrain_universe
from rnn_core.commands import Retrain, RetrainUniverse
from rnn_core.config import Evaluation, File, Model, Synthetic, Training, Yahoo
from rnn_core.data.exchanges import sessions
from rnn_core.errors import TrackingError
from tests.flows.conftest import AAPL
from tests.flows.test_older_version import ARCHIVE, SETTINGS, START, TICKER
from tests.postgres import Postgres, running_postgres
from tests.processes import isolated, start, wait_for
from tests.yahoo_server import SERVER_ERROR, YahooServer, sample_frame, yahoo_server

THURSDAY = datetime(2013, 2, 28, 22, tzinfo=UTC)
FRIDAY = datetime(2013, 3, 1, 22, tzinfo=UTC)
MONDAY = datetime(2013, 3, 4, 22, tzinfo=UTC)
SMALL: dict[str, Any] = {
    "model": Model(hidden_size=2),
    "training": Training(epochs=1, seeds=1),
    "evaluation": Evaluation(train_days=300, valid_days=60, test_days=1000),
}
LINE = (
    "--model.hidden_size 2 --training.epochs 1 --training.seeds 1 --evaluation.train_days 300 "
    "--evaluation.valid_days 60 --evaluation.test_days 1000"
)
OPTIONS = LINE.split()
YAHOO = Yahoo(start=date(2005, 1, 3))
SOURCES = {"file": File(path=AAPL), "synthetic": Synthetic(days=2000), "yahoo": YAHOO}

Runs = Callable[[], list[Run]]


@pytest.fixture
def yahoo(monkeypatch: pytest.MonkeyPatch) -> Iterator[YahooServer]:
    frame = sample_frame(sessions("XNYS", YAHOO.start, MONDAY.date()))
    with yahoo_server(monkeypatch, frame) as server:
        yield server


def scheduled(ticker: str, source: Any, now: datetime, **options: Any) -> str:
    """Return why a scheduled start has nothing to do; nothing if it retrained."""
    parameters = SMALL | {"ticker": ticker, "source": source, "now": now} | options
    state = retrain(scheduled=True, return_state=True, **parameters)
    assert state.is_completed()
    return str(state.message or "")


def runs_of(ticker: str) -> list[Run]:
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    experiments = [one.experiment_id for one in client.search_experiments()]
    return list(client.search_runs(experiments, f"tags.ticker = '{ticker}'"))


@pytest.mark.usefixtures("yahoo")
@pytest.mark.parametrize("kind", SOURCES)
def test_a_run_from_another_kind_of_source_has_not_done_the_work(kind: str) -> None:
    ticker = f"KIND{kind.upper()}"
    for other in SOURCES.keys() - {kind}:
        retrain(ticker=ticker, source=SOURCES[other], now=FRIDAY, **SMALL)
    assert "nothing to do" not in scheduled(ticker, SOURCES[kind], FRIDAY)
    [run_id, *_] = [
        run.info.run_id for run in runs_of(ticker) if run.data.tags["data.source"] == kind
    ]
    assert scheduled(ticker, SOURCES[kind], FRIDAY) == (
        f"nothing to do: {ticker} was retrained for 2013-03-01 (run {run_id}); --again retrains it"
    )
    assert len(runs_of(ticker)) == 3
    assert "nothing to do" not in scheduled(ticker, SOURCES[kind], FRIDAY, again=True)
    assert len(runs_of(ticker)) == 4


def test_stored_or_synthetic_prices_of_an_outage_have_not_done_the_work(
    yahoo: YahooServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.steps.prices.fetch_prices.retries", 0)
    yahoo.answers = [SERVER_ERROR] * 8
    assert "nothing to do" not in scheduled("OUTAGE", YAHOO, THURSDAY)
    assert runs_of("OUTAGE")[0].data.tags["data.source"] == "synthetic-fallback"
    yahoo.answers = []
    assert "nothing to do" not in scheduled("OUTAGE", YAHOO, THURSDAY)
    yahoo.answers = [SERVER_ERROR] * 8
    assert "nothing to do" not in scheduled("OUTAGE", YAHOO, FRIDAY)
    stored = max(runs_of("OUTAGE"), key=lambda run: run.info.start_time).data.tags
    assert (stored["data.source"], stored["data.last"]) == ("yahoo-stored", "2013-02-28")
    yahoo.answers = []
    assert "nothing to do" not in scheduled("OUTAGE", YAHOO, FRIDAY)
    assert "nothing to do" in scheduled("OUTAGE", YAHOO, FRIDAY)
    assert len(runs_of("OUTAGE")) == 4


def test_a_file_that_ends_before_the_session_has_not_done_the_work(workplace: Path) -> None:
    lines = AAPL.read_text().splitlines(keepends=True)
    late = workplace / "late.csv"
    late.write_text("".join(line for line in lines if not line.startswith("2013-03-01")))
    source = File(path=late)
    assert "nothing to do" not in scheduled("TARDY", source, FRIDAY)
    assert "nothing to do" not in scheduled("TARDY", source, FRIDAY), "it might have come by now"
    late.write_text("".join(lines))
    assert "nothing to do" not in scheduled("TARDY", source, FRIDAY)
    assert "nothing to do" in scheduled("TARDY", source, FRIDAY + timedelta(hours=1))


def test_a_universe_and_a_retrain_know_of_each_other_and_of_the_kind_of_source(
    workplace: Path,
) -> None:
    for ticker in ("ONE", "TWO"):
        (workplace / f"{ticker}.csv").write_text(AAPL.read_text())
    files = File(path=Path("{ticker}.csv"))
    walk = SOURCES["synthetic"]
    universe: dict[str, Any] = SMALL | {"tickers": ("ONE", "TWO"), "now": FRIDAY}
    retrain(ticker="ONE", source=walk, now=FRIDAY, **SMALL)
    outcomes = retrain_universe(source=files, **universe)
    assert outcomes.keys() == {"ONE", "TWO"}
    assert "was retrained for 2013-03-01" in scheduled("TWO", files, FRIDAY)
    state = retrain_universe(source=files, return_state=True, **universe)
    assert state.message == (
        "nothing to do: all 2 tickers were retrained for their last session; --again retrains them"
    )
    assert retrain_universe(source=walk, **universe).keys() == {"TWO"}


def test_a_run_that_version_0_1_0_recorded_has_done_its_work(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tarfile.open(ARCHIVE) as archive:
        archive.extract("mlflow.sql", workplace, filter="data")
    with sqlite3.connect("older.db") as connection:
        connection.executescript(Path("mlflow.sql").read_text(encoding="utf-8"))
    connection.close()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workplace}/older.db")
    config = Retrain(ticker=TICKER, source=Yahoo(start=START), **SETTINGS)
    assert queries.retrained(config, "2024-06-03").keys() == {TICKER}
    assert queries.retrained(config, "2024-06-04") == {}
    on_a_walk = config.model_copy(update={"source": Synthetic()})
    assert queries.retrained(on_a_walk, "2024-06-03") == {}


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def environment(
    request: pytest.FixtureRequest, workplace: Path, runs_folder: Path
) -> dict[str, str]:
    """Of real processes, which share MLflow's store and Prefect's server with these tests."""
    ledger = f"sqlite:///{workplace}/ledger.db"
    if request.param == "postgresql":
        name = request.node.name.partition("[")[0][-30:]
        ledger = request.getfixturevalue("postgres").create_database(name)
    return isolated(
        workplace / "home",
        MLFLOW_TRACKING_URI=f"sqlite:///{runs_folder}/mlflow.db",
        LEDGER_URL=ledger,
        PREFECT_API_URL=str(PREFECT_API_URL.value()),
    )


def start_file_run(environment: dict[str, str], ticker: str, log: Path) -> Any:
    source = ("--source.kind", "file", "--source.path", str(AAPL))
    command = (sys.executable, "-m", "flows.retrain", "--scheduled", "--ticker", ticker)
    # On Monday evening a file that ends on Friday lacks the session; yet both starts ask for once
    when = ("--now", f"{MONDAY:%Y-%m-%dT%H:%M:%SZ}")
    return start(
        *command, *source, *OPTIONS, *when, environment=environment, cwd=Path.cwd(), log=log
    )


def test_two_starts_at_the_same_moment_retrain_once(
    environment: dict[str, str], request: pytest.FixtureRequest
) -> None:
    ticker = f"TWICE{request.node.callspec.params['environment'].upper()}"
    logs = [Path("first.log"), Path("second.log")]
    started = [start_file_run(environment, ticker, log) for log in logs]
    assert [process.wait(180) for process in started] == [0, 0]
    [run] = runs_of(ticker)
    assert run.info.status == "FINISHED"
    said = f"nothing to do: {ticker} was retrained for 2013-03-04 (run {run.info.run_id})"
    assert sorted(said in log.read_text() for log in logs) == [False, True]


def test_if_the_first_is_killed_the_second_does_its_work(
    environment: dict[str, str], request: pytest.FixtureRequest
) -> None:
    ticker = f"KILLED{request.node.callspec.params['environment'].upper()}"
    first = start_file_run(environment, ticker, Path("first.log"))
    wait_for(lambda: runs_of(ticker), "the first to be at work")
    os.kill(first.pid, signal.SIGSTOP)  # in the middle of its work
    second = start_file_run(environment, ticker, Path("second.log"))
    wait_for(lambda: "Beginning flow run" in Path("second.log").read_text(), "the second to start")
    with pytest.raises(Exception, match="timed out"):
        second.wait(3)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait(30)
    assert second.wait(120) == 0
    assert sorted(run.info.status for run in runs_of(ticker)) == ["FAILED", "FINISHED"]


@pytest.mark.parametrize("runner", ["threads", "processes"])
def test_two_universes_at_the_same_moment_retrain_each_ticker_once(
    workplace: Path, runs_folder: Path, runner: str
) -> None:
    tickers = [f"{runner.upper()}{number}" for number in range(3)]
    environment = isolated(
        workplace / "home",
        MLFLOW_TRACKING_URI=f"sqlite:///{runs_folder}/mlflow.db",
        LEDGER_URL=f"sqlite:///{workplace}/ledger.db",
        PREFECT_API_URL=str(PREFECT_API_URL.value()),
    )
    source = ("--source.kind", "synthetic", "--source.days", "2000")
    when = ("--now", f"{FRIDAY:%Y-%m-%dT%H:%M:%SZ}", "--runner.kind", runner)
    command = (sys.executable, "-m", "flows.universe", "--tickers", ",".join(tickers))
    started = [
        start(
            *command,
            *source,
            *OPTIONS,
            *when,
            environment=environment,
            cwd=workplace,
            log=workplace / f"{number}.log",
        )
        for number in range(2)
    ]
    assert [process.wait(300) for process in started] == [0, 0]
    assert [[run.info.status for run in runs_of(ticker)] for ticker in tickers] == [
        ["FINISHED"]
    ] * 3


@pytest.mark.parametrize("named", ["tickers", "file", "stored"])
def test_a_universe_over_one_file_is_refused_before_anything_starts(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    (workplace / "universe.txt").write_text("A1\nB1\n")
    monkeypatch.setattr("flows.universe.flow.stored_tickers", lambda _: ["A1", "B1"])
    options = {"tickers": {"tickers": ("A1", "B1")}, "file": {"file": Path("universe.txt")}}
    state = retrain_universe(
        source=File(path=AAPL), return_state=True, now=FRIDAY, **SMALL, **options.get(named, {})
    )
    assert state.is_failed()
    assert f"source.path = '{AAPL}' is one file for 2 tickers; write {{ticker}}" in state.message
    assert not runs_of("A1")


def test_one_ticker_may_have_one_file() -> None:
    config = RetrainUniverse(tickers=("ALONE",), source=File(path=AAPL), now=FRIDAY, **SMALL)
    assert retrain_universe(**dict(config)).keys() == {"ALONE"}


@pytest.mark.parametrize("start", ["the schedule", "a wish"])
def test_what_was_interrupted_after_its_work_is_completed_and_not_done_again(
    monkeypatch: pytest.MonkeyPatch, start: str
) -> None:
    """The alias follows the ledger, and only then the next wish is another one."""
    ticker = f"CUT{start[-4:].upper()}"
    config = {"ticker": ticker, "source": File(path=AAPL), "scheduled": start == "the schedule"}
    retrain(now=THURSDAY, **config, **SMALL)
    with monkeypatch.context() as patch:
        patch.setattr("flows.tracking.registry.set_champion_alias", unreachable)
        with pytest.raises(TrackingError, match="MLflow is lost"):
            retrain(now=FRIDAY, **config, **SMALL)
    run, before = runs_of(ticker)
    assert (run.info.status, before.info.status) == ("FINISHED", "FINISHED")
    assert "interrupted" in run.data.tags
    again = retrain(now=FRIDAY, return_state=True, **config, **SMALL)
    assert f"was retrained for 2013-03-01 (run {run.info.run_id})" in again.message
    run, _ = runs_of(ticker)
    assert "interrupted" not in run.data.tags
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    champion = client.get_model_version_by_alias(f"direction-{ticker}", "champion")
    assert champion.run_id == run.info.run_id
    if start == "a wish":
        assert retrain(now=FRIDAY, **config, **SMALL).run_id != run.info.run_id


def unreachable(*_: Any) -> NoReturn:
    raise TrackingError("MLflow is lost")


def test_what_was_interrupted_on_an_older_price_is_done_when_the_price_has_come(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It has done its work for that price alone."""
    late = tmp_path / "late.csv"
    *rows, last = AAPL.read_text().splitlines()
    late.write_text("\n".join(rows))
    config = {"ticker": "STALE", "source": File(path=late, exchange="XNYS"), "scheduled": True}
    with monkeypatch.context() as patch:
        patch.setattr("flows.tracking.runs._finish", unreachable)
        with pytest.raises(TrackingError, match="MLflow is lost"):
            retrain(now=FRIDAY, **config, **SMALL)
    late.write_text("\n".join([*rows, last]))
    assert retrain(now=FRIDAY, **config, **SMALL) is not None
    assert [run.info.status for run in runs_of("STALE")] == ["FINISHED"] * 2
