"""The summary of a retrain: a short table for the terminal and the Prefect UI."""

from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter

from rich.table import Table

from flows.tracking import runs
from flows.tracking.registry import model_name
from rnn_core.data.prices import Prices
from rnn_core.evaluation import names
from rnn_core.evaluation.baselines import BASELINES
from rnn_core.evaluation.evaluation import Evaluation
from rnn_core.evaluation.metrics import COIN_TOSS
from rnn_core.nn.training import Fit
from rnn_core.operations.promotion import Judgement
from rnn_core.safe_text import in_markdown


class Laps:
    """Seconds of each step, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = perf_counter()

    def end(self, step: str) -> None:
        """Note that `step` has ended and the next begins."""
        now = perf_counter()
        self.seconds[step] = now - self._last
        self._last = now


@dataclass(frozen=True)
class Summary:
    """The results of a retrain.

    Attributes:
        title: ticker and test period.
        rows: pairs of a name and a value, as text.
        forecast: the probability that the next session closes up, and its spread over the seeds.
        seconds: time by step.
        run_id: the MLflow run.
        url: its page.
        how_to_open: the URL, or a command that serves it.
        version: of the registered model, None on fallback data, which is not registered.
        judgement: on that version.
    """

    title: str
    rows: tuple[tuple[str, str], ...]
    forecast: tuple[float, float]
    seconds: dict[str, float]
    run_id: str
    url: str
    how_to_open: str
    version: int | None
    judgement: Judgement | None

    def table(self) -> Table:
        """Return the rows for the terminal."""
        table = Table(title=self.title, title_justify="left", show_header=False)
        for name, value in self.rows:
            table.add_row(name, value)
        return table

    def markdown(self) -> str:
        """Return the rows and links for a Prefect artifact."""
        rows = [f"| {in_markdown(name)} | {in_markdown(value)} |" for name, value in self.rows]
        links = f"[Report]({self.url}/artifacts/report.html), [run]({self.url})"
        table = [f"### {in_markdown(self.title)}", "", "| | |", "|---|---|", *rows]
        return "\n".join([*table, "", links, "", f"`{self.how_to_open}`"])


def summarise(
    prices: Prices,
    fit: Fit,
    evaluation: Evaluation,
    forecast: tuple[float, float],
    seconds: dict[str, float],
    version: int | None,
    judgement: Judgement | None,
    run_id: str,
) -> Summary:
    """Return the table of one retrain."""
    days = evaluation.calls.index
    steps = ", ".join(f"{step} {elapsed:.1f}" for step, elapsed in seconds.items())
    return Summary(
        title=f"{prices.ticker}, test days {days[0]:%Y-%m-%d} to {days[-1]:%Y-%m-%d}",
        rows=(
            *_verdict(evaluation),
            *_scores(evaluation, prices.attainable_accuracy),
            *_forecast(prices, fit, forecast),
            *_model(prices.ticker, version, judgement),
            ("seconds", steps),
        ),
        forecast=forecast,
        seconds=seconds,
        run_id=run_id,
        url=runs.url(run_id),
        how_to_open=runs.how_to_open(run_id),
        version=version,
        judgement=judgement,
    )


def time_table(seconds: dict[str, float]) -> Table:
    """Return where the time went, for the terminal."""
    table = Table("step", "seconds", title="where the time went", title_justify="left")
    table.columns[1].justify = "right"
    for step, elapsed in seconds.items():
        table.add_row(step, f"{elapsed:.2f}")
    table.add_row("all", f"{sum(seconds.values()):.2f}")
    return table


Rows = Iterator[tuple[str, str]]


def _verdict(evaluation: Evaluation) -> Rows:
    verdict = evaluation.verdict
    yield "verdict", verdict.headline
    yield "  because", verdict.reason
    if verdict.tag != "skill":
        yield "  what could be found", verdict.power
    yield "  lowest log loss", verdict.lowest


def _scores(evaluation: Evaluation, attainable: float | None) -> Rows:
    scores = evaluation.scores
    interval = _interval(scores, names.ACCURACY, ".1%")
    days = len(evaluation.calls)
    yield "accuracy", f"{scores[names.ACCURACY]:.1%} of {days} test days{interval}"
    zeros = int(scores[names.ZERO_RETURNS])
    if zeros:
        yield "  returns of 0", f"{zeros}, counted as down"
    for name, description in BASELINES.items():
        yield f"  {description}", f"{scores[names.baseline_accuracy(name)]:.1%}"
    if attainable is not None:
        yield "  the best that is attainable", f"{attainable:.1%}"
    yield "log loss", f"{scores[names.LOG_LOSS]:.4f} (a coin toss: {COIN_TOSS:.4f})"
    auc = f"{scores[names.AUC]:.3f}" if names.AUC in scores else "undefined: one class only"
    yield "Brier score, AUC", f"{scores[names.BRIER]:.4f}, {auc}"
    sharpe = _sharpe(scores, names.SHARPE, " long or flat, by the year")
    yield "Sharpe ratio after costs", sharpe
    yield "  buy and hold", _sharpe(scores, names.HOLD_SHARPE)
    if names.NEXT_OPEN in evaluation.accounts:
        yield "  traded at the next open", _sharpe(scores, names.NEXT_OPEN_SHARPE)
    bound = _sharpe(scores, names.FRICTIONLESS_SHARPE, ", an upper bound in expectation")
    yield "  at once and at no cost", bound
    yield "break-even cost", _break_even(evaluation)


def _break_even(evaluation: Evaluation) -> str:
    """Return the break-even cost, and what timing earned beyond a constant position."""
    scores = evaluation.scores
    cost = scores.get(names.BREAK_EVEN_COST)
    break_even = "undefined" if cost is None else f"{cost:.1f} bp"
    t = f", t {scores[names.TIMING_T]:.2f}" if names.TIMING_T in scores else ""
    return f"{break_even}; timing gained {scores[names.TIMING_GAIN]:.2f} bp a day{t}"


def _forecast(prices: Prices, fit: Fit, forecast: tuple[float, float]) -> Rows:
    probability, spread = forecast
    yield "next session closes up", f"{probability:.1%}; seeds spread by {spread:.1%}"
    sessions = prices.frame.index
    yield (
        "prices",
        f"{prices.source}, column {prices.column!r}, {len(sessions)} sessions "
        f"to {sessions[-1]:%Y-%m-%d}",
    )
    yield "networks", f"{len(fit)}, {fit.engine}"


def _model(ticker: str, version: int | None, judgement: Judgement | None) -> Rows:
    registered = f"{model_name(ticker)} version {version}" if version else "none: fallback data"
    yield "registered model", registered
    if judgement is not None:
        yield "  champion", f"{'yes' if judgement.promoted else 'no'}: {judgement.reason}"


def _interval(scores: dict[str, float], name: str, form: str) -> str:
    return f" ({scores[f'{name}_low']:{form}} to {scores[f'{name}_high']:{form}})"


def _sharpe(scores: dict[str, float], name: str, note: str = "") -> str:
    if f"{name}_net" not in scores:
        return "undefined: the returns do not vary"
    return f"{scores[f'{name}_net']:.2f}{_interval(scores, name, '.2f')}{note}"
