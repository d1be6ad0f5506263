"""Only unseen sessions, forecast in time, count as live, from training to the live record."""

import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow import MlflowClient
from rich.console import Console

from flows import score as scoring
from flows.forecast import forecast
from flows.retrain import retrain
from flows.score import score
from flows.steps.closures import closures_before
from flows.tracking import serving
from rnn_core.config import Evaluation, File, Model, Promotion, Synthetic, Training, Yahoo
from rnn_core.data import loading
from rnn_core.data.answers import Answer
from rnn_core.data.exchanges import sessions
from rnn_core.data.prices import Prices
from rnn_core.data.store import update
from rnn_core.errors import ConfigError, DataError, PricesUnavailable
from rnn_core.operations import clock
from rnn_core.operations.ledger import Ledger
from tests.clock import machine_at, on_that_day
from tests.yahoo_server import EMPTY, SERVER_ERROR, YahooServer, sample_frame, yahoo_server

SMALL: dict[str, Any] = {
    "source": Synthetic(days=400),
    "model": Model(hidden_size=2),
    "training": Training(epochs=1, seeds=1),
    "evaluation": Evaluation(train_days=150, valid_days=30, test_days=200),
    "promotion": Promotion(allow_synthetic=True),
}
MINUTE = timedelta(minutes=1)
START = date(2020, 1, 2)
FRIDAY = datetime(2021, 6, 4, 21, tzinfo=UTC)  # New York has closed
MONDAY_OPENS = datetime(2021, 6, 7, 13, 30, tzinfo=UTC)
TUESDAY_BEGINS = datetime(2021, 6, 8, 4, tzinfo=UTC)  # midnight in New York
TUESDAY_CLOSED = datetime(2021, 6, 8, 21, tzinfo=UTC)
SATURDAY = pd.Timestamp("2021-06-05")
SUNDAY_BEGINS = datetime(2021, 6, 6, tzinfo=UTC)
MONDAY, TUESDAY = pd.Timestamp("2021-06-07"), pd.Timestamp("2021-06-08")
YAHOO = {"kind": "yahoo", "start": START.isoformat()}
forecast_that_day = on_that_day(forecast)


