"""Questions about the runs that MLflow has recorded."""

from collections.abc import Iterator, Sequence

import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from flows.tracking.store import client, experiment_of, unusable, uri
from rnn_core.commands import Retrain, config_hash
from rnn_core.data.prices import SYNTHETIC_FALLBACK, is_synthetic
from rnn_core.errors import TrackingError

TRAINING = ("retrain", "retrain-universe")  # experiments whose runs train a ticker
FINISHED = "attributes.status = 'FINISHED'"


def search(condition: str, experiments: Sequence[str] | None = None) -> Iterator[Run]:
    """Yield the runs that fit a filter of MLflow, the latest first.

    `experiments` names those to search, None stands for all.

    Raises:
        TrackingError: the store cannot be reached or used.
    """
    try:
        ids = [
            experiment.experiment_id
            for experiment in client().search_experiments()
            if experiments is None or experiment.name in experiments
        ]
    except (MlflowException, SQLAlchemyError) as error:
        raise unusable(error) from error
    if not ids:
        return
    token: str | None = None
    while token != "":
        page = client().search_runs(ids, condition, page_token=token)
        yield from page
        token = page.token or ""


def first(condition: str, experiments: Sequence[str]) -> str | None:
    """Return the id of the latest run that fits a filter of MLflow."""
    return next((run.info.run_id for run in search(condition, experiments)), None)


def trained(config_hash: str, session: str, ticker: str | None = None) -> set[str]:
    """Return the tickers that were trained with a configuration when `session` had closed last.

    Runs on fallback data do not count. With a `ticker`, only runs of that one are looked at.
    """
    conditions = [
        f"tags.config_hash = '{config_hash}'",
        f"tags.session = '{session}'",
        FINISHED,
        f"tags.`data.source` != '{SYNTHETIC_FALLBACK}'",
    ]
    if ticker is not None:
        conditions.append(f"tags.ticker = '{ticker}'")
    return {run.data.tags["ticker"] for run in search(" and ".join(conditions), TRAINING)}


def trials(config: Retrain, source: str, first: pd.Timestamp, last: pd.Timestamp) -> int:
    """Return how many distinct configurations were tried on the ticker, this one included.

    Tries count if they have test days between `first` and `last`. Repeats of one configuration,
    such as daily retrains, count once. Tries on real and on synthetic prices, as the `source` of
    the prices is, are counted apart.
    """
    this_one = config_hash(config)
    others = f"tags.ticker = '{config.ticker}' and tags.config_hash != '{this_one}' and {FINISHED}"
    tried = {this_one}
    for run in search(others, TRAINING):
        tags = run.data.tags
        same_kind = is_synthetic(tags.get("data.source", "")) == is_synthetic(source)
        starts_in_time = tags.get("test.first", "9") <= f"{last:%Y-%m-%d}"
        ends_in_time = tags.get("test.last", "") >= f"{first:%Y-%m-%d}"
        if same_kind and starts_in_time and ends_in_time:
            tried.add(tags["config_hash"])
    return len(tried)


def finished_child(parent: str, ticker: str) -> str | None:
    """Return the id of a ticker's run that has finished as a child of the run `parent`.

    Raises:
        TrackingError: the store cannot be reached, or does not know `parent`.
    """
    condition = (
        f"tags.`mlflow.parentRunId` = '{parent}' and tags.ticker = '{ticker}' and {FINISHED}"
    )
    try:
        children = client().search_runs([experiment_of(parent)], condition, max_results=1)
    except (MlflowException, SQLAlchemyError) as error:
        if getattr(error, "error_code", "") != "RESOURCE_DOES_NOT_EXIST":
            raise unusable(error) from error
        raise TrackingError(
            f"MLflow at {uri()} does not know the run {parent}; start workers in the folder of the "
            "flow, or with its MLFLOW_TRACKING_URI and LEDGER_URL"
        ) from error
    return children[0].info.run_id if children else None
