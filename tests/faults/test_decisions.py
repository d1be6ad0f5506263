"""Rollbacks and promotions that are killed end as they would have, once they are started again."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.processes import isolated, run

LAST_CHAMPION = {"rollback": 2, "rollback --to 1": 1, "promotion": 4}


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """How each killed decision has ended: after a rerun, and after a forecast instead."""
    folder = tmp_path_factory.mktemp("decisions")
    environment = isolated(folder / "home", PYTHONPATH=str(Path(__file__).parents[2]))
    command = (sys.executable, "-m", "tests.faults.decisions")
    done = run(*command, environment=environment, cwd=folder, timeout=1800)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


@pytest.mark.parametrize("work", LAST_CHAMPION)
def test_a_killed_decision_that_is_started_again_ends_as_without_the_kill(
    ends: list[dict[str, Any]], work: str, record_property: Any
) -> None:
    of_work = [end for end in ends if end["work"] == work]
    record_property("times", len(of_work))
    assert len(of_work) >= 5, "writes before which it was killed"
    for end in of_work:
        alias, _, decided = end["expected"]
        assert (alias, len(decided)) == (LAST_CHAMPION[work], 4)
        assert end["after a rerun"] == end["expected"], end["killed before"]


def test_a_forecast_puts_an_alias_right_that_a_kill_has_left_behind(
    ends: list[dict[str, Any]],
) -> None:
    for end in ends:
        alias, followed, decided = end["after a forecast"]
        assert alias == decided[-1][1], end["killed before"]
        assert followed.startswith(f"{len(decided)}: "), end["killed before"]
    assert {len(end["after a forecast"][-1]) for end in ends} == {3, 4}, "before it and after it"
