"""The flow `study`: what it leaves in MLflow, on made data and on prices, and what it refuses."""

import json
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from prefect.logging import disable_run_logger

from flows import command_line
from flows import study as study_flow
from flows.study import Outcome, main, study
from flows.tracking import answers
from rnn_core.commands import Study
from rnn_core.config import File, StudyTraining
from rnn_core.errors import ConfigError
from rnn_core.reporting import figures
from rnn_core.studies import STUDIES
from tests.flows.conftest import AAPL
from tests.processes import require_program

QUICK = StudyTraining(epochs=2)
NAMES = list(STUDIES)


@pytest.fixture(scope="module")
def outcome(runs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A short study on Apple's real prices, shared by the tests that look at what it left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("study"))
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{runs_folder}/mlflow.db")
        return study(
            name="direction-from-scratch", ticker="AAPL", source=File(path=AAPL), training=QUICK
        )


@pytest.fixture
def run(outcome: Outcome) -> Run:
    return MlflowClient().get_run(outcome.run_id)


def artifact(run: Run, path: str) -> Path:
    return Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=path))


def test_a_run_is_tagged_as_a_study_and_with_where_its_prices_came_from(run: Run) -> None:
    assert run.info.status == "FINISHED"
    tags = {
        "study": "direction-from-scratch",
        "engine": "numpy",
        "ticker": "AAPL",
        "data.source": "file",
    }
    assert tags.items() <= run.data.tags.items()
    assert len(run.data.tags["data.sha256"]) == 64
    assert run.data.params["training.epochs"] == "2"
    assert MlflowClient().get_experiment(run.info.experiment_id).name == "study"


def test_the_loss_of_every_epoch_and_the_scores_are_metrics(run: Run, outcome: Outcome) -> None:
    assert outcome.finding.metrics.items() <= run.data.metrics.items()
    assert "test/accuracy" in run.data.metrics
    history = MlflowClient().get_metric_history(run.info.run_id, "train/loss")
    assert [metric.step for metric in history] == [1, 2]
    assert run.data.metrics["train/seconds"] > 0


def test_figures_sentences_and_arrays_by_torchs_names_are_artifacts(
    run: Run, outcome: Outcome
) -> None:
    for name in outcome.finding.figures:
        assert artifact(run, f"figures/{name}").read_bytes().startswith(b"\x89PNG")
    assert artifact(run, "finding.txt").read_text(encoding="utf-8").splitlines() == list(
        outcome.finding.sentences
    )
    with np.load(artifact(run, "params.npz"), allow_pickle=False) as arrays:
        shapes = {name: arrays[name].shape for name in arrays.files}
    assert shapes["weight_hh_l0"] == (16, 16)
    assert shapes["weight_ih_l0"] == (16, 2)
    assert shapes["head.weight"] == (1, 16)
    assert "direction-from-scratch" in run.data.tags["mlflow.note.content"]
    settings = json.loads(artifact(run, "variants.json").read_text())["network"]
    assert (settings["training"]["learning_rate"], settings["training"]["batch_size"]) == (0.005, 1)
    assert settings["model"]["hidden_size"] == 16


def test_a_study_of_real_prices_is_a_look(outcome: Outcome) -> None:
    """Of the days it tests, which later questions pay for."""
    run = MlflowClient().get_run(outcome.run_id)
    assert int(run.data.tags["look"]) >= 1


def test_what_is_found_on_real_prices_is_said_of_them(outcome: Outcome) -> None:
    assert len(outcome.finding.sentences) == 3
    assert "make them reverse" not in outcome.finding.sentences[1]
    table = outcome.table()
    assert all(sentence in str(table.title) for sentence in outcome.finding.sentences)


@pytest.mark.parametrize("name", NAMES)
def test_every_lesson_runs_in_either_language(name: str, runs_folder: Path) -> None:
    found = study(name=name, language="ko", size=0.05, training=QUICK)
    run = MlflowClient().get_run(found.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["study"] == name
    assert run.data.tags["data.source"] == "synthetic"
    assert len(run.data.tags["data.sha256"]) == 64
    assert {"test/mse", "test/accuracy"} & run.data.metrics.keys()
    assert "train/loss" in run.data.metrics
    assert any(
        "가" <= letter <= "힣" for sentence in found.finding.sentences for letter in sentence
    )


def test_a_graph_is_drawn_where_graphviz_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    require_program("dot")
    files = {"graph.dot": "digraph { a -> b }", "table.md": "| |"}
    [(name, picture)] = answers.drawn(files).items()
    assert name == "graph.svg"
    assert "<svg" in picture
    monkeypatch.setattr("shutil.which", lambda program: None)
    assert answers.drawn(files) == {}


def test_without_a_font_for_korean_it_is_english_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(figures, "hangul_font", lambda: None)
    korean = Study(language="ko")
    said: list[str] = []
    monkeypatch.setattr(
        study_flow, "get_run_logger", lambda: type("Logger", (), {"warning": said.append})
    )
    with disable_run_logger():
        assert study_flow._in_a_language_with_a_font(korean).language == "en"
    assert len(said) == 1
    assert "no font with Hangul" in said[0]


def test_a_lesson_that_fails_leaves_no_run_running(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rnn_core.nn.engines.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="torch, which is not installed"):
        study(name="engines-agree", size=0.1, training=QUICK)
    client = MlflowClient()
    latest = client.search_runs(
        [client.get_experiment_by_name("study").experiment_id],
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )[0]
    assert latest.info.status == "FAILED"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--name", "sine-wave"], "'direction-from-scratch', 'sine-next-value', 'sine-synced'"),
        (
            ["--name", "memory-cell", "--ticker", "AAPL"],
            "ticker and source are only allowed for name=direction-from-scratch",
        ),
        (
            ["--name", "sine-synced", "--source.kind", "synthetic"],
            "ticker and source are only allowed for name=direction-from-scratch",
        ),
        (
            ["--name", "engines-agree", "--training.engine", "torch"],
            "not allowed for name=engines-agree, which runs both engines",
        ),
        (["--name", "sine-synced", "--training.engine", "jax"], "training.engine"),
        (["--size", "0"], "size"),
        (["--training.learning_rate", "1"], "--training.learning_rate"),
    ],
)
def test_what_does_not_fit_is_named_in_one_line(
    options: list[str],
    named: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["flows.study", *options])
    with pytest.raises(SystemExit) as stopped:
        command_line.run(Study, main)
    assert stopped.value.code == 2
    [line] = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert named in line


def test_the_options_of_a_study_reach_its_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    line = (
        "--ticker AAPL --source.kind file --source.path prices.csv "
        "--training.engine torch --training.epochs 3"
    )
    monkeypatch.setattr(sys, "argv", ["flows.study", *line.split()])
    heard: list[Study] = []
    command_line.run(Study, heard.append)
    assert heard == [
        Study(
            ticker="AAPL",
            source=File(path=Path("prices.csv")),
            training=StudyTraining(engine="torch", epochs=3),
        )
    ]
