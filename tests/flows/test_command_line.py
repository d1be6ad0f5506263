"""The shell: a bad input is one line that names it, an exit code, and nothing half-done."""

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.entities import Run

from flows import command_line
from flows.retrain import main
from rnn_core.commands import Audit, Compare, Retrain, RetrainUniverse
from rnn_core.data import vintages
from rnn_core.operations.ledger import Ledger
from tests.flows.conftest import AAPL
from tests.processes import run

ROWS = pd.read_csv(AAPL).head(700)
NEW_YORK = ("--source.exchange", "XNYS")  # where the rows were traded
QUICK = ("--training.epochs", "1", "--training.seeds", "1", "--model.hidden_size", "2")


def edited(**columns: object) -> str:
    return ROWS.assign(**columns).to_csv(index=False)


def with_row(row: int, column: str, value: object) -> str:
    frame = ROWS.astype({column: object})
    frame.loc[row, column] = value
    return frame.to_csv(index=False)


FILES: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "prices.csv: cannot be read as CSV or Parquet: there is no header"),
    "binary": (bytes(range(256)) * 40, "it is neither UTF-8, UTF-16 nor CP949 text"),
    "no price column": (ROWS[["Date", "Volume"]].to_csv(index=False), "'Date', 'Volume'"),
    "text in the prices": (with_row(5, "Adj Close", "n/a!"), "n/a!"),
    "twenty rows": (ROWS.head(20).to_csv(index=False), "needs 603"),
    "one repeated price": (edited(**{"Adj Close": 7.0}), "'Adj Close' is 7 in all 700 sessions"),
    "null prices": (
        with_row(5, "Adj Close", np.nan),
        "has no price (nan of 2000-03-08) in lines 7",
    ),
    "an infinite price": (with_row(5, "Adj Close", np.inf), "inf"),
    "a negative price": (with_row(5, "Adj Close", -1.0), "-1"),
    "duplicate dates": (with_row(5, "Date", "2000-03-01"), "2000-03-01"),
    "a date that does not parse": (with_row(5, "Date", "soon"), "soon"),
}
OPTIONS: dict[str, tuple[list[str], str]] = {
    "an unknown option": (["--training.epoch", "3"], "--training.epoch"),
    "an unknown section": (["--optimizer", "adam"], "--optimizer"),
    "no epochs": (["--training.epochs", "0"], "training.epochs"),
    "words for a number": (["--training.epochs", "many"], "many"),
    "a slash in the ticker": (["--ticker", "A/B"], "A/B"),
    "dots in the ticker": (["--ticker", "..A"], "..A"),
    "an unknown feature": (["--problem.features", "return,magic"], "magic"),
    "an unknown source": (["--source.kind", "bloomberg"], "bloomberg"),
    "an option of another source": (["--source.kind", "synthetic", "--source.path", "x"], "path"),
    "a file source without a path": (["--source.kind", "file"], "source.file.path"),
    "a cost below zero": (["--evaluation.cost", "-1"], "evaluation.cost"),
    "a rate that is not a number": (["--training.learning_rate", "nan"], "training.learning_rate"),
}

MESSAGES: dict[str, tuple[list[str], str]] = {
    "a section's validator": (
        ["--training.device", "cuda"],
        "training.device=cuda requires engine=torch (got engine=numpy)",
    ),
    "a field's validator": (
        ["--ticker", "A/B"],
        "ticker: not a ticker: 'A/B'; letters, digits and . - ^ = are allowed, "
        "such as MSFT or 005930.KS",
    ),
    "an unknown kind": (
        ["--source.kind", "bloomberg"],
        "source: Input tag 'bloomberg' found using 'kind' does not match any of the expected tags: "
        "'yahoo', 'file', 'synthetic'",
    ),
    "a missing field": (["--source.kind", "file"], "source.file.path: Field required"),
    "a bound": (
        ["--training.epochs", "0"],
        "training.epochs: Input should be greater than or equal to 1 (got '0')",
    ),
}


