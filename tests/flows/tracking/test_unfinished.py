"""Which runs are closed for their process, by whom, and what of them stays."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from flows.prune import prune
from flows.tracking import registry, runs, store, unfinished
from rnn_core.commands import Retrain
from rnn_core.errors import ChampionMissing, ConfigError, TrackingError
from rnn_core.operations.ledger import Ledger
from rnn_core.owners import this_process

TICKER = "ENDS"
GONE = str(this_process()._replace(started="1"))
ELSEWHERE = str(this_process()._replace(host="another", started="1"))
NOW = datetime(2021, 6, 2, 22, tzinfo=UTC)


@pytest.fixture
def mlflow_store(workplace: object) -> MlflowClient:
    return MlflowClient(store.uri())


@pytest.fixture
def running(mlflow_store: MlflowClient) -> Callable[..., str]:
    """Start a run with tags, and return its id."""

    def start(**tags: str) -> str:
        named = {name.replace("_", "."): value for name, value in tags.items()}
        run = mlflow_store.create_run(
            store.experiment_id("retrain"), tags={"ticker": TICKER} | named
        )
        return str(run.info.run_id)

    return start


def status_of(run_id: str) -> str:
    return str(MlflowClient(store.uri()).get_run(run_id).info.status)


def start_another() -> None:
    with runs.start("retrain", TICKER, Retrain(ticker=TICKER), {"ticker": TICKER}, "none"):
        pass


def test_only_runs_of_this_host_whose_process_is_gone_are_closed(
    running: Callable[..., str],
) -> None:
    lost = running(process=GONE)
    others = [running(process=str(this_process())), running(process=ELSEWHERE), running()]
    start_another()
    assert status_of(lost) == "FAILED"
    assert [status_of(run_id) for run_id in others] == ["RUNNING"] * 3
    for run_id in others:
        store.client().set_terminated(run_id)


def test_a_child_is_closed_with_its_parent_if_nobody_is_known_to_work_on_it(
    running: Callable[..., str],
) -> None:
    parent = running(process=GONE)
    family = {"mlflow_parentRunId": parent}
    untagged = running(**family)
    lost = running(process=GONE, **family)
    alive = running(process=str(this_process()), **family)
    elsewhere = running(process=ELSEWHERE, **family)
    start_another()
    assert [status_of(run_id) for run_id in (parent, untagged, lost)] == ["FAILED"] * 3
    assert [status_of(run_id) for run_id in (alive, elsewhere)] == ["RUNNING"] * 2
    for run_id in (alive, elsewhere):
        store.client().set_terminated(run_id)


def test_a_child_that_starts_closes_nothing(running: Callable[..., str]) -> None:
    lost = running(process=GONE)
    tags = {"mlflow.parentRunId": running(process=str(this_process()))}
    with runs.start("retrain", TICKER, Retrain(ticker=TICKER), tags, "none"):
        assert status_of(lost) == "RUNNING"
    start_another()
    assert status_of(lost) == "FAILED"
    store.client().set_terminated(tags["mlflow.parentRunId"])


@pytest.mark.parametrize(
    "use", ["champion", "another alias", "the ledger", "an older store", "judged", "another name"]
)
def test_a_version_that_is_in_use_stays_and_a_run_whose_version_was_judged_is_finished(
    running: Callable[..., str], use: str, mlflow_store: MlflowClient
) -> None:
    lost = running(process=GONE)
    name = registry.model_name(TICKER) if use != "another name" else "mine"
    if not mlflow_store.search_registered_models(f"name = '{name}'"):
        mlflow_store.create_registered_model(name)
    card = {"verdict": "skill", "promotion": "not judged yet"}
    registered = mlflow_store.create_model_version(name, "/nowhere", run_id=lost, tags=card)
    version = int(registered.version)
    half = int(mlflow_store.create_model_version(name, "/nowhere", run_id=lost).version)
    mlflow_store.set_registered_model_alias(name, registry.CHALLENGER, str(half))
    if use in ("champion", "another alias"):
        mlflow_store.set_registered_model_alias(name, use.replace(" ", "-"), str(version))
    elif use == "the ledger":
        mlflow_store.set_tag(lost, "verdict", "skill")
        with Ledger.open() as ledger, ledger.deciding(TICKER) as decision:
            decision.promote(version, reason="for a test", run_id=lost, at=NOW)
    elif use == "an older store":  # which had a version of this number, and was deleted
        with Ledger.open() as ledger, ledger.deciding(TICKER) as decision:
            decision.promote(version, reason="for a test", run_id="another", at=NOW)
    elif use == "judged":
        mlflow_store.set_tag(lost, "promotion", "kept")
    start_another()
    has_done_its_work = use in ("the ledger", "judged")
    assert status_of(lost) == ("FINISHED" if has_done_its_work else "FAILED")
    kept = {version} if use in ("champion", "another alias", "an older store") else {version, half}
    assert {number for _, number in registry.registered(lost)} == kept
    tags = mlflow_store.get_run(lost).data.tags
    assert ("interrupted" in tags) == has_done_its_work
    if use == "the ledger":
        assert (tags["promotion"], tags["promotion.reason"]) == ("promoted", "for a test")
        told = mlflow_store.get_model_version(name, str(version))
        assert told.tags["promotion"] == "promoted"
        assert "for a test" in told.description


def test_prune_goes_by_the_process_too_if_it_is_known(running: Callable[..., str]) -> None:
    alive, lost, elsewhere, unknown = (
        running(process=str(this_process())),
        running(process=GONE),
        running(process=ELSEWHERE),
        running(),
    )
    prune(days=1000)
    assert [status_of(run_id) for run_id in (alive, lost, elsewhere, unknown)] == [
        "RUNNING",
        "FAILED",
        "RUNNING",
        "RUNNING",
    ]
    prune(days=0, keep=100)
    assert [status_of(run_id) for run_id in (alive, elsewhere, unknown)] == [
        "RUNNING",
        "FAILED",
        "FAILED",
    ]
    store.client().set_terminated(alive)


def test_the_error_of_a_run_is_raised_even_if_the_run_cannot_be_closed(
    mlflow_store: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run of the same process closes it then, although the process is alive."""

    def lost(*_: object) -> None:
        raise TrackingError("MLflow is lost")

    def fail() -> None:
        with runs.start("retrain", TICKER, Retrain(), {}, "none") as run_id:
            started.append(run_id)
            raise ValueError("of our own")

    started: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(unfinished, "get_run", lost)
        with pytest.raises(ValueError, match="of our own"):
            fail()
    [run_id] = started
    assert status_of(run_id) == "RUNNING"
    start_another()
    assert status_of(run_id) == "FAILED"


