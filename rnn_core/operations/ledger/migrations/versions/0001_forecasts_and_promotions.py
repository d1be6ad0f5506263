"""Forecasts and promotions, append-only."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

SETTLEMENT = ("settled_at", "up", "next_return")
SAME_FORECAST = """id = NEW.id OR (ticker = NEW.ticker AND session = NEW.session
    AND (model_version = NEW.model_version OR (counted AND NEW.counted)))"""
REFUSE = """CREATE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN
        RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation';
    END $$"""


def upgrade() -> None:
    """Make the two tables and what holds their rules."""
    time = sa.DateTime(timezone=True)
    forecasts = op.create_table(
        "forecasts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("ticker", sa.String, nullable=False),
        sa.Column("exchange", sa.String, nullable=False),
        sa.Column("session", sa.Date, nullable=False),
        sa.Column("last_session", sa.Date, nullable=False),
        sa.Column("opens_at", time, nullable=False),
        sa.Column("model_version", sa.Integer, nullable=False),
        sa.Column("run_id", sa.String, nullable=False),
        sa.Column("probability", sa.Double, nullable=False),
        sa.Column("spread", sa.Double),
        sa.Column("verdict", sa.String, nullable=False),
        sa.Column("data_source", sa.String, nullable=False),
        sa.Column("data_sha256", sa.String, nullable=False),
        sa.Column("promised_accuracy", sa.Double),
        sa.Column("promised_low", sa.Double),
        sa.Column("promised_high", sa.Double),
        sa.Column("promised_log_loss", sa.Double),
        sa.Column("made_at", time, nullable=False),
        sa.Column("written_at", time, nullable=False),
        sa.Column("late", sa.Boolean, nullable=False),
        sa.Column("counted", sa.Boolean, nullable=False),
        sa.Column("settled_at", time),
        sa.Column("up", sa.Boolean),
        sa.Column("next_return", sa.Double),
        sa.UniqueConstraint("ticker", "session", "model_version", name="forecasts_said_once"),
        sa.CheckConstraint("probability BETWEEN 0 AND 1", name="forecasts_probability"),
        sa.CheckConstraint("session > last_session", name="forecasts_look_ahead"),
        sa.CheckConstraint("late = (made_at >= opens_at)", name="forecasts_late"),
        sa.CheckConstraint("NOT (late AND counted)", name="forecasts_late_never_count"),
        sa.CheckConstraint("(up IS NULL) = (next_return IS NULL)", name="forecasts_whole_outcome"),
        sa.CheckConstraint("up = (next_return > 0)", name="forecasts_up"),
        sa.CheckConstraint(
            "up IS NULL OR settled_at IS NOT NULL", name="forecasts_outcome_is_settled"
        ),
    )
    op.create_table(
        "promotions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("ticker", sa.String, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("model_version", sa.Integer, nullable=False),
        sa.Column("previous_version", sa.Integer),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("run_id", sa.String),
        sa.Column("decided_at", time, nullable=False),
        sa.UniqueConstraint("ticker", "number", name="promotions_numbered"),
        sa.CheckConstraint("kind IN ('promotion', 'rollback')", name="promotions_kind"),
        sa.CheckConstraint("(number = 1) = (previous_version IS NULL)", name="promotions_first"),
    )
    counted = sa.text("counted")
    op.create_index(
        *("forecasts_counted_once", "forecasts", ["ticker", "session"]),
        unique=True,
        sqlite_where=counted,
        postgresql_where=counted,
    )
    written_once = ", ".join(column.name for column in forecasts.c if column.name not in SETTLEMENT)
    if op.get_bind().dialect.name == "sqlite":
        _refuse_replacement("forecasts", SAME_FORECAST)
        _refuse_replacement(
            "promotions", "id = NEW.id OR (ticker = NEW.ticker AND number = NEW.number)"
        )
    else:
        op.execute(REFUSE)
        _refuse("TRUNCATE", "forecasts", "are never deleted", each="STATEMENT")
        _refuse("TRUNCATE", "promotions", "are never deleted", each="STATEMENT")
    _refuse(f"UPDATE OF {written_once}", "forecasts", "are never rewritten")
    _refuse("UPDATE", "forecasts", "are settled once", when="OLD.settled_at IS NOT NULL")
    _refuse("DELETE", "forecasts", "are never deleted")
    _refuse("UPDATE", "promotions", "are never rewritten")
    _refuse("DELETE", "promotions", "are never deleted")


def _refuse(change: str, table: str, rule: str, *, when: str = "TRUE", each: str = "ROW") -> None:
    """A trigger that refuses a change of the table for the reason `rule`."""
    name = f"{table}_{rule}_{change.split()[0]}".replace(" ", "_").lower()
    if op.get_bind().dialect.name == "sqlite":
        body = f"BEGIN SELECT RAISE(ABORT, '{table} {rule}'); END"
    else:
        body = f"EXECUTE FUNCTION ledger_refuse('{table} {rule}')"
    op.execute(
        f"CREATE TRIGGER {name} BEFORE {change} ON {table} FOR EACH {each} WHEN ({when}) {body}"
    )


def _refuse_replacement(table: str, same: str) -> None:
    """INSERT OR REPLACE deletes the row in its way without asking the trigger of DELETE."""
    exists = f"EXISTS (SELECT 1 FROM {table} WHERE {same})"  # noqa: S608 - both are literals below
    _refuse("INSERT", table, "are never replaced", when=exists)