@pytest.fixture
def shell(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Run the command line in this process; returns its exit code and the error on stderr."""

    def run(*options: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["flows.retrain", *options])
        with pytest.raises(SystemExit) as exit_:
            command_line.run(Retrain, main)
        errors = capfd.readouterr().err
        assert "Traceback" not in errors
        said = [line for line in errors.splitlines() if "error: " in line]
        assert len(said) == 1, errors
        return int(exit_.value.code or 0), said[0]

    return run


@pytest.mark.parametrize(("options", "named"), OPTIONS.values(), ids=OPTIONS)
def test_a_bad_option_is_named_before_anything_starts(
    shell: Callable[..., tuple[int, str]],
    runs: Callable[[], list[Run]],
    options: list[str],
    named: str,
) -> None:
    before = len(runs())
    code, said = shell(*options)
    assert code == 2
    assert named in said
    assert len(runs()) == before


@pytest.mark.parametrize(("options", "message"), MESSAGES.values(), ids=MESSAGES)
def test_a_bad_option_and_its_value_are_named_once(
    shell: Callable[..., tuple[int, str]], options: list[str], message: str
) -> None:
    assert shell(*options) == (2, f"error: {message}")


def test_a_validator_of_several_options_is_quoted_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["flows.universe", "--tickers", "A,A"])
    with pytest.raises(SystemExit):
        command_line.run(RetrainUniverse, main)
    assert capsys.readouterr().err == "error: tickers name A more than once\n"


@pytest.mark.parametrize(("content", "named"), FILES.values(), ids=FILES)
def test_a_bad_file_is_named_and_leaves_no_run_running(
    shell: Callable[..., tuple[int, str]],
    runs: Callable[[], list[Run]],
    content: str | bytes,
    named: str,
) -> None:
    Path("prices.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    code, said = shell("--source.kind", "file", "--source.path", "prices.csv", *QUICK, *NEW_YORK)
    assert code == 1
    assert named in said
    assert runs()[0].info.status == "FAILED"
    left = {path for path in Path().rglob("*") if path.is_file()}
    kept = {path for path in left if path.is_relative_to(vintages.ROOT)}
    ledger = {path for path in left if path.is_relative_to("data/ledger.db.claims")}
    assert left - kept - ledger == {Path("prices.csv"), Path("data/ledger.db")}
    with Ledger.open() as opened:
        assert opened.looks().empty, "something half-written was left behind"
    for path in kept:
        assert path.suffix != ".parquet" or len(vintages.read(path.stem)) == 20


def test_a_missing_file_is_named(shell: Callable[..., tuple[int, str]]) -> None:
    assert shell("--source.kind", "file", "--source.path", "nowhere.csv") == (
        1,
        "error: nowhere.csv: no such file",
    )


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:9", "nonsense://x", "sqlite:////proc/nowhere/mlflow.db"]
)
def test_a_tracking_store_that_is_not_there_is_named(
    shell: Callable[..., tuple[int, str]], monkeypatch: pytest.MonkeyPatch, uri: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    before = time.monotonic()
    code, said = shell("--source.kind", "synthetic")
    assert time.monotonic() - before < 30
    assert code == 1
    assert uri in said
    assert "MLFLOW_TRACKING_URI" in said


def test_no_environment_variable_is_mistaken_for_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ticker", "TICKER", "training", "now"):
        monkeypatch.setenv(name, '{"epochs": 3}')
    monkeypatch.setattr(sys, "argv", ["flows.retrain"])
    heard: list[Retrain] = []
    command_line.run(Retrain, heard.append)
    assert heard == [Retrain()]


def test_the_options_of_the_contract_reach_the_configuration(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = (
        "--ticker MSFT --source.kind file --source.path prices.csv --training.epochs 40 "
        "--now 2013-02-28T22:00:00Z"
    )
    monkeypatch.setattr(
        sys, "argv", ["flows.retrain", *line.split(), "--training.clip_norm", "null"]
    )
    heard: list[Retrain] = []
    command_line.run(Retrain, heard.append)
    source = {"kind": "file", "path": "prices.csv"}
    training = {"epochs": 40, "clip_norm": None}
    wanted = {
        "ticker": "MSFT",
        "source": source,
        "training": training,
        "now": "2013-02-28T22:00:00Z",
    }
    assert heard == [Retrain.model_validate(wanted)]


@pytest.mark.parametrize(
    "line",
    [
        "--tickers A B C",
        "--tickers A,B,C",
        "--tickers A --tickers B C",
        "--tickers=A --tickers B C",
    ],
)
def test_the_values_of_an_option_may_follow_it(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setattr(sys, "argv", ["flows.universe", *line.split(), "--again"])
    heard: list[RetrainUniverse] = []
    command_line.run(RetrainUniverse, heard.append)
    assert heard == [RetrainUniverse(tickers=("A", "B", "C"), again=True)]


@pytest.mark.parametrize("line", ["--ticker A left", "left --ticker B", "--again left"])
def test_a_second_value_of_an_option_of_one_is_refused(
    shell: Callable[..., tuple[int, str]], line: str
) -> None:
    assert shell(*line.split()) == (2, "error: unrecognized arguments: left")


def test_fallback_can_be_set_without_naming_yahoo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["flows.retrain", "--source.fallback", "none"])
    heard: list[Retrain] = []
    command_line.run(Retrain, heard.append)
    assert heard[0].source.fallback == "none"


def real_process(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flows.retrain", *options]
    return run(*command, environment=os.environ | environment, cwd=Path.cwd())


def test_a_real_process_says_one_line_and_minus_v_shows_the_traceback(prefect_server: str) -> None:
    missing = ("--source.kind", "file", "--source.path", "nowhere.csv")
    quiet = real_process(*missing)  # starts a Prefect server of its own, which takes seconds
    verbose = real_process("-v", *missing, PREFECT_API_URL=prefect_server)
    assert quiet.returncode == verbose.returncode == 1
    assert "Traceback" not in quiet.stdout + quiet.stderr
    assert [line for line in quiet.stderr.splitlines() if "nowhere" in line] == [
        "error: nowhere.csv: no such file"
    ]
    assert "Traceback" in verbose.stderr


def test_a_real_process_ends_with_the_table_and_the_line_that_opens_mlflow(
    prefect_server: str,
) -> None:
    options = ("--source.kind", "synthetic", "--source.days", "700", *QUICK)
    done = real_process(*options, PREFECT_API_URL=prefect_server)
    assert done.returncode == 0, done.stderr
    assert "always the majority class" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("MLflow: ")


@pytest.mark.parametrize("words", [["--edges="], ["--edges", ""], ["--series", "10", "--edges="]])
def test_an_empty_value_is_an_empty_list(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    given: list[Audit] = []
    monkeypatch.setattr(sys, "argv", ["flows.audit", *words])
    command_line.run(Audit, given.append)
    assert given[0].edges == ()


@pytest.mark.parametrize("words", [["--runs="], ["--runs", ""]])
def test_an_empty_list_where_none_is_allowed_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["flows.compare", *words])
    with pytest.raises(SystemExit):
        command_line.run(Compare, lambda _: pytest.fail("it ran"))
    assert capsys.readouterr().err == "error: runs must name two different runs (got none)\n"


@pytest.mark.parametrize("name", ["distributed.client", "distributed.scheduler"])
def test_what_dask_says_of_a_lost_scheduler_is_no_news(name: str) -> None:
    """Whatever level its loggers have: Dask sets them when it is imported."""
    record = logging.LogRecord(name, logging.ERROR, "", 0, "lost", (), None)
    assert not command_line._is_news(record)
    assert command_line._is_news(logging.makeLogRecord({"name": "flows", "msg": "lost"}))
