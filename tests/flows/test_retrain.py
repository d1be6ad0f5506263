"""The flow `retrain`, from its parameters to what MLflow and Prefect remember of it."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Cancelled, Cancelling, Crashed

from flows.reproduce import reproduce
from flows.retrain import retrain
from flows.steps import learning
from flows.steps.summary import Summary
from flows.tracking import registry, store
from rnn_core import commands, config
from rnn_core.commands import Retrain
from rnn_core.config import Evaluation, File, Problem, Promotion, Synthetic, Training, Yahoo
from rnn_core.data import loading
from rnn_core.data.exchanges import sessions
from rnn_core.errors import PricesUnavailable
from rnn_core.evaluation.spending import nth_look
from rnn_core.identity import config_hash
from rnn_core.nn.engines import kernel
from tests.flows.conftest import AAPL, TINY, every_figure
from tests.processes import end, free_port, isolated, start, wait_for
from tests.yahoo_server import EMPTY, SERVER_ERROR, TOO_MANY_REQUESTS, sample_frame, yahoo_server

NOW = datetime(2021, 6, 2, 22, tzinfo=UTC)
BEFORE = datetime(2013, 2, 27, 22, tzinfo=UTC)  # two sessions before the end of Apple's file
SESSIONS = sessions("XNYS", date(2015, 1, 2), NOW.date())

SHORT = Evaluation(train_days=100, valid_days=30, test_days=20)

Runs = Callable[[], list[Run]]
METRICS = {"test/accuracy", "test/log_loss", "test/brier", "test/auc", "train/loss", "valid/loss"}
METRICS |= {
    f"baseline/{name}_accuracy" for name in ("majority", "reversal", "logistic", "boosting")
}
METRICS |= {
    "significance/pt_pvalue",
    "significance/dm_pvalue",
    "backtest/sharpe_net",
    "valid/best_loss",
}


@pytest.fixture(scope="module")
def summary(runs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """A run on Apple's real prices, shared by the tests that look at what it left behind."""
    with pytest.MonkeyPatch.context() as patch, every_figure():
        patch.chdir(tmp_path_factory.mktemp("aapl"))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{runs_folder}/mlflow.db")
        return retrain(ticker="AAPL", source=File(path=AAPL), **TINY)


@pytest.fixture
def run(summary: Summary) -> Run:
    return MlflowClient().get_run(summary.run_id)


def artifact(run: Run, path: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=path))


