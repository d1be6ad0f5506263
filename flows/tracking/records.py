"""Record retrains, forecasts and scores in their runs: tags, metrics, curves and files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType

import pandas as pd
from mlflow.entities import Dataset, DatasetInput, InputTag

from flows.tracking.files import CALLS, VERSIONS
from flows.tracking.runs import LONGEST_TAG, as_text, log
from flows.tracking.store import client
from flows.tracking.versions import versions
from rnn_core.data import vintages
from rnn_core.data.prices import Prices
from rnn_core.errors import TrackingError
from rnn_core.evaluation import names
from rnn_core.evaluation.evaluation import Evaluation
from rnn_core.nn import checkpoints
from rnn_core.nn.training import Fit
from rnn_core.operations.promotion import Judgement
from rnn_core.operations.reproduction import Results, results
from rnn_core.operations.standing import Standing
from rnn_core.reporting.pages import ticker_page, universe_page

DIGEST = 12  # digits of the SHA-256 in the name of a dataset
TRAINING_DATA = InputTag("mlflow.data.context", "training")


def data_tags(prices: Prices) -> dict[str, str]:
    """Return the tags that say where the prices of a run came from."""
    index = prices.frame.index
    tags = {
        "data.source": prices.source,
        "data.sha256": prices.sha256,
        "data.column": prices.column,
        "data.exchange": prices.exchange,
        "data.first": f"{index[0]:%Y-%m-%d}",
        "data.last": f"{index[-1]:%Y-%m-%d}",
        "data.rows": str(len(prices.frame)),
        "data.fetched_at": prices.fetched_at.isoformat() if prices.fetched_at else "",
        "data.attainable_accuracy": as_text(prices.attainable_accuracy),
        "data.warnings": "; ".join(prices.warnings),
    }
    return {name: value[:LONGEST_TAG] for name, value in tags.items() if value}


def log_prices(run_id: str, prices: Prices) -> None:
    """Tag a run with where its prices came from, and make their vintage its dataset."""
    log(run_id, tags=data_tags(prices))
    inputs = [DatasetInput(_dataset(prices), [TRAINING_DATA])]
    try:
        client().log_inputs(run_id, inputs)
    except TrackingError:  # where another run has just made the same dataset, it is there now
        client().log_inputs(run_id, inputs)


def _dataset(prices: Prices) -> Dataset:
    """Return the prices as MLflow shows them; what it makes of a frame itself has no sessions."""
    index = prices.frame.index
    columns = [{"name": name, "type": "double"} for name in prices.frame]
    profile = {
        "num_rows": len(index),
        "first": f"{index[0]:%Y-%m-%d}",
        "last": f"{index[-1]:%Y-%m-%d}",
    }
    source = {
        "uri": str(vintages.path_of(prices.sha256)),
        "from": prices.source,
        "column": prices.column,
    }
    return Dataset(
        name=prices.ticker,
        digest=prices.sha256[:DIGEST],
        source_type="local",
        source=json.dumps(source),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps(profile),
    )


def log_training(
    run_id: str,
    fit: Fit,
    evaluation: Evaluation,
    images: Mapping[str, bytes],
    page: str,
    model_version: int | None,
) -> None:
    """Log a training and its evaluation.

    Args:
        run_id: The run.
        fit: Gives the mean losses by epoch.
        evaluation: Scores, verdict and calls.
        images: Figures as PNG, by file name.
        page: The report as HTML.
        model_version: The version that was registered, None for fallback data.
    """
    train_loss, valid_loss = fit.losses
    tags = {"engine.used": fit.engine} | _verdict_tags(fit, evaluation)
    if model_version is not None:
        tags["model.version"] = str(model_version)
    figures = {f"figures/{name}": image for name, image in images.items()}
    tables = {
        CALLS: evaluation.calls.to_csv(),
        "folds.csv": evaluation.folds.to_csv(),
        "report.html": page,
        VERSIONS: json.dumps(versions(fit), indent=2),
    }
    log(
        run_id,
        metrics=_training_metrics(fit, evaluation),
        curves={names.TRAIN_LOSS: train_loss, names.VALID_LOSS: valid_loss},
        tags=tags,
        files={**figures, **tables},
    )


def log_forecasts(run_id: str, forecasts: pd.DataFrame) -> None:
    """Log rows of the ledger as a table; the probability and spread of a single row as metrics."""
    log(run_id, files={"forecasts.csv": forecasts.to_csv(index=False)})
    if len(forecasts) != 1:
        return
    row = forecasts.iloc[0]
    metrics = {
        f"forecast/{name}": row[name] for name in ("probability", "spread") if row[name] is not None
    }
    tags = {"session": str(row["session"]), "model.version": str(row["model_version"])}
    log(run_id, metrics=metrics, tags=tags)


def log_standings(
    run_id: str,
    standings: Mapping[str, Standing],
    failed: Mapping[str, str],
    title: str,
    *,
    ticker_pages: bool = True,
) -> None:
    """Log the page of all tickers, their live records, and why others failed.

    `ticker_pages` adds a page for each ticker.
    """
    listed = list(standings.values())
    files = {
        "universe.html": universe_page(listed, failed, title),
        "failed.json": json.dumps(failed, indent=2),
    }
    if ticker_pages:
        files |= {f"tickers/{standing.ticker}.html": ticker_page(standing) for standing in listed}
    metrics: dict[str, float] = {"tickers/done": len(listed), "tickers/failed": len(failed)}
    records = {standing.ticker: asdict(standing.record) for standing in listed if standing.record}
    if records:
        table = pd.DataFrame.from_dict(records, orient="index")
        files["live.csv"] = table.to_csv(index_label="ticker")
    if len(listed) == 1:
        for record in records.values():
            metrics |= {f"live/{name}": value for name, value in record.items()}
    log(run_id, metrics=metrics, tags={"alarms": _alarms(listed)}, files=files)


def describe(
    run_id: str,
    markdown: str,
    seconds: Mapping[str, float] = MappingProxyType({}),
    judgement: Judgement | None = None,
) -> None:
    """Put a text at the head of the run's page, and log the seconds by step and the promotion."""
    tags = {"mlflow.note.content": markdown}
    files = {}
    if judgement is not None:
        outcome = {
            "promotion": "promoted" if judgement.promoted else "kept",
            "promotion.reason": judgement.reason,
        }
        figures = {f"promotion.{name}": f"{value:.6g}" for name, value in judgement.figures.items()}
        tags |= outcome | figures
        checks = {"checks": [asdict(check) for check in judgement.checks]}
        files["promotion.json"] = json.dumps({**outcome, **checks, **judgement.figures}, indent=2)
    metrics = {f"seconds/{step}": elapsed for step, elapsed in seconds.items()}
    log(run_id, metrics=metrics, tags=tags, files=files)


