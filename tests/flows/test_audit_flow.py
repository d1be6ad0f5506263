"""The flow `audit`: what it leaves in MLflow, and all that it must not leave."""

import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import sleep
from typing import Any

import mlflow
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from flows import audit as audit_flow
from flows import command_line
from flows.audit import Outcome, audit, main
from rnn_core.commands import Audit
from rnn_core.config import Evaluation, File, Model, Problem, Runner, Training
from rnn_core.data.features import FEATURES, log_returns
from rnn_core.errors import DataError
from rnn_core.safe_text import in_markdown
from tests.flows.conftest import AAPL
from tests.processes import start, wait_for

QUICK: dict[str, Any] = {
    "ticker": "AAPL",
    "model": Model(hidden_size=4),
    "training": Training(dtype="float32", seeds=2, epochs=8, patience=4),
    "evaluation": Evaluation(test_days=500),
    "series": 10,
    "edges": (0.65,),
}
OPTIONS = [
    *("--ticker", "AAPL", "--source.kind", "file", "--source.path", str(AAPL)),
    *("--model.hidden_size", "4", "--training.epochs", "8", "--training.seeds", "2"),
    *("--training.patience", "4", "--training.dtype", "float32", "--evaluation.test_days", "500"),
    *("--series", "10", "--edges", "0.65"),
]


def runs_of(experiment: str) -> list[Run]:
    client = MlflowClient()
    known = client.get_experiment_by_name(experiment)
    return list(client.search_runs([known.experiment_id])) if known else []


@pytest.fixture
def in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge in this process, where the features of a test are known."""
    monkeypatch.setattr(audit_flow, "RUNNER", Runner(kind="threads"))


@pytest.fixture(scope="module")
def outcome(runs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outcome]:
    """A small audit of Apple's real prices, in processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("audit"))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{runs_folder}/mlflow.db")
        yield audit(source=File(path=AAPL), **QUICK)


def test_rates_table_and_figure_are_in_the_run(outcome: Outcome) -> None:
    run = MlflowClient().get_run(outcome.how_to_open.rpartition("/")[2])
    assert run.info.status == "FINISHED"
    findings = outcome.findings
    assert findings.metrics.items() <= run.data.metrics.items()
    assert run.data.metrics["audit/power_0.65"] >= 0.7
    assert run.data.tags["audit.meaning"] == findings.meaning
    assert run.data.tags["audit.promise"] == findings.promise
    assert run.data.tags["audit.peeking"] == "none"
    assert run.data.tags["data.source"] == "file"
    assert run.data.params["series"] == "10"
    assert in_markdown(findings.meaning) in run.data.tags["mlflow.note.content"]
    folder = Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id))
    table = pd.read_csv(folder / "audit.csv")
    assert table["series"].tolist() == [5, 5, 10, 10]
    assert table["skill"].tolist() == [count.skill for count in findings.counts]
    assert (folder / "figures" / "audit.png").read_bytes().startswith(b"\x89PNG")


def test_threads_find_what_processes_do_and_neither_is_a_look_nor_registers_a_model(
    outcome: Outcome, in_threads: None
) -> None:
    def recorded() -> list[int]:
        models = MlflowClient().search_registered_models()
        return [len(models), len(runs_of("retrain")), len(runs_of("retrain-universe"))]

    before = recorded()
    assert audit(source=File(path=AAPL), **QUICK).findings == outcome.findings
    assert recorded() == before
    assert not Path("data/ledger.db").exists()


def test_the_table_fits_a_terminal(
    outcome: Outcome, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit_flow, "audit", lambda **_: outcome)
    main(Audit())
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines[:-3])) <= 80
    assert lines[-3:-1] == [outcome.findings.meaning, outcome.findings.promise]
    assert lines[-1].startswith("MLflow: ")


def test_a_feature_that_peeks_is_named_at_the_end(
    in_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tomorrow(frame: pd.DataFrame, _: int) -> Any:
        return log_returns(frame).take(range(1, len(frame) + 1), mode="clip")

    peeks = replace(FEATURES["abs_return"], values=tomorrow)
    monkeypatch.setitem(FEATURES, "abs_return", peeks)
    settings = QUICK | {"edges": (), "problem": Problem(features=("return", "abs_return"))}
    found = audit(source=File(path=AAPL), **settings).findings
    assert found.broken
    assert found.false_skill.rate > 0.5
    assert "sees the future: abs_return" in found.promise


def test_prices_that_are_too_few_are_one_line_and_no_run(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    before = len(runs_of("audit"))
    pd.read_csv(AAPL).head(400).to_csv("prices.csv", index=False)
    options = ["--source.kind", "file", "--source.path", "prices.csv", "--source.exchange", "XNYS"]
    monkeypatch.setattr(sys, "argv", ["flows.audit", *options])
    with pytest.raises(SystemExit) as exit_:
        command_line.run(Audit, main)
    errors = capfd.readouterr().err
    assert exit_.value.code == 1
    assert "Traceback" not in errors
    assert "error: got 389 labelled rows; one fold needs 603" in errors
    assert len(runs_of("audit")) == before


@pytest.mark.parametrize(
    ("raised", "status"), [(KeyboardInterrupt, "KILLED"), (DataError("no"), "FAILED")]
)
def test_no_run_is_left_running(
    raised: Any, status: str, in_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise raised

    monkeypatch.setattr(audit_flow, "count_skill", fail)
    with pytest.raises((KeyboardInterrupt, DataError)):
        audit(source=File(path=AAPL), **QUICK)
    assert runs_of("audit")[0].info.status == status


def test_nothing_more_is_judged_after_an_interrupt_while_the_work_is_shared_out(
    in_threads: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = []

    class Interrupted(ThreadPoolExecutor):
        asked = 0

        def submit(self, *work: Any, **options: Any) -> Any:
            self.asked += 1
            if self.asked == 5_000:
                raise KeyboardInterrupt
            return super().submit(*work, **options)

    def judge(piece: int) -> None:
        sleep(0.002)
        judged.append(piece)

    monkeypatch.setattr(audit_flow, "ThreadPoolExecutor", Interrupted)
    monkeypatch.setattr(
        audit_flow, "count_skill", lambda _, __, over: list(over(judge, range(10_000)))
    )
    with pytest.raises(KeyboardInterrupt):
        audit(source=File(path=AAPL), **QUICK)
    assert len(judged) < 4_900


def test_ctrl_c_ends_a_real_audit_and_its_processes(prefect_server: str, workplace: Path) -> None:
    before = len(runs_of("audit"))
    environment = os.environ | {"PREFECT_API_URL": prefect_server}
    log = workplace / "audit.log"
    long = ["--series", "5000"]
    command = [sys.executable, "-m", "flows.audit", *OPTIONS, *long]
    process = start(*command, environment=environment, cwd=workplace, log=log)
    try:
        wait_for(lambda: len(runs_of("audit")) > before, "the run")
        wait_for(lambda: len(children(process.pid)) >= 2, "the processes")
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        assert process.wait(600) != 0
        assert runs_of("audit")[0].info.status == "KILLED", log.read_text()
        wait_for(lambda: not in_session(process.pid), "its processes to end", seconds=20)
    finally:
        for pid in in_session(process.pid):
            os.kill(pid, signal.SIGKILL)


def children(pid: int) -> list[int]:
    return [child for child in in_session(pid) if child != pid]


def in_session(leader: int) -> list[int]:
    """The processes of a session, by its leader; those that have ended do not count."""
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            members.append(int(stat.parent.name))
    return members
