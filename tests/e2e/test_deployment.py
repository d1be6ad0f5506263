"""Use the deployments as a user does, with a real server and a worker in another folder."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Run

from tests.e2e.prefect_site import Site
from tests.processes import CHECKOUT, processes, wait_for

PRICES = {"kind": "file", "path": str(CHECKOUT / "tests/data/AAPL.csv")}
LEFT_BEHIND = ("mlruns", "mlartifacts", "mlflow.db", "data/prices", "data/ledger.db", ".prefect")


def test_a_run_by_hand_is_completed_recorded_and_registered(site: Site) -> None:
    before = [name for name in LEFT_BEHIND if (CHECKOUT / name).exists()]
    flow_run, done = site.retrain(
        "--watch", ticker="AAPL", source=PRICES, training={"epochs": 2, "seeds": 1}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Completed" in done.stdout

    run = _tracked(site, flow_run)
    assert run.info.status == "FINISHED"
    assert 0.4 < run.data.metrics["test/accuracy"] < 0.6
    [version] = site.mlflow.search_model_versions("name = 'direction-AAPL'")
    assert version.run_id == run.info.run_id

    assert Path(run.info.artifact_uri).is_relative_to(site.folder)
    assert [name for name in LEFT_BEHIND if (CHECKOUT / name).exists()] == before


def test_a_failing_run_is_failed_everywhere_and_quotes_no_file_elsewhere(site: Site) -> None:
    flow_run, done = site.retrain(
        "--watch", ticker="AAPL", source={"kind": "file", "path": "/etc/passwd"}
    )
    assert done.returncode == 1
    assert site.state(flow_run) == "FAILED"
    run = _tracked(site, flow_run)
    assert run.info.status == "FAILED"
    folder = CHECKOUT / "tests/data"
    assert f"source.path /etc/passwd is outside {folder}" in run.data.tags["error"]
    logs = site.ask("/logs/filter", {"logs": {"flow_run_id": {"any_": [flow_run]}}})
    assert "root:" not in str(logs) + str(site.ended(flow_run)) + done.stdout


def test_a_killed_run_is_crashed_and_its_mlflow_run_closed(site: Site) -> None:
    flow_run = _start_a_long_run(site)
    [pid] = (
        pid
        for pid, command in processes("PREFECT__FLOW_RUN_ID", flow_run).items()
        if "prefect.engine" in command
    )
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: site.state(flow_run) == "CRASHED", "the flow run to be Crashed")
    wait_for(
        lambda: _tracked(site, flow_run).info.status == "FAILED", "the MLflow run to be FAILED"
    )


def test_a_cancelled_run_is_cancelled_and_its_mlflow_run_killed(site: Site) -> None:
    flow_run = _start_a_long_run(site)
    assert site.prefect("flow-run", "cancel", flow_run).returncode == 0
    wait_for(
        lambda: _tracked(site, flow_run).info.status == "KILLED", "the MLflow run to be KILLED"
    )
    wait_for(lambda: site.state(flow_run) == "CANCELLED", "the flow run to be Cancelled")


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"training": {"epochs": 0}}, "training.epochs"),
        ({"tickr": "AAPL"}, "tickr"),
        ({"model": {"cel": "gru"}}, "cel"),
    ],
)
def test_wrong_parameters_are_refused_by_name_before_a_run_starts(
    site: Site, parameters: dict[str, Any], field: str
) -> None:
    runs = {"deployments": {"id": {"any_": [site.deployment("adhoc")["id"]]}}}
    before = site.ask("/flow_runs/count", runs)
    _, done = site.retrain(**parameters)
    assert done.returncode == 1
    assert f"'{field}'" in done.stdout + done.stderr
    assert site.ask("/flow_runs/count", runs) == before


def _start_a_long_run(site: Site) -> str:
    """The id of a flow run that is training and would be for hours."""
    endless = {"epochs": 100_000, "patience": 100_000, "seeds": 1}
    flow_run, done = site.retrain(ticker="AAPL", source=PRICES, training=endless)
    assert done.returncode == 0, done.stdout + done.stderr
    training = {
        "flow_runs": {"id": {"any_": [flow_run]}},
        "task_runs": {"name": {"like_": "train-"}, "state": {"type": {"any_": ["RUNNING"]}}},
    }
    wait_for(lambda: site.ask("/task_runs/count", training), "the training to begin")
    assert _tracked(site, flow_run).info.status == "RUNNING"
    return flow_run


def _tracked(site: Site, flow_run: str) -> Run:
    run = site.tracked(flow_run)
    assert run is not None
    return run
