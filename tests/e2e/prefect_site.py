"""A Prefect server with a worker, and what a user asks of them."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import httpx
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.processes import run, wait_for

ENDS = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@dataclass(frozen=True)
class Site:
    """A server with a worker, in a temporary folder."""

    address: str
    folder: Path  # neither the checkout nor the worker's
    environment: dict[str, str]

    @property
    def mlflow(self) -> MlflowClient:
        return MlflowClient(self.environment["MLFLOW_TRACKING_URI"])

    def prefect(self, *arguments: str) -> "CompletedProcess[str]":
        """What a user types after `prefect`."""
        return run("prefect", *arguments, environment=self.environment, cwd=self.folder)

    def retrain(self, *options: str, **parameters: Any) -> tuple[str, "CompletedProcess[str]"]:
        """Run `retrain/adhoc` with these parameters, as `ad_hoc` does."""
        return self.ad_hoc("retrain", *options, **parameters)

    def ad_hoc(
        self, flow: str, *options: str, **parameters: Any
    ) -> tuple[str, "CompletedProcess[str]"]:
        """Run `flow/adhoc` with these parameters, as `deployed` does."""
        return self.deployed(f"{flow}/adhoc", *options, **parameters)

    def deployed(
        self, deployment: str, /, *options: str, **parameters: Any
    ) -> tuple[str, "CompletedProcess[str]"]:
        """Run a deployment; return the flow run's id (empty if there is none) and the output."""
        values = (
            value if isinstance(value, str) else json.dumps(value) for value in parameters.values()
        )
        said = [
            part
            for name, value in zip(parameters, values, strict=True)
            for part in ("-p", f"{name}={value}")
        ]
        done = self.prefect("deployment", "run", deployment, *said, *options)
        found = re.search(r"UUID: (\S+)", done.stdout)
        return found[1] if found else "", done

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """GET from the API, or POST a body; try again while the server's SQLite is locked."""
        method = "GET" if body is None else "POST"

        def answer() -> httpx.Response | None:
            response = httpx.request(method, f"{self.address}/api{path}", json=body, timeout=60)
            return None if response.status_code == httpx.codes.SERVICE_UNAVAILABLE else response

        return wait_for(answer, path).raise_for_status().json()

    def deployment(self, name: str) -> dict[str, Any]:
        """A deployment of the flow `retrain`."""
        answer: dict[str, Any] = self.ask(f"/deployments/name/retrain/{name}")
        return answer

    def state(self, flow_run_id: str) -> str:
        """The type of the state that a flow run is in."""
        return str(self.ask(f"/flow_runs/{flow_run_id}")["state_type"])

    def ended(self, flow_run_id: str) -> dict[str, Any]:
        """The state that a flow run ends in, with its `type` and `message`; waits for it."""
        wait_for(lambda: self.state(flow_run_id) in ENDS, "the flow run to end")
        state: dict[str, Any] = self.ask(f"/flow_runs/{flow_run_id}")["state"]
        return state

    def tracked(self, flow_run_id: str) -> Run | None:
        """The MLflow run of a flow run."""
        experiments = [experiment.experiment_id for experiment in self.mlflow.search_experiments()]
        found = self.mlflow.search_runs(
            experiments, f"tags.`prefect.flow_run_id` = '{flow_run_id}'"
        )
        return found[0] if found else None
