"""The flow `retrain-universe`, on threads, processes and a Dask cluster; some die."""

import inspect
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from threading import Barrier, Lock
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterKey,
    FlowRunFilter,
    FlowRunFilterId,
)
from prefect.flows import load_flow_from_entrypoint
from prefect.settings import PREFECT_API_URL

from flows import command_line
from flows.steps import prices as steps_prices
from flows.steps.prices import YAHOO
from flows.steps.tickers import Outcomes
from flows.universe.__main__ import main
from flows.universe.flow import listed, retrain_one, retrain_universe
from flows.universe.processes import IMPORTED, performer, prepare
from rnn_core.commands import Retrain, RetrainUniverse
from rnn_core.config import Evaluation, Model, Promotion, Runner, Synthetic, Training, Yahoo
from rnn_core.data.exchanges import sessions
from rnn_core.data.loading import load
from rnn_core.errors import PricesUnavailable, RnnflowError, TrackingError
from rnn_core.nn.engines import thread_count
from rnn_core.operations.ledger import Ledger
from tests.dask_cluster import Cluster
from tests.doomed import DOOMED, UNLUCKY, learn_or_die
from tests.flows.conftest import every_figure
from tests.processes import CHECKOUT, end, isolated, processes, run, start, wait_for
from tests.yahoo_server import UNKNOWN_TICKER, Answer, YahooServer, sample_frame, serving

NOW = datetime(2021, 6, 2, 22, tzinfo=UTC)
SESSIONS = sessions("XNYS", date(2019, 1, 2), NOW.date() + timedelta(days=1))
SMALL: dict[str, Any] = {
    "model": Model(hidden_size=2),
    "training": Training(epochs=1, seeds=1),
    "evaluation": Evaluation(train_days=250, valid_days=50, test_days=100),
    "promotion": Promotion(allow_synthetic=True),
}
RECIPE = {"source": Synthetic(days=500), "now": NOW, **SMALL}
OPTIONS = (
    "--source.kind synthetic --source.days 500 --model.hidden_size 2 "
    "--training.epochs 1 --training.seeds 1 --evaluation.train_days 250 "
    "--evaluation.valid_days 50 --evaluation.test_days 100 "
    "--promotion.allow_synthetic --now 2021-06-02T22:00:00Z"
)
TICKERS = ("AAA", "BBB", "CCC", "DDD")
NOTHING = SimpleNamespace(run_id="", judgement=None)  # in place of what a retraining finds

