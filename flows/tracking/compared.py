"""The two runs of a comparison: found by the name a user gives them, and read back."""

import pandas as pd
from mlflow.entities import Run

from flows.tracking import registry, runs
from flows.tracking.queries import finished_training
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
        ConfigError: there is no such version, or its run is no finished training of one ticker.
        TrackingError: the store cannot be reached or used.
    """
    return finished_training(_run_id(name))


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
    """Return the table of calls of a run, by date.

    Raises:
        TrackingError: its file is missing or damaged.
    """
    return runs.calls(run)


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
