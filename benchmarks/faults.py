"""Every fault of docs/reliability.md, as often as its table says: about three hours.

Each is tried by tests with real processes, which environment variables repeat. A row is kept as
soon as it is measured; a fault of which a test fails is named, and its row is not kept. With
numbers, `python -m benchmarks.faults 1 3`, only those rows of the table are measured.
"""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.rounds import RESULTS

FILE = RESULTS / "faults.json"
CHECKOUT = Path(__file__).parents[1]
VERSIONS = {package: version(package) for package in ("prefect", "mlflow", "distributed")}
COUNTS = ("times", "lost", "doubled", "stuck")
COLUMNS = ("fault", "times", "outcome", "lost", "doubled", "stuck", "command")


@dataclass(frozen=True)
class Fault:
    """A fault, and the tests that try it.

    Attributes:
        name: The fault.
        outcome: The end of each trial, in a few words.
        tests: Arguments of pytest.
        variables: Environment variables that say how often.
    """

    name: str
    outcome: str
    tests: str
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """The command that repeats it at the shell."""
        settings = [f"{name}={value}" for name, value in self.variables.items()]
        return " ".join([*settings, "pytest", self.tests])


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    fault: str
    times: int
    outcome: str
    lost: int
    doubled: int
    stuck: int
    command: str


KILLED = ("retrain", "universe", "forecast", "score", "rollback", "prune")
FAULTS = (
    *(
        Fault(
            f"{work} killed before each of its writes, and at 167 random moments",
            "one rerun completes the work",
            f"tests/faults/test_kills.py -k 'started_again and {work}'",
            {"KILLS": "1", "KILLERS": "2"},
        )
        for work in KILLED
    ),
    Fault(
        "a process ends during its run, in six ways",
        "the run is closed, at once or by the next start",
        "tests/faults/test_runs_end.py -k 'does_not_stay or sigterm'",
        {"FAULT_TIMES": "10"},
    ),
    Fault(
        "rollback and promotion killed before each of their writes",
        "a rerun finishes the same decision",
        "tests/faults/test_decisions.py -k started_again",
    ),
    Fault(
        "power cut during retrain/daily",
        "the next run of the schedule runs",
        "tests/faults/test_stack_heals.py -k power_cut",
        {"POWER_CUTS": "10"},
    ),
    Fault(
        "a program of the stack, or all of it, killed",
        "it is started again",
        "tests/faults/test_stack_heals.py -k 'dies or killed_stack'",
    ),
    Fault(
        "MLflow lost, or answering 500, at any request of a retrain",
        "one line; a rerun records the same training",
        "tests/faults/test_tracking_lost.py -k 'any_request or was_killed'",
        {"FAULT_TIMES": "10"},
    ),
    Fault(
        "disk full at any write of MLflow's database or of the ledger",
        "one line; a rerun records the same training",
        "tests/faults/test_tracking_lost.py -k full",
        {"FAULT_TIMES": "10"},
    ),
    Fault(
        "MLflow's database, an experiment or a run deleted, the store moved, a foreign champion",
        "one line; the next retrain works",
        "tests/flows/test_store_changed.py",
    ),
    Fault(
        "Prefect's server absent, or lost in the middle",
        "one line; the work is recorded",
        "tests/faults/test_prefect_lost.py",
    ),
    Fault(
        "PostgreSQL restarted",
        "no statement fails",
        "tests/faults/test_postgres_restarts.py",
    ),
    Fault(
        "a file of a model, of its configuration or of a calendar damaged",
        "refused in one line; calendars are built again",
        "tests/faults/test_damaged_files.py",
    ),
    Fault(
        "a Dask worker or the scheduler lost, a worker out of memory",
        "each ticker once, or listed with its reason",
        "tests/faults/test_dask.py",
    ),
    Fault(
        "20 starts of one retraining at the shell at once",
        "one retraining",
        "tests/faults/test_starts_at_once.py -k same_settings",
        {"RNNFLOW_STARTS": "20"},
    ),
    Fault(
        "20 starts of retrain/daily at once, two of retrain/adhoc",
        "one retraining each",
        "tests/faults/test_queue.py -k starts",
        {"RNNFLOW_STARTS": "20"},
    ),
    Fault(
        "eight retrainings of one SQLite store at once, at a load of 16",
        "none is locked out",
        "tests/faults/test_starts_at_once.py -k lock",
        {"RNNFLOW_RETRAINS": "8", "RNNFLOW_LOAD": "8"},
    ),
    Fault(
        "200 runs of retrain/adhoc queued at one worker",
        "each completes once, memory is flat",
        "tests/faults/test_queue.py -k queued",
        {"RNNFLOW_QUEUED": "200"},
    ),
)


def main(faults: Sequence[Fault] = FAULTS) -> list[str]:
    """Try each fault, and print and keep its row of the table."""
    broken = []
    for fault in faults:
        counts, failed = _tried(fault)
        counted = {name: counts[name] for name in COUNTS}
        row = asdict(Row(fault.name, outcome=fault.outcome, command=fault.command, **counted))
        print(_line(row), flush=True)
        if failed:
            broken.append(f"{fault.name}: {failed} of the tests failed: {fault.command}")
        else:
            _keep(row)
    return broken


def _keep(row: dict[str, object]) -> None:
    others = [other for other in _kept() if other["fault"] != row["fault"]]
    place = [fault.name for fault in FAULTS].index
    rows = sorted([*others, row | VERSIONS], key=lambda kept: place(str(kept["fault"])))
    FILE.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


def _kept() -> list[dict[str, object]]:
    """Return the rows that were kept of the faults that are tried today."""
    if not FILE.exists():
        return []
    names = {fault.name for fault in FAULTS}
    return [row for row in json.loads(FILE.read_text())["rows"] if row["fault"] in names]


def table() -> str:
    """Return the table of docs/reliability.md, as it was measured last."""
    head = [f"| {' | '.join(COLUMNS)} |", "|---|--:|---|--:|--:|--:|---|"]
    return "\n".join([*head, *map(_line, _kept())])


def _line(row: Mapping[str, object]) -> str:
    told = row | {"times": f"{row['times']:,}", "command": f"`{row['command']}`"}
    return f"| {' | '.join(str(told[column]) for column in COLUMNS)} |"


def _tried(fault: Fault) -> tuple[Counter[str], int]:
    """Return what the tests have counted, and how many of them failed, or 1 if there were none.

    A test that counts nothing has tried its fault once, and asserts that nothing else is the case.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ("--quiet", "--numprocesses", "0", "--junitxml", str(report))
        command = [sys.executable, "-m", "pytest", *options, *shlex.split(fault.tests)]
        subprocess.run(command, cwd=CHECKOUT, env=os.environ | fault.variables, check=False)
        cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314  by pytest
    counts = Counter[str]()
    for case in cases:
        told = {one.get("name", ""): one.get("value", "") for one in case.iter("property")}
        counts["times"] += int(told.get("times", 1))
        counts.update({name: int(told.get(name, 0)) for name in COUNTS[1:]})
    outcomes = ("failure", "error", "skipped")
    failed = sum(any(case.find(name) is not None for name in outcomes) for case in cases)
    return counts, failed if cases else 1


if __name__ == "__main__":
    sys.exit("\n".join(main([FAULTS[int(number) - 1] for number in sys.argv[1:]])) or 0)
