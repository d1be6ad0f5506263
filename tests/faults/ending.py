"""Runs whose process ends before their work does, in every way, and what the next start does then.

Run in a process of its own, in an empty folder: `python -m tests.faults.ending TIMES`. It prints a
line of JSON for each end. The processes are forked from one that has imported everything and opened
nothing.
"""

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from mlflow import MlflowClient

from flows.tracking import registry, runs
from flows.tracking.store import client, experiment_id
from flows.universe.processes import IMPORTED
from rnn_core import owners
from rnn_core.commands import Retrain

TICKER = "MSFT"
STORE = "sqlite:///mlflow.db"
WAYS: dict[str, Callable[[], object]] = {
    "SIGKILL": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "SIGTERM": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "SIGHUP": lambda: os.kill(os.getpid(), signal.SIGHUP),
    "os._exit(3)": lambda: os._exit(3),
    "sys.exit(3)": lambda: sys.exit(3),
    "sys.exit()": lambda: sys.exit(),
}


def begin_and_end(way: str) -> None:
    """Start a run and a child of it, leave all that can be left half done, and end the process."""
    folder = owners.temporary_folder()
    folder.__enter__()
    config = Retrain(ticker=TICKER)
    with runs.start("retrain", TICKER, config, {"ticker": TICKER}, "none") as run_id:
        child = {"ticker": TICKER, "mlflow.parentRunId": run_id}
        with runs.start("retrain", TICKER, config, child, "none"):
            client().create_logged_model(experiment_id("retrain"), source_run_id=run_id)
            logged = client().create_logged_model(experiment_id("retrain"), source_run_id=run_id)
            registry._register_challenger(
                TICKER, run_id, logged.model_id, {"verdict": "none"}, manifest=""
            )
            WAYS[way]()


def next_start() -> tuple[dict[str, Any], dict[str, Any]]:
    """Start and finish a run; return the state before and after."""
    left = state()
    with runs.start("study", "next", Retrain(), {}, "none"):
        pass
    return left, state()


def state() -> dict[str, Any]:
    """Return what the latest two runs of `retrain` have left behind."""
    store = MlflowClient(STORE)
    experiment = store.get_experiment_by_name("retrain").experiment_id
    latest = list(store.search_runs([experiment], max_results=2))
    models = store.search_logged_models([experiment])
    name = registry.model_name(TICKER)
    return {
        "statuses": [run.info.status for run in latest],
        "errors": [run.data.tags.get("error", "") for run in latest],
        "pending": sum(str(model.status) == "PENDING" for model in models),
        "versions": len(store.search_model_versions(f"name = '{name}'")),
        "aliases": store.get_registered_model(name).aliases,
        "folders": len(list(Path(gettempdir()).glob("rnnflow+*"))),
    }


def import_all() -> None:
    """Import what the processes would import one after the other."""
    for name in (*IMPORTED, "mlflow.pyfunc", "mlflow.store.model_registry.sqlalchemy_store"):
        import_module(name)


def in_a_process(work: Callable[..., Any], *arguments: Any) -> Any:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(work, arguments)


def report(way: str) -> None:
    process = multiprocessing.get_context("fork").Process(target=begin_and_end, args=(way,))
    process.start()
    process.join()
    left, closed = in_a_process(next_start)
    line = {"way": way, "code": process.exitcode, "left": left, "closed": closed}
    print(json.dumps(line), flush=True)  # noqa: T201


if __name__ == "__main__":
    import_all()
    for _ in range(int(sys.argv[1])):
        for way in WAYS:
            report(way)