def test_a_lost_run_that_cannot_be_closed_stops_those_of_its_ticker_and_no_other(
    running: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stubborn, other = running(process=GONE), running(process=GONE, ticker="OTHER")
    close = unfinished.close

    def refuse(run: Run, *rest: Any) -> Any:
        if run.info.run_id == stubborn:
            raise TrackingError("MLflow is lost")
        return close(run, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(unfinished, "close", refuse)
        unfinished.close_lost()
        unfinished.close_lost("OTHER")
        assert (status_of(stubborn), status_of(other)) == ("RUNNING", "FAILED")
        with pytest.raises(TrackingError, match="MLflow is lost"):
            unfinished.close_lost(TICKER)
    unfinished.close_lost(TICKER)
    assert status_of(stubborn) == "FAILED"


def test_a_run_that_somebody_has_closed_does_not_finish(running: Callable[..., str]) -> None:
    config = Retrain(ticker=TICKER)
    with (
        pytest.raises(TrackingError, match="was closed before its end: taken for lost"),
        runs.start("retrain", TICKER, config, {"ticker": TICKER}, "none") as run_id,
    ):
        unfinished.close(store.get_run(run_id), "FAILED", "taken for lost")
    assert status_of(run_id) == "FAILED"


def test_a_version_whose_training_was_not_recorded_cannot_be_the_champion(
    running: Callable[..., str], mlflow_store: MlflowClient
) -> None:
    name = registry.model_name("UNRECORDED")
    run_id = running(ticker="UNRECORDED", config_hash="any")
    mlflow_store.set_tag(run_id, "config_hash", "any")
    mlflow_store.create_registered_model(name)
    mlflow_store.create_model_version(name, "/nowhere", run_id=run_id)
    with pytest.raises(ConfigError, match="ended before the training was recorded"):
        registry.run_of("UNRECORDED", 1)
    mlflow_store.set_registered_model_alias(name, registry.CHAMPION, "1")
    with pytest.raises(ChampionMissing, match="ended before the training was recorded"):
        registry.champion("UNRECORDED")
    mlflow_store.set_terminated(run_id)