def test_a_run_is_recorded_with_its_parameters_metrics_and_tags(run: Run) -> None:
    assert run.info.status == "FINISHED"
    assert run.data.params["training.epochs"] == "2"
    assert run.data.params["problem.features"] == "return,direction"
    assert run.data.metrics.keys() >= METRICS
    assert all(np.isfinite(value) for value in run.data.metrics.values())
    head = subprocess.run(
        ["git", "-C", AAPL.parent, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    )
    expected = {
        "ticker": "AAPL",
        "data.source": "file",
        "data.column": "Adj Close",
        "data.sha256": loading.load(File(path=AAPL), "AAPL", datetime.now(UTC)).sha256,
        "engine": "numpy",
        "engine.used": "numpy, compiled kernel" if kernel.available() else "numpy",
        "version": version("rnnflow"),
        "mlflow.source.git.commit": head.stdout.strip(),
        "config_hash": config_hash(Retrain(**TINY)),
    }
    assert expected.items() <= run.data.tags.items()
    assert len(run.data.tags["prefect.flow_run_id"]) == 36


def test_losses_are_logged_by_epoch(run: Run) -> None:
    history = MlflowClient().get_metric_history(run.info.run_id, "train/loss")
    assert [metric.step for metric in history] == [1, 2]


def test_figures_calls_and_the_configuration_are_artifacts(run: Run) -> None:
    figures = {path.name for path in artifact(run, "figures").iterdir()}
    assert figures >= {"loss.png", "directions.png", "reliability.png", "folds.png", "equity.png"}
    assert run.data.tags["verdict"] in {"skill", "no evidence of skill", "inconclusive"}
    assert run.data.tags["verdict.headline"] in artifact(run, "report.html").read_text()
    calls = pd.read_csv(artifact(run, "calls.csv"), parse_dates=["date"])
    assert ((calls["probability"] > 0.5) == calls["up"]).mean() == pytest.approx(
        run.data.metrics["test/accuracy"]
    )
    assert calls["date"].is_monotonic_increasing
    config = Retrain.model_validate_json(artifact(run, "config.json").read_text())
    assert config.training.epochs == 2
    assert not [path for path in artifact(run, "").rglob("*") if path.suffix in {".pkl", ".pickle"}]


def test_the_summary_puts_the_accuracy_beside_the_majority_class(
    summary: Summary, run: Run
) -> None:
    rows = dict(summary.rows)
    assert summary.rows[0] == ("verdict", run.data.tags["verdict.headline"])
    assert rows["accuracy"].startswith(f"{run.data.metrics['test/accuracy']:.1%}")
    assert (
        rows["  always the majority class"]
        == f"{run.data.metrics['baseline/majority_accuracy']:.1%}"
    )
    assert rows["prices"] == "file, column 'Adj Close', 3270 sessions to 2013-03-01"
    assert rows["  what could be found"] == run.data.tags["verdict.power"]
    assert rows["  at once and at no cost"].endswith(", an upper bound in expectation")
    assert rows["  traded at the next open"].startswith(
        f"{run.data.metrics['backtest/next_open_sharpe_net']:.2f}"
    )
    assert rows["break-even cost"].endswith(f"t {run.data.metrics['backtest/timing_t']:.2f}")
    zeros = run.data.metrics["test/zero_returns"]
    assert rows["  returns of 0"] == f"{zeros:.0f}, counted as down"
    for step in ("fetch", "windows", "train", "evaluate", "plot", "register", "record", "promote"):
        assert step in rows["seconds"]
    assert "mlflow ui --port 5000 --backend-store-uri sqlite:///" in summary.how_to_open
    assert summary.run_id in summary.how_to_open


def test_the_table_and_the_progress_are_kept_for_both_pages(summary: Summary, run: Run) -> None:
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["retrain-aapl"]))
        )
        own = ArtifactFilterFlowRunId(any_=[UUID(run.data.tags["prefect.flow_run_id"])])
        left = client.read_artifacts(artifact_filter=ArtifactFilter(flow_run_id=own))
    [progress] = (one for one in left if one.type == "progress")
    [table] = (
        one.data for one in found if f"/runs/{summary.run_id}/artifacts/report.html" in one.data
    )
    assert "always the majority class" in table
    assert run.data.tags["mlflow.note.content"] == table
    assert progress.data == 100


