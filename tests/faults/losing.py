"""Retrains whose MLflow or ledger is lost in the middle, and that are started again.

Run in a process of its own, in an empty folder: `python -m tests.faults.losing FAULT TIMES DOOR`
prints a line of JSON for each trial. DOOR is the port of `tests.faults.door` before an MLflow
server; `mlflow.db is full` and `ledger.db is full` need none. Each retrain is a process of its own,
forked from one that has imported everything and opened nothing.
"""

import json
import os
import shutil
import sys
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import mlflow
import numpy as np
from mlflow import MlflowClient
from sqlalchemy import Connection, Engine, event

from flows.steps import learning, unrecorded
from flows.steps.once import once_for_a_wish
from flows.steps.summary import Laps
from flows.tracking import records, runs
from flows.tracking.store import experiment_id
from rnn_core.commands import Retrain
from rnn_core.config import Evaluation, File, Model, Training
from rnn_core.data import loading
from rnn_core.errors import RnnflowError
from rnn_core.nn.training import Fit, fit
from rnn_core.operations.ledger import Ledger
from tests.faults.ending import import_all, in_a_process

AAPL = Path(__file__).parents[1] / "data" / "AAPL.csv"
NOW = datetime(2013, 3, 2, tzinfo=UTC)
FULL = " is full"
WRITES = ("INSERT", "UPDATE", "DELETE")


def config_of(ticker: str) -> Retrain:
    return Retrain(
        ticker=ticker,
        source=File(path=AAPL),
        model=Model(hidden_size=2),
        training=Training(epochs=1, seeds=1),
        evaluation=Evaluation(train_days=300, valid_days=60, test_days=1000),
        now=NOW,
    )


def retrain(ticker: str) -> None:
    """Do what `flows.retrain` does, without Prefect; note each training in the file `trainings`."""
    config = config_of(ticker)
    learning.fit = counted_fit  # type: ignore[assignment]
    with once_for_a_wish(config, datetime.now(UTC)) as earlier_run:
        if earlier_run is not None:
            return
        with runs.start("retrain", ticker, config, learning.tags(config), "none") as run_id:
            prices = loading.load(config.source, ticker, NOW)
            records.log_prices(run_id, prices)
            learning.learn(config, prices, run_id, Laps(), only=())


def counted_fit(*arguments: Any) -> Fit:
    with Path("trainings").open("a") as file:
        file.write("x")
    return fit(*arguments)


def outcome(ticker: str, fault: str = "", number: int = 0) -> tuple[str, str, int]:
    """Retrain; return the class and the text of the error, and how many writes there were."""
    writes = 0

    @event.listens_for(Engine, "before_cursor_execute")
    def _fill(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
        nonlocal writes
        file = str(connection.engine.url.database)
        if fault.endswith(FULL) and not file.endswith(fault.removesuffix(FULL)):
            return
        if statement.lstrip().upper().startswith(WRITES):
            writes += 1
            if fault.endswith(FULL) and writes >= number:
                # The file cannot grow; large rows make sure that it has to
                cursor.execute("PRAGMA max_page_count = 1")

    try:
        retrain(ticker)
    except RnnflowError as error:
        return type(error).__name__, str(error), writes
    return "", "", writes


def state(ticker: str) -> dict[str, Any]:
    """Return what is recorded of a ticker."""
    store = MlflowClient()
    experiment = store.get_experiment_by_name("retrain")
    found = store.search_runs([experiment.experiment_id], f"tags.ticker = '{ticker}'")
    finished = [run for run in found if run.info.status == "FINISHED"]
    models = store.search_logged_models([experiment.experiment_id])
    mine = {run.info.run_id for run in found}
    with Ledger.open() as ledger:
        looks = ledger.looks(ticker)
        promotions = len(ledger.promotions(ticker))
    return {
        "statuses": sorted(run.info.status for run in found),
        "versions": len(store.search_model_versions(f"name = 'direction-{ticker}'")),
        "pending": sum(m.source_run_id in mine and str(m.status) == "PENDING" for m in models),
        "calls": [_calls(run.info.run_id) for run in finished],
        "engine": [run.data.tags["engine.used"] for run in finished],
        "looks": sorted(set(looks["number"])),
        "promotions": promotions,
        "trainings": len(Path("trainings").read_text()),
        "kept": len(list(unrecorded.ROOT.glob("*"))),
    }


def _calls(run_id: str) -> str:
    path = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="calls.csv")
    return sha256(Path(path).read_bytes()).hexdigest()


def trial(fault: str, number: int, door: str) -> dict[str, Any]:
    """Let a fault happen in the middle of a retrain; start the retrain again when it has passed."""
    ticker = f"T{fault.split('.')[0].upper()}{number}"  # the trials at a server share its store
    folder = Path(ticker).absolute()
    folder.mkdir()
    os.chdir(folder)
    os.environ["LEDGER_URL"] = f"sqlite:///{folder}/ledger.db"
    if fault.endswith(FULL):
        shutil.copy("../template.db", "mlflow.db")
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    else:
        os.environ["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{door}"
        turn(door, fault, number)
    error, text, _ = in_a_process(outcome, ticker, fault, number)
    if not fault.endswith(FULL):
        turn(door, "open", 0)
    again = in_a_process(outcome, ticker) if error else ("", "", 0)
    found = in_a_process(state, ticker)
    os.chdir("..")
    return {
        "fault": fault,
        "number": number,
        "error": error,
        "text": text,
        "again": " ".join(again[:2]),
        **found,
    }


def turn(door: str, fault: str, number: int) -> int:
    with urlopen(f"http://127.0.0.1:{door}/-/{fault}/{number}") as answer:
        return int(answer.read())


def steps(fault: str, door: str) -> int:
    """Return how many requests or writes an undisturbed retrain makes; the store is ready then."""
    if not fault.endswith(FULL):
        os.environ["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{door}"
        in_a_process(retrain, "READY")
        turn(door, "open", 0)
        in_a_process(retrain, "STEPS")
        return turn(door, "open", 0)
    os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///template.db"
    in_a_process(experiment_id, "retrain")
    shutil.copy("template.db", "steps.db")
    os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///steps.db"
    every = 1_000_000
    file = "steps" if "mlflow" in fault else "ledger"
    return int(in_a_process(outcome, "STEPS", f"{file}.db{FULL}", every)[2])


def main(fault: str, times: int, door: str) -> None:
    import_all()
    count = steps(fault, door)
    for number in np.unique(np.linspace(1, count, times).astype(int)):
        print(json.dumps(trial(fault, int(number), door)), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
