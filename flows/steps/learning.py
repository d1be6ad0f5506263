"""What is learned from the prices of one ticker, recorded in its MLflow run.

Nothing here imports Prefect: the processes of a universe do not need it, and they are forked from
one that has imported this.
"""

from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from typing import TypeAlias

from flows.steps import unrecorded
from flows.steps.looks import answer, ask
from flows.steps.promotion import promote
from flows.steps.summary import Laps, Summary, summarise
from flows.tracking import queries, records, registry, runs
from rnn_core.commands import Retrain
from rnn_core.config import Evaluation as EvaluationConfig
from rnn_core.config import Problem
from rnn_core.data.exchanges import last_closed_session
from rnn_core.data.folds import folds, outcomes
from rnn_core.data.loading import exchange_for
from rnn_core.data.prices import Prices
from rnn_core.data.windows import Windows, windows
from rnn_core.evaluation.evaluation import Evaluation, evaluate
from rnn_core.evaluation.explain import explain
from rnn_core.evaluation.spending import Look
from rnn_core.identity import config_hash, settings_hash
from rnn_core.nn.ensemble import call, out_of_sample
from rnn_core.nn.sequences import Folds
from rnn_core.nn.training import Fit, fit
from rnn_core.reporting import figures
from rnn_core.reporting.card import card
from rnn_core.reporting.report import report

FIGURES = ("folds.png",)  # of each ticker of a universe: all eight take longer than its training
DRAWING = Lock()  # Matplotlib has one set of settings for all threads
Judged: TypeAlias = tuple[Evaluation, dict[str, bytes]]
Steps: TypeAlias = tuple[
    Callable[..., tuple[Windows, Folds]], Callable[..., Fit], Callable[..., Judged]
]
"""Functions called as `build_windows`, `fit` and `evaluate_and_plot` are."""


def session_of(config: Retrain) -> str:
    """Return the last closed session of the ticker, as YYYY-MM-DD."""
    exchange = exchange_for(config.source, config.ticker)
    return f"{last_closed_session(exchange, config.time):%Y-%m-%d}"


def tags(config: Retrain) -> dict[str, str]:
    """Return the tags of a ticker's run at its start: enough to know later what was done."""
    return {
        "ticker": config.ticker,
        "engine": config.training.engine,
        "config_hash": config_hash(config),
        "settings_hash": settings_hash(config),
        "session": session_of(config),
    }


def build_windows(
    problem: Problem, evaluation: EvaluationConfig, prices: Prices
) -> tuple[Windows, Folds]:
    """Return windows with direction labels, and the walk-forward folds over them."""
    built = windows(problem, prices)
    return built, folds(evaluation, built)


def evaluate_and_plot(
    fit: Fit,
    windows: Windows,
    folds: Folds,
    settings: EvaluationConfig,
    look: Look,
    title: str,
    laps: Laps,
    only: Sequence[str] | None = None,
) -> Judged:
    """Return the evaluation of the out-of-sample calls, and the figures as PNG by file name.

    `only` names the figures to draw, None for all. A lap of `laps` ends in between.
    """
    logits = out_of_sample(fit, windows, folds)
    evaluation = evaluate(
        windows, folds, logits, settings, shrinkage=fit.training.shrinkage, look=look
    )
    laps.end("evaluate")
    test_rows = folds.test.repeat(fit.training.seeds, axis=0)  # (M, s)
    explained = partial(explain, fit, windows, test_rows)
    with DRAWING:
        drawn = figures.figures(fit, evaluation, explained, windows.features, title, only)
        return evaluation, figures.rendered(drawn)


def learn(
    config: Retrain,
    prices: Prices,
    run_id: str,
    laps: Laps,
    steps: Steps | None = None,
    only: Sequence[str] | None = None,
) -> Summary:
    """Train on one ticker, evaluate, register and maybe promote; record everything in the run.

    The training is kept until all is recorded: if that fails, the next run takes it.
    `steps` replaces the first three, by Prefect tasks of them; `only` names the figures to draw.
    """
    build, train, judge = steps or (build_windows, fit, evaluate_and_plot)
    windows, folds = build(config.problem, config.evaluation, prices)
    laps.end("windows")
    training = partial(train, config.model, config.training, windows, folds)
    fitted = unrecorded.trained(config, prices, training)
    laps.end("train")
    look_id, look = ask(config, prices, outcomes(windows, folds), run_id)
    evaluation, images = judge(
        fitted, windows, folds, config.evaluation, look, config.ticker, laps, only
    )
    answer(look_id, evaluation)
    laps.end("plot")
    forecast = call(fitted.live, windows.x[[windows.live]])
    known = card(prices, evaluation)
    version = registry.register(run_id, config, prices, fitted, known)
    laps.end("register")
    page = report(config, prices, evaluation, images)
    records.log_training(run_id, fitted, evaluation, images, page, version)
    laps.end("record")
    judgement = (
        promote(config, prices, fitted.live, forecast, version, run_id, known) if version else None
    )
    laps.end("promote")
    summary = summarise(
        prices, fitted, evaluation, forecast, laps.seconds, version, judgement, run_id
    )
    records.describe(run_id, summary.markdown(), laps.seconds, judgement)
    unrecorded.forget(config)
    return summary


def learn_one_of_many(config: Retrain, prices: Prices, parent: str, flow_run_id: str) -> Summary:
    """Return what `learn` does, in a run of its own, a child of the run `parent` of a universe."""
    child = tags(config) | {queries.PARENT: parent}
    with runs.start("retrain-universe", config.ticker, config, child, flow_run_id) as run_id:
        records.log_prices(run_id, prices)
        return learn(config, prices, run_id, Laps(), only=FIGURES)
