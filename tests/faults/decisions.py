"""A rollback and a promotion, killed before each of their writes and started again.

Run in a process of its own, in an empty folder; prints a line of JSON for each kill.
"""

import json
import shutil
import sqlite3
import sys
from importlib import import_module
from typing import Any

from flows import rollback
from flows.steps import champions, learning, promotion
from flows.tracking import registry
from flows.universe.processes import IMPORTED
from rnn_core.operations.ledger import Ledger
from tests.faults.killed import in_a_process, killed_before_write
from tests.faults.training import DAYS, TICKER, retrain

ALIAS = "SELECT version FROM registered_model_aliases WHERE alias = 'champion'"
FOLLOWED = f"SELECT value FROM registered_model_tags WHERE key = '{registry.FOLLOWED}'"
FILES = ("mlflow.db", "data/ledger.db")
AFTER_THE_ALIAS = "model_version_tags"  # of the card, which is written when all is decided


def prepare() -> tuple[Any, ...]:
    """Train four versions, promote all but the last, and return what promotes that one."""
    left: list[tuple[Any, ...]] = []
    for day in DAYS:
        is_last = day == DAYS[-1]
        learning.promote = (lambda *rest: left.append(rest)) if is_last else promotion.promote
        retrain(day)
    return left[0]


def roll_back(to: int | None = None) -> None:
    rollback.announce = lambda *_: None  # type: ignore[assignment]
    rollback.roll_back(TICKER, DAYS[-1], to)


def champion_read() -> None:
    """Read the champion, as a forecast does first."""
    with Ledger.open() as ledger:
        champions.champion(ledger, TICKER)


def state() -> tuple[Any, ...]:
    """The alias, what it has followed, and the decisions in the ledger."""
    with sqlite3.connect("mlflow.db") as mlflow:
        [(alias,)] = mlflow.execute(ALIAS)
        [followed] = mlflow.execute(FOLLOWED).fetchall() or [(None,)]
    with sqlite3.connect("data/ledger.db") as ledger:
        decided = ledger.execute("SELECT kind, model_version FROM promotions").fetchall()
    return int(alias), followed[0], decided


def restore(name: str) -> None:
    for file in FILES:
        shutil.copyfile(f"{file}.{name}", file)


def keep(name: str) -> None:
    for file in FILES:
        shutil.copyfile(file, f"{file}.{name}")


def report(name: str, work: Any, *arguments: Any) -> None:
    """Kill the work before each of its writes, and print how it ends then."""
    restore("prepared")
    in_a_process(work, *arguments)
    expected = state()
    number = 1
    while True:
        restore("prepared")
        write = killed_before_write(number, work, *arguments)
        if write is None or AFTER_THE_ALIAS in write:
            break
        keep("killed")
        in_a_process(work, *arguments)
        rerun = state()
        restore("killed")
        in_a_process(champion_read)
        read = state()
        end = {
            "work": name,
            "killed before": f"{number}: {write}",
            "expected": expected,
            "after a rerun": rerun,
            "after a forecast": read,
        }
        sys.stdout.write(json.dumps(end) + "\n")
        number += 1


if __name__ == "__main__":
    for module in (*IMPORTED, "mlflow.store.model_registry.sqlalchemy_store"):
        import_module(module)  # once, and not in each process
    arguments = in_a_process(prepare)
    keep("prepared")
    report("rollback", roll_back)
    report("rollback --to 1", roll_back, 1)
    report("promotion", promotion.promote, *arguments)
