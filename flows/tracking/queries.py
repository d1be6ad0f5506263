"""What is asked of the runs that MLflow has recorded."""

from collections.abc import Iterator, Sequence

import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from flows.tracking.store import client, experiment_of, unusable, uri
from rnn_core.commands import Retrain, config_hash
from rnn_core.data.prices import SYNTHETIC_FALLBACK, is_synthetic
from rnn_core.errors import TrackingError

TRAINED = ("retrain", "retrain-universe")  # experiments whose runs train a ticker


def search(which: str, experiments: Sequence[str] | None = None) -> Iterator[Run]:
    """The runs that fit a filter of MLflow's, the latest first, in all experiments or those named.

    Raises:
        TrackingError: the store cannot be reached or used.
    """
    try:
        names = {one.name: one.experiment_id for one in client().search_experiments()}
    except (MlflowException, SQLAlchemyError) as error:
        raise unusable(error) from error
    ids = [number for name, number in names.items() if experiments is None or name in experiments]
    page = None if ids else ""
    while page != "":
        found = client().search_runs(ids, which, page_token=page)
        yield from found
        page = found.token or ""


def trained(config_hash: str, session: str, ticker: str | None = None) -> set[str]:
    """The tickers, or the one, that this configuration was trained on when `session` was the last that had closed."""
    wanted = {"config_hash": config_hash, "session": session} | (
        {"ticker": ticker} if ticker else {}
    )
    which = [f"tags.{name} = '{value}'" for name, value in wanted.items()]
    which += ["attributes.status = 'FINISHED'", f"tags.`data.source` != '{SYNTHETIC_FALLBACK}'"]
    return {run.data.tags["ticker"] for run in search(" and ".join(which), TRAINED)}


def trials(config: Retrain, source: str, first: pd.Timestamp, last: pd.Timestamp) -> int:
    """How many distinct configurations were tried on the ticker with test days from `first` to `last`, this one too.

    Repeats of one configuration, such as daily retrains, count once; tries on real prices and on synthetic ones, as
    the `source` says, are counted apart.
    """
    tried = config_hash(config)
    others = f"tags.ticker = '{config.ticker}' and tags.config_hash != '{tried}' and attributes.status = 'FINISHED'"
    found = {tried}
    for tags in (run.data.tags for run in search(others, TRAINED)):
        same_kind = is_synthetic(tags.get("data.source", "")) == is_synthetic(source)
        days = tags.get("test.first", "9"), tags.get("test.last", "")
        if same_kind and days[0] <= f"{last:%Y-%m-%d}" and days[1] >= f"{first:%Y-%m-%d}":
            found.add(tags["config_hash"])
    return len(found)


def first(which: str, experiments: Sequence[str]) -> str | None:
    """Id of the latest run that fits a filter of MLflow's."""
    return next((run.info.run_id for run in search(which, experiments)), None)


def finished_child(parent: str, ticker: str) -> str | None:
    """Id of the run of a ticker that has finished as a child of the run `parent`.

    Raises:
        TrackingError: the store cannot be reached, or does not know `parent`.
    """
    mine = f"tags.`mlflow.parentRunId` = '{parent}' and tags.ticker = '{ticker}' and attributes.status = 'FINISHED'"
    try:
        found = client().search_runs([experiment_of(parent)], mine, max_results=1)
    except (MlflowException, SQLAlchemyError) as error:
        if getattr(error, "error_code", "") != "RESOURCE_DOES_NOT_EXIST":
            raise unusable(error) from error
        raise TrackingError(
            f"MLflow at {uri()} does not know the run {parent}; start workers in the folder of the flow, or with its "
            "MLFLOW_TRACKING_URI and LEDGER_URL"
        ) from error
    return found[0].info.run_id if found else None
