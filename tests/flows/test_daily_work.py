"""A champion's days: promoted, forecasting, scored, replaced, returned to, and pruned."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from flows import forecast as forecasting
from flows.prune import prune
from flows.retrain import retrain
from flows.rollback import roll_back
from flows.score import VOID_AFTER, score, settle
from flows.steps import champions
from flows.tracking import registry, serving
from rnn_core.config import Evaluation, Model, Promotion, Synthetic, Training
from rnn_core.data import loading
from rnn_core.errors import ChampionMissing, ConfigError, DataError, LedgerError, TrackingError
from rnn_core.operations.ledger import Ledger
from rnn_core.operations.promotion import Candidate
from tests.clock import on_that_day
from tests.flows.conftest import AAPL

forecast = on_that_day(forecasting.forecast)
WALK = Synthetic(days=700)
SMALL: dict[str, Any] = {
    "source": WALK,
    "model": Model(hidden_size=2),
    "training": Training(epochs=1, seeds=1),
    "evaluation": Evaluation(train_days=300, valid_days=60, test_days=300),
    "promotion": Promotion(allow_synthetic=True),
}
WEDNESDAY = datetime(2021, 6, 2, 21, tzinfo=UTC)  # New York has closed
FRIDAY = WEDNESDAY + timedelta(days=2)
SATURDAY, MONDAY = FRIDAY + timedelta(days=1), FRIDAY + timedelta(days=3)


@pytest.fixture(scope="module", autouse=True)
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """One ledger for all tests here."""
    url = f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.db"
    with pytest.MonkeyPatch.context() as patch, Ledger.open(url) as opened:
        patch.setenv("LEDGER_URL", url)
        yield opened


@pytest.fixture(scope="module")
def store(runs_folder: Path) -> Iterator[MlflowClient]:
    uri = f"sqlite:///{runs_folder}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        yield MlflowClient(uri)


@pytest.fixture(scope="module")
def lived(store: MlflowClient, ledger: Ledger) -> str:
    """A ticker that was retrained on Wednesday, Thursday and Friday, and forecast each time."""
    for day in range(3):
        evening = WEDNESDAY + timedelta(days=day)
        retrain(ticker="LIVED", now=evening, **SMALL)
        forecast(ticker="LIVED", now=evening + timedelta(minutes=30))
    return "LIVED"


@pytest.fixture(scope="module")
def apple(store: MlflowClient, ledger: Ledger) -> str:
    """A ticker of a file that ends on 2013-03-01, with a champion and a forecast."""
    source = {"kind": "file", "path": str(AAPL)}
    retrain(ticker="AAPL", **(SMALL | {"source": source}), now=datetime(2013, 3, 1, 22, tzinfo=UTC))
    [row] = forecast(ticker="AAPL", now=datetime(2013, 3, 1, 22, tzinfo=UTC)).values()
    assert row.session == date(2013, 3, 4)
    return "AAPL"


def aliases(store: MlflowClient, ticker: str) -> dict[str, int]:
    return {
        name: int(version)
        for name, version in store.get_registered_model(f"direction-{ticker}").aliases.items()
    }


def test_every_retrain_registers_a_challenger_that_takes_the_champions_place(
    lived: str, store: MlflowClient, ledger: Ledger
) -> None:
    assert aliases(store, lived) == {"champion": 3, "challenger": 3}
    promotions = ledger.promotions(lived)
    assert list(promotions["model_version"]) == [1, 2, 3]
    assert list(promotions["decided_at"]) == [WEDNESDAY + timedelta(days=day) for day in range(3)]
    run = store.get_run(promotions["run_id"].iloc[-1])
    assert run.data.tags["promotion"] == "promoted"
    assert run.data.tags["promotion.reason"] == promotions["reason"].iloc[-1]
    assert '"served"' in mlflow.artifacts.load_text(f"{run.info.artifact_uri}/promotion.json")


def test_the_forecast_is_the_champions_own_word_and_in_the_ledger(
    lived: str, store: MlflowClient, ledger: Ledger
) -> None:
    rows = ledger.forecasts(lived)
    assert list(rows["session"]) == [date(2021, 6, 3), date(2021, 6, 4), date(2021, 6, 7)]
    row = rows.iloc[-1]
    prices = loading.load(WALK, lived, FRIDAY)
    model = mlflow.pyfunc.load_model(f"models:/direction-{lived}@champion")
    said = model.predict(prices.frame[["close"]].tail(30)).iloc[0]
    assert (row["probability"], row["spread"]) == (said["probability_up"], said["spread"])
    assert row["data_sha256"] == prices.sha256
    assert (row["model_version"], row["last_session"], row["exchange"]) == (
        3,
        date(2021, 6, 4),
        "XNYS",
    )
    assert row["opens_at"] == datetime(2021, 6, 7, 13, 30, tzinfo=UTC)
    assert row["counted"]
    metrics = store.get_run(row["run_id"]).data.metrics
    assert row["promised_accuracy"] == metrics["test/accuracy"]
    assert row["promised_log_loss"] == metrics["test/log_loss"]


def test_asked_twice_it_is_the_same_row(lived: str, ledger: Ledger) -> None:
    before = ledger.forecasts(lived)
    [again] = forecast(ticker=lived, now=FRIDAY + timedelta(hours=5)).values()
    pd.testing.assert_frame_equal(ledger.forecasts(lived), before)
    assert again.id == before["id"].iloc[-1]


def test_what_was_said_is_settled_as_the_prices_say(
    lived: str, store: MlflowClient, ledger: Ledger
) -> None:
    [standing] = score(ticker=lived, now=FRIDAY).values()
    rows = ledger.forecasts(lived)
    close = loading.load(WALK, lived, FRIDAY).frame["close"]
    returns = np.log(close / close.shift())
    for row in rows.iloc[:2].itertuples():
        assert row.next_return == pytest.approx(returns[pd.Timestamp(row.session)], rel=1e-12)
    assert pd.isna(rows["settled_at"].iloc[2]), "Monday has not come"
    assert standing.record is not None
    assert standing.record.days == 2
    assert (standing.record.low, standing.record.high) == (0, 1), "two days say nothing"
    [run] = store.search_runs([store.get_experiment_by_name("score").experiment_id], max_results=1)
    assert run.data.metrics["live/days"] == 2
    assert run.data.metrics["live/promised_accuracy"] == pytest.approx(
        rows["promised_accuracy"].iloc[:2].mean()
    )
    page = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/tickers/{lived}.html")
    assert "2021-06-04" in page
    assert "<script" not in page
    live = pd.read_csv(
        StringIO(mlflow.artifacts.load_text(f"{run.info.artifact_uri}/live.csv")),
        index_col="ticker",
    )
    assert live.loc[lived, "log_loss"] == pytest.approx(run.data.metrics["live/log_loss"])


def test_a_settled_row_stays_as_it_is(lived: str, ledger: Ledger) -> None:
    before = ledger.forecasts(lived).iloc[:2]
    score(ticker=lived, now=FRIDAY + timedelta(hours=1))
    pd.testing.assert_frame_equal(ledger.forecasts(lived).iloc[:2], before)


@pytest.mark.parametrize(
    ("flow", "options"),
    [(retrain, SMALL | {"ticker": "LIVED"}), (forecast, {}), (score, {"ticker": "LIVED"})],
)
def test_on_a_day_without_a_session_a_scheduled_run_says_so_and_completes(
    lived: str, store: MlflowClient, flow: Callable[..., Any], options: dict[str, Any]
) -> None:
    before = len(store.search_runs([one.experiment_id for one in store.search_experiments()]))
    state = flow(**options, now=SATURDAY, scheduled=True, return_state=True)
    assert state.is_completed()
    assert state.message == "nothing to do: 2021-06-05 is no session of XNYS"
    assert (
        len(store.search_runs([one.experiment_id for one in store.search_experiments()])) == before
    )


@pytest.mark.parametrize(
    ("flow", "options"), [(retrain, SMALL | {"ticker": "LIVED"}), (score, {"ticker": "LIVED"})]
)
def test_a_scheduled_run_does_nothing_twice_for_one_session(
    lived: str, flow: Callable[..., Any], options: dict[str, Any]
) -> None:
    flow(**options, now=FRIDAY, scheduled=True)
    state = flow(**options, now=FRIDAY + timedelta(hours=2), scheduled=True, return_state=True)
    assert state.message.startswith("nothing to do: ")
    assert "2021-06-04" in state.message


def test_a_late_forecast_is_a_replay_and_does_not_count(
    store: MlflowClient, ledger: Ledger
) -> None:
    retrain(ticker="LATE", now=WEDNESDAY, **SMALL)
    opened = datetime(2021, 6, 3, 13, 30, tzinfo=UTC)
    [row] = forecast(ticker="LATE", now=opened).values()
    assert (row.session, row.late, row.counted) == (date(2021, 6, 3), True, False)
    assert (row.replay, row.delay) == ("written after the open", 0)
    [standing] = score(ticker="LATE", now=WEDNESDAY + timedelta(days=1)).values()
    assert standing.record is None


def test_a_second_model_may_speak_but_what_was_said_first_counts(
    store: MlflowClient, ledger: Ledger
) -> None:
    retrain(ticker="SECOND", now=WEDNESDAY, **SMALL)
    forecast(ticker="SECOND", now=WEDNESDAY)
    other = SMALL | {"training": Training(epochs=1, seeds=1, learning_rate=0.009)}
    retrain(ticker="SECOND", now=WEDNESDAY + timedelta(hours=1), **other)
    assert aliases(store, "SECOND")["champion"] == 2, "not significantly worse"
    forecast(ticker="SECOND", now=WEDNESDAY + timedelta(hours=2))
    rows = ledger.forecasts("SECOND")
    assert list(zip(rows["model_version"], rows["counted"], strict=True)) == [(1, True), (2, False)]


def test_roll_back_returns_to_the_champion_before_and_deletes_nothing(
    store: MlflowClient, ledger: Ledger, prefect_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for evening in (WEDNESDAY, FRIDAY):
        retrain(ticker="BACK", now=evening, **SMALL)
    command = [sys.executable, "-m", "flows.rollback", "--ticker", "BACK"]
    monkeypatch.setenv("PREFECT_API_URL", prefect_server)
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "version 1 is the champion again" in done.stdout
    assert aliases(store, "BACK") == {"champion": 1, "challenger": 2}
    assert {int(one.version) for one in store.search_model_versions("name = 'direction-BACK'")} == {
        1,
        2,
    }
    with pytest.raises(LedgerError, match="no earlier champion to return to"):
        roll_back("BACK", FRIDAY)
    assert aliases(store, "BACK")["champion"] == 1


def test_a_model_that_is_not_served_as_trained_is_no_champion(
    store: MlflowClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "call", lambda *_: (0.5, 0.0))
    retrain(ticker="BROKEN", now=WEDNESDAY, **SMALL)
    assert aliases(store, "BROKEN") == {"challenger": 1}
    assert ledger.champions("BROKEN") == []


def test_a_promotion_that_the_alias_does_not_follow_is_followed_later(
    store: MlflowClient, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(registry, "set_champion_alias", fail)
    with pytest.raises(OSError, match="disk full"):
        retrain(ticker="HALF", now=WEDNESDAY, **SMALL)
    assert ledger.champions("HALF") == [1]
    assert "champion" not in aliases(store, "HALF")
    monkeypatch.undo()
    assert "HALF" in champions.tickers_with_champion(ledger)
    assert aliases(store, "HALF")["champion"] == 1
    assert ledger.champions("HALF") == [1]


def test_an_alias_that_a_user_takes_away_or_moves_is_left_to_the_user(
    store: MlflowClient, ledger: Ledger
) -> None:
    for evening in (WEDNESDAY, FRIDAY):
        retrain(ticker="MOVED", now=evening, **SMALL)
    store.set_registered_model_alias("direction-MOVED", "champion", "1")
    [row] = forecast(ticker="MOVED", now=FRIDAY).values()
    assert row.model_version == 1
    store.delete_registered_model_alias("direction-MOVED", "champion")
    assert champions.champion(ledger, "MOVED") is None
    retrain(ticker="MOVED", now=MONDAY, **SMALL)
    assert ledger.champions("MOVED") == [1, 2, 3]
    assert roll_back("MOVED", MONDAY, to=1) == 1
    assert aliases(store, "MOVED")["champion"] == 1
    assert ledger.champions("MOVED") == [1]


@pytest.mark.parametrize(
    ("to", "words"), [(9, "has no version 9"), (2, "was trained on OTHER, not on TO")]
)
def test_a_rollback_to_what_is_no_version_of_the_ticker_is_refused(
    store: MlflowClient, ledger: Ledger, to: int, words: str
) -> None:
    if to == 9:
        for ticker in ("TO", "OTHER"):
            retrain(ticker=ticker, now=WEDNESDAY, **SMALL)
        other = store.get_model_version("direction-OTHER", "1")
        store.create_model_version("direction-TO", other.source, other.run_id)
    with pytest.raises(ConfigError, match=words) as caught:
        roll_back("TO", FRIDAY, to=to)
    assert "\n" not in str(caught.value)
    assert ledger.champions("TO") == [1]


def test_a_champion_that_was_made_by_hand_is_written_down_before_the_next(
    store: MlflowClient, ledger: Ledger
) -> None:
    for evening, skill in ((WEDNESDAY, False), (FRIDAY, True), (MONDAY, False)):
        promotion = Promotion(allow_synthetic=True, require_skill=skill)
        retrain(ticker="HAND", now=evening, **(SMALL | {"promotion": promotion}))
        if skill:
            assert aliases(store, "HAND")["champion"] == 1
            store.set_registered_model_alias("direction-HAND", "champion", "2")
    assert ledger.champions("HAND") == [1, 2, 3]
    assert "found as the champion" in list(ledger.promotions("HAND")["reason"])
    assert roll_back("HAND", MONDAY) == 2


def test_synthetic_prices_make_no_champion_unless_allowed(store: MlflowClient) -> None:
    retrain(ticker="UNREAL", now=WEDNESDAY, **(SMALL | {"promotion": Promotion()}))
    assert aliases(store, "UNREAL") == {"challenger": 1}
    with pytest.raises(ChampionMissing, match="UNREAL has no champion yet; retrain it"):
        forecast(ticker="UNREAL", now=WEDNESDAY)


def test_a_champion_that_was_deleted_is_missed_in_one_line(store: MlflowClient) -> None:
    retrain(ticker="GONE", now=WEDNESDAY, **SMALL)
    store.delete_model_version("direction-GONE", "1")
    with pytest.raises(ChampionMissing, match=re.escape("version 1 was deleted")) as caught:
        forecast(ticker="GONE", now=WEDNESDAY)
    assert "\n" not in str(caught.value)
    assert "python -m flows.rollback --ticker GONE" in str(caught.value)


@pytest.mark.parametrize("left", ["the folder", "nothing"])
def test_a_champion_whose_files_were_deleted_is_missed_in_one_line(
    store: MlflowClient, left: str
) -> None:
    ticker = "EMPTIED" if left == "the folder" else "SWEPT"
    retrain(ticker=ticker, now=WEDNESDAY, **SMALL)
    run = store.get_run(store.get_model_version_by_alias(f"direction-{ticker}", "champion").run_id)
    folder = Path(run.info.artifact_uri.removeprefix("file://"))
    shutil.rmtree(folder) if left == "nothing" else (folder / "config.json").unlink()
    with pytest.raises(ChampionMissing, match=r"is damaged: config\.json of run") as caught:
        forecast(ticker=ticker, now=WEDNESDAY)
    assert "\n" not in str(caught.value)


def test_a_store_that_cannot_be_reached_is_no_ticker_without_a_champion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    for ask in (
        registry.champion,
        registry.versions_with_alias,
        lambda ticker: roll_back(ticker, WEDNESDAY),
    ):
        with pytest.raises(
            TrackingError, match=r"^MLflow at http://127\.0\.0\.1:9 cannot be used .*$"
        ):
            ask("MSFT")


def test_a_session_that_is_not_the_next_one_is_refused(lived: str) -> None:
    for wrong in (date(2021, 6, 5), date(2021, 6, 8)):
        with pytest.raises(
            ConfigError, match=f"session {wrong} is not the next one of XNYS .*: that is 2021-06-07"
        ):
            forecast(ticker=lived, session=wrong, now=FRIDAY)


def test_prices_that_do_not_reach_the_last_session_allow_no_forecast(apple: str) -> None:
    later = datetime(2013, 3, 5, 22, tzinfo=UTC)
    with pytest.raises(
        DataError, match="prices of AAPL end on 2013-03-01 and 2013-03-05 has closed since"
    ):
        forecast(ticker=apple, now=later)
    with pytest.raises(
        DataError, match="prices are synthetic; the champion of AAPL has learned from file"
    ):
        forecast(ticker=apple, source=WALK, now=later)


def test_stale_prices_raise_an_alarm(apple: str) -> None:
    [standing] = score(ticker=apple, now=datetime(2013, 3, 11, 22, tzinfo=UTC)).values()
    assert standing.missing == 6
    assert [alarm.kind for alarm in standing.alarms] == ["stale"]


def test_a_session_that_never_gets_a_price_is_void(ledger: Ledger) -> None:
    retrain(ticker="VOID", now=WEDNESDAY, **SMALL)
    forecast(ticker="VOID", now=WEDNESDAY)
    [row] = ledger.forecasts("VOID").itertuples()
    later = loading.load(WALK, "VOID", WEDNESDAY + timedelta(days=20))
    without = later.frame.drop(pd.Timestamp(row.session))
    position = int((without.index < pd.Timestamp(row.session)).sum())
    for known, settled in ((VOID_AFTER - 1, False), (VOID_AFTER, True)):
        settle(ledger, replace(later, frame=without.iloc[: position + known]), row, MONDAY)
        [found] = ledger.forecasts("VOID").itertuples()
        assert pd.notna(found.settled_at) == settled
        assert pd.isna(found.up)


def test_without_champions_or_forecasts_the_flows_say_what_to_do(
    monkeypatch: pytest.MonkeyPatch, workplace: Path
) -> None:
    monkeypatch.setenv("LEDGER_URL", f"sqlite:///{workplace}/empty.db")
    monkeypatch.setattr(registry, "tickers_with_champion", list)
    with pytest.raises(ChampionMissing, match="no ticker has a champion; retrain one"):
        forecast(now=WEDNESDAY)
    with pytest.raises(LedgerError, match="the ledger has no forecasts yet; make one"):
        score(now=WEDNESDAY)
    for flow, said in (
        (forecast, "no ticker has a champion yet"),
        (score, "nothing was forecast yet"),
    ):
        state = flow(now=WEDNESDAY, scheduled=True, return_state=True)
        assert (state.is_completed(), state.message) == (True, f"nothing to do: {said}")


def test_runs_that_were_left_running_are_closed_once_their_flow_run_has_ended(
    lived: str, store: MlflowClient
) -> None:
    experiment = store.get_experiment_by_name("retrain").experiment_id
    ended = store.search_runs([experiment], f"tags.ticker = '{lived}'")[0].data.tags[
        "prefect.flow_run_id"
    ]
    left, another = (
        store.create_run(experiment, tags={"prefect.flow_run_id": number}).info.run_id
        for number in (ended, str(uuid4()))
    )
    prune(days=1)
    assert store.get_run(left).info.status == "FAILED"
    assert store.get_run(another).info.status == "RUNNING", (
        "it may be at work beside another server"
    )
    prune(days=1, now=datetime.now(UTC) + timedelta(days=2))
    assert store.get_run(another).info.status == "FAILED", "nobody works for days"


def test_one_ticker_that_fails_does_not_stop_the_others(
    lived: str, apple: str, wait_for_event: Callable[[str, str], None]
) -> None:
    said = forecast(now=FRIDAY)
    assert lived in said
    assert "prices of AAPL end on 2013-03-01" in said.failed[apple]
    wait_for_event("rnnflow.failure", "AAPL: DataError: prices of AAPL end on 2013-03-01")
    scored = score(now=FRIDAY)
    assert lived in scored


def test_a_champion_that_cannot_be_read_stops_no_scheduled_forecast_of_others(
    lived: str, apple: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_apple(ticker: str) -> Candidate | None:
        if ticker == apple:
            raise ChampionMissing("its run was deleted")
        return champion(ticker)

    champion = registry.champion
    monkeypatch.setattr(registry, "champion", without_apple)
    said = forecast(now=FRIDAY, scheduled=True)
    assert lived in said
    assert said.failed[apple] == "ChampionMissing: its run was deleted"


def test_pruning_keeps_what_is_of_use(store: MlflowClient, ledger: Ledger) -> None:
    for day in range(
        5
    ):  # version 1 is forecast with, 2 was champion, 3 and 4 never, 5 is challenger
        skill = Promotion(allow_synthetic=True, require_skill=day > 1)
        retrain(
            ticker="PRUNED", now=WEDNESDAY + timedelta(days=day), **(SMALL | {"promotion": skill})
        )
    versions = {
        int(one.version): one for one in store.search_model_versions("name = 'direction-PRUNED'")
    }
    logged = {
        version: store.get_logged_model(one.source.rpartition("/")[2])
        for version, one in versions.items()
    }
    files = {version: Path(model.artifact_location, "MLmodel") for version, model in logged.items()}
    assert all(file.exists() for file in files.values())
    assert ledger.versions("PRUNED") | set(aliases(store, "PRUNED").values()) == {1, 2, 5}
    store.delete_tag(
        versions[5].run_id, "model.version"
    )  # as if its run had been killed just before it wrote that
    store.create_registered_model("a name of the user's own")
    store.create_model_version("a name of the user's own", versions[4].source, versions[4].run_id)
    of_use = {1, 2, 4, 5}
    later = datetime.now(UTC) + timedelta(days=100)
    prune(days=90, keep=1000, now=later)
    prune(days=200, keep=0, now=later)
    assert len(store.search_model_versions("name = 'direction-PRUNED'")) == 5, (
        "kept by their number, and by their age"
    )
    prune(days=90, keep=0, now=later)
    assert {
        int(one.version) for one in store.search_model_versions("name = 'direction-PRUNED'")
    } == of_use
    pruned = store.get_run(versions[3].run_id)
    assert pruned.data.tags["pruned"] == "yes"
    assert pruned.data.metrics["test/accuracy"]
    assert not store.list_artifacts(pruned.info.run_id)
    assert not list(Path(pruned.info.artifact_uri).parent.rglob("calls.csv"))
    assert {version for version, file in files.items() if file.exists()} == of_use, (
        "those of other models are gone"
    )
    assert store.list_artifacts(versions[2].run_id)
    [row] = forecast(ticker="PRUNED", now=WEDNESDAY + timedelta(days=1)).values()
    assert row.model_version == 2
    assert prune(days=90, keep=0, now=later)["pruned"] == 1, (
        "pruning again finds nothing but the forecast just made"
    )
