"""Every fault of docs/reliability.md, as often as its table says: about three hours.

Each is tried by tests with real processes, which environment variables repeat. A test that fails is
named, and then the results are not kept.
"""

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.rounds import RESULTS, machine

CHECKOUT = Path(__file__).parents[1]
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
        counts, failed = _tried(fault)
        counted = {name: counts[name] for name in COUNTS}
        rows.append(Row(fault.name, outcome=fault.outcome, command=fault.command, **counted))
        print(_line(asdict(rows[-1])), flush=True)
        if failed:
            broken.append(f"{fault.name}: {failed} of the tests failed: {fault.command}")
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
