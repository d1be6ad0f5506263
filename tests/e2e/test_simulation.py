"""Check what the thirty days of `tests/simulation.py` leave behind, on SQLite and PostgreSQL."""

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import exchange_calendars
import httpx
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from rnn_core.operations.ledger import Ledger
from tests import simulation
from tests.postgres import running_postgres
from tests.processes import CHECKOUT, end, free_port, isolated, start, wait_for
from tests.simulation import DELISTED_DAY, LATE, SATURDAY, TICKERS, TWICE, moments, truth

pytestmark = pytest.mark.long

DATABASES = ("sqlite", "postgresql")
THANKSGIVING, HALF_DAY = "2021-11-25", pd.Timestamp("2021-11-26")
BACK = date(2021, 11, 15)  # the first day after the downtime


@dataclass(frozen=True)
class Lived:
    """The remains of the days on one kind of database."""

    folder: Path
    prefect: str
    tracking: str
    ledger: str

    @property
    def said(self) -> dict[str, dict[str, list[str]]]:
        """Return the messages of the calls, by day and deployment."""
        found: dict[str, dict[str, list[str]]] = json.loads((self.folder / "said.json").read_text())
        return found

    def forecasts(self) -> pd.DataFrame:
        """All rows of the ledger."""
        with Ledger.open(self.ledger) as ledger:
            return ledger.forecasts()

    def runs(self, *experiments: str) -> list[Run]:
        """The MLflow runs of these flows, or of all."""
        client = MlflowClient(self.tracking)
        ids = [
            one.experiment_id
            for one in client.search_experiments()
            if not experiments or one.name in experiments
        ]
        found, page = [], None
        while page != "":
            runs = client.search_runs(ids, page_token=page)
            found += runs
            page = runs.token or ""
        return found


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Lived]]:
    """The days on both kinds of database, side by side; the servers stay."""
    with ExitStack() as stack:
        postgres = stack.enter_context(running_postgres())
        urls = {name: postgres.create_database(name) for name in ("prefect", "mlflow", "ledger")}
        lived, living = {}, []
        for name in DATABASES:
            home = tmp_path_factory.mktemp(name)
            stack.callback(end, home)
            port, folder = str(free_port()), home / "work"
            folder.mkdir()
            own = {
                "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
                "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
                "LEDGER_URL": f"sqlite:///{folder}/ledger.db",
            }
            if name == "postgresql":
                own |= {
                    "PREFECT_API_DATABASE_CONNECTION_URL": urls["prefect"].replace(
                        "postgresql:", "postgresql+asyncpg:"
                    ),
                    "MLFLOW_TRACKING_URI": urls["mlflow"].replace(
                        "postgresql:", "postgresql+psycopg:"
                    ),
                    "LEDGER_URL": urls["ledger"],
                }
            environment = isolated(
                home, PYTHONPATH=str(CHECKOUT), PREFECT_LOGGING_TO_API_ENABLED="false", **own
            )
            server = ("prefect", "server", "start", "--host", "127.0.0.1", "--port", port)
            start(*server, environment=environment, cwd=home, log=home / "server.log")
            command = (sys.executable, "-m", "tests.simulation", str(folder))
            lived[name] = Lived(
                folder, own["PREFECT_API_URL"], own["MLFLOW_TRACKING_URI"], own["LEDGER_URL"]
            )
            wait_for(lambda api=own["PREFECT_API_URL"]: _healthy(api), "the Prefect server")
            log = home / "simulation.log"
            living.append((start(*command, environment=environment, cwd=folder, log=log), log))
        for process, log in living:
            assert process.wait(timeout=1500) == 0, log.read_text()[-5000:]
        yield lived


@pytest.fixture(params=DATABASES)
def lived(both: dict[str, Lived], request: pytest.FixtureRequest) -> Lived:
    return both[request.param]


def expected() -> set[tuple[str, date]]:
    """The (ticker, session) that must have one counted forecast, by the calendars themselves."""
    pairs = set()
    for day, calls in moments():
        for ticker, exchange in TICKERS.items():
            calendar = exchange_calendars.get_calendar(exchange)
            following = calendar.date_to_session(pd.Timestamp(day) + pd.Timedelta(days=1), "next")
            gone = ticker == "DELISTED" and day >= DELISTED_DAY
            if (
                day not in (LATE, SATURDAY)
                and not gone
                and calls["forecast/daily"] < calendar.session_open(following)
            ):
                pairs.add((ticker, following.date()))
    return pairs


def test_there_are_thirty_trading_days_a_holiday_and_a_half_day_among_them() -> None:
    new_york = exchange_calendars.get_calendar("XNYS")
    assert len(new_york.sessions_in_range(str(simulation.FIRST), str(simulation.LAST))) >= 30
    assert not new_york.is_session(THANKSGIVING)
    assert HALF_DAY in new_york.early_closes
    assert not new_york.is_session(str(SATURDAY))


def test_each_ticker_and_session_has_exactly_one_counted_forecast(lived: Lived) -> None:
    counted = lived.forecasts().query("counted")
    found = Counter(zip(counted["ticker"], counted["session"], strict=True))
    assert set(found) == expected()
    assert set(found.values()) == {1}