@pytest.fixture(scope="module", autouse=True)
def _store(runs_folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{runs_folder}/mlflow.db")
        patch.setenv("LEDGER_URL", f"sqlite:///{runs_folder}/champions.db")
        yield


@pytest.fixture(autouse=True)
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """A ledger for each test."""
    url = f"sqlite:///{tmp_path}/ledger.db"
    monkeypatch.setenv("LEDGER_URL", url)
    with Ledger.open(url) as opened:
        yield opened


@pytest.fixture(scope="module")
def champion(_store: None) -> str:
    """A ticker of New York whose champion has learned from synthetic prices to Friday."""
    retrain(ticker="FRIDAY", now=FRIDAY, **SMALL)
    return "FRIDAY"


@pytest.fixture(scope="module")
def real(_store: None, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A ticker whose champion has learned from a file's real prices to Friday."""
    file = tmp_path_factory.mktemp("prices") / "real.csv"
    write(file, known_by(FRIDAY))
    retrain(ticker="REAL", now=FRIDAY, **(SMALL | {"source": {"kind": "file", "path": str(file)}}))
    return "REAL"


@pytest.fixture(scope="module")
def pair(_store: None) -> Iterator[str]:
    """A pair that trades around the clock, with a champion that has learned to Saturday.

    It is deleted afterwards: with it in the store no day is without a session.
    """
    retrain(ticker="LTC-USD", now=SUNDAY_BEGINS, **SMALL)
    yield "LTC-USD"
    MlflowClient(os.environ["MLFLOW_TRACKING_URI"]).delete_registered_model("direction-LTC-USD")


def known_by(now: datetime, *, without: tuple[pd.Timestamp, ...] = ()) -> pd.DataFrame:
    """Prices of New York to the day of `now`, except of the days in `without`."""
    frame = sample_frame(sessions("XNYS", START, date(2021, 7, 30)))
    return frame.loc[: pd.Timestamp(now.date())].drop(list(without))


def write(file: Path, frame: pd.DataFrame) -> None:
    frame[["close"]].to_csv(file, index_label="date")


def test_forty_two_backdated_forecasts_of_a_champion_that_has_seen_them_count_for_nothing(
    champion: str, ledger: Ledger
) -> None:
    days = sessions("XNYS", date(2021, 4, 1), FRIDAY.date())[-43:]
    for evening in days[:-1]:
        forecast(ticker=champion, now=(evening + pd.Timedelta(hours=21)).tz_localize(UTC))
    rows = ledger.forecasts()
    assert len(rows) == 42
    assert not rows["counted"].any()
    assert set(rows["replay"]) == {"written after the open; the champion had seen the session"}
    [standing] = score(ticker=champion, now=FRIDAY).values()
    assert standing.record is None
    assert not [alarm for alarm in standing.alarms if alarm.kind == "performance"]
    console = Console(width=300, record=True)
    console.print(scoring._table(score(ticker=champion, now=FRIDAY)))
    assert re.search(r"replays.*\n.*\n.*42, \d+\.\d% of 42 right", console.export_text())


def test_a_champion_trained_in_the_future_has_seen_the_present(ledger: Ledger) -> None:
    retrain(ticker="FUTURE", now=FRIDAY + timedelta(days=30), **SMALL)
    [row] = forecast_that_day(ticker="FUTURE", now=FRIDAY).values()
    assert row.replay == "the champion had seen the session"
    assert row.learned_to == date(2021, 7, 2)
    assert not row.counted


def test_a_forecast_of_the_future_rests_on_a_close_that_has_not_come(champion: str) -> None:
    with machine_at(FRIDAY):
        [row] = forecast(ticker=champion, now=FRIDAY + timedelta(days=10)).values()
    assert row.session == date(2021, 6, 15)
    assert row.replay == "the session before had not closed"


def test_a_close_that_has_not_come_settles_nothing(champion: str, ledger: Ledger) -> None:
    with machine_at(FRIDAY):
        forecast(ticker=champion, now=FRIDAY)
        score(ticker=champion, now=FRIDAY + timedelta(days=10))
    [row] = ledger.forecasts().itertuples()
    assert row.counted
    assert pd.isna(row.settled_at)
    score(ticker=champion, now=FRIDAY + timedelta(days=10))
    [row] = ledger.forecasts().itertuples()
    assert pd.notna(row.up)


def test_a_flow_that_writes_after_the_open_makes_a_replay_whenever_it_started(
    champion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = serving.call
    monkeypatch.setattr(clock, "machine_time", lambda: MONDAY_OPENS - MINUTE)

    def slowly(*asked: Any) -> tuple[float, float]:
        monkeypatch.setattr(clock, "machine_time", lambda: MONDAY_OPENS)
        return call(*asked)

    monkeypatch.setattr(serving, "call", slowly)
    [row] = forecast(ticker=champion, now=MONDAY_OPENS - MINUTE).values()
    assert (row.replay, row.late, row.counted) == ("written after the open", True, False)
    assert (row.as_of, row.made_at) == (MONDAY_OPENS - MINUTE, MONDAY_OPENS)


def test_now_that_is_set_back_makes_no_forecast_earlier(champion: str) -> None:
    with machine_at(MONDAY_OPENS):
        [row] = forecast(ticker=champion, now=FRIDAY).values()
    assert row.replay == "written after the open"


def test_a_replay_first_and_the_same_models_live_forecast_after_it_are_both_kept(
    champion: str, ledger: Ledger
) -> None:
    with machine_at(FRIDAY):
        [replayed] = forecast(ticker=champion, now=MONDAY_OPENS).values()
        [repeated] = forecast(ticker=champion, now=MONDAY_OPENS).values()
        [live] = forecast(ticker=champion, now=FRIDAY).values()
        [again] = forecast(ticker=champion, now=MONDAY_OPENS).values()
    assert (replayed.replay, repeated.id) == ("written after the open", replayed.id)
    assert (live.replay, live.counted, again.id) == (None, True, live.id)
    assert ledger.forecasts()["counted"].tolist() == [False, True]


@pytest.mark.parametrize(
    ("late", "options", "counted"),
    [(4, {}, True), (11, {}, False), (11, {"grace": 12}, True), (4, {"grace": 0}, False)],
)
def test_around_the_clock_a_forecast_within_grace_counts_with_its_delay(
    pair: str, late: int, options: dict[str, int], counted: bool
) -> None:
    [row] = forecast_that_day(ticker=pair, now=SUNDAY_BEGINS + late * MINUTE, **options).values()
    assert (row.session, row.late, row.delay) == (date(2021, 6, 6), True, 60 * late)
    assert row.counted == counted


def test_where_an_exchange_has_hours_there_is_no_grace(champion: str) -> None:
    [row] = forecast_that_day(ticker=champion, now=MONDAY_OPENS + 5 * MINUTE, grace=60).values()
    assert (row.replay, row.delay, row.counted) == ("written after the open", 300, False)


def test_a_file_whose_rows_are_its_own_sessions_is_never_live(real: str, tmp_path: Path) -> None:
    write(tmp_path / "own.csv", known_by(FRIDAY))
    source = {"kind": "file", "path": str(tmp_path / "own.csv"), "sessions": "data"}
    [row] = forecast_that_day(ticker=real, source=source, now=FRIDAY).values()
    assert row.replay == "the file's rows are its own sessions"
    retrain(ticker="OWN", now=FRIDAY, **(SMALL | {"source": source}))
    source |= {"sessions": "exchange"}
    [row] = forecast_that_day(ticker="OWN", source=source, now=FRIDAY).values()
    assert row.replay == "the file's rows are its own sessions"


def test_one_file_for_several_tickers_is_refused(
    real: str, champion: str, ledger: Ledger, tmp_path: Path
) -> None:
    one_file = {"kind": "file", "path": str(tmp_path / "prices.csv")}
    with pytest.raises(ConfigError, match=r"is one file for \d+ tickers"):
        forecast(source=one_file, now=FRIDAY)
    for ticker in (real, champion):
        forecast_that_day(ticker=ticker, now=FRIDAY)
    with pytest.raises(ConfigError, match="is one file for 2 tickers"):
        score(source=one_file, now=FRIDAY)


@pytest.fixture
def closed_on_monday(monkeypatch: pytest.MonkeyPatch) -> Iterator[YahooServer]:
    """Yahoo, where nothing was traded on Monday."""
    with yahoo_server(monkeypatch, known_by(TUESDAY_CLOSED, without=(MONDAY, TUESDAY))) as server:
        yield server


def test_a_closure_nobody_knew_costs_no_forecast(
    real: str, closed_on_monday: YahooServer, wait_for_event: Callable[[str, str], None]
) -> None:
    with pytest.raises(DataError, match="2021-06-07 has closed since: 2021-06-08 cannot"):
        forecast_that_day(ticker=real, source=YAHOO, now=TUESDAY_BEGINS - MINUTE)
    [row] = forecast_that_day(ticker=real, source=YAHOO, now=TUESDAY_BEGINS).values()
    assert (row.session, row.last_session) == (TUESDAY.date(), date(2021, 6, 4))
    assert (row.closures, row.replay, row.counted) == (1, None, True)
    wait_for_event("rnnflow.alarm", "closure: no price of REAL for 2021-06-07")
    closed_on_monday.frame = known_by(TUESDAY_CLOSED, without=(MONDAY,))
    [standing] = score(ticker=real, source=YAHOO, now=TUESDAY_CLOSED).values()
    assert standing.record is not None
    assert standing.record.days == 1


def test_a_price_that_turns_up_after_all_makes_the_forecast_void(
    real: str, closed_on_monday: YahooServer
) -> None:
    forecast_that_day(ticker=real, source=YAHOO, now=TUESDAY_BEGINS)
    closed_on_monday.frame = known_by(TUESDAY_CLOSED)
    [standing] = score(ticker=real, source=YAHOO, now=TUESDAY_CLOSED).values()
    [row] = standing.forecasts.itertuples()
    assert pd.notna(row.settled_at)
    assert pd.isna(row.up)
    assert standing.record is None


@pytest.mark.parametrize("exchange", ["24/7", "24/5"])
def test_around_the_clock_nothing_closes_unannounced(exchange: str) -> None:
    """Just after midnight yesterday's price is late, not missing for ever."""
    frame = pd.DataFrame({"close": [1.0, 2.0, 3.0]}, pd.date_range("2021-06-01", periods=3))
    prices = Prices("ETH-USD", frame, "yahoo", "Adj Close", exchange)
    with pytest.raises(DataError, match="2021-06-04 has closed since"):
        closures_before(SATURDAY, prices, Yahoo(), SATURDAY.tz_localize(UTC) + MINUTE)


def test_a_window_that_lacks_too_many_sessions_is_not_forecast_from(
    real: str, ledger: Ledger, tmp_path: Path
) -> None:
    torn = tmp_path / "torn.csv"
    frame = known_by(FRIDAY)
    write(torn, frame.drop(frame.index[-12:-3]))
    with pytest.raises(DataError, match="lack 9 sessions of XNYS between them"):
        forecast_that_day(ticker=real, source=File(path=torn), now=FRIDAY)
    assert ledger.forecasts().empty


@pytest.mark.parametrize(("missing", "credible"), [(5, True), (6, False), (7, False)])
def test_a_long_silence_is_no_closure(
    real: str, monkeypatch: pytest.MonkeyPatch, missing: int, credible: bool
) -> None:
    following = sessions("XNYS", date(2021, 6, 7), date(2021, 6, 30))
    now = following[missing].tz_localize("America/New_York").to_pydatetime()
    with yahoo_server(monkeypatch, known_by(FRIDAY)):
        if credible:
            [row] = forecast_that_day(ticker=real, source=YAHOO, now=now).values()
            assert (row.closures, row.counted) == (missing, True)
            return
        with pytest.raises(DataError, match="wait for newer prices, or check that the ticker"):
            forecast_that_day(ticker=real, source=YAHOO, now=now)


@pytest.mark.parametrize("answer", [SERVER_ERROR, EMPTY])
def test_an_outage_of_yahoo_is_no_closure(
    real: str, closed_on_monday: YahooServer, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    forecast_that_day(ticker=real, source=YAHOO, now=FRIDAY)  # stores prices
    monkeypatch.setattr("flows.steps.prices.fetch_prices.retries", 0)
    closed_on_monday.answers = [answer] * 20
    with pytest.raises(PricesUnavailable):
        forecast_that_day(ticker=real, source=YAHOO, now=TUESDAY_BEGINS)


def test_a_session_on_which_another_ticker_was_traded_is_no_closure(
    real: str, closed_on_monday: YahooServer
) -> None:
    none: pd.Series[float] = pd.Series(dtype=float, index=pd.DatetimeIndex([]))
    frame = known_by(TUESDAY_BEGINS - MINUTE).rename_axis("date")
    traded = Answer(frame, "OTHER", "USD", splits=none, dividends=none)
    update(
        loading.STORE,
        "OTHER",
        lambda _: traded,
        exchange="XNYS",
        start=START,
        last_session=MONDAY,
        now=TUESDAY_BEGINS,
    )
    with pytest.raises(DataError, match="2021-06-07 has closed since"):
        forecast_that_day(ticker=real, source=YAHOO, now=TUESDAY_BEGINS)


@pytest.mark.parametrize(("written", "credible"), [(-MINUTE, False), (MINUTE, True)])
def test_a_file_tells_of_a_closure_only_if_it_was_written_since(
    real: str, tmp_path: Path, written: timedelta, credible: bool
) -> None:
    file = tmp_path / "file.csv"
    write(file, known_by(FRIDAY))
    modified = (datetime(2021, 6, 7, 20, tzinfo=UTC) + written).timestamp()
    os.utime(file, (modified, modified))
    asked = {"ticker": real, "source": {"kind": "file", "path": str(file)}, "now": TUESDAY_BEGINS}
    if credible:
        [row] = forecast_that_day(**asked).values()
        assert (row.closures, row.counted) == (1, True)
        return
    with pytest.raises(DataError, match="2021-06-07 has closed since"):
        forecast_that_day(**asked)
