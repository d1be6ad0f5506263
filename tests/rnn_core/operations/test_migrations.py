"""Rows that version 0.1.0 has written are judged by the rule of now, on both databases."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import Connection, text

from rnn_core.errors import LedgerError
from rnn_core.operations import replay
from rnn_core.operations.ledger import Ledger, database
from rnn_core.operations.ledger.database import MIGRATIONS, engine_at, migrate
from tests.clock import machine_at
from tests.rnn_core.operations.test_ledger import (
    FORECAST,
    THAT_EVENING,
    at_once,
    count_forecasts,
    postgres,
    url,
)

__all__ = ["postgres", "url"]


def old_row(
    session: str,
    last_session: str,
    made_at: str,
    written_at: str,
    *,
    version: int = 1,
    late: bool = False,
    counted: bool = True,
    around_the_clock: bool = False,
) -> dict[str, object]:
    """Return what version 0.1.0 kept; days and times are of June 2024 unless they have a year."""
    opens_at = f"{session} 00:00" if around_the_clock else f"{session} 13:30"
    return {
        "ticker": "B" if around_the_clock else "A",
        "exchange": "24/7" if around_the_clock else "XNYS",
        "session": f"{_dated(session)}",
        "last_session": f"{_dated(last_session)}",
        "opens_at": _full_time(opens_at),
        "model_version": version,
        "made_at": _full_time(made_at),
        "written_at": _full_time(written_at),
        "late": late,
        "counted": counted,
        "run_id": "run",
        "probability": 0.6,
        "verdict": "skill",
        "data_source": "yahoo",
        "data_sha256": "ab",
    }


def _dated(day: str) -> str:
    return day if len(day) > len("06-03") else f"2024-{day}"


def _full_time(time: str) -> str:
    """Write a time in full, the text that SQLite keeps."""
    day, hour = time.split()
    return f"{_dated(day)} {hour}:00.000000"


LATE = {"late": True, "counted": False}
ROWS = {
    "live": old_row("06-03", "05-31", "05-31 22:00", "05-31 22:01"),
    "backdated": old_row("06-04", "06-03", "06-03 22:00", "2026-01-02 09:00"),
    "late": old_row("06-05", "06-04", "06-05 13:30", "06-05 13:31", **LATE),
    "after a late one": old_row(
        "06-05", "06-04", "06-05 09:00", "06-05 09:00", version=2, counted=False
    ),
    "a second model": old_row(
        "06-03", "05-31", "05-31 23:00", "05-31 23:01", version=2, counted=False
    ),
    "two sessions": old_row("06-06", "06-04", "06-05 22:00", "06-05 22:00"),
    "seen": old_row("06-07", "06-06", "06-06 22:00", "06-06 22:00", version=3),
    "never promoted": old_row("06-10", "06-07", "06-07 22:00", "06-07 22:00", version=9),
    "within grace": old_row(
        "06-03", "06-02", "06-03 00:04", "06-03 00:05", **LATE, around_the_clock=True
    ),
    "after grace": old_row(
        "06-04", "06-03", "06-04 00:09", "06-04 00:10", **LATE, around_the_clock=True
    ),
}
PROMOTED = {  # version 3 when the session that it forecasts was over
    "A": {1: "05-30 22:00", 2: "05-31 22:30", 3: "06-07 21:00"},
    "B": {1: "06-01 00:00"},
}


@pytest.fixture
def older(url: str, tmp_path: Path) -> str:
    """The address of a ledger as version 0.1.0 leaves it."""
    folder = tmp_path / "older"
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("000[2-9]*", "__pycache__"))
    engine = engine_at(url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", folder)
        patch.setattr(database, "REVISIONS", ["0001"])
        migrate(engine)
    with engine.begin() as connection:
        sqlite = connection.dialect.name == "sqlite"
        connection.exec_driver_sql("BEGIN" if sqlite else "SET TIME ZONE 'UTC'")
        for row in ROWS.values():
            _insert(connection, "forecasts", row)
        for ticker, versions in PROMOTED.items():
            for version, decided_at in versions.items():
                _insert(connection, "promotions", _promotion(ticker, version, decided_at))
        connection.execute(
            text(
                "UPDATE forecasts SET settled_at = opens_at, up = TRUE, next_return = 0.01 "
                "WHERE id > 1"
            )
        )
    engine.dispose()
    return url


def _promotion(ticker: str, version: int, decided_at: str) -> dict[str, object]:
    return {
        "ticker": ticker,
        "number": version,
        "model_version": version,
        "previous_version": version - 1 or None,
        "kind": "promotion",
        "reason": "any",
        "run_id": "run",
        "decided_at": _full_time(decided_at),
    }


def _insert(connection: Connection, table: str, row: dict[str, object]) -> None:
    columns = ", ".join(row)
    values = ", ".join("NULL" if value is None else repr(value) for value in row.values())
    connection.execute(text(f"INSERT INTO {table} ({columns}) VALUES ({values})"))


def test_every_row_is_kept_and_judged_by_the_rule(older: str) -> None:
    with Ledger.open(older) as ledger:
        rows = ledger.forecasts().sort_values("id").set_index(pd.Index(ROWS))
    assert rows["replay"].fillna("").to_dict() == {
        "live": "",
        "backdated": replay.AFTER_THE_OPEN,
        "late": replay.AFTER_THE_OPEN,
        "after a late one": "",
        "a second model": "",
        "two sessions": replay.NOT_THE_SESSION_BEFORE,
        "seen": replay.SEEN,
        "never promoted": replay.SEEN,
        "within grace": "",
        "after grace": replay.AFTER_THE_OPEN,
    }
    counted = rows.index[rows["counted"]]
    assert list(counted) == ["live", "after a late one", "within grace"]
    assert rows["up"].isna().tolist() == [True] + [False] * 9, "outcomes stay"
    assert (rows["next_return"].iloc[1:] == 0.01).all()


def test_the_time_of_the_write_is_the_later_of_both_clocks(older: str) -> None:
    with Ledger.open(older) as ledger:
        rows = ledger.forecasts().sort_values("id").set_index(pd.Index(ROWS))
    assert rows.loc["backdated", "as_of"] == datetime(2024, 6, 3, 22, tzinfo=UTC)
    assert rows.loc["backdated", "made_at"] == datetime(2026, 1, 2, 9, tzinfo=UTC)
    assert rows.loc["backdated", "late"]
    assert rows.loc["within grace", "delay"] == 300
    assert rows.loc["live", "delay"] == 0
    assert rows["learned_to"].isna().all()
    assert (rows["closures"] == 0).all()


def test_processes_that_migrate_at_once_migrate_once(older: str) -> None:
    assert at_once(count_forecasts, older, 6) == [len(ROWS)] * 6
    with Ledger.open(older) as ledger:
        assert ledger.forecasts()["counted"].sum() == 3


@pytest.mark.parametrize(
    ("statement", "refusal"),
    [
        ("UPDATE forecasts SET replay = 'why' WHERE id = 1", "are never rewritten"),
        ("UPDATE forecasts SET learned_to = session WHERE id = 1", "are never rewritten"),
        ("UPDATE forecasts SET next_return = 0.02 WHERE id = 2", "are settled once"),
        ("DELETE FROM forecasts", "are never deleted"),
    ],
)
def test_the_database_refuses_what_it_refused_before(
    older: str, statement: str, refusal: str
) -> None:
    Ledger.open(older).close()
    engine = engine_at(older)
    with pytest.raises(LedgerError, match=refusal), engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def test_a_migration_that_fails_leaves_the_older_ledger_whole(
    older: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(replay, "replay_reason", fail)
        with pytest.raises(OSError, match="disk full"):
            Ledger.open(older)
    engine = engine_at(older)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT version_num FROM ledger_version")) == "0001"
        assert connection.scalar(text("SELECT count(*) FROM forecasts WHERE counted")) == 5
    engine.dispose()
    with Ledger.open(older) as ledger:
        assert len(ledger.forecasts()) == len(ROWS)


def test_a_forecast_of_now_is_written_beside_older_ones(older: str) -> None:
    with Ledger.open(older) as ledger, machine_at(THAT_EVENING):
        row = ledger.record(FORECAST)
    assert row.id == len(ROWS) + 1
    assert row.counted
