"""Looks: each question that was asked about test days, append-only; an answer is written once."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

ANSWER = ("answered_at", "pvalue", "verdict")
SAME_LOOK = (
    "id = NEW.id OR (settings = NEW.settings AND revision = NEW.revision AND asking = NEW.asking)"
)


def upgrade() -> None:
    """Make the table and what holds its rules."""
    time = sa.DateTime(timezone=True)
    looks = op.create_table(
        "looks",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("settings", sa.String, nullable=False),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("asking", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("level", sa.Double, nullable=False),
        sa.Column("ticker", sa.String, nullable=False),
        sa.Column("run_id", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("first_day", sa.Date, nullable=False),
        sa.Column("last_day", sa.Date, nullable=False),
        sa.Column("days", sa.Integer, nullable=False),
        sa.Column("last_price", sa.Date, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
        sa.Column("outcomes", sa.LargeBinary),
        sa.Column("asked_at", time, nullable=False),
        sa.Column("answered_at", time),
        sa.Column("pvalue", sa.Double),
        sa.Column("verdict", sa.String),
        sa.UniqueConstraint("settings", "revision", "asking", name="looks_asked_once"),
        sa.CheckConstraint("revision >= 1 AND asking >= 1 AND number >= 1", name="looks_counted"),
        sa.CheckConstraint("asking > 1 OR outcomes IS NOT NULL", name="looks_outcomes"),
        sa.CheckConstraint("level > 0 AND level < 1", name="looks_level"),
        sa.CheckConstraint("first_day <= last_day AND days >= 1", name="looks_days"),
        sa.CheckConstraint("pvalue BETWEEN 0 AND 1", name="looks_pvalue"),
        sa.CheckConstraint("(verdict IS NULL) = (answered_at IS NULL)", name="looks_whole_answer"),
    )
    written_once = ", ".join(column.name for column in looks.c if column.name not in ANSWER)
    _refuse(f"UPDATE OF {written_once}", "are never rewritten")
    _refuse("UPDATE", "are answered once", when="OLD.answered_at IS NOT NULL")
    _refuse("DELETE", "are never deleted")
    if op.get_bind().dialect.name == "sqlite":
        # INSERT OR REPLACE deletes the row in its way without asking the trigger of DELETE
        exists = f"EXISTS (SELECT 1 FROM looks WHERE {SAME_LOOK})"  # noqa: S608 - a literal
        _refuse("INSERT", "are never replaced", when=exists)
    else:
        _refuse("TRUNCATE", "are never deleted", each="STATEMENT")


def _refuse(change: str, rule: str, *, when: str = "TRUE", each: str = "ROW") -> None:
    """Create a trigger that refuses a change of `looks` for the reason `rule`."""
    name = f"looks_{rule}_{change.split()[0]}".replace(" ", "_").lower()
    if op.get_bind().dialect.name == "sqlite":
        body = f"BEGIN SELECT RAISE(ABORT, 'looks {rule}'); END"
    else:
        body = f"EXECUTE FUNCTION ledger_refuse('looks {rule}')"
    op.execute(
        f"CREATE TRIGGER {name} BEFORE {change} ON looks FOR EACH {each} WHEN ({when}) {body}"
    )
