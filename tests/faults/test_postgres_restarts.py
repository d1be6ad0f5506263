"""A PostgreSQL server that is restarted: no statement fails for a connection that was open then."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from mlflow import MlflowClient

from rnn_core.operations.ledger import Ledger
from tests.postgres import Postgres, running_postgres

RESTARTS = 5
AT = datetime(2021, 6, 2, 21, tzinfo=UTC)


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server


def restart(server: Postgres) -> None:
    server.stop()
    server.start()


def test_the_ledger_goes_on_after_each_restart(postgres: Postgres) -> None:
    with Ledger.open(postgres.create_database("ledger")) as ledger:
        for number in range(RESTARTS):
            with ledger.deciding("MSFT") as decision:
                decision.promote(number, reason="newer", run_id="r", at=AT)
            restart(postgres)
            assert ledger.champions("MSFT")[-1] == number
            restart(postgres)
            with ledger.claim("MSFT", f"{number}"):
                assert len(ledger.promotions("MSFT")) == number + 1


def test_a_claim_that_is_held_while_the_server_restarts_ends_without_an_error(
    postgres: Postgres,
) -> None:
    with Ledger.open(postgres.create_database("claims")) as ledger:
        for _ in range(RESTARTS):
            with ledger.claim("MSFT"):
                restart(postgres)
                assert ledger.champions("MSFT") == []


def test_mlflow_goes_on_after_each_restart(postgres: Postgres, tmp_path: Path) -> None:
    client = MlflowClient(postgres.create_database("mlflow").replace("://", "+psycopg://"))
    experiment = client.create_experiment("restarts", str(tmp_path))
    for number in range(RESTARTS):
        run = client.create_run(experiment).info.run_id
        restart(postgres)
        client.log_metric(run, "restarts", number)
        restart(postgres)
        client.set_terminated(run)
        assert len(client.search_runs([experiment], "metrics.restarts >= 0")) == number + 1
