"""Forecasts that do not count as live are replays, and rows already written are judged alike."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from alembic import op

from rnn_core.operations.ledger.tables import Timestamp
from rnn_core.operations.replay import replay_reason

revision = "0002"
down_revision = "0001"

SETTLEMENT = ("settled_at", "up", "next_return")
LONGEST_DELAY = 3600  # seconds: no grace is longer
SAME_FORECAST = """id = NEW.id OR (ticker = NEW.ticker AND session = NEW.session AND (
    (counted AND NEW.counted) OR (model_version = NEW.model_version AND (
        (replay IS NULL AND NEW.replay IS NULL) OR (replay IS NOT NULL AND NEW.replay IS NOT NULL
        AND data_sha256 = NEW.data_sha256)))))"""

FORECASTS = sa.table(
    "forecasts",
    sa.column("id", sa.Integer),
    sa.column("ticker", sa.String),
    sa.column("exchange", sa.String),
    sa.column("session", sa.Date),
    sa.column("last_session", sa.Date),
    sa.column("opens_at", Timestamp),
    sa.column("model_version", sa.Integer),
    sa.column("made_at", Timestamp),
    sa.column("written_at", Timestamp),
    sa.column("late", sa.Boolean),
    sa.column("counted", sa.Boolean),
    sa.column("as_of", Timestamp),
    sa.column("delay", sa.Double),
    sa.column("closures", sa.Integer),
    sa.column("replay", sa.String),
)
PROMOTIONS = sa.table(
    "promotions",
    sa.column("ticker", sa.String),
    sa.column("model_version", sa.Integer),
    sa.column("kind", sa.String),
    sa.column("decided_at", Timestamp),
)


RULES = {
    "forecasts_replays_never_count": "NOT (replay IS NOT NULL AND counted)",
    "forecasts_live_unseen": "replay IS NOT NULL OR learned_to < session",
    "forecasts_live_in_time": f"replay IS NOT NULL OR delay <= {LONGEST_DELAY}",
    "forecasts_delay": "delay >= 0 AND (late OR delay = 0)",
    "forecasts_closures": "closures >= 0",
}


def upgrade() -> None:
    """Add why a forecast is a replay, judge the rows, and hold the rules as before."""
    _drop_triggers()
    with op.batch_alter_table("forecasts", copy_from=_present_table()) as forecasts:
        forecasts.drop_constraint("forecasts_said_once", type_="unique")
        forecasts.drop_constraint("forecasts_late_never_count", type_="check")
        forecasts.add_column(sa.Column("as_of", sa.DateTime(timezone=True)))
        forecasts.add_column(sa.Column("delay", sa.Double))
        forecasts.add_column(sa.Column("learned_to", sa.Date))
        forecasts.add_column(sa.Column("closures", sa.Integer))
        forecasts.add_column(sa.Column("replay", sa.String))
    _judge_rows()
    with op.batch_alter_table("forecasts", copy_from=_present_table()) as forecasts:
        for name in ("as_of", "delay", "closures"):
            forecasts.alter_column(name, nullable=False)
        for name, rule in RULES.items():
            forecasts.create_check_constraint(name, rule)
    of_model = ["ticker", "session", "model_version"]
    _index("forecasts_live_once", of_model, "replay IS NULL")
    _index("forecasts_replayed_once", [*of_model, "data_sha256"], "replay IS NOT NULL")
    _create_triggers()


def _judge_rows() -> None:
    """Write what each row lacks; of the live forecasts of a session the first one counts."""
    connection = op.get_bind()
    promoted_at = _first_promotions()
    rows = connection.execute(sa.select(FORECASTS).order_by(FORECASTS.c.id)).all()
    connection.execute(FORECASTS.update().values(counted=False, closures=0))
    with_live = set()
    for row in rows:
        values = _judged(row, promoted_at.get((row.ticker, row.model_version)))
        values["counted"] = values["replay"] is None and (row.ticker, row.session) not in with_live
        if values["counted"]:
            with_live.add((row.ticker, row.session))
        connection.execute(FORECASTS.update().where(FORECASTS.c.id == row.id).values(values))


def _judged(row: Any, promoted_at: datetime | None) -> dict[str, Any]:
    """Return the new values of a row whose model was first promoted at `promoted_at`, if ever.

    The row does not say what its model had learned from. Its first promotion does: no price later
    than that can have trained it.
    """
    made_at = max(row.made_at, row.written_at)
    return {
        "as_of": row.made_at,
        "made_at": made_at,
        "late": made_at >= row.opens_at,
        "delay": max((made_at - row.opens_at).total_seconds(), 0.0),
        "replay": replay_reason(
            row.exchange,
            row.session,
            row.last_session,
            opens_at=row.opens_at,
            made_at=made_at,
            written_at=row.written_at,
            seen=promoted_at is None or promoted_at >= row.opens_at,
        ),
    }


def _first_promotions() -> Mapping[tuple[str, int], datetime]:
    column = PROMOTIONS.c
    query = sa.select(
        column.ticker, column.model_version, sa.func.min(column.decided_at, type_=Timestamp())
    )
    rows = op.get_bind().execute(
        query.where(column.kind == "promotion").group_by(column.ticker, column.model_version)
    )
    return {(ticker, version): decided_at for ticker, version, decided_at in rows}


def _present_table() -> sa.Table:
    """Return the table as it is, with the checks that SQLAlchemy does not reflect."""
    connection = op.get_bind()
    table = sa.Table("forecasts", sa.MetaData(), autoload_with=connection)
    for check in sa.inspect(connection).get_check_constraints("forecasts"):
        table.append_constraint(sa.CheckConstraint(check["sqltext"], name=check["name"]))
    return table


def _index(name: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(
        name,
        "forecasts",
        columns,
        unique=True,
        sqlite_where=condition,
        postgresql_where=condition,
    )


def _drop_triggers() -> None:
    """Drop the triggers that refuse an update; SQLite loses all with the old table."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER forecasts_are_never_rewritten_update ON forecasts")
        op.execute("DROP TRIGGER forecasts_are_settled_once_update ON forecasts")


def _create_triggers() -> None:
    columns = sa.inspect(op.get_bind()).get_columns("forecasts")
    said = ", ".join(one["name"] for one in columns if one["name"] not in SETTLEMENT)
    _refuse(f"UPDATE OF {said}", "are never rewritten")
    _refuse("UPDATE", "are settled once", when="OLD.settled_at IS NOT NULL")
    if op.get_bind().dialect.name == "sqlite":
        # INSERT OR REPLACE deletes the row in its way without asking the trigger of DELETE
        exists = f"EXISTS (SELECT 1 FROM forecasts WHERE {SAME_FORECAST})"  # noqa: S608 - literals
        _refuse("INSERT", "are never replaced", when=exists)
        _refuse("DELETE", "are never deleted")


def _refuse(change: str, rule: str, *, when: str = "TRUE") -> None:
    """Create a trigger that refuses a change of `forecasts` for the reason `rule`."""
    name = f"forecasts_{rule}_{change.split()[0]}".replace(" ", "_").lower()
    if op.get_bind().dialect.name == "sqlite":
        body = f"BEGIN SELECT RAISE(ABORT, 'forecasts {rule}'); END"
    else:
        body = f"EXECUTE FUNCTION ledger_refuse('forecasts {rule}')"
    op.execute(
        f"CREATE TRIGGER {name} BEFORE {change} ON forecasts FOR EACH ROW WHEN ({when}) {body}"
    )
