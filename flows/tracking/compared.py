"""The two runs of a comparison: found by the name a user gives them, and read back."""

import pandas as pd
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from flows.tracking import registry, runs
from flows.tracking.store import ABSENT, client, get_run, unusable, uri
from rnn_core.errors import ConfigError
from rnn_core.reporting.side_by_side import Side

FACTS = {
    "verdict": "verdict.headline",
    "prices": "data.source",
    "prices, column": "data.column",
    "prices, first": "data.first",
    "prices, last": "data.last",
    "prices, rows": "data.rows",
    "prices, SHA-256": "data.sha256",
    "engine": "engine.used",
    "rnnflow": "version",
    "commit": "mlflow.source.git.commit",
}
"""Tags that may explain a difference, by what a reader calls them."""

DIGITS = 12  # of a hash, enough to tell two apart


def find(name: str) -> Run:
    """Return the run called `name`: its id, TICKER@ALIAS such as AAPL@champion, or TICKER/VERSION.

    Raises:
        ConfigError: there is no such run or version, or it has no calls to compare.
        TrackingError: the store cannot be reached or used.
    """
    run = _run(_run_id(name))
    if run is None:
        raise ConfigError(f"runs: MLflow at {uri()} does not know the run {name}")
    if runs.CALLS not in {file.path for file in client().list_artifacts(run.info.run_id)}:
        raise ConfigError(f"runs: {name} has no {runs.CALLS} to compare: {_why_no_calls(run)}")
    return run


def side(run: Run) -> Side:
    """Return what the page of a comparison says about a run."""
    tags = run.data.tags
    version = f"version {tags['model.version']}" if "model.version" in tags else ""
    facts = {label: tags.get(tag, "") for label, tag in FACTS.items()}
    shortened = {name: facts[name][:DIGITS] for name in ("prices, SHA-256", "commit")}
    return Side(
        title=", ".join(filter(None, [run.info.run_name, version])),
        run_id=run.info.run_id,
        settings=run.data.params,
        facts=facts | shortened,
    )


def calls(run: Run) -> pd.DataFrame:
    """Return the table of calls of a run, by date."""
    return runs.calls(run.info.run_id)


def _run_id(name: str) -> str:
    """Return the id of the run called `name`, whether or not there is such a run."""
    for separator in "@/":
        ticker, found, version = name.partition(separator)
        if found:
            run_id = registry.trained_by(ticker, version)
            if run_id is None:
                raise ConfigError(f"runs: {registry.model_name(ticker)} has no version {version}")
            return run_id
    return name


def _run(run_id: str) -> Run | None:
    try:
        return get_run(run_id)
    except MlflowException as error:
        if error.error_code in ABSENT:
            return None
        raise unusable(error) from error
    except SQLAlchemyError as error:
        raise unusable(error) from error


def _why_no_calls(run: Run) -> str:
    tags = run.data.tags
    experiment = client().get_experiment(run.info.experiment_id).name
    if "pruned" in tags:
        return "its files were pruned"
    if experiment not in ("retrain", "retrain-universe"):
        return f"it is a run of {experiment}; only those of retrain have calls"
    if "ticker" not in tags:
        return "it is the run of a whole universe; name the run of one of its tickers"
    return f"it is {run.info.status}"
