"""Every fault of docs/reliability.md, as often as its table says: about three hours.

Each is a test of `tests/faults` with real processes, repeated by an environment variable. A test
passes only if nothing was lost, doubled or stuck, so these columns are zeros or there is no table.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.rounds import RESULTS, machine

CHECKOUT = Path(__file__).parents[1]
COLUMNS = ("fault", "times", "outcome", "lost", "doubled", "stuck", "command")


@dataclass(frozen=True)
class Fault:
    """What happens, how it ends, and which tests try it.

    Attributes:
        name: The fault.
        outcome: How each trial of it ended, in a few words.
        tests: What pytest is told to run.
        variables: Environment variables that say how often.
    """

    name: str
    outcome: str
    tests: str
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def command(self) -> str:
        """What repeats it, at the shell."""
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


FAULTS = (
    Fault(
        "six flows killed before each of their writes, and at 1,000 random moments",
        "one rerun completes the work",
        "tests/faults/test_kills.py -k started_again",
        {"KILLS": "1", "KILLERS": "2"},
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


def main() -> list[str]:
    """Try every fault, print the table and keep it."""
    rows = []
    broken = []
    for fault in FAULTS:
        times, failed = _tried(fault)
        if failed:
            broken.append(f"{fault.name}: {failed} of the tests failed: {fault.command}")
        else:
            rows.append(Row(fault.name, times, fault.outcome, 0, 0, 0, fault.command))
            print(_line(asdict(rows[-1])), flush=True)
    if not broken:
        content = {"machine": machine(), "rows": [asdict(row) for row in rows]}
        (RESULTS / "faults.json").write_text(json.dumps(content, indent=1) + "\n")
    return broken


def table() -> str:
    """Return the table of docs/reliability.md, as it was measured last."""
    rows = json.loads((RESULTS / "faults.json").read_text())["rows"]
    head = [f"| {' | '.join(COLUMNS)} |", "|---|--:|---|--:|--:|--:|---|"]
    return "\n".join([*head, *map(_line, rows)])


def _line(row: Mapping[str, object]) -> str:
    told = row | {"times": f"{row['times']:,}", "command": f"`{row['command']}`"}
    return f"| {' | '.join(str(told[column]) for column in COLUMNS)} |"


def _tried(fault: Fault) -> tuple[int, int]:
    """Return how often a fault was tried, and how many tests failed or tried nothing."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ("--quiet", "--numprocesses", "0", "--junitxml", str(report))
        command = f"{sys.executable} -m pytest {' '.join(options)} {fault.tests}"
        environment = os.environ | fault.variables
        subprocess.run(command, shell=True, cwd=CHECKOUT, env=environment, check=False)  # noqa: S602
        cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314  by pytest
    outcomes = ("failure", "error", "skipped")
    failed = sum(any(case.find(name) is not None for name in outcomes) for case in cases)
    times = [_times(case) for case in cases]
    return sum(times), failed or not cases


def _times(case: ElementTree.Element) -> int:
    """Return how often a test has tried its fault: once, unless it says so."""
    for told in case.iter("property"):
        if told.get("name") == "times":
            return int(told.get("value", "1"))
    return 1
