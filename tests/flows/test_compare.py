"""The flow `compare`, from two names to a page; and what it refuses, in one line."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from mlflow import MlflowClient

from flows import command_line
from flows.compare import Compared, compare, main
from flows.retrain import retrain
from flows.steps.summary import Summary
from flows.study import study
from flows.tracking import registry
from flows.tracking import runs as tracked
from flows.tracking.recorded import recorded
from flows.tracking.store import INFOS
from flows.universe.flow import retrain_universe
from rnn_core import commands
from rnn_core.config import File, Model
from rnn_core.errors import DataError, RnnflowError
from rnn_core.evaluation.comparison import OTHER_QUESTION
from tests.flows.conftest import AAPL, TINY

MSFT = AAPL.with_name("MSFT.csv")
GRU = TINY | {"model": Model(hidden_size=4, cell="gru")}


@pytest.fixture(scope="module")
def place(runs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{runs_folder}/mlflow.db")
        yield folder


@pytest.fixture(scope="module")
def lstm(place: Path) -> Summary:
    return retrain(ticker="PAIR", source=File(path=AAPL), **TINY)


@pytest.fixture(scope="module")
def gru(place: Path, lstm: Summary) -> Summary:
    return retrain(ticker="PAIR", source=File(path=AAPL), **GRU)


@pytest.fixture(scope="module")
def compared(place: Path, lstm: Summary, gru: Summary) -> Compared:
    return compare(runs=(lstm.run_id, gru.run_id))


def test_only_the_settings_that_differ_are_shown(compared: Compared) -> None:
    assert rows(compared, 0) == [["model.cell", TINY["model"].cell, "gru"]]
    page = Path(compared.page).read_text(encoding="utf-8")
    assert "model.cell" in page
    assert "model.hidden_size" not in page


def test_the_difference_is_that_of_the_recorded_scores(
    compared: Compared, lstm: Summary, gru: Summary
) -> None:
    client = MlflowClient()
    a, b = (client.get_run(done.run_id).data.metrics for done in (lstm, gru))
    overall = compared.comparison.overall
    assert overall.days == compared.comparison.days[0] == compared.comparison.days[1]
    assert overall.loss.value == pytest.approx(a["test/log_loss"] - b["test/log_loss"])
    assert overall.accuracy.value == pytest.approx(a["test/accuracy"] - b["test/accuracy"])


def test_the_run_says_what_was_compared_and_registers_nothing(
    compared: Compared, lstm: Summary, gru: Summary
) -> None:
    client = MlflowClient()
    experiment = client.get_experiment_by_name("compare")
    assert experiment is not None
    run = client.search_runs([experiment.experiment_id])[-1]
    assert run.info.status == "FINISHED"
    assert run.data.tags["runs.a"] == lstm.run_id
    assert run.data.tags["runs.b"] == gru.run_id
    assert run.data.tags["comparison"] == compared.comparison.headline
    assert run.data.metrics["difference/pvalue"] == compared.comparison.overall.loss.pvalue
    assert not any("look" in name or "trials" in name for name in run.data.metrics)
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert files >= {"report.html", "figures", "common-days.csv"}
    assert registry.registered(run.info.run_id) == []
    assert len(client.search_model_versions("name = 'direction-PAIR'")) == 2


def test_a_version_and_a_champion_are_runs_too(
    compared: Compared, lstm: Summary, gru: Summary
) -> None:
    champion = registry.champion("PAIR")
    assert champion is not None
    named = compare(runs=(f"PAIR/{lstm.version}", "PAIR@challenger"))
    assert (named.a.run_id, named.b.run_id) == (lstm.run_id, gru.run_id)
    assert named.a.title == f"retrain-PAIR, version {lstm.version}"
    other = gru if champion.version == lstm.version else lstm
    assert compare(runs=("PAIR@champion", other.run_id)).a.run_id == champion.run_id


def test_two_children_of_universes_with_other_prices_are_another_question(place: Path) -> None:
    for ticker, path in (("UNIA", AAPL), ("UNIM", MSFT)):
        retrain_universe(tickers=(ticker,), source=File(path=path), **TINY)
    done = compare(runs=("UNIA@champion", "UNIM@champion"))
    assert done.comparison.headline == OTHER_QUESTION
    assert [name for name, *_ in rows(done, 0)] == ["source.path", "ticker"]
    assert {name for name, *_ in rows(done, 1)} >= {"prices, SHA-256", "returns of the same days"}


def test_the_terminal_shows_it_in_80_columns(
    compared: Compared,
    lstm: Summary,
    gru: Summary,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", ["flows.compare", "--runs", lstm.run_id, gru.run_id])
    command_line.run(commands.Compare, main)
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if line[:1] in "┏┃┡│└") <= 80
    assert lines[-3].startswith(compared.comparison.headline)
    [page] = (line.removeprefix("page: ") for line in lines if line.startswith("page: "))
    assert compared.comparison.headline in Path(page).read_text(encoding="utf-8")


@pytest.fixture
def refusal(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Compare on the command line; returns the one line on stderr."""

    def run(*runs: str) -> str:
        monkeypatch.setattr(sys, "argv", ["flows.compare", "--runs", *runs])
        with pytest.raises(SystemExit):
            command_line.run(commands.Compare, main)
        [line] = re.findall("^error: (.*)$", capfd.readouterr().err, re.MULTILINE)
        return str(line)

    return run


