"""Flows that are killed at any moment: once they are started again, all is done, and done once."""

import json
import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.processes import run

SHARE = float(os.environ.get("KILLS", "0.1"))  # of all writes and of 1,000 random moments
KILLERS = int(os.environ.get("KILLERS", "1"))  # processes that divide the kills
WORKS = ("retrain", "universe", "forecast", "score", "rollback", "prune")


def program(environment: dict[str, str], folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """The lines that the program of these kills prints, run in a folder."""
    (folder / "tmp").mkdir(parents=True)
    environment = environment | {
        "TMPDIR": str(folder / "tmp"),
        "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db",
        "LEDGER_URL": "sqlite:///data/ledger.db",
    }
    command = (sys.executable, "-m", "tests.faults.kills", *arguments)
    done = run(*command, environment=environment, cwd=folder, timeout=2000 + 20_000 * SHARE)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def ends(
    environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> list[dict[str, Any]]:
    """The things lost, doubled and stuck after each kill and one rerun of the works to test."""
    folder = tmp_path_factory.mktemp("kills")
    own = [item for item in request.session.items if item.parent is request.node]
    asked = {call.params["work"] for item in own if (call := getattr(item, "callspec", None))}
    works = [work for work in WORKS if work in asked]

    def part(number: int) -> list[dict[str, Any]]:
        arguments = (str(SHARE), str(number), str(KILLERS), *works)
        return program(environment, folder / str(number), *arguments)

    with ThreadPoolExecutor(KILLERS) as killers:
        return [end for ends in killers.map(part, range(KILLERS)) for end in ends]


@pytest.mark.parametrize("work", WORKS)
def test_a_flow_that_is_killed_and_started_again_does_all_once(
    ends: list[dict[str, Any]], work: str, record_property: Any
) -> None:
    not_reached = [end for end in ends if end["work"] == work and "not reached" in end]
    of_work = [end for end in ends if end["work"] == work and "not reached" not in end]
    how = Counter("write" if "killed before" in end else "moment" for end in of_work)
    assert how["moment"] >= 1000 * SHARE / len(WORKS)
    assert how["write"] > 20 * len(not_reached)
    record_property("times", len(of_work))
    for count in ("lost", "doubled", "stuck"):
        record_property(count, sum(len(end[count]) for end in of_work))
    assert [end for end in of_work if end["lost"] or end["doubled"] or end["stuck"]] == []


def test_a_version_that_is_registered_twice_would_be_seen(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """The rule is broken on purpose: a run that was killed at its end is taken for not done."""
    [end] = program(environment, tmp_path, "control")
    assert any(line.startswith("version MSFT") for line in end["doubled"])