def test_what_was_written_late_is_a_replay_and_everything_else_is_live(lived: Lived) -> None:
    forecasts = lived.forecasts()
    late = forecasts.query("late")
    assert set(late["ticker"]) == {"SPLIT", "DIVIDEND", "LONDON.L"}, (
        "in Seoul the session was over, and the next named"
    )
    assert set(late["replay"]) == {"written after the open"}
    assert not late["counted"].any()
    assert (late["made_at"] >= late["opens_at"]).all()
    assert forecasts.query("not late")["replay"].isna().all()


def test_every_settled_forecast_is_right_or_wrong_as_the_prices_say(lived: Lived) -> None:
    settled = lived.forecasts().query("up.notna()")
    for row in settled.itertuples():
        close = truth(row.ticker)["close"]
        earned = np.log(close[pd.Timestamp(row.session)] / close[pd.Timestamp(row.last_session)])
        if row.ticker == "SPLIT" and row.session == simulation.SPLIT_DAY:
            assert row.next_return == pytest.approx(earned), "a split is no loss"
        if row.ticker == "DIVIDEND" and row.session == simulation.DIVIDEND_DAY:
            earned -= np.log(0.98)  # what was paid out belongs to the return
        assert row.next_return == pytest.approx(earned, abs=1e-9)
        assert row.up == (earned > 0)


def test_everything_that_has_come_true_is_settled_and_nothing_else(lived: Lived) -> None:
    forecasts = lived.forecasts()
    open_ones = forecasts[forecasts["settled_at"].isna()]
    last_score = max(calls["score/daily"] for _, calls in moments())
    gone = open_ones[open_ones["ticker"] == "DELISTED"]
    assert list(gone["session"]) == [DELISTED_DAY]
    assert (open_ones.drop(gone.index)["opens_at"] > last_score).all()


def test_each_ticker_has_one_champion_the_one_that_the_ledger_names(lived: Lived) -> None:
    client = MlflowClient(lived.tracking)
    with Ledger.open(lived.ledger) as ledger:
        for ticker in TICKERS:
            aliases = client.get_registered_model(f"direction-{ticker}").aliases
            assert int(aliases["champion"]) == ledger.champions(ticker)[-1]


def test_no_run_is_left_running(lived: Lived) -> None:
    assert {run.info.status for run in lived.runs()} == {"FINISHED"}
    states = httpx.post(
        f"{lived.prefect}/flow_runs/count",
        json={"flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}},
    )
    assert states.json() == 0


def test_each_ticker_is_retrained_once_a_session_and_not_for_the_days_of_downtime(
    lived: Lived,
) -> None:
    tags = [
        run.data.tags
        for run in lived.runs("retrain", "retrain-universe")
        if "session" in run.data.tags
    ]
    sessions = Counter((one["ticker"], one["session"]) for one in tags)
    assert set(sessions.values()) == {1}
    new_york = {session for ticker, session in sessions if ticker == "SPLIT"}
    assert "2021-11-12" not in new_york, "the last session of the downtime"
    assert str(BACK) in new_york
    assert THANKSGIVING not in new_york
    assert {("LONDON.L", THANKSGIVING), ("SEOUL.KS", THANKSGIVING)} <= set(sessions)


def test_a_day_without_a_session_is_said_to_be_one(lived: Lived) -> None:
    [retrained] = lived.said[THANKSGIVING]["retrain/daily"]
    assert retrained == f"Completed: nothing to do: {THANKSGIVING} is no session of XNYS"
    for call in ("retrain/daily", "retrain-universe/nightly", "score/daily"):
        assert all("nothing to do" in said for said in lived.said[SATURDAY.isoformat()][call])


def test_asked_twice_all_is_as_asked_once(lived: Lived) -> None:
    for call in ("retrain/daily", "retrain-universe/nightly", "score/daily"):
        first, second = lived.said[TWICE.isoformat()][call]
        assert "nothing to do" not in first
        assert "nothing to do" in second


def test_the_delisted_ticker_is_listed_with_its_reason_and_raises_an_alarm(lived: Lived) -> None:
    client = MlflowClient(lived.tracking)
    latest = max(
        (run for run in lived.runs("retrain-universe") if "tickers" in run.data.tags),
        key=lambda run: run.info.start_time,
    )
    failed = json.loads(
        Path(client.download_artifacts(latest.info.run_id, "failed.json")).read_text()
    )
    assert list(failed) == ["DELISTED"]
    assert "delisted" in failed["DELISTED"]
    scored = max(lived.runs("score"), key=lambda run: run.info.start_time)
    assert "DELISTED: stale" in scored.data.tags["alarms"]


def test_both_databases_tell_the_same_story(both: dict[str, Lived]) -> None:
    own = ["id", "run_id", "written_at"]
    sqlite, postgresql = (lived.forecasts().drop(columns=own) for lived in both.values())
    order = ["ticker", "session", "model_version"]
    pd.testing.assert_frame_equal(
        sqlite.sort_values(order, ignore_index=True),
        postgresql.sort_values(order, ignore_index=True),
    )


def _healthy(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health", timeout=60).is_success
    except httpx.TransportError:
        return False