def test_one_run_three_runs_and_the_same_run_twice_are_refused(
    refusal: Callable[..., str], lstm: Summary
) -> None:
    one = lstm.run_id
    assert refusal(one) == f"runs must name two different runs (got {one})"
    assert refusal("a", "b", "c") == "runs must name two different runs (got a, b, c)"
    assert refusal(one, one) == f"runs must name two different runs (got {one}, {one})"
    version = f"PAIR/{lstm.version}"
    assert refusal(one, version) == f"runs: {one} and {version} are the same run"


@pytest.mark.parametrize("unknown", ["0" * 32, "nonsense", "a b;c"])
def test_an_unknown_run_is_named(refusal: Callable[..., str], lstm: Summary, unknown: str) -> None:
    assert refusal(lstm.run_id, unknown).endswith(f"knows no run {unknown}")


@pytest.mark.parametrize(
    ("unknown", "missing"),
    [
        ("PAIR/99", "direction-PAIR has no version 99"),
        ("PAIR@nobody", "direction-PAIR has no version nobody"),
        ("NEVER@champion", "direction-NEVER has no version champion"),
        ("PAIR/", "direction-PAIR has no version "),
        ("PAIR/99999999999999999999", "direction-PAIR has no version 99999999999999999999"),
        ("PAIR/2147483648", "direction-PAIR has no version 2147483648"),
        (f"PAIR/{'9' * 5000}", f"direction-PAIR has no version {'9' * 5000}"),
    ],
)
def test_an_unknown_version_is_named(
    refusal: Callable[..., str], lstm: Summary, unknown: str, missing: str
) -> None:
    assert refusal(unknown, lstm.run_id).strip() == f"runs: {missing}".strip()


def test_runs_without_calls_are_refused_with_the_reason(
    refusal: Callable[..., str], lstm: Summary
) -> None:
    Path("bad.csv").write_text("Date,Close\n2020-01-01,7\n", encoding="utf-8")
    with pytest.raises(DataError):
        retrain(ticker="PAIR", source=File(path=Path("bad.csv")), **TINY)
    study(name="memory-cell", size=0.05)
    retrain_universe(tickers=("UNIP",), source=File(path=AAPL), **TINY)
    expected = {
        latest("retrain", "FAILED"): "it is FAILED; only a FINISHED run can",
        latest("study"): "it is one of study; only those of retrain and retrain-universe can",
        latest("retrain-universe", ticker=False): "it retrained 1 tickers; name the run of one",
    }
    for run_id, reason in expected.items():
        start = f"run {run_id} cannot be used: {reason}"
        assert refusal(lstm.run_id, run_id).startswith(start)


