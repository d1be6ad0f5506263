"""Every rule is asked of both databases: a file of SQLite and a real PostgreSQL server."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from time import sleep
from typing import Any, TypeVar

import pandas as pd
import pytest
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine, inspect, make_url, text
from sqlalchemy.exc import DBAPIError, StatementError

from rnn_core.errors import LedgerError
from rnn_core.operations import clock
from rnn_core.operations.ledger import Forecast, Ledger, database
from rnn_core.operations.ledger.database import MIGRATIONS, REVISIONS
from rnn_core.operations.ledger.tables import TABLES
from tests.clock import machine_at
from tests.postgres import Postgres, running_postgres
from tests.processes import free_port
from tests.rnn_core.operations.forecasts import CLOSE, FORECAST, OPEN

MONDAYS = replace(
    FORECAST,
    session=date(2013, 3, 4),
    last_session=date(2013, 3, 1),
    opens_at=OPEN + timedelta(days=3),
)
THAT_EVENING = CLOSE + timedelta(minutes=50)
T = TypeVar("T")
names = count()


@pytest.fixture(autouse=True)
def _that_evening() -> Iterator[None]:
    with machine_at(THAT_EVENING):
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/folder/ledger.db"
    server: Postgres = request.getfixturevalue("postgres")
    return server.create_database(f"ledger{next(names)}")


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with Ledger.open(url) as opened:
        yield opened


def execute(url: str, statement: str) -> list[Any]:
    """Run a statement on the database without this program."""
    engine = create_engine(make_url(url.replace("postgresql:", "postgresql+psycopg:")))
    try:
        with engine.begin() as connection:
            done = connection.execute(text(statement))
            return list(done.all()) if done.returns_rows else []
    finally:
        engine.dispose()


def at_once(work: Callable[[str], T], url: str, processes: int) -> list[T]:
    """Return the results of several real processes that start at the same moment."""
    context = get_context("fork")
    gate = context.Barrier(processes)
    with ProcessPoolExecutor(processes, context, gate.wait) as pool:
        return list(pool.map(work, [url] * processes))


def test_a_forecast_comes_back_as_it_was_made(ledger: Ledger) -> None:
    korea = timezone(timedelta(hours=9))
    row = ledger.record(replace(FORECAST, as_of=FORECAST.as_of.astimezone(korea), spread=None))
    values = {name: getattr(row, name) for name in FORECAST.__dataclass_fields__}
    assert Forecast(**values) == replace(FORECAST, spread=None)
    assert row.as_of.utcoffset() == timedelta(0)
    assert (row.written_at, row.made_at) == (THAT_EVENING, FORECAST.as_of)
    assert (row.late, row.delay, row.replay, row.counted) == (False, 0, None, True)
    assert (row.settled_at, row.up, row.next_return) == (None, None, None)


def test_a_model_forecasts_a_session_once(ledger: Ledger) -> None:
    first = ledger.record(FORECAST)
    assert ledger.record(replace(FORECAST, probability=0.9)) == first
    assert ledger.forecasts().probability.tolist() == [0.53]


def test_a_models_live_forecast_of_a_session_and_the_exchange_of_each_ticker_can_be_looked_up(
    ledger: Ledger,
) -> None:
    row = ledger.record(FORECAST)
    ledger.record(replace(FORECAST, ticker="078935.KS", exchange="XKRX"))
    assert ledger.live_forecast("MSFT", FORECAST.session, 3) == row
    assert ledger.live_forecast("MSFT", FORECAST.session, 4) is None
    assert ledger.live_forecast("MSFT", FORECAST.last_session, 3) is None
    assert ledger.exchanges() == {"078935.KS": "XKRX", "MSFT": "XNYS"}
    assert ledger.exchanges("MSFT") == {"MSFT": "XNYS"}
    assert ledger.exchanges("AAPL") == {}
    assert ledger.prices_forecast_from() == {FORECAST.data_sha256}


def test_a_ledger_without_forecasts_knows_no_exchange(ledger: Ledger) -> None:
    assert ledger.exchanges() == {}
    assert ledger.open_forecasts("MSFT") == []
    assert ledger.prices_forecast_from() == set()
    with pytest.raises(LedgerError, match="the ledger has no forecasts of MSFT"):
        ledger.last_forecast("MSFT")


def test_a_ticker_whose_exchange_has_changed_is_of_its_last_sessions(ledger: Ledger) -> None:
    ledger.record(FORECAST)
    last = ledger.record(replace(MONDAYS, exchange="XLON"))
    assert ledger.exchanges() == {"MSFT": "XLON"}
    assert ledger.last_forecast("MSFT") == last


def test_open_forecasts_are_those_without_an_outcome(ledger: Ledger) -> None:
    first = ledger.record(FORECAST)
    second = ledger.record(replace(FORECAST, model_version=4))
    ledger.record(replace(FORECAST, ticker="AAPL"))
    assert ledger.open_forecasts("MSFT") == [first, second]
    ledger.settle(first.id, 0.01, OPEN)
    assert ledger.open_forecasts("MSFT") == [second]
    ledger.settle(second.id, None, OPEN)
    assert ledger.open_forecasts("MSFT") == []


def test_the_first_forecast_of_a_session_counts(ledger: Ledger) -> None:
    ledger.record(FORECAST)
    ledger.record(replace(FORECAST, model_version=4))
    ledger.record(replace(FORECAST, ticker="AAPL"))
    with machine_at(OPEN + timedelta(hours=12)):
        ledger.record(MONDAYS)
    frame = ledger.forecasts()
    assert frame.counted.tolist() == [True, False, True, True]


def test_a_forecast_written_at_the_open_is_a_replay_and_just_before_it_is_live(
    ledger: Ledger,
) -> None:
    with machine_at(OPEN):
        at_the_open = ledger.record(FORECAST)
    assert (at_the_open.late, at_the_open.delay, at_the_open.counted) == (True, 0, False)
    assert at_the_open.replay == "written after the open"
    with machine_at(OPEN - timedelta(microseconds=1)):
        just_before = ledger.record(replace(FORECAST, model_version=4))
    assert (just_before.late, just_before.replay, just_before.counted) == (False, None, True)


def test_a_replay_never_stands_in_the_way_of_the_same_models_live_forecast(ledger: Ledger) -> None:
    replay = ledger.record(replace(FORECAST, as_of=OPEN + timedelta(seconds=90)))
    live = ledger.record(FORECAST)
    assert (replay.replay, replay.delay) == ("written after the open", 90)
    assert (live.replay, live.counted) == (None, True)
    assert ledger.forecasts()["counted"].tolist() == [False, True]
    assert ledger.live_forecast("MSFT", FORECAST.session, 3) == live


def test_a_forecast_that_waits_for_another_writer_until_the_open_is_a_replay(
    ledger: Ledger, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is read where the row is written, and not before that may wait."""
    engine = database.engine_at(url)
    with ThreadPoolExecutor() as pool:
        with database.exclusive(engine, "forecasts", "MSFT"):
            waiting = pool.submit(ledger.record, FORECAST)
            sleep(0.5)
            assert not waiting.done()
            monkeypatch.setattr(clock, "machine_time", lambda: OPEN)
        row = waiting.result()
    engine.dispose()
    assert (row.replay, row.counted) == ("written after the open", False)