Left = tuple[dict[str, float], str, dict[str, "np.ndarray[Any, Any]"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("universe")


@pytest.fixture(scope="module")
def environment(folder: Path, runs_folder: Path) -> dict[str, str]:
    """Of processes that share MLflow's store, the ledger and Prefect's server with these tests."""
    return isolated(
        folder,
        MLFLOW_TRACKING_URI=f"sqlite:///{runs_folder}/mlflow.db",
        LEDGER_URL=f"sqlite:///{folder}/ledger.db",
        PREFECT_API_URL=str(PREFECT_API_URL.value()),
    )


@pytest.fixture(autouse=True)
def _one_ledger(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGER_URL", environment["LEDGER_URL"])


@pytest.fixture(scope="module")
def on_threads(environment: dict[str, str], folder: Path) -> dict[str, Left]:
    """What threads leave behind of each ticker."""
    with pytest.MonkeyPatch.context() as patch, every_figure():
        patch.chdir(folder)
        for name in ("MLFLOW_TRACKING_URI", "LEDGER_URL"):
            patch.setenv(name, environment[name])
        outcomes = retrain_universe(tickers=TICKERS, chunk=3, **RECIPE)
        assert isinstance(outcomes, Outcomes)
        assert not outcomes.failed
        assert {one.champion.version for one in outcomes.values() if one.champion} == {1}
        return left_behind(TICKERS)


@pytest.fixture(scope="module")
def cluster(folder: Path, environment: dict[str, str]) -> Iterator[Cluster]:
    try:
        cluster = Cluster(folder, environment)
        cluster.add_worker()
        cluster.add_worker()
        yield cluster
    finally:
        end(folder)


@dataclass
class Market(YahooServer):
    """Yahoo that does not know the ticker NOPE, and counts how many requests it has at once.

    What is asked of tickers on 0 is not answered before all have come that are to meet.
    """

    at_once: int = 0
    most_at_once: int = 0
    lock: Any = field(default_factory=Lock)
    meeting: Barrier = field(default_factory=lambda: Barrier(1))

    def answer(self, path: str, query: dict[str, str]) -> Answer:
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return super().answer(path, query)
        finally:
            with self.lock:
                self.at_once -= 1

    def chart(self, ticker: str, query: dict[str, str]) -> Answer:
        if ticker.endswith("0"):
            self.meeting.wait(timeout=60)
        return UNKNOWN_TICKER if ticker == "NOPE" else super().chart(ticker, query)


def children(ticker: str) -> list[Run]:
    """The runs of a ticker, latest first."""
    client = MlflowClient()
    experiment = client.get_experiment_by_name("retrain-universe")
    if experiment is None:
        return []
    return list(client.search_runs([experiment.experiment_id], f"tags.ticker = '{ticker}'"))


def statuses(ticker: str) -> list[str]:
    return sorted(run.info.status for run in children(ticker))


def parent_of(ticker: str) -> Run:
    return MlflowClient().get_run(children(ticker)[0].data.tags["mlflow.parentRunId"])


def left_behind(tickers: tuple[str, ...]) -> dict[str, Left]:
    """Scores, calls and arrays of the model that the latest run of each ticker has left."""
    found = {}
    for ticker in tickers:
        run = children(ticker)[0]
        calls = mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/calls.csv")
        model = mlflow.artifacts.download_artifacts(
            f"models:/direction-{ticker}/{run.data.tags['model.version']}"
        )
        with np.load(Path(model, "artifacts", "arrays.npz")) as arrays:
            scores = {
                name: value
                for name, value in run.data.metrics.items()
                if not name.startswith("seconds/")
            }
            found[ticker] = (scores, calls, dict(arrays))
    return found


def assert_same(ours: dict[str, Left], theirs: dict[str, Left]) -> None:
    for ticker, (scores, calls, arrays) in theirs.items():
        assert ours[ticker][:2] == (scores, calls)
        assert ours[ticker][2].keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(ours[ticker][2][name], array, strict=True)


def test_every_ticker_is_a_child_of_one_run_and_has_a_champion(on_threads: dict[str, Left]) -> None:
    assert all(statuses(ticker) == ["FINISHED"] for ticker in TICKERS)
    parent = parent_of("AAA")
    assert {children(ticker)[0].data.tags["mlflow.parentRunId"] for ticker in TICKERS} == {
        parent.info.run_id
    }
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics == {"tickers/done": 4, "tickers/failed": 0}
    page = mlflow.artifacts.load_text(f"runs:/{parent.info.run_id}/universe.html")
    assert all(ticker in page for ticker in TICKERS)
    assert len({calls for _, calls, _ in on_threads.values()}) == 4, (
        "each ticker has prices of its own"
    )


def test_processes_give_the_bits_that_threads_give_and_the_flow_says_what_was_decided(
    on_threads: dict[str, Left], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys, "path", list(sys.path)
    )  # to which a flow's folder is added where it is loaded by its path
    # As a deployment does; loaded twice, as a module that no other process can import
    entrypoint = f"{CHECKOUT}/flows/universe/flow.py:retrain_universe"
    deployed = [load_flow_from_entrypoint(entrypoint) for _ in range(2)][-1]
    said: dict[str, Any] = {}
    monkeypatch.setitem(
        inspect.unwrap(deployed.fn).__globals__,
        "log_decision",
        lambda ticker, summary: said.update({ticker: summary}),
    )
    deployed(tickers=TICKERS, runner=Runner(kind="processes", workers=2), again=True, **RECIPE)
    assert all(statuses(ticker) == ["FINISHED"] * 2 for ticker in TICKERS)
    assert_same(left_behind(TICKERS), on_threads)
    assert said.keys() == set(TICKERS)
    for ticker, summary in said.items():
        assert summary.run_id == children(ticker)[0].info.run_id
        assert (summary.version, summary.judgement.promoted) == (2, False), (
            "it is the champion's equal"
        )


def test_a_dask_cluster_gives_the_bits_that_threads_give(
    on_threads: dict[str, Left], cluster: Cluster
) -> None:
    before = len(children("AAA"))
    cluster.wait()
    retrain_universe(
        tickers=TICKERS, runner=Runner(kind="dask", address=cluster.address), again=True, **RECIPE
    )
    assert all(statuses(ticker) == ["FINISHED"] * (before + 1) for ticker in TICKERS)
    assert_same(left_behind(TICKERS), on_threads)


def test_a_retraining_that_is_asked_for_twice_is_done_once(on_threads: dict[str, Left]) -> None:
    config = Retrain(ticker="AAA", **RECIPE)
    prices = load(config.source, "AAA", NOW)
    before = [run.info.run_id for run in children("AAA")]
    assert retrain_one(config, prices, parent_of("AAA").info.run_id, "") == before[0]
    with pytest.raises(
        TrackingError,
        match="does not know the run elsewhere; start workers in the folder of the flow",
    ):
        retrain_one(config, prices, "elsewhere", "")
    assert [run.info.run_id for run in children("AAA")] == before


def test_the_server_is_told_of_tickers_and_not_of_the_steps_of_each(
    on_threads: dict[str, Left],
) -> None:
    own = FlowRunFilter(
        id=FlowRunFilterId(any_=[UUID(parent_of("AAA").data.tags["prefect.flow_run_id"])])
    )
    wanted = {f"retrain-{ticker}" for ticker in TICKERS}
    with get_client(sync_client=True) as client:

        def ended() -> set[str]:
            runs = client.read_task_runs(flow_run_filter=own)
            return {run.name for run in runs if run.state and run.state.is_completed()}

        wait_for(lambda: wanted <= ended(), "the tickers' task runs", seconds=30)
        assert ended() == wanted, "these prices need no asking"


@pytest.mark.parametrize(
    ("dies_at", "its_runs"),
    [
        ("flows.steps.learning.fit", ["FAILED", "FINISHED"]),
        ("flows.tracking.records.describe", ["FINISHED"]),  # it is champion already
    ],
)
def test_the_ticker_of_a_worker_that_dies_is_done_once(
    cluster: Cluster, dies_at: str, its_runs: list[str]
) -> None:
    tickers = tuple(f"{dies_at.rpartition('.')[2].upper()}{number}" for number in range(6))
    cluster.add_worker(dies_at=dies_at)
    cluster.wait()
    outcomes = retrain_universe(
        tickers=tickers, runner=Runner(kind="dask", address=cluster.address), **RECIPE
    )
    cluster.workers -= 1
    assert isinstance(outcomes, Outcomes)
    assert outcomes.keys() == set(tickers)
    ended = sorted(map(statuses, tickers))
    assert ended == [its_runs] + [["FINISHED"]] * 5, "it died in the middle of a ticker"
    with Ledger.open() as ledger:
        for ticker, found in outcomes.items():
            assert found.champion is not None
            assert ledger.champions(ticker) == [found.champion.version]


def test_processes_share_the_cores_unless_a_user_shares_them_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def threads(workers: int | None, tickers: int = 100) -> int:
        runner = Runner(kind="processes", workers=workers)
        prepare(runner)
        with performer(runner, tickers) as perform:
            return int(perform(thread_count))

    monkeypatch.setattr("flows.universe.processes.usable_cores", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert [threads(workers) for workers in (1, 2, 4, 7)] == [6, 3, 1, 1]
    assert [threads(None, tickers) for tickers in (0, 1, 2, 9)] == [6, 6, 3, 1], (
        "two tickers leave no core idle"
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert threads(2) == 5


def test_processes_start_with_what_the_work_needs_and_without_prefect() -> None:
    runner = Runner(kind="processes", workers=1)
    prepare(runner)
    with performer(runner, 1) as perform:
        loaded = perform(partial(eval, "set(__import__('sys').modules)"))
    assert set(IMPORTED) <= loaded
    assert "prefect" not in loaded


def test_the_command_starts_its_processes_before_it_imports_what_takes_seconds() -> None:
    slow = {"prefect", "mlflow", "pandas", "scipy", "sklearn", "matplotlib"}
    code = (
        "import sys\nfrom flows.universe import __main__ as command\n"
        f"command.prepare = lambda runner: print(runner, *{slow} & sys.modules.keys())\n"
        "command.start(type('Config', (), {'runner': 'prepared'}))\nprint('prefect' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert done.stdout == "prepared\nTrue\n"


def test_a_real_command_says_one_line_of_what_is_wrong(environment: dict[str, str]) -> None:
    command = (sys.executable, "-m", "flows.universe", "--file", "absent.txt")
    done = run(*command, environment=environment, cwd=Path.cwd())
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if "absent" in line]
    assert said == [
        line for line in said if line.startswith("error: file absent.txt cannot be read")
    ]
    assert len(said) == 1
    assert "Traceback" not in done.stdout + done.stderr


def test_a_process_that_dies_takes_no_other_ticker_along(monkeypatch: pytest.MonkeyPatch) -> None:
    others = ("CALM1", "CALM2", "CALM3", "CALM4")
    monkeypatch.setattr("flows.universe.flow.learn_one_of_many", learn_or_die)
    runner = Runner(kind="processes", workers=2)
    outcomes = retrain_universe(tickers=(DOOMED, UNLUCKY, *others), runner=runner, **RECIPE)
    assert isinstance(outcomes, Outcomes)
    assert outcomes.keys() == {UNLUCKY, *others}
    reason = "ProcessLost: the process at work died: it was killed, or there was not enough memory"
    assert outcomes.failed == {DOOMED: reason}
    assert [statuses(ticker) for ticker in others] == [["FINISHED"]] * 4
    assert statuses(UNLUCKY) == ["FAILED", "FINISHED"], "it had another try"
    assert statuses(DOOMED) == ["FAILED", "FAILED"]


def test_a_flow_that_was_killed_goes_on_with_what_it_had_not_done(
    environment: dict[str, str], folder: Path
) -> None:
    tickers = tuple(f"NEXT{number}" for number in range(5))
    Path("universe.txt").write_text("\n".join(["# a comment", "", *tickers]))
    options = ("--file", "universe.txt", "--runner.kind", "processes", "--runner.workers", "1")
    command = (sys.executable, "-m", "flows.universe", *options)
    log = folder / "killed.log"
    killed = start(*command, *OPTIONS.split(), environment=environment, cwd=Path.cwd(), log=log)
    try:
        wait_for(lambda: "FINISHED" in statuses("NEXT1"), "the second ticker")
        assert len(processes("PWD", Path.cwd())) > 1
        killed.kill()
        killed.wait()
        wait_for(
            lambda: not processes("PWD", Path.cwd()), "the end of what it had started", seconds=30
        )
    finally:
        with suppress(ProcessLookupError):
            os.killpg(killed.pid, signal.SIGKILL)
    done = {ticker for ticker in tickers if "FINISHED" in statuses(ticker)}
    assert done < set(tickers)
    outcomes = retrain_universe(file=Path("universe.txt"), **RECIPE)
    assert isinstance(outcomes, Outcomes)
    assert outcomes.keys() == set(tickers) - done
    assert all(statuses(ticker).count("FINISHED") == 1 for ticker in tickers)
    assert retrain_universe(file=Path("universe.txt"), **RECIPE) is None, "nothing is left to do"


def test_a_ticker_that_fails_is_listed_with_its_reason_and_stops_no_other(
    monkeypatch: pytest.MonkeyPatch, wait_for_event: Callable[[str, str], None]
) -> None:
    source = Yahoo(start=date(2019, 1, 2), fallback="none")
    with serving(monkeypatch, Market(sample_frame(SESSIONS))):
        parameters = {
            "tickers": ("GOOD1", "NOPE", "ODD.QQ", "GOOD2"),
            "source": source,
            "now": NOW,
            **SMALL,
        }
        state, later = (retrain_universe(return_state=True, **parameters) for _ in range(2))
    assert state.is_completed()
    assert later.is_completed(), "the others had been done before"
    assert (later.result(), later.result().failed.keys()) == ({}, {"NOPE", "ODD.QQ"})
    outcomes = state.result()
    assert outcomes.keys() == {"GOOD1", "GOOD2"}
    failed = outcomes.failed
    assert failed.keys() == {"NOPE", "ODD.QQ"}
    assert "PricesUnavailable: Yahoo gives no prices of NOPE" in failed["NOPE"]
    assert "'ODD.QQ' has no known exchange suffix" in failed["ODD.QQ"]
    run_id = parent_of("GOOD1").info.run_id
    assert json.loads(mlflow.artifacts.load_text(f"runs:/{run_id}/failed.json")) == failed
    assert "no known exchange suffix" in mlflow.artifacts.load_text(f"runs:/{run_id}/universe.html")
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=["universe"]))
        )
    assert "no known exchange suffix" in str(max(found, key=lambda one: str(one.created)).data)
    wait_for_event("rnnflow.failure", "ODD.QQ: ConfigError")


def test_the_run_fails_in_one_line_if_every_ticker_does() -> None:
    Path("universe.txt").write_text("EVEN.QQ\nODD.QQ\n")
    first = "EVEN.QQ: ConfigError: ticker 'EVEN.QQ' has no known exchange suffix.*$"
    said = f"^all 2 tickers failed, the first of them {first}"
    with pytest.raises(RnnflowError, match=said):
        retrain_universe(file=Path("universe.txt"), source=Yahoo(), **SMALL)


def test_yahoo_is_asked_once_a_ticker_and_for_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What is asked for is all that matters
    monkeypatch.setattr("flows.universe.flow.learn_one_of_many", lambda *_: NOTHING)
    parameters = {"source": Yahoo(start=date(2019, 1, 2), fallback="none"), **SMALL}
    tickers = tuple(f"YAHOO{number:02}" for number in range(12))
    market = Market(sample_frame(SESSIONS), delay=0.3)
    with serving(monkeypatch, market):
        retrain_universe(tickers=tickers, now=NOW, **parameters)
        assert market.most_at_once == 1
        assert market.first_days() == ["2019-01-02"] * 12
        market.requests.clear()
        retrain_universe(tickers=tickers[:3], now=NOW + timedelta(days=1), **parameters)
        assert market.first_days() == ["2021-05-26"] * 3, (
            "a few sessions are asked for again, and no more"
        )
    assert listed(RetrainUniverse()) == list(tickers), "where none are named, those that are stored"


@pytest.mark.parametrize("limit", [1, 2])
def test_flows_keep_to_the_global_limit_on_who_asks_yahoo(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    market = Market(sample_frame(SESSIONS), delay=0.5, meeting=Barrier(limit))
    parameters = {"source": Yahoo(start=date(2019, 1, 2), fallback="none"), "now": NOW, **SMALL}
    monkeypatch.setattr("flows.universe.flow.learn_one_of_many", lambda *_: NOTHING)
    universes = [
        tuple(f"{name}{limit}{number}" for number in range(6)) for name in ("ONE", "OTHER")
    ]
    with (
        get_client(sync_client=True) as client,
        serving(monkeypatch, market),
        ThreadPoolExecutor() as threads,
    ):
        client.upsert_global_concurrency_limit_by_name(YAHOO, limit)
        try:
            list(
                threads.map(
                    lambda tickers: retrain_universe(tickers=tickers, **parameters), universes
                )
            )
        finally:
            client.delete_global_concurrency_limit_by_name(YAHOO)
    assert len(market.first_days()) == 12
    assert market.most_at_once == limit


def test_a_slot_that_nobody_gives_back_is_waited_for_only_so_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(steps_prices, "LONGEST_WAIT", 2.0)
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(YAHOO, 1)
        try:
            with steps_prices.yahoo_slot(Yahoo()):
                taken = client.read_global_concurrency_limit_by_name(YAHOO).active_slots
                refused = pytest.raises(PricesUnavailable, match="prefect gcl inspect yahoo")
                with refused, steps_prices.yahoo_slot(Yahoo()):
                    raise AssertionError("there is only one")
            assert taken == 1
        finally:
            client.delete_global_concurrency_limit_by_name(YAHOO)


BAD: dict[str, tuple[list[str], int, str]] = {
    "a Dask scheduler that is not there": (
        ["--tickers", "A", "--runner.kind", "dask", "--runner.address", "tcp://127.0.0.1:9"],
        1,
        "runner.address tcp://127.0.0.1:9: no Dask scheduler answers there",
    ),
    "an address that is none": (
        ["--tickers", "A", "--runner.kind", "dask", "--runner.address", "x://y"],
        1,
        "runner.address x://y",
    ),
    "Dask without an address": (["--tickers", "A", "--runner.kind", "dask"], 2, "address"),
    "an empty file": (
        ["--file", "empty.txt"],
        1,
        "file empty.txt names no ticker; write one a line",
    ),
    "a file that is no list": (
        ["--file", "secrets.ini"],
        1,
        "file secrets.ini has no ticker in line 3; write one a line",
    ),
    "a file that is absent": (["--file", "absent.txt"], 1, "file absent.txt cannot be read"),
    "a ticker twice in the list": (["--tickers", "A,B,A"], 2, "tickers name A more than once"),
    "a ticker twice in the file": (
        ["--file", "twice.txt"],
        1,
        "file twice.txt names A more than once",
    ),
    "tickers and a file": (["--tickers", "A", "--file", "twice.txt"], 2, "tickers and file both"),
    "no stored prices": (
        [],
        1,
        "no prices are stored in data/prices; name tickers, or a file of them",
    ),
}


@pytest.mark.parametrize(("options", "code", "named"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line_and_soon(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    options: list[str],
    code: int,
    named: str,
) -> None:
    Path("empty.txt").write_text("# nothing yet\n")
    Path("twice.txt").write_text("A\nB\nA\n")
    Path("secrets.ini").write_text("# [database]\n\npassword: s3same\n")
    monkeypatch.setattr(sys, "argv", ["flows.universe", *options, *OPTIONS.split()])
    before = time.monotonic()
    with pytest.raises(SystemExit) as exit_:
        command_line.run(RetrainUniverse, main)
    errors = capfd.readouterr().err
    assert time.monotonic() - before < 30
    assert exit_.value.code == code
    assert "Traceback" not in errors
    said = [line for line in errors.splitlines() if "error: " in line]
    assert len(said) == 1
    assert named in said[0]


def test_the_options_reach_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    line = (
        "--tickers A,B --chunk 7 --runner.kind dask --runner.address tcp://127.0.0.1:8786 --again"
    )
    monkeypatch.setattr(sys, "argv", ["flows.universe", *line.split(), *OPTIONS.split()])
    heard: list[RetrainUniverse] = []
    command_line.run(RetrainUniverse, heard.append)
    runner = Runner(kind="dask", address="tcp://127.0.0.1:8786")
    assert heard == [
        RetrainUniverse(tickers=("A", "B"), chunk=7, runner=runner, again=True, **RECIPE)
    ]