def training_results(fit: Fit, evaluation: Evaluation) -> Results:
    """Return what `log_training` records of a training and its evaluation, to compare it."""
    train_loss, valid_loss = fit.losses
    curves = {names.TRAIN_LOSS: train_loss, names.VALID_LOSS: valid_loss}
    return results(
        evaluation.calls.to_csv(),
        curves | checkpoints.arrays_of(fit.live),
        _training_metrics(fit, evaluation),
        _verdict_tags(fit, evaluation),
    )


def _training_metrics(fit: Fit, evaluation: Evaluation) -> dict[str, float]:
    """Return the single numbers that a training and its evaluation gave."""
    return {names.BEST_VALID_LOSS: fit.losses[1].min(), **evaluation.scores}


def _verdict_tags(fit: Fit, evaluation: Evaluation) -> dict[str, str]:
    """Return the tags of the verdict and of what it is about: models and test days."""
    return _training_tags(fit) | _evaluation_tags(evaluation)


def _training_tags(fit: Fit) -> dict[str, str]:
    seeds = fit.training.seeds
    frozen = [
        f"fold {model // seeds} seed {model % seeds} at update {fit.frozen[model]}"
        for model in fit.lost
    ]
    return {
        "models": str(len(fit)),
        "models.frozen": "; ".join(frozen) or "none",
    }


def _evaluation_tags(evaluation: Evaluation) -> dict[str, str]:
    days = evaluation.calls.index
    verdict = evaluation.verdict
    undefined = {
        f"undefined.{name.replace('/', '.')}": reason
        for name, reason in evaluation.undefined.items()
    }
    return {
        "verdict": verdict.tag,
        "verdict.headline": verdict.headline,
        "verdict.reason": verdict.reason,
        "verdict.power": verdict.power,
        "verdict.lowest_log_loss": verdict.lowest,
        "test.first": f"{days[0]:%Y-%m-%d}",
        "test.last": f"{days[-1]:%Y-%m-%d}",
        **undefined,
    }


def _alarms(standings: Sequence[Standing]) -> str:
    alarms = [
        f"{standing.ticker}: {alarm.kind}: {alarm.text}"
        for standing in standings
        for alarm in standing.alarms
    ]
    return "; ".join(alarms) or "none"