def test_an_identical_replay_is_kept_once_and_one_from_other_prices_again(ledger: Ledger) -> None:
    with machine_at(OPEN + timedelta(days=9)):
        first = ledger.record(FORECAST)
        assert ledger.record(FORECAST) == first
        assert ledger.record(replace(FORECAST, data_sha256="cd34")) != first
    assert ledger.record(FORECAST).counted
    with machine_at(OPEN):
        assert ledger.record(replace(FORECAST, data_sha256="ef56")).counted, "that was said once"
    assert len(ledger.forecasts()) == 3


def test_a_forecast_is_settled_once(ledger: Ledger) -> None:
    row = ledger.record(FORECAST)
    assert ledger.settle(row.id, 0.012, OPEN)
    assert not ledger.settle(row.id, -0.012, OPEN + timedelta(days=1))
    assert not ledger.settle(row.id + 1, 0.01, OPEN)
    settled = ledger.forecasts().iloc[0]
    assert (settled.settled_at, settled.up, settled.next_return) == (OPEN, True, 0.012)


@pytest.mark.parametrize(("next_return", "up"), [(1e-9, True), (0.0, False), (-1e-9, False)])
def test_up_is_a_return_above_zero(ledger: Ledger, next_return: float, up: bool) -> None:
    ledger.settle(ledger.record(FORECAST).id, next_return, OPEN)
    assert ledger.forecasts().up.tolist() == [up]


