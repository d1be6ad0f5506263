#!/usr/bin/env bash
# mlflow 3.17.2: runs that log the same new dataset at the same moment lose it, with a database error.
#
# `log_inputs` first asks which datasets the experiment knows, then inserts those it does not. Between the two another run may have
# inserted the same one: the unique constraint on name and digest fails, and the run has no dataset. Nothing is tried again. Whoever
# trains several models at once on one day's prices meets it, although every call is correct. Called again, it succeeds.
# Seen, of 80 runs in 8 threads on SQLite, 8 at a time with a dataset of their own: some calls fail with `IntegrityError: UNIQUE
# constraint failed: datasets.experiment_id, datasets.name, datasets.digest`; once repeated, none.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check mlflow==3.17.2 2>/dev/null
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import logging
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput
from mlflow.exceptions import MlflowException

logging.disable(logging.CRITICAL)
client = MlflowClient("sqlite:///mlflow.db")
experiment = client.create_experiment("daily")
runs = [client.create_run(experiment).info.run_id for _ in range(80)]
together = Barrier(8)


def log(number: int) -> tuple[str, str]:
    """Return the errors of the first and of the second call."""
    prices = Dataset("prices", f"day {number // 8}", "local", "{}")
    together.wait()
    errors = []
    for _ in range(2):
        try:
            client.log_inputs(runs[number], [DatasetInput(prices)])
            errors.append("")
        except MlflowException as error:
            errors.append(str(error))
    return errors[0], errors[1]


with ThreadPoolExecutor(8) as pool:
    first, second = zip(*pool.map(log, range(80)))
lost = [error for error in first if error]
print(f"{len(lost)} of 80 first calls fail, {sum(map(bool, second))} of 80 second ones")
print(next(iter(lost), "")[:150])
assert len(lost) >= 3
assert all("UNIQUE constraint failed: datasets" in error for error in lost)
assert not any(second)
PYTHON
