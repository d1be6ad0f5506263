"""Run the migrations, called by Alembic, on the ledger's connection and in its transaction."""

from alembic import context

from rnn_core.operations.ledger.database import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