def test_a_session_without_a_price_is_void(ledger: Ledger) -> None:
    row = ledger.record(FORECAST)
    assert ledger.settle(row.id, None, OPEN)
    void = ledger.forecasts().iloc[0]
    assert void.settled_at == OPEN
    assert void[["up", "next_return"]].isna().all()
    assert not ledger.settle(row.id, 0.01, OPEN)


def test_a_return_that_is_no_number_settles_nothing(ledger: Ledger) -> None:
    row = ledger.record(FORECAST)
    with pytest.raises(
        LedgerError, match="return nan of forecast 1: a finite number or None is expected"
    ):
        ledger.settle(row.id, float("nan"), OPEN)
    assert ledger.forecasts().settled_at.isna().all()


def test_a_frame_has_the_same_types_with_and_without_rows(ledger: Ledger) -> None:
    empty = ledger.forecasts(), ledger.promotions()
    ledger.record(FORECAST)
    with ledger.deciding("MSFT") as decision:
        decision.promote(3, reason="first", run_id="8f2c", at=CLOSE)
    for without, full in zip(empty, (ledger.forecasts(), ledger.promotions()), strict=True):
        typed = full.dtypes[full.dtypes != without.dtypes].index
        assert all(isinstance(value, str | None) for value in full[typed].to_numpy().ravel())
    frame = ledger.forecasts()
    assert {
        name: str(frame[name].dtype)
        for name in ("model_version", "probability", "late", "up", "settled_at")
    } == {
        "model_version": "int64",
        "probability": "float64",
        "late": "bool",
        "up": "boolean",
        "settled_at": "datetime64[us, UTC]",
    }
    assert frame.session.tolist() == [date(2013, 3, 1)]


def test_forecasts_are_in_order_of_session_and_can_be_of_one_ticker(ledger: Ledger) -> None:
    ledger.record(MONDAYS)
    ledger.record(replace(FORECAST, ticker="AAPL"))
    ledger.record(FORECAST)
    assert ledger.forecasts().id.tolist() == [2, 3, 1]
    assert ledger.forecasts("MSFT").id.tolist() == [3, 1]


def test_the_champions_in_force_follow_from_promotions_and_rollbacks(ledger: Ledger) -> None:
    with ledger.deciding("MSFT") as decision:
        for version in (1, 2, 3):
            decision.promote(version, reason="lower log loss", run_id=f"run{version}", at=CLOSE)
        assert decision.roll_back(reason="alarm", at=OPEN) == 2
        decision.promote(5, reason="lower log loss", run_id="run5", at=OPEN)
    assert ledger.champions("MSFT") == [1, 2, 5]
    assert ledger.champions("AAPL") == []
    frame = ledger.promotions("MSFT")
    assert frame.number.tolist() == [1, 2, 3, 4, 5]
    assert frame.kind.tolist() == ["promotion"] * 3 + ["rollback", "promotion"]
    assert frame.model_version.tolist() == [1, 2, 3, 2, 5]
    assert frame.previous_version.tolist() == [pd.NA, 1, 2, 3, 2]
    assert frame.run_id.isna().tolist() == [False, False, False, True, False]
    assert frame.decided_at.tolist() == [CLOSE] * 3 + [OPEN] * 2
    assert [ledger.promoted_at("MSFT", version) for version in range(1, 6)] == [
        CLOSE,
        OPEN,
        CLOSE,
        None,
        OPEN,
    ]
    assert ledger.promoted_at("AAPL", 1) is None