DAMAGES: dict[str, Callable[[str], str]] = {
    "empty": lambda _: "",
    "one word": lambda _: "x",
    "binary": lambda _: "\0\1\n" * 40,
    "a header alone": lambda calls: calls.splitlines()[0],
    "a column with another name": lambda calls: calls.replace("next_return", "return", 1),
    "text for a number": lambda calls: calls.replace("0.", "O.", 1),
    "text for a date": lambda calls: calls.replace("\n2", "\nz", 1),
    "no date": lambda calls: re.sub(r"\n[-0-9]+,", "\n,", calls, count=1),
    "a row cut short": lambda calls: calls[: calls.index("\n") + 20],
}


@pytest.mark.parametrize("command", ["compare", "reproduce"])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_calls_are_one_line_that_names_the_run_and_the_file(
    refusal: Callable[..., str],
    lstm: Summary,
    gru: Summary,
    damage: Callable[[str], str],
    command: str,
) -> None:
    file = Path(tracked.address(gru.run_id, "calls.csv"))
    before = file.read_text(encoding="utf-8")
    file.write_text(damage(before), encoding="utf-8")
    try:
        if command == "compare":
            line = refusal(lstm.run_id, gru.run_id)
        else:
            with pytest.raises(RnnflowError) as error:
                recorded(gru.run_id)
            line = str(error.value)
    finally:
        file.write_text(before, encoding="utf-8")
    assert re.fullmatch(rf"calls.csv of run {gru.run_id} cannot be read \(.+\)", line)
    assert recorded(gru.run_id).results["calls"]


def test_a_missing_file_of_calls_is_named(
    refusal: Callable[..., str], lstm: Summary, gru: Summary
) -> None:
    file = Path(tracked.address(gru.run_id, "calls.csv"))
    elsewhere = file.rename("moved.csv")
    try:
        line = refusal(lstm.run_id, gru.run_id)
    finally:
        elsewhere.rename(file)
    assert line.startswith(f"calls.csv of run {gru.run_id} cannot be read (")


def test_a_pruned_run_is_refused_with_the_reason(
    refusal: Callable[..., str], lstm: Summary
) -> None:
    pruned = latest("retrain")
    tracked.delete_files(MlflowClient().get_run(pruned))
    assert refusal(lstm.run_id, pruned).endswith("cannot be used: its files were pruned")


def test_a_file_is_opened_by_its_path_here_and_by_its_url_on_a_server(
    lstm: Summary, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tracked.address(lstm.run_id, "report.html")
    assert Path(here).read_text(encoding="utf-8").startswith("<!doctype html>")
    for elsewhere in ("mlflow-artifacts:/1/artifacts", "s3://bucket/artifacts"):
        info = SimpleNamespace(artifact_uri=elsewhere, experiment_id="1")
        monkeypatch.setitem(INFOS, lstm.run_id, info)
        there = tracked.address(lstm.run_id, "report.html")
        assert there == f"{tracked.url(lstm.run_id)}/artifacts/report.html"


def latest(experiment: str, status: str = "FINISHED", *, ticker: bool = True) -> str:
    """The latest run of an experiment; without a `ticker`, of those that have no such tag."""
    client = MlflowClient()
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    condition = f"attributes.status = '{status}'"
    for run in client.search_runs([found.experiment_id], condition):
        if ticker or "ticker" not in run.data.tags:
            return str(run.info.run_id)
    raise AssertionError(experiment)


def rows(done: Compared, table: int) -> list[list[str]]:
    """The cells of a table for the terminal, row by row."""
    columns = [list(column.cells) for column in done.tables()[table].columns]
    return [list(cells) for cells in zip(*columns, strict=True)]
