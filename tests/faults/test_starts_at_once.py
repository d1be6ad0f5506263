"""Several starts of one retraining at one moment, and several retrainings of one store."""

import os
import sqlite3
import sys
from pathlib import Path
from subprocess import Popen
from typing import Any

from tests.processes import start

STARTS = int(os.environ.get("RNNFLOW_STARTS", "3"))
RETRAINS = int(os.environ.get("RNNFLOW_RETRAINS", "4"))
LOAD = int(os.environ.get("RNNFLOW_LOAD", "0"))  # processes that do nothing but take cores
SMALL = (
    "--source.kind synthetic --source.days 700 --model.hidden_size 2 --training.epochs 1 "
    "--training.seeds 1 --evaluation.train_days 300 --evaluation.test_days 300 "
    "--promotion.allow_synthetic --now 2021-06-02T21:00:00Z"
)


def retrains(
    environment: dict[str, str], folder: Path, *options: str
) -> list[tuple["Popen[bytes]", Path]]:
    """Retrainings that start at the same moment, each with further options and a log."""
    command = (sys.executable, "-m", "flows.retrain", *SMALL.split())
    logs = [folder / f"{number}.log" for number in range(len(options))]
    return [
        (start(*command, *more.split(), environment=environment, cwd=folder, log=log), log)
        for more, log in zip(options, logs, strict=True)
    ]


def runs_of(environment: dict[str, str], pattern: str) -> list[str]:
    """The states of the runs whose names fit a pattern."""
    with sqlite3.connect(environment["MLFLOW_TRACKING_URI"].removeprefix("sqlite:///")) as store:
        found = store.execute("SELECT status FROM runs WHERE name LIKE ?", [pattern])
        return [status for (status,) in found]


def test_starts_with_the_same_settings_at_one_moment_retrain_once(
    environment: dict[str, str], tmp_path: Path, record_property: Any
) -> None:
    same = ["--ticker ONCE"] * STARTS
    other_seed = "--ticker ONCE --training.seed 1"
    started = retrains(environment, tmp_path, *same, other_seed)
    failed = [log.read_text() for process, log in started if process.wait(120 + 20 * STARTS)]
    assert not failed
    nothing_to_do = "nothing to do: ONCE was retrained for 2021-06-02"
    idle = [nothing_to_do in log.read_text() for _, log in started]
    assert sum(idle[:STARTS]) == STARTS - 1
    assert not idle[STARTS], "another seed is another wish"
    assert runs_of(environment, "retrain-ONCE") == ["FINISHED"] * 2
    record_property("times", STARTS)


def test_a_second_start_after_the_first_has_ended_retrains(
    environment: dict[str, str], tmp_path: Path
) -> None:
    for _ in range(2):
        [(process, log)] = retrains(environment, tmp_path, "--ticker TWICE")
        assert process.wait(300) == 0, log.read_text()
    assert runs_of(environment, "retrain-TWICE") == ["FINISHED"] * 2


def test_retrainings_of_one_store_and_one_ledger_do_not_lock_each_other_out(
    environment: dict[str, str], tmp_path: Path, record_property: Any
) -> None:
    options = [f"--ticker MANY{number}" for number in range(RETRAINS)]
    busy = (sys.executable, "-c", "while True: pass")
    load = [
        start(*busy, environment=environment, cwd=tmp_path, log=tmp_path / "busy.log")
        for _ in range(LOAD)
    ]
    started = retrains(environment, tmp_path, *options)
    ends = [process.wait(900) for process, _ in started]
    for process in load:
        process.kill()
    said = "\n".join(log.read_text() for _, log in started)
    assert ends == [0] * RETRAINS, said
    assert "is locked" not in said
    assert runs_of(environment, "retrain-MANY%") == ["FINISHED"] * RETRAINS
    record_property("times", RETRAINS)