def test_the_first_promotion_of_a_run_can_be_looked_up(ledger: Ledger) -> None:
    with ledger.deciding("MSFT") as decision:
        decision.promote(1, reason="first", run_id="run", at=CLOSE)
        decision.promote(2, reason="second", run_id="run", at=OPEN)
    promotion = ledger.promotion_by("MSFT", "run")
    assert promotion is not None
    assert (promotion.model_version, promotion.reason) == (1, "first")
    assert ledger.promotion_by("MSFT", "another") is None
    assert ledger.promotion_by("AAPL", "run") is None


@settings(
    derandomize=True,
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(asked=st.lists(st.one_of(st.integers(1, 4), st.none()), max_size=12))
def test_each_row_of_any_history_says_who_came_before_and_who_is_in_force(
    ledger: Ledger, asked: list[int | None]
) -> None:
    """None is a rollback. The replay must agree with the versions that the rows themselves name."""
    ticker = f"T{next(names)}"
    for version in asked:
        before = ledger.champions(ticker)
        refused = len(before) < 2 if version is None else before[-1:] == [version]
        try:
            with ledger.deciding(ticker) as decision:
                if version is None:
                    decision.roll_back(reason="any", at=CLOSE)
                else:
                    decision.promote(version, reason="any", run_id="r", at=CLOSE)
        except LedgerError:
            assert refused
            assert ledger.champions(ticker) == before
        else:
            assert not refused
    rows, champions = ledger.promotions(ticker), ledger.champions(ticker)
    assert rows.number.tolist() == list(range(1, len(rows) + 1))
    assert rows.previous_version.tolist()[1:] == rows.model_version.tolist()[:-1]
    assert champions[-1:] == rows.model_version.tolist()[-1:]
    assert len(champions) == (rows.kind == "promotion").sum() - (rows.kind == "rollback").sum()


def test_a_decision_that_fails_writes_nothing(ledger: Ledger) -> None:
    def interrupted() -> None:
        with ledger.deciding("MSFT") as decision:
            decision.promote(1, reason="first", run_id="r", at=CLOSE)
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        interrupted()
    assert ledger.champions("MSFT") == []


def test_a_decision_that_changes_nothing_is_refused(ledger: Ledger) -> None:
    with (
        pytest.raises(LedgerError, match="MSFT has no earlier champion to return to: none"),
        ledger.deciding("MSFT") as d,
    ):
        d.roll_back(reason="alarm", at=CLOSE)
    with ledger.deciding("MSFT") as decision:
        decision.promote(1, reason="first", run_id="r", at=CLOSE)
        with pytest.raises(LedgerError, match="version 1 of MSFT is the champion already"):
            decision.promote(1, reason="again", run_id="r", at=CLOSE)
        with pytest.raises(LedgerError, match="only version 1 is in force"):
            decision.roll_back(reason="alarm", at=CLOSE)


def test_every_version_that_a_row_names_must_be_kept(ledger: Ledger) -> None:
    assert ledger.versions("MSFT") == set()
    ledger.record(FORECAST)
    ledger.record(replace(FORECAST, ticker="AAPL", model_version=9))
    with ledger.deciding("MSFT") as decision:
        decision.promote(1, reason="first", run_id="r", at=CLOSE)
        decision.promote(2, reason="lower log loss", run_id="r", at=CLOSE)
    assert ledger.versions("MSFT") == {1, 2, 3}


def count_forecasts(url: str) -> int:
    with Ledger.open(url) as ledger:
        return len(ledger.forecasts())


def record_with_a_spread_of_its_own(url: str) -> tuple[int, float]:
    with Ledger.open(url) as ledger:
        row = ledger.record(replace(FORECAST, spread=datetime.now(UTC).timestamp()))
        return row.id, row.spread


def record_as_another_model(url: str) -> bool:
    with Ledger.open(url) as ledger:
        return bool(
            ledger.record(replace(FORECAST, model_version=datetime.now(UTC).microsecond)).counted
        )


def promote_if_nobody_has(url: str) -> bool:
    with Ledger.open(url) as ledger, ledger.deciding("MSFT") as decision:
        if decision.champions:
            return False
        decision.promote(1, reason="first", run_id="r", at=CLOSE)
        return True


def test_of_sixteen_processes_that_record_at_once_one_writes_and_all_get_its_row(
    ledger: Ledger, url: str
) -> None:
    rows = at_once(record_with_a_spread_of_its_own, url, 16)
    assert len(set(rows)) == 1
    assert rows[0][0] == 1
    assert len(ledger.forecasts()) == 1


def test_of_several_models_that_forecast_at_once_one_counts(ledger: Ledger, url: str) -> None:
    assert sum(at_once(record_as_another_model, url, 8)) == 1
    assert ledger.forecasts().counted.sum() == 1


def test_deciders_on_one_ticker_wait_for_each_other(ledger: Ledger, url: str) -> None:
    assert sorted(at_once(promote_if_nobody_has, url, 8)) == [False] * 7 + [True]
    assert ledger.promotions().number.tolist() == [1]


def test_processes_that_open_an_empty_database_at_once_all_find_the_tables(url: str) -> None:
    assert at_once(count_forecasts, url, 8) == [0] * 8


@pytest.mark.parametrize(
    ("statement", "refusal"),
    [
        ("UPDATE forecasts SET probability = 0.6", "forecasts are never rewritten"),
        ("UPDATE forecasts SET settled_at = made_at, late = TRUE", "forecasts are never rewritten"),
        ("DELETE FROM forecasts", "forecasts are never deleted"),
        ("UPDATE promotions SET reason = 'another'", "promotions are never rewritten"),
        ("DELETE FROM promotions", "promotions are never deleted"),
    ],
)
def test_the_database_itself_refuses_to_rewrite_or_delete(
    ledger: Ledger, url: str, statement: str, refusal: str
) -> None:
    ledger.record(FORECAST)
    with ledger.deciding("MSFT") as decision:
        decision.promote(1, reason="first", run_id="r", at=CLOSE)
    before = ledger.forecasts(), ledger.promotions()
    with pytest.raises(DBAPIError, match=refusal):
        execute(url, statement)
    pd.testing.assert_frame_equal(ledger.forecasts(), before[0])
    pd.testing.assert_frame_equal(ledger.promotions(), before[1])


def test_the_database_itself_takes_one_whole_settlement(ledger: Ledger, url: str) -> None:
    ledger.record(FORECAST)
    for half in (
        "up = TRUE, next_return = 0.01",
        "settled_at = made_at, up = TRUE",
        "settled_at = made_at, next_return = 1",
    ):
        with pytest.raises(DBAPIError, match="outcome"):
            execute(url, f"UPDATE forecasts SET {half}")
    with pytest.raises(DBAPIError, match="forecasts_up"):
        execute(url, "UPDATE forecasts SET settled_at = made_at, up = TRUE, next_return = -0.01")
    execute(url, "UPDATE forecasts SET settled_at = made_at, up = TRUE, next_return = 0.01")
    with pytest.raises(DBAPIError, match="forecasts are settled once"):
        execute(url, "UPDATE forecasts SET settled_at = NULL, up = NULL, next_return = NULL")
    assert ledger.forecasts().next_return.tolist() == [0.01]


@pytest.mark.parametrize(
    ("table", "changes", "refusal"),
    [
        (
            "forecasts",
            {"model_version": "4"},
            "counted_once|ticker, forecasts.session|never replaced",
        ),
        ("forecasts", {"counted": "FALSE"}, "live_once|model_version|never replaced"),
        ("forecasts", {"model_version": "4", "counted": "FALSE", "late": "TRUE"}, "forecasts_late"),
        (
            "forecasts",
            {"session": "date('2013-03-04')", "replay": "'why'"},
            "replays_never_count",
        ),
        (
            "forecasts",
            {"session": "date('2013-03-04')", "learned_to": "date('2013-03-04')"},
            "live_unseen",
        ),
        (
            "forecasts",
            {
                "session": "date('2013-03-04')",
                "made_at": "opens_at",
                "late": "TRUE",
                "delay": "3601",
            },
            "live_in_time",
        ),
        (
            "forecasts",
            {"session": "date('2013-03-04')", "delay": "1"},
            "forecasts_delay",
        ),
        ("promotions", {"number": "2"}, "promotions_first"),
        (
            "promotions",
            {"number": "2", "previous_version": "1", "kind": "'demotion'"},
            "promotions_kind",
        ),
    ],
)
def test_the_database_itself_refuses_a_row_that_breaks_the_rules(
    ledger: Ledger, url: str, table: str, changes: dict[str, str], refusal: str
) -> None:
    ledger.record(FORECAST)
    with ledger.deciding("MSFT") as decision:
        decision.promote(1, reason="first", run_id="r", at=CLOSE)
    names = TABLES.tables[table].c.keys()[1:]  # all but the id
    values = ", ".join(changes.get(name, name) for name in names)
    with pytest.raises(DBAPIError, match=refusal):
        execute(url, f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {table}")


@pytest.mark.parametrize("table", ["forecasts", "promotions"])
def test_neither_replacement_nor_truncation_gets_round_the_triggers(
    ledger: Ledger, url: str, table: str
) -> None:
    ledger.record(FORECAST)
    with ledger.deciding("MSFT") as decision:
        decision.promote(1, reason="first", run_id="r", at=CLOSE)
    sqlite = url.startswith("sqlite")
    statement = f"REPLACE INTO {table} SELECT * FROM {table}" if sqlite else f"TRUNCATE {table}"
    with pytest.raises(DBAPIError, match=f"{table} are never (replaced|deleted)"):
        execute(url, statement)


def test_an_impossible_forecast_is_refused_in_one_line(ledger: Ledger) -> None:
    for probability in (-0.01, 1.01, float("nan")):
        with pytest.raises(LedgerError) as refused:
            ledger.record(replace(FORECAST, probability=probability))
        assert "\n" not in str(refused.value)
        assert "probability" in str(refused.value)
    with pytest.raises(LedgerError, match="look_ahead"):
        ledger.record(replace(FORECAST, session=FORECAST.last_session))
    with pytest.raises(TypeError, match="offset-naive"):
        ledger.record(replace(FORECAST, as_of=CLOSE.replace(tzinfo=None)))
    assert ledger.forecasts().empty
    with pytest.raises(StatementError, match="has no time zone"):
        ledger.settle(ledger.record(FORECAST).id, 0.01, OPEN.replace(tzinfo=None))


def test_the_tables_of_the_last_migration_are_those_that_are_asked(
    ledger: Ledger, url: str
) -> None:
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    for name, table in TABLES.tables.items():
        assert [column["name"] for column in inspect(engine).get_columns(name)] == list(
            table.c.keys()
        )
    engine.dispose()
    script = ScriptDirectory(str(MIGRATIONS))
    assert [revision.revision for revision in script.walk_revisions()][::-1] == REVISIONS


def test_an_older_ledger_is_migrated_and_keeps_its_rows(
    ledger: Ledger, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.record(FORECAST)
    newer = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, newer)
    (newer / "versions" / "9999_note.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\n"
        f"revision, down_revision = '9999', {REVISIONS[-1]!r}\n"
        "def upgrade() -> None:\n    op.add_column('promotions', sa.Column('note', sa.String))\n"
    )
    monkeypatch.setattr(database, "MIGRATIONS", newer)
    monkeypatch.setattr(database, "REVISIONS", [*REVISIONS, "9999"])
    with Ledger.open(url) as migrated:
        assert migrated.forecasts().probability.tolist() == [0.53]
    assert execute(url, "SELECT note FROM promotions") == []
    assert execute(url, "SELECT version_num FROM ledger_version") == [("9999",)]


def test_a_newer_programs_ledger_is_left_alone(ledger: Ledger, url: str) -> None:
    ledger.record(FORECAST)
    execute(url, "UPDATE ledger_version SET version_num = '9999'")
    with pytest.raises(LedgerError) as refused:
        Ledger.open(url.replace("postgres@", "postgres:secret@"))
    assert f"has revision 9999, the newest known is {REVISIONS[-1]}" in str(refused.value)
    assert str(make_url(url).database) in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert execute(url, "SELECT version_num FROM ledger_version") == [("9999",)]
    assert len(ledger.forecasts()) == 1


def test_migrating_prints_nothing(url: str, capfd: pytest.CaptureFixture[str]) -> None:
    Ledger.open(url).close()
    assert capfd.readouterr() == ("", "")


def test_a_ledger_that_is_up_to_date_opens_without_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    Ledger.open(url).close()
    opens = f"from rnn_core.operations.ledger import Ledger; Ledger.open({url!r})"
    program = f"import sys; {opens}; print('alembic' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_the_ledger_is_where_the_environment_says_else_in_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LEDGER_URL", raising=False)
    Ledger.open().close()
    monkeypatch.setenv("LEDGER_URL", "sqlite:///elsewhere/other.db")
    Ledger.open().close()
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.db")} == {
        "data/ledger.db",
        "elsewhere/other.db",
    }


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("sqlite:///{folder}/text.db", "file is not a database"),
        ("sqlite:///{folder}", "unable to open database file"),
        ("sqlite:///{folder}/text.db/ledger.db", "cannot create"),
        ("sqlite://", "must name an SQLite file"),
        ("mysql://localhost/ledger", "must name an SQLite file or a PostgreSQL database"),
        ("ledger.db", "is not a valid URL"),
        ("postgresql://me:secret@host:port/ledger", "is not a valid URL"),
        ("postgresql+asyncpg://me:secret@127.0.0.1:{port}/ledger", "refused"),
    ],
)
def test_a_ledger_that_cannot_be_used_is_one_line(
    tmp_path: Path, address: str, reason: str
) -> None:
    (tmp_path / "text.db").write_text("Dear diary, " * 100)
    with pytest.raises(LedgerError) as refused:
        Ledger.open(address.format(folder=tmp_path, port=free_port()))
    assert reason in str(refused.value)
    assert "LEDGER_URL" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_missing_driver_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(LedgerError, match=r"needs psycopg: pip install 'rnnflow\[postgresql\]'"):
        Ledger.open("postgresql://localhost/ledger")


def test_a_read_only_ledger_can_be_read_and_says_in_one_line_that_it_cannot_be_written(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ledger.db"
    with Ledger.open(f"sqlite:///{path}") as ledger:
        ledger.record(FORECAST)
    with Ledger.open(f"sqlite:///file:{path}?mode=ro&uri=true") as ledger:
        assert len(ledger.forecasts()) == 1
        with pytest.raises(LedgerError, match="attempt to write a readonly database"):
            ledger.settle(1, 0.01, OPEN)
