"""A run is repeated from the prices it saw, bit for bit, or what differs is named."""

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from flows import command_line
from flows.forecast import forecast
from flows.prune import main as prune_main
from flows.prune import prune
from flows.reproduce import main, reproduce
from flows.retrain import retrain
from flows.steps.tickers import Outcomes
from flows.study import study
from flows.universe.flow import retrain_universe
from rnn_core.commands import Prune, Reproduce
from rnn_core.config import Evaluation, File, Model, Promotion, Synthetic, Training
from rnn_core.data import parquet, vintages
from rnn_core.errors import ConfigError, DataError
from rnn_core.safe_text import in_markdown
from tests.flows.conftest import AAPL

NOW = datetime(2021, 6, 2, 22, tzinfo=UTC)
SMALL: dict[str, Any] = {
    "source": Synthetic(days=700),
    "model": Model(hidden_size=2),
    "training": Training(epochs=2, seeds=2),
    "evaluation": Evaluation(train_days=300, valid_days=60, test_days=150),
    "promotion": Promotion(allow_synthetic=True),
    "now": NOW,
}
REPRODUCED = r"run \w+ is reproduced bit for bit: \d+ calls, \d+ arrays, \d+ metrics, verdict "


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working folder of all tests here, with one ledger and the vintages."""
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module", autouse=True)
def _module_in_place(place: Path, runs_folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{runs_folder}/mlflow.db")
        yield


@pytest.fixture(autouse=True)
def _in_place(workplace: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


@pytest.fixture(scope="module")
def run_id(_module_in_place: None) -> str:
    """A run of `retrain` that no test changes."""
    return str(retrain(ticker="AGAIN", **SMALL).run_id)


@pytest.fixture
def shell(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[int, str]]:
    """Run the command in this process; returns its exit code and its one line."""

    def run(run_id: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["flows.reproduce", "--run", run_id])
        code = 0
        try:
            command_line.run(Reproduce, main)
        except SystemExit as exit_:
            code = int(exit_.code or 0)
        out, errors = capfd.readouterr()
        assert "Traceback" not in errors
        lines = (out if code == 0 else errors).splitlines()
        (line,) = [line for line in lines if line.startswith(("run ", "error: "))]
        return code, line

    return run


def runs_of(experiment: str, condition: str = "") -> list[Run]:
    client = MlflowClient()
    number = client.get_experiment_by_name(experiment)
    return list(client.search_runs([number.experiment_id], condition)) if number else []


def vintage_of(run_id: str) -> Path:
    return vintages.path_of(MlflowClient().get_run(run_id).data.tags["data.sha256"])


def artifact(run_id: str, name: str) -> Path:
    return Path(MlflowClient().get_run(run_id).info.artifact_uri, name)


def arrays_file(run_id: str) -> Path:
    (model,) = MlflowClient().search_logged_models(
        [MlflowClient().get_run(run_id).info.experiment_id],
        filter_string=f"source_run_id = '{run_id}'",
    )
    return Path(model.artifact_location, "artifacts", "arrays.npz")


def age_vintages() -> None:
    for path in vintages.ROOT.glob("*.parquet"):
        os.utime(path, (0, time.time() - 2 * vintages.YOUNG))


# What a run leaves, to be repeated


def test_the_prices_of_a_run_are_its_dataset_and_kept(run_id: str) -> None:
    run = MlflowClient().get_run(run_id)
    (dataset_input,) = run.inputs.dataset_inputs
    dataset = dataset_input.dataset
    sha256 = run.data.tags["data.sha256"]
    assert (dataset.name, dataset.digest) == ("AGAIN", sha256[:12])
    assert {tag.key: tag.value for tag in dataset_input.tags} == {"mlflow.data.context": "training"}
    assert json.loads(dataset.source)["from"] == "synthetic"
    assert json.loads(dataset.profile) == {
        "num_rows": 700,
        "first": run.data.tags["data.first"],
        "last": "2021-06-02",
    }
    named = {column["name"] for column in json.loads(dataset.schema)["mlflow_colspec"]}
    assert named == {"close", "open", "volume"}
    file = Path(mlflow.data.get_source(dataset_input).load())
    assert file == vintage_of(run_id).resolve()
    assert vintages.read(sha256)["close"].size == 700


@pytest.mark.parametrize(
    "condition", ["dataset.name = 'AGAIN'", "dataset.digest = '{}'", "dataset.context = 'training'"]
)
def test_runs_are_found_by_their_dataset(run_id: str, condition: str) -> None:
    digest = MlflowClient().get_run(run_id).data.tags["data.sha256"][:12]
    found = runs_of("retrain", condition.format(digest))
    assert run_id in [run.info.run_id for run in found]
    assert runs_of("retrain", "dataset.name = 'NOBODY'") == []


def test_what_it_ran_with_is_recorded(run_id: str) -> None:
    versions = json.loads(artifact(run_id, "versions.json").read_text())
    assert versions["numpy"] == np.__version__
    assert {"commit", "engine", "blas", "python", "torch"} <= versions.keys()


def test_no_run_learns_from_prices_that_cannot_be_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    Path("data/vintages").write_text("not a folder")
    with pytest.raises(DataError, match="data/vintages: cannot be written to") as refusal:
        retrain(ticker="UNKEPT", **SMALL)
    assert "\n" not in str(refusal.value)
    (run,) = runs_of("retrain", "tags.ticker = 'UNKEPT'")
    assert run.info.status == "FAILED"


# What is repeated


def test_a_run_is_reproduced_and_leaves_a_record_and_nothing_else(
    run_id: str, shell: Callable[[str], tuple[int, str]]
) -> None:
    looks = len(runs_of("retrain"))
    code, line = shell(run_id)
    assert code == 0
    assert re.match(REPRODUCED, line)
    assert run_id in line
    assert "other versions" not in line
    (record,) = runs_of("reproduce", f"tags.`reproduced.run` = '{run_id}'")
    assert (record.info.status, record.data.tags["reproduced"]) == ("FINISHED", "yes")
    assert record.data.tags["mlflow.note.content"] == in_markdown(line)
    assert record.data.metrics["differences"] == 0
    assert len(runs_of("retrain")) == looks
    assert len(MlflowClient().search_model_versions("name = 'direction-AGAIN'")) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"training": Training(epochs=2, seeds=2, engine="torch")},
        {"training": Training(epochs=2, seeds=2, dtype="float32", patience=1)},
        {"model": Model(hidden_size=2, cell="gru", bidirectional=True)},
        {"evaluation": Evaluation(train_days=300, valid_days=60, test_days=150, trade="next_open")},
    ],
    ids=["torch", "float32 and early stopping", "another network", "another account"],
)
def test_runs_of_any_configuration_are_reproduced(options: dict[str, Any]) -> None:
    run_id = retrain(ticker="OPTIONS", **(SMALL | options)).run_id
    assert re.match(REPRODUCED, reproduce(run=run_id))


@pytest.mark.parametrize("sessions", ["exchange", "data"])
def test_the_source_is_not_asked_again(place: Path, sessions: str) -> None:
    file = place / f"{sessions}.csv"
    shutil.copy(AAPL, file)
    source = File(path=file, sessions=sessions)
    evaluation = Evaluation(train_days=300, valid_days=60, test_days=1000)
    run_id = retrain(ticker="AAPL", **(SMALL | {"source": source, "evaluation": evaluation})).run_id
    file.unlink()
    assert "2897 calls" in reproduce(run=run_id)


def test_later_looks_at_the_same_days_change_nothing(run_id: str) -> None:
    def run_with(rate: float) -> Run:
        training = Training(epochs=2, seeds=2, learning_rate=rate)
        summary = retrain(ticker="LOOKS", **(SMALL | {"training": training}))
        return MlflowClient().get_run(summary.run_id)

    looks = [run_with(rate) for rate in (0.001, 0.002, 0.003)]
    assert [run.data.metrics["significance/trials"] for run in looks] == [1, 2, 3]
    for run in looks:
        assert re.match(REPRODUCED, reproduce(run=run.info.run_id))
    assert run_with(0.004).data.metrics["significance/trials"] == 4


def test_the_run_of_a_ticker_of_a_universe_is_reproduced_and_that_of_all_refused() -> None:
    outcomes = retrain_universe(tickers=("UNIA", "UNIB"), **SMALL)
    assert isinstance(outcomes, Outcomes)
    (child,) = runs_of("retrain-universe", "tags.ticker = 'UNIB'")
    assert child.inputs.dataset_inputs[0].dataset.name == "UNIB"
    assert re.match(REPRODUCED, reproduce(run=child.info.run_id))
    parent = child.data.tags["mlflow.parentRunId"]
    with pytest.raises(ConfigError, match="it retrained 2 tickers; name the run of one"):
        reproduce(run=parent)


# What differs


def unsigned(run_id: str, name: str) -> Path:
    """A file of a run, as if an older version had written it, without a hash."""
    MlflowClient().delete_tag(run_id, f"sha256.{name}")
    return artifact(run_id, name)


def with_another_probability(run_id: str) -> None:
    file = unsigned(run_id, "calls.csv")
    lines = file.read_text().splitlines()
    cells = lines[7].split(",")
    cells[2] = repr(float(np.nextafter(float(cells[2]), 1)))
    file.write_text("\n".join([*lines[:7], ",".join(cells), *lines[8:], ""]))


def without_a_day(run_id: str) -> None:
    file = unsigned(run_id, "calls.csv")
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))


def with_another_weight(run_id: str) -> None:
    file = arrays_file(run_id)
    arrays = dict(np.load(file))
    arrays["params.weight_hh_l0"][1, 0, 0] += 0.25
    np.savez(file, **arrays)


def with_another_loss(run_id: str) -> None:
    MlflowClient().log_metric(run_id, "train/loss", 7.0, step=2, timestamp=int(time.time() * 1e3))


def with_another_score(run_id: str) -> None:
    MlflowClient().log_metric(run_id, "test/brier", 0.5)


def with_another_verdict(run_id: str) -> None:
    MlflowClient().set_tag(run_id, "verdict.headline", "skill")


CHANGES: dict[str, tuple[Callable[[str], object], str, str]] = {
    "a bit of a probability": (
        with_another_probability,
        r"calls \(1 of 16, probability by up to [1-9]\.\d+e-17\) differ",
        r"calls: probability differs in 1 of \d+, by up to",
    ),
    "a day": (without_a_day, r"calls \(16 of 16\) differ", r"calls: date differs: text"),
    "a weight": (
        with_another_weight,
        r"arrays \(1 of 14, params.weight_hh_l0 by up to 0.25\) differ",
        r"arrays: params.weight_hh_l0 differs in 1 of 8, by up to 0.25: ",
    ),
    "a loss": (with_another_loss, r"arrays \(1 of 14", r"arrays: train/loss differs"),
    "a score": (
        with_another_score,
        r"metrics \(1 of \d+, test/brier by up to 0\.\d+\) differ",
        r"metrics: test/brier differs, by up to 0\.\d+: 0.5, now 0\.\d+",
    ),
    "a score that is new": (
        lambda run_id: MlflowClient().log_metric(run_id, "test/new", 1.0),
        r"metrics \(1 of \d+\) differ",
        r"metrics: test/new differs: float64 \(\), now absent",
    ),
    "the verdict": (
        with_another_verdict,
        r"verdict \(1 of 9\) differ",
        r"verdict: verdict.headline differs: skill, now ",
    ),
}


@pytest.mark.parametrize(("change", "counted", "item"), CHANGES.values(), ids=CHANGES)
def test_what_differs_is_named_with_the_largest_difference(
    shell: Callable[[str], tuple[int, str]],
    change: Callable[[str], object],
    counted: str,
    item: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run_id = retrain(ticker="CHANGED", **SMALL).run_id
    change(run_id)
    code, line = shell(run_id)
    assert code == 1
    assert re.search(f"error: run {run_id} is not reproduced: {counted}", line)
    assert re.search(item, caplog.text)
    (record,) = runs_of("reproduce", f"tags.`reproduced.run` = '{run_id}'")
    assert (record.info.status, record.data.tags["reproduced"]) == ("FINISHED", "no")
    table = artifact(record.info.run_id, "differences.csv").read_text().splitlines()
    assert len(table) == 1 + record.data.metrics["differences"] > 1


def test_versions_that_have_changed_are_named() -> None:
    run_id = retrain(ticker="OLDER", **SMALL).run_id
    file = unsigned(run_id, "versions.json")
    versions = json.loads(file.read_text())
    file.write_text(json.dumps(versions | {"numpy": "1.26.0", "engine": "abacus"}))
    line = reproduce(run=run_id)
    assert re.match(REPRODUCED, line)
    assert f"numpy 1.26.0, now {np.__version__}" in line
    assert "engine abacus, now numpy" in line
    file.unlink()
    MlflowClient().set_tag(run_id, "version", "0.0.1")
    assert "rnnflow 0.0.1, now" in reproduce(run=run_id)


# What is refused


def test_a_changed_price_is_found(shell: Callable[[str], tuple[int, str]]) -> None:
    run_id = retrain(ticker="FLIPPED", **SMALL).run_id
    file = vintage_of(run_id)
    frame, notes = parquet.parsed(file.read_bytes())
    frame.iloc[-1, 0] = np.nextafter(frame.iloc[-1, 0], np.inf)
    file.write_bytes(parquet.content(frame, notes))
    before = len(runs_of("reproduce"))
    code, line = shell(run_id)
    assert code == 1
    assert line.startswith(f"error: {file}: is damaged: its prices have the SHA-256 ")
    file.unlink()
    assert shell(run_id)[1].startswith(f"error: {file}: no such file")
    assert len(runs_of("reproduce")) == before


def status(wanted: str) -> Callable[[str], str]:
    def end(run_id: str) -> str:
        MlflowClient().set_terminated(run_id, wanted)
        return run_id

    return end


def left_running(run_id: str) -> str:
    MlflowClient().update_run(run_id, status="RUNNING")
    return run_id


def without(*names: str) -> Callable[[str], str]:
    def remove(run_id: str) -> str:
        for name in names:
            artifact(run_id, name).unlink()
        return run_id

    return remove


def with_damaged_calls(run_id: str) -> str:
    file = artifact(run_id, "calls.csv")
    file.write_text(file.read_text().replace("0.", "O.", 1))
    return run_id


def of_another_version(run_id: str) -> str:
    file = unsigned(run_id, "config.json")
    settings = json.loads(file.read_text())
    settings["training"]["magic"] = 1
    file.write_text(json.dumps(settings))
    return run_id


def without_model(run_id: str) -> str:
    (model,) = MlflowClient().search_logged_models(
        [MlflowClient().get_run(run_id).info.experiment_id],
        filter_string=f"source_run_id = '{run_id}'",
    )
    MlflowClient().delete_logged_model(model.model_id)
    return run_id


def a_study() -> str:
    return str(study(name="sine-next-value", size=0.05, training={"epochs": 1}).run_id)


def pruned(run_id: str) -> str:
    _a_refused_run()  # the challenger, whose files are not pruned
    prune(days=0, keep=0, now=datetime.now(UTC) + timedelta(seconds=1))
    return run_id


def _a_refused_run() -> str:
    return str(retrain(ticker="REFUSED", **(SMALL | {"promotion": Promotion()})).run_id)


REFUSALS: dict[str, tuple[Callable[[str], str], str]] = {
    "a run that is RUNNING": (left_running, "it is RUNNING; only a FINISHED run can"),
    "a run that has FAILED": (status("FAILED"), "it is FAILED; only a FINISHED run can"),
    "a run of another version": (of_another_version, "its configuration is one of .*magic"),
    "a run without files": (without("config.json"), r"config.json of run \w+ cannot be read"),
    "a run without calls": (without("calls.csv"), r"calls.csv of run \w+ cannot be read"),
    "a run with damaged calls": (
        with_damaged_calls,
        r"calls.csv of run \w+ cannot be read \(it has changed since it was written\)",
    ),
    "a run without model": (without_model, "its files cannot be read .*its model was deleted"),
    "a pruned run": (pruned, "its files were pruned"),
}


@pytest.mark.parametrize(("make", "reason"), REFUSALS.values(), ids=REFUSALS)
def test_what_cannot_be_repeated_is_one_line(
    shell: Callable[[str], tuple[int, str]], make: Callable[[str], str], reason: str
) -> None:
    _refused(shell, make(_a_refused_run()), reason)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: "f" * 32, "knows no run ffff"),
        (lambda: "../..", "knows no run ../.."),
        (a_study, "it is one of study; only those of retrain and retrain-universe can"),
    ],
    ids=["an unknown id", "no id at all", "a study"],
)
def test_what_is_no_run_of_a_retrain_is_one_line(
    shell: Callable[[str], tuple[int, str]], make: Callable[[], str], reason: str
) -> None:
    _refused(shell, make(), reason)


def _refused(shell: Callable[[str], tuple[int, str]], named: str, reason: str) -> None:
    before = len(runs_of("reproduce"))
    code, line = shell(named)
    assert code == 1
    assert re.search(reason, line)
    assert len(runs_of("reproduce")) == before
    assert runs_of("reproduce", "attributes.status = 'RUNNING'") == []


# What pruning leaves


def test_pruning_keeps_the_vintages_that_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    skill = Promotion(allow_synthetic=True, require_skill=True)
    runs = []
    for day in range(6):  # the first becomes champion, the last is challenger
        promotion = skill if day else SMALL["promotion"]
        now = NOW + timedelta(days=day)
        runs.append(retrain(ticker="KEPT", **(SMALL | {"promotion": promotion, "now": now})).run_id)
    forecast(ticker="KEPT", now=NOW + timedelta(days=1))
    stored = {vintage_of(run) for run in runs}
    assert len(stored) == 4, "there was a weekend"
    later = datetime.now(UTC) + timedelta(days=100)
    runs_and_vintages = {
        "pruned": 5,
        "of use": 2,
        "kept": 0,
        "vintages deleted": 0,
        "vintages kept": 4,
    }
    assert prune(days=90, keep=0, now=later) == runs_and_vintages, "they were just kept"
    age_vintages()
    prune_main(Prune(days=90, keep=0, now=later))
    assert "0 pruned, 2 of use, 0 kept, 1 vintages deleted, 3 vintages kept" in (
        capfd.readouterr().out
    )
    needed = {"champion": runs[0], "of a forecast": runs[1], "challenger": runs[-1]}
    assert set(vintages.ROOT.glob("*.parquet")) == {vintage_of(run) for run in needed.values()}
    for run in (runs[0], runs[-1]):
        assert re.match(REPRODUCED, reproduce(run=run))


def test_pruning_keeps_the_prices_that_each_question_was_asked_of_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One question is asked on three days, another one once; two of four vintages stay."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    rows = pd.read_csv(AAPL)
    source = {"source": File(path=Path("prices.csv"), exchange="XNYS")}

    def asked(days: int, **options: Any) -> Path:
        rows.head(days).to_csv("prices.csv", index=False)
        return vintage_of(retrain(ticker="ASKED", **(SMALL | source | options)).run_id)

    daily = [asked(days) for days in (700, 701, 702)]
    once = asked(650, model=Model(hidden_size=3))
    age_vintages()
    later = datetime.now(UTC) + timedelta(days=100)
    MlflowClient().delete_registered_model("direction-ASKED")  # no run is of use by its model
    assert prune(days=90, keep=0, now=later)["pruned"] == 4
    kept = set(vintages.ROOT.glob("*.parquet"))
    assert {daily[2], once} <= kept
    assert kept - {daily[2], once} <= {daily[0]}, "the base that they rest on"
