"""Questions about the runs that MLflow has recorded."""

from collections.abc import Iterator, Sequence
from math import inf

import pandas as pd
from mlflow.entities import LoggedModel, Run

from flows.tracking.store import client, experiment_of, get_run, uri
from rnn_core.commands import Retrain
from rnn_core.data.prices import SYNTHETIC_FALLBACK, is_synthetic
from rnn_core.errors import ConfigError, NotFound, TrackingError
from rnn_core.identity import config_hash, settings_hash

TRAINING = ("retrain", "retrain-universe")  # experiments whose runs train a ticker
PARENT = "mlflow.parentRunId"  # tag of a child run
LOOK = "look"  # tag of a run whose look is in the ledger
FINISHED = "attributes.status = 'FINISHED'"
RUNNING = "attributes.status = 'RUNNING'"
INTERRUPTED = "interrupted"  # tag of a FINISHED run that was interrupted after its work


def search(condition: str, experiments: Sequence[str] | None = None) -> Iterator[Run]:
    """Yield the runs that fit a filter of MLflow, the latest first.

    `experiments` names those to search, None stands for all.

    Raises:
        TrackingError: the store cannot be reached or used.
    """
    ids = [
        experiment.experiment_id
        for experiment in client().search_experiments()
        if experiments is None or experiment.name in experiments
    ]
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


def logged_models(run: Run) -> list[LoggedModel]:
    """Return the models that a run has logged."""
    condition = f"source_run_id = '{run.info.run_id}'"
    return list(client().search_logged_models([run.info.experiment_id], filter_string=condition))


def finished_training(run_id: str) -> Run:
    """Return the run, which has trained one ticker to its end and still has its files.

    Raises:
        ConfigError: the run is unknown, of another kind, unfinished or pruned.
        TrackingError: the store cannot be reached or used.
    """
    try:
        run = get_run(run_id)
        experiment = client().get_experiment(run.info.experiment_id).name
    except NotFound as error:
        raise ConfigError(f"MLflow at {uri()} knows no run {run_id}") from error
    if reason := _why_unusable(run, experiment):
        raise ConfigError(f"run {run_id} cannot be used: {reason}")
    return run


def _why_unusable(run: Run, experiment: str) -> str:
    """Return why a run is no finished training of one ticker; nothing if it is one."""
    tags = run.data.tags
    if experiment not in TRAINING:
        return f"it is one of {experiment}; only those of {' and '.join(TRAINING)} can"
    if "tickers" in tags:
        return f"it retrained {tags['tickers']} tickers; name the run of one of them"
    if run.info.status != "FINISHED":
        return f"it is {run.info.status}; only a FINISHED run can"
    if "pruned" in tags:
        return "its files were pruned"
    return ""


def retrained(
    config: Retrain, session: str, ticker: str | None = None, since: float = inf
) -> dict[str, str]:
    """Return the latest run of each ticker that did for a session what `config` would: their ids.

    Such a run has the same settings and kind of source, and its prices reach the session. A run on
    fallback data does not count, nor one on stored prices that end before the session.

    Args:
        config: names the settings and the kind of source; its ticker does not matter.
        session: the last closed one, as YYYY-MM-DD.
        ticker: leave out the runs of other tickers.
        since: a run that ended after this time (seconds since 1970) counts whatever its prices.
    """
    conditions = [
        f"tags.config_hash = '{config_hash(config)}'",
        f"tags.session = '{session}'",
        f"params.`source.kind` = '{config.source.kind}'",
        FINISHED,
    ]
    if ticker is not None:
        conditions.append(f"tags.ticker = '{ticker}'")
    latest: dict[str, str] = {}
    for run in search(" and ".join(conditions), TRAINING):
        if _has_the_price_of(run, session) or run.info.end_time >= since * 1000:
            latest.setdefault(run.data.tags["ticker"], run.info.run_id)
    return latest


def retrained_alike(config: Retrain, session: str, since: float) -> str | None:
    """Return the latest run of the ticker for a session with exactly the settings of `config`.

    It has ended after the time `since` (seconds since 1970), or was interrupted after its work, and
    nobody has asked for it since then; None if there is no such run.
    """
    alike = " and ".join(
        [
            f"tags.settings_hash = '{settings_hash(config)}'",
            f"tags.session = '{session}'",
            FINISHED,
        ]
    )
    ended = f"attributes.end_time >= {since * 1000:.0f}"
    interrupted = f"tags.{INTERRUPTED} LIKE '%'"
    return first(f"{alike} and {ended}", TRAINING) or first(f"{alike} and {interrupted}", TRAINING)


def _has_the_price_of(run: Run, session: str) -> bool:
    tags = run.data.tags
    is_fallback = tags.get("data.source") == SYNTHETIC_FALLBACK
    return not is_fallback and tags.get("data.last", "") >= session


def tries_before_looks(config: Retrain, outcomes: "pd.Series[float]", source: str) -> int:
    """Return how many other configurations were tried on the ticker before looks were kept.

    Runs of version 0.2.0 and earlier are not in the ledger. They count by ticker, if they have test
    days among those of `outcomes`; repeats of one configuration count once. Tries on real and on
    synthetic prices, as the `source` of the prices is, are counted apart.
    """
    others = (
        f"tags.ticker = '{config.ticker}' and tags.config_hash != '{config_hash(config)}' "
        f"and {FINISHED}"
    )
    first, last = (f"{day:%Y-%m-%d}" for day in outcomes.index[[0, -1]])
    tried = set()
    for run in search(others, TRAINING):
        tags = run.data.tags
        same_kind = is_synthetic(tags.get("data.source", "")) == is_synthetic(source)
        overlaps = tags.get("test.first", "9") <= last and tags.get("test.last", "") >= first
        if LOOK not in tags and same_kind and overlaps:
            tried.add(tags["config_hash"])
    return len(tried)


def finished_child(parent: str, ticker: str) -> str | None:
    """Return the id of a ticker's run that has finished as a child of the run `parent`.

    Raises:
        TrackingError: the store cannot be reached, or does not know `parent`.
    """
    condition = f"tags.`{PARENT}` = '{parent}' and tags.ticker = '{ticker}' and {FINISHED}"
    try:
        children = client().search_runs([experiment_of(parent)], condition, max_results=1)
    except NotFound as error:
        raise TrackingError(
            f"MLflow at {uri()} does not know the run {parent}; start workers in the folder of the "
            "flow, or with its MLFLOW_TRACKING_URI and LEDGER_URL"
        ) from error
    return children[0].info.run_id if children else None
