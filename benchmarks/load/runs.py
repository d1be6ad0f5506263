"""MLflow's SQLite store with ten thousand runs: how much slower a retrain becomes.

`python -m benchmarks.load.runs` retrains in the present folder, and prints the seconds of each.
"""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.rounds import RESULTS, machine

RUNS = 10_000
TICKERS = 40  # so each has been retrained for a year
ROUNDS = 5
RETRAINS = 3  # in a round, after one that does not count
MOST = 1.2  # times as long as without the runs
CLOSE = datetime(2021, 6, 1, 22, tzinfo=UTC)
RUN, MODEL = "copies.run", "copies.model"
NAME = "'direction-' || copies.ticker"
OF_COPY = (
    "CASE key WHEN 'ticker' THEN copies.ticker WHEN 'session' THEN copies.session ELSE value END"
)
COPIED: dict[str, dict[str, str]] = {
    "runs": {"run_uuid": RUN, "name": "'retrain-' || copies.ticker"},
    "params": {"run_uuid": RUN, "value": OF_COPY},
    "tags": {"run_uuid": RUN, "value": OF_COPY},
    "metrics": {"run_uuid": RUN},
    "latest_metrics": {"run_uuid": RUN},
    "inputs": {"input_uuid": RUN, "destination_id": RUN},
    "logged_models": {"model_id": MODEL, "source_run_id": RUN},
    "logged_model_tags": {"model_id": MODEL},
    "model_versions": {"name": NAME, "version": "copies.version", "run_id": RUN},
    "model_version_tags": {"name": NAME, "version": "copies.version"},
}
"""Tables of MLflow, each with the columns of which a copy has its own."""
COPIES = """
CREATE TEMP TABLE copies AS
WITH RECURSIVE numbers(number) AS (
    SELECT 0 UNION ALL SELECT number + 1 FROM numbers WHERE number < :last
)
SELECT printf('%032x', number) AS run, 'm-' || printf('%032x', number) AS model,
    'T' || (number % :tickers) AS ticker, number / :tickers + 2 AS version,
    date(:close, -(number / :tickers + 1) || ' days') AS session
FROM numbers
"""


@dataclass(frozen=True)
class Row:
    """Seconds of a retrain, the median of all rounds, and the median ratio of a round."""

    runs: int
    seconds: float
    ratio: float


def main() -> list[str]:
    """Retrain in turn beside few runs and beside many."""
    with tempfile.TemporaryDirectory(prefix="runs-") as folder:
        few, many = Path(folder, "few"), Path(folder, "many")
        for store in (few, many):
            store.mkdir()
            _retrain_in(store, 0)
        _fill(many / "mlflow.db")
        taken: list[tuple[float, float]] = []
        for number in range(1, ROUNDS + 1):
            taken.append((_retrain_in(few, number), _retrain_in(many, number)))
    ratio = median(with_many / with_few for with_few, with_many in taken)
    rows = [
        Row(0, median(seconds for seconds, _ in taken), 1.0),
        Row(RUNS, median(seconds for _, seconds in taken), ratio),
    ]
    for row in rows:
        print(f"beside {row.runs:6,} runs: {row.seconds:.2f} s a retrain, {row.ratio:.2f} times")
    content = {"machine": machine(), "rows": [asdict(row) for row in rows]}
    (RESULTS / "runs.json").write_text(json.dumps(content, indent=1) + "\n")
    if ratio > MOST:
        return [f"beside {RUNS} runs a retrain takes {ratio:.2f} times as long; {MOST} is allowed"]
    return []


def _retrain_in(folder: Path, number: int) -> float:
    """Retrain in a process of its own, and return the median of its seconds."""
    environment = os.environ | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "LEDGER_URL": f"sqlite:///{folder}/ledger.db",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    command = [sys.executable, "-m", "benchmarks.load.runs", str(number)]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return median(map(float, done.stdout.split()))


def _fill(file: Path) -> None:
    """Copy the run of the store, with its model and its version, many times."""
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        values = {"last": RUNS - 1, "tickers": TICKERS, "close": f"{CLOSE:%Y-%m-%d}"}
        connection.execute(COPIES, values)
        for number in range(1, TICKERS):
            connection.execute(
                "INSERT INTO registered_models SELECT ?, creation_time, last_updated_time, "
                "description, workspace FROM registered_models WHERE name = 'direction-T0'",
                [f"direction-T{number}"],
            )
        for table, own in COPIED.items():
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            chosen = ", ".join(own.get(column, f"of_one.{column}") for column in columns)
            connection.execute(
                f"INSERT INTO {table} SELECT {chosen} "  # noqa: S608  the names above
                f"FROM (SELECT * FROM {table}) AS of_one, copies"
            )


def _retrain(number: int) -> None:
    """Retrain a ticker without Prefect, and print the seconds: on synthetic prices, at once."""
    from flows.steps import learning  # reads the environment
    from flows.steps.once import once_for_a_session
    from rnn_core.commands import Retrain
    from rnn_core.config import Evaluation, Model, Promotion, Synthetic, Training
    from rnn_core.data import loading

    for repeated in range(RETRAINS + 1 if number else 1):
        config = Retrain(
            ticker="T0",
            source=Synthetic(days=700),
            model=Model(hidden_size=2),
            training=Training(epochs=1, seeds=1),
            evaluation=Evaluation(train_days=300, valid_days=60, test_days=300),
            promotion=Promotion(allow_synthetic=True),
            now=CLOSE + timedelta(days=7 * number + repeated),
        )
        began = perf_counter()
        with once_for_a_session(config) as earlier_run:
            if earlier_run is not None:
                raise RuntimeError(f"{config.time} was retrained for by run {earlier_run}")
            prices = loading.load(config.source, config.ticker, config.time)
            learning.learn_one_of_many(config, prices, parent="", flow_run_id="")
        if repeated or not number:
            print(perf_counter() - began)


if __name__ == "__main__":
    _retrain(int(sys.argv[1]))
