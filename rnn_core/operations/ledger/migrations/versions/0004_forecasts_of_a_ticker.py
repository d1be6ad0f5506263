"""An index to find the forecasts of a ticker among millions; those there are know only some."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the index."""
    op.create_index("forecasts_of_ticker", "forecasts", ["ticker", "session"])