def test_fallback_data_are_tagged_warned_of_and_never_registered(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with yahoo_server(monkeypatch, sample_frame(SESSIONS)) as server:
        server.answers = [EMPTY] * 20
        retrain(ticker="NOPE", source=Yahoo(), now=NOW, **TINY)
    run = runs()[0]
    assert run.data.tags["data.source"] == "synthetic-fallback"
    assert "model.version" not in run.data.tags
    assert any(
        "synthetic" in record.message for record in caplog.records if record.levelname == "WARNING"
    )
    assert not MlflowClient().search_registered_models("name = 'direction-NOPE'")


def test_without_fallback_an_outage_fails_the_run(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    with yahoo_server(monkeypatch, sample_frame(SESSIONS)) as server:
        server.answers = [EMPTY] * 20
        with pytest.raises(PricesUnavailable):
            retrain(ticker="NOPE", source=Yahoo(fallback="none"), now=NOW, **TINY)
    assert runs()[0].info.status == "FAILED"
    assert "NOPE" in runs()[0].data.tags["error"]


@pytest.mark.parametrize("busy", [TOO_MANY_REQUESTS, SERVER_ERROR])
def test_a_busy_yahoo_is_asked_again(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, busy: object
) -> None:
    with yahoo_server(monkeypatch, sample_frame(SESSIONS)) as server:
        server.answers = [busy] * 2  # yfinance itself asks twice
        retrain(ticker="MSFT", source=Yahoo(fallback="none"), now=NOW, **TINY)
        assert len(server.requests) == 3
    assert runs()[0].data.tags["data.source"] == "yahoo"
    assert Path("data/prices/MSFT.parquet").exists()


def test_stored_prices_stand_in_for_yahoo_with_their_age(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    with yahoo_server(monkeypatch, sample_frame(SESSIONS)) as server:
        retrain(ticker="GOOG", source=Yahoo(), now=NOW - timedelta(days=1), **TINY)
        server.answers = [EMPTY] * 20
        retrain(ticker="GOOG", source=Yahoo(), now=NOW, **TINY)
    stored, fetched = runs()[:2]
    assert fetched.data.tags["data.source"] == "yahoo"
    assert stored.data.tags["data.source"] == "yahoo-stored"
    assert "day" in stored.data.tags["data.warnings"]
    assert stored.data.tags["model.version"] == "2"


def test_the_torch_engine_gives_the_same_scores(summary: Summary, run: Run) -> None:
    training = Training(epochs=2, seeds=2, engine="torch")
    with every_figure():
        other = retrain(ticker="AAPL", source=File(path=AAPL), **(TINY | {"training": training}))
    metrics = MlflowClient().get_run(other.run_id).data.metrics
    for name, value in run.data.metrics.items():
        assert name.startswith("seconds/") or metrics[name] == pytest.approx(value, rel=1e-9), name


def test_every_look_at_the_same_days_is_counted(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(**options: object) -> float:
        retrain(**({"ticker": "TRIED", "source": File(path=AAPL)} | TINY | options))
        return runs()[0].data.metrics["significance/trials"]

    assert look() == 1
    assert look() == 1, "the same question asked again"
    assert look(training=Training(epochs=2, seeds=2, seed=7)) == 2
    MlflowClient().delete_run(runs()[0].info.run_id)
    assert look(ticker="OTHER") == 3, "neither a deleted run nor another name hides a look"
    assert runs()[0].data.metrics["significance/level"] == nth_look(3).level
    with monkeypatch.context() as patch:
        patch.setattr(learning, "evaluate", _killed)
        with pytest.raises(KeyboardInterrupt):
            look(training=Training(epochs=2, seeds=2, seed=8))
    assert look(training=Training(epochs=2, seeds=2, seed=9)) == 5, "a killed run has looked"
    assert look(now=datetime(2001, 3, 1, tzinfo=UTC), evaluation=SHORT) == 1, (
        "no test day in common"
    )


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def champion_of(ticker: str) -> int:
    return int(MlflowClient().get_model_version_by_alias(f"direction-{ticker}", "champion").version)


def test_real_prices_replace_synthetic_ones_and_a_wrong_file_can_be_put_right(
    tmp_path: Path,
) -> None:
    trial = TINY | {"promotion": Promotion(allow_synthetic=True)}
    retrain(ticker="TRIAL", source=Synthetic(days=2000), **trial)
    assert champion_of("TRIAL") == 1
    wrong = tmp_path / "wrong.csv"
    prices = pd.read_csv(AAPL)
    closes = np.random.default_rng(0).normal(0, 0.01, len(prices)).cumsum()
    prices.assign(**{"Adj Close": np.exp(closes)}).to_csv(wrong, index=False)
    replaced = retrain(ticker="TRIAL", source=File(path=wrong), **TINY)
    assert replaced.judgement.reason.endswith("version 1 was trained on synthetic prices")
    assert champion_of("TRIAL") == 2
    refused = retrain(ticker="TRIAL", source=File(path=AAPL), **TINY)
    assert "other prices" in refused.judgement.reason
    assert "remove its alias champion in MLflow and retrain" in refused.judgement.reason
    MlflowClient().delete_registered_model_alias("direction-TRIAL", "champion")
    retrain(ticker="TRIAL", source=File(path=AAPL), **TINY)
    assert champion_of("TRIAL") == 4


@pytest.mark.parametrize(
    ("ticker", "damage"),
    [
        ("EMPTY", ""),
        ("CUT", "date,probability\n2012-01-03,0.5\n"),
        ("BINARY", "\x00\xff"),
        ("REMOVED", None),
    ],
)
def test_calls_of_a_champion_that_are_damaged_or_missing_refuse_the_next_in_one_line(
    ticker: str, damage: str | None
) -> None:
    first = retrain(ticker=ticker, source=File(path=AAPL), now=BEFORE, **TINY)
    folder = Path(MlflowClient().get_run(first.run_id).info.artifact_uri.removeprefix("file://"))
    file = folder / "calls.csv"
    file.unlink() if damage is None else file.write_text(damage, "latin-1")
    second = retrain(ticker=ticker, source=File(path=AAPL), **TINY)
    assert second.judgement.reason.startswith("the calls of version 1 are missing or damaged (if ")
    assert champion_of(ticker) == 1


def test_the_latest_champion_of_each_other_configuration_is_found_among_thousands(
    summary: Summary, run: Run
) -> None:
    champion = registry.candidate(9999, run)
    run_ids = {version: f"{version:032x}" for version in range(1, 4001)} | {1: summary.run_id}
    other = replace(champion, config_hash="other")
    [found], deleted = registry.latest_of_other_configurations(run_ids, other)
    assert (found.version, found.run_id, deleted) == (1, summary.run_id, 3999)
    assert registry.latest_of_other_configurations(run_ids, champion) == ([], 3999)


def test_a_card_that_cannot_be_written_fails_no_run(
    runs: Runs, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no connection")

    monkeypatch.setattr(registry, "describe", fail)
    retrain(ticker="CARDLESS", source=File(path=AAPL), **TINY)
    assert runs()[0].info.status == "FINISHED"
    assert runs()[0].data.tags["promotion"] == "promoted"
    reason = f"MLflow at {store.uri()} cannot be used (no connection)"
    assert f"the card of version 1 of CARDLESS lacks the judgement: {reason}" in caplog.text


def test_now_hides_what_came_after_it(runs: Runs) -> None:
    retrain(ticker="AAPL", source=File(path=AAPL), now=datetime(2005, 3, 1, 22, tzinfo=UTC), **TINY)
    assert runs()[0].data.tags["data.last"] == "2005-03-01"
    retrain(ticker="AAPL", source=File(path=AAPL), now=datetime(2005, 3, 1, 20, tzinfo=UTC), **TINY)
    assert runs()[0].data.tags["data.last"] == "2005-02-28", "the session was still open"


@pytest.mark.parametrize(
    ("hooks", "state", "status"),
    [
        (retrain.on_cancellation_hooks, Cancelling(), "KILLED"),
        (retrain.on_cancellation_hooks, Cancelled(), "KILLED"),
        (retrain.on_crashed_hooks, Crashed(), "FAILED"),
    ],
)
def test_the_hooks_of_a_cancelled_or_crashed_flow_close_its_run_and_no_other(
    hooks: list[Any], state: State[Any], status: str
) -> None:
    client, experiment = MlflowClient(), store.experiment_id("retrain")
    mine, another = FlowRun(flow_id=uuid4()), FlowRun(flow_id=uuid4())
    left, other = (
        client.create_run(experiment, tags={"prefect.flow_run_id": str(run.id)}).info.run_id
        for run in (mine, another)
    )
    assert hooks
    for hook in hooks:
        hook(retrain, mine, state)
    assert client.get_run(left).info.status == status
    assert client.get_run(other).info.status == "RUNNING"
    client.set_terminated(other)


def test_an_interrupted_run_is_killed_not_running(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("flows.retrain.build_windows", interrupt)
    with pytest.raises(KeyboardInterrupt):
        retrain(ticker="AAPL", source=File(path=AAPL), **TINY)
    assert runs()[0].info.status == "KILLED"


def test_everything_a_user_can_set_is_described() -> None:
    everything = vars(config) | vars(commands)
    sections = [one for one in everything.values() if hasattr(one, "__pydantic_fields__")]
    assert {Yahoo, Problem, config.Model, Retrain, commands.Prune} <= set(sections)
    undescribed = [
        f"{section.__name__}.{name}"
        for section in sections
        for name, field in section.__pydantic_fields__.items()
        if not field.description and name != "kind"
    ]
    assert not undescribed
    assert json.dumps(Retrain.model_json_schema())


def test_it_records_everything_at_a_tracking_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the server knows where files are; the second run reads the champion's calls back."""
    port, home = str(free_port()), tmp_path / "server"
    home.mkdir()
    command = ("mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", "1")
    places = (
        "--backend-store-uri",
        f"sqlite:///{home}/mlflow.db",
        "--artifacts-destination",
        str(home / "files"),
    )
    address = f"http://127.0.0.1:{port}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    try:
        start(*command, *places, environment=isolated(home), cwd=home, log=home / "server.log")
        wait_for(lambda: healthy(address), "the MLflow server")
        first = retrain(ticker="AAPL", source=File(path=AAPL), **TINY)
        second = retrain(
            ticker="AAPL",
            source=File(path=AAPL),
            **TINY | {"training": Training(epochs=3, seeds=2)},
        )
        assert first.version == 1
        assert second.version == 2
        assert second.judgement is not None
        assert second.judgement.figures["days"] > 0
        run = MlflowClient().get_run(first.run_id)
        assert run.info.artifact_uri.startswith("mlflow-artifacts:")
        assert (
            artifact(run, "config.json").read_text()
            == artifact_of(home, first.run_id, "config.json").read_text()
        )
        assert artifact_of(home, first.run_id, "figures/folds.png").stat().st_size > 0
        assert "is reproduced bit for bit" in reproduce(run=second.run_id)
    finally:
        end(home)


def healthy(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health").is_success
    except httpx.TransportError:
        return False


def artifact_of(home: Path, run_id: str, path: str) -> Path:
    """Where a tracking server in `home` keeps a run's file."""
    [found] = home.glob(f"files/*/{run_id}/artifacts/{path}")
    return found
