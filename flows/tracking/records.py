"""What the flows record of their work: tags, metrics, curves and files of a run."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from io import BytesIO
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from flows.tracking.runs import LONGEST, as_text, log
from rnn_core.data.prices import Prices
from rnn_core.evaluation import names
from rnn_core.evaluation.evaluation import Evaluation
from rnn_core.nn.sequences import Sequences
from rnn_core.nn.training import Fit
from rnn_core.operations.promotion import Judgement
from rnn_core.reporting.figures import rendered
from rnn_core.reporting.pages import Standing, ticker_page, universe_page
from rnn_core.studies.lesson import Finding, Trained


def data_tags(prices: Prices) -> dict[str, str]:
    """What a run is tagged with of where its prices came from."""
    tags = {
        "data.source": prices.source,
        "data.sha256": prices.sha256,
        "data.column": prices.column,
        "data.exchange": prices.exchange,
        "data.first": f"{prices.frame.index[0]:%Y-%m-%d}",
        "data.last": f"{prices.frame.index[-1]:%Y-%m-%d}",
        "data.rows": str(len(prices.frame)),
        "data.fetched_at": prices.fetched_at.isoformat() if prices.fetched_at else "",
        "data.attainable_accuracy": as_text(prices.attainable_accuracy),
        "data.warnings": "; ".join(prices.warnings),
    }
    return {name: value[:LONGEST] for name, value in tags.items() if value}


def log_made_data(run_id: str, sequences: Sequences) -> None:
    """Tag the run as one on data that a lesson makes for itself, with the hash of its inputs and targets."""
    digest = hashlib.sha256(sequences.x.tobytes() + sequences.y.tobytes()).hexdigest()
    log(run_id, tags={"data.source": "synthetic", "data.sha256": digest})


def log_training(
    run_id: str,
    fit: Fit,
    evaluation: Evaluation,
    images: Mapping[str, bytes],
    page: str,
    model_version: int | None,
) -> None:
    """Log what was trained and how it did: mean losses by epoch, scores, verdict, calls, figures and report.

    `images` are the figures as PNG by file name, `page` the report as HTML, `model_version` what was registered.
    """
    train, valid = fit.losses
    dates, verdict, seeds = evaluation.calls.index, evaluation.verdict, fit.training.seeds
    frozen = [f"fold {m // seeds} seed {m % seeds} at update {fit.frozen[m]}" for m in fit.lost]
    tags = {
        "models": str(len(fit)),
        "models.frozen": "; ".join(frozen) or "none",
        "engine.used": fit.engine,
        "verdict": verdict.tag,
        "verdict.reason": verdict.reason,
        "verdict.lowest_log_loss": verdict.lowest,
        "test.first": f"{dates[0]:%Y-%m-%d}",
        "test.last": f"{dates[-1]:%Y-%m-%d}",
    }
    if model_version is not None:
        tags["model.version"] = str(model_version)
    files: dict[str, bytes | str] = {f"figures/{name}": image for name, image in images.items()}
    files |= {
        "calls.csv": evaluation.calls.to_csv(),
        "folds.csv": evaluation.folds.to_csv(),
        "report.html": page,
    }
    log(
        run_id,
        metrics={names.BEST_VALID_LOSS: valid.min(), **evaluation.scores},
        curves={names.TRAIN_LOSS: train, names.VALID_LOSS: valid},
        tags=tags
        | {
            f"undefined.{name.replace('/', '.')}": why for name, why in evaluation.undefined.items()
        },
        files=files,
    )


def log_study(run_id: str, trained: dict[str, Trained], finding: Finding) -> None:
    """Log what a lesson trained and found: settings, losses by epoch, scores, arrays by torch's names, figures, texts.

    The curve of the first variant is `train/loss`, its first model `params.npz`; those of the others bear their names.
    """
    metrics, curves = dict(finding.metrics), {}
    files: dict[str, bytes | str] = {
        f"figures/{name}": image for name, image in rendered(finding.figures).items()
    }
    for number, (name, one) in enumerate(trained.items()):
        suffix = f"_{name}" if number else ""
        curves[f"{names.TRAIN_LOSS}{suffix}"], metrics[f"train/seconds{suffix}"] = (
            one.fit.losses[0],
            one.seconds,
        )
        for model in range(len(one.fit)):
            arrays = BytesIO()
            np.savez(
                arrays,
                allow_pickle=False,
                **{name: value[model] for name, value in one.fit.params.items()},
            )
            files[f"params{suffix}{f'_{model}' if model else ''}.npz"] = arrays.getvalue()
    settings = {
        name: {"model": asdict(one.fit.model), "training": asdict(one.fit.training)}
        for name, one in trained.items()
    }
    texts = {
        "variants.json": json.dumps(settings, indent=2),
        "finding.txt": "\n".join(finding.sentences) + "\n",
    }
    log(
        run_id,
        metrics=metrics,
        curves=curves,
        tags={"engine.used": "; ".join(dict.fromkeys(one.fit.engine for one in trained.values()))},
        files=files | finding.files | drawn(finding.files) | texts,
    )


def drawn(files: dict[str, str]) -> dict[str, str]:
    """The graphs among the files, `….dot`, as pictures `….svg`; none where Graphviz is not installed."""
    if shutil.which("dot") is None:
        return {}
    command: Any = {"capture_output": True, "text": True, "check": True}
    graphs = {name: text for name, text in files.items() if name.endswith(".dot")}
    return {
        name.replace(".dot", ".svg"): subprocess.run(["dot", "-Tsvg"], input=text, **command).stdout
        for name, text in graphs.items()
    }


def log_forecasts(run_id: str, forecasts: pd.DataFrame) -> None:
    """Log rows of the ledger as a table, and of a single one the probability and its spread."""
    log(run_id, files={"forecasts.csv": forecasts.to_csv(index=False)})
    if len(forecasts) == 1:
        said = forecasts.iloc[0]
        metrics = {
            f"forecast/{name}": said[name]
            for name in ("probability", "spread")
            if said[name] is not None
        }
        log(
            run_id,
            metrics=metrics,
            tags={"session": str(said["session"]), "model.version": str(said["model_version"])},
        )


def log_standings(
    run_id: str,
    standings: Mapping[str, Standing],
    failed: Mapping[str, str],
    title: str,
    *,
    each: bool = True,
) -> None:
    """Log the page of all tickers, and of `each`, their live records, and why others failed."""
    everyone = list(standings.values())
    pages = {f"tickers/{one.ticker}.html": ticker_page(one) for one in everyone if each}
    pages |= {
        "universe.html": universe_page(everyone, failed, title),
        "failed.json": json.dumps(failed, indent=2),
    }
    metrics: dict[str, float] = {"tickers/done": len(everyone), "tickers/failed": len(failed)}
    if len(everyone) == 1 and everyone[0].record is not None:
        metrics |= {f"live/{name}": value for name, value in asdict(everyone[0].record).items()}
    records = {one.ticker: asdict(one.record) for one in everyone if one.record}
    if records:
        pages["live.csv"] = pd.DataFrame.from_dict(records, orient="index").to_csv(
            index_label="ticker"
        )
    alarms = [
        f"{one.ticker}: {alarm.kind}: {alarm.text}" for one in everyone for alarm in one.alarms
    ]
    log(run_id, metrics=metrics, tags={"alarms": "; ".join(alarms) or "none"}, files=pages)


def describe(
    run_id: str,
    markdown: str,
    seconds: Mapping[str, float] = MappingProxyType({}),
    judgement: Judgement | None = None,
) -> None:
    """Put the text at the head of the run's page; log what each step took, whether the model was promoted, and why."""
    tags, files = {"mlflow.note.content": markdown}, {}
    if judgement is not None:
        outcome = {
            "promotion": "promoted" if judgement.promoted else "kept",
            "promotion.reason": judgement.reason,
        }
        tags |= outcome | {
            f"promotion.{name}": f"{value:.6g}" for name, value in judgement.figures.items()
        }
        found = {
            **outcome,
            "checks": [asdict(check) for check in judgement.checks],
            **judgement.figures,
        }
        files = {"promotion.json": json.dumps(found, indent=2)}
    log(
        run_id,
        metrics={f"seconds/{step}": elapsed for step, elapsed in seconds.items()},
        tags=tags,
        files=files,
    )
