"""The short table that a retrain ends with, for the terminal and for the Prefect UI."""

from dataclasses import dataclass
from time import perf_counter

from rich.table import Table

from flows.tracking.registry import model_name
from rnn_core.data.prices import Prices
from rnn_core.evaluation import names
from rnn_core.evaluation.evaluation import Evaluation
from rnn_core.nn.training import Fit
from rnn_core.operations.promotion import Judgement

BASELINES = {
    "majority": "always the majority class",
    "reversal": "opposite of yesterday",
    "persistence": "same as yesterday",
    "logistic": "logistic regression",
}


class Laps:
    """Seconds from one step to the next, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = perf_counter()

    def end(self, step: str) -> None:
        """Note that `step` has ended and the next begins."""
        now = perf_counter()
        self.seconds[step], self._last = now - self._last, now


@dataclass(frozen=True)
class Summary:
    """What a retrain found.

    Attributes:
        title: ticker and test period.
        rows: pairs of a name and a value, ready to be shown.
        forecast: the probability that the next session closes up, and its spread over the seeds.
        seconds: by step, what the run took.
        run_id: the MLflow run.
        page: its URL.
        address: how to open it.
        version: of the registered model, None on fallback data, which is not registered.
        judgement: on that version.
    """

    title: str
    rows: tuple[tuple[str, str], ...]
    forecast: tuple[float, float]
    seconds: dict[str, float]
    run_id: str
    page: str
    address: str
    version: int | None
    judgement: Judgement | None

    def table(self) -> Table:
        """For the terminal."""
        table = Table(title=self.title, title_justify="left", show_header=False)
        for name, value in self.rows:
            table.add_row(name, value)
        return table

    def markdown(self) -> str:
        """For a Prefect artifact."""
        lines = [f"| {name} | {value} |" for name, value in self.rows]
        links = f"[Report]({self.page}/artifacts/report.html), [run]({self.page})"
        return "\n".join(
            [
                f"### {self.title}",
                "",
                "| | |",
                "|---|---|",
                *lines,
                "",
                links,
                "",
                f"`{self.address}`",
            ]
        )


def summarise(
    prices: Prices,
    fit: Fit,
    evaluation: Evaluation,
    forecast: tuple[float, float],
    seconds: dict[str, float],
    version: int | None,
    judgement: Judgement | None,
    run_id: str,
    page: str,
    address: str,
) -> Summary:
    """The table of one retrain."""
    verdict, scores, calls, sessions = (
        evaluation.verdict,
        evaluation.scores,
        evaluation.calls,
        prices.frame.index,
    )
    known = prices.attainable_accuracy
    attainable = [] if known is None else [("  the best that is attainable", f"{known:.1%}")]
    auc = f"{scores[names.AUC]:.3f}" if names.AUC in scores else "undefined: one class only"
    rows = (
        ("verdict", verdict.tag),
        ("  because", verdict.reason),
        ("  lowest log loss", verdict.lowest),
        (
            "accuracy",
            f"{scores[names.ACCURACY]:.1%} of {len(calls)} test days{_interval(scores, names.ACCURACY, '.1%')}",
        ),
        *(
            (f"  {name}", f"{scores[names.baseline_accuracy(key)]:.1%}")
            for key, name in BASELINES.items()
        ),
        *attainable,
        ("log loss", f"{scores[names.LOG_LOSS]:.4f} (a coin toss: 0.6931)"),
        ("Brier score, AUC", f"{scores[names.BRIER]:.4f}, {auc}"),
        ("Sharpe ratio after costs", _sharpe(scores, names.SHARPE, "long or flat, by the year")),
        ("  buy and hold", _sharpe(scores, names.HOLD_SHARPE, "")),
        ("next session closes up", f"{forecast[0]:.1%}; seeds spread by {forecast[1]:.1%}"),
        (
            "prices",
            f"{prices.source}, column {prices.column!r}, {len(sessions)} sessions to {sessions[-1]:%Y-%m-%d}",
        ),
        ("networks", f"{len(fit)}, {fit.engine}"),
        (
            "registered model",
            f"{model_name(prices.ticker)} version {version}" if version else "none: fallback data",
        ),
        *(
            [("  champion", f"{'yes' if judgement.promoted else 'no'}: {judgement.reason}")]
            if judgement is not None
            else []
        ),
        ("seconds", ", ".join(f"{step} {elapsed:.1f}" for step, elapsed in seconds.items())),
    )
    title = f"{prices.ticker}, test days {calls.index[0]:%Y-%m-%d} to {calls.index[-1]:%Y-%m-%d}"
    return Summary(title, rows, forecast, seconds, run_id, page, address, version, judgement)


def time_table(seconds: dict[str, float]) -> Table:
    """Where the time went, for the terminal."""
    table = Table("step", "seconds", title="where the time went", title_justify="left")
    table.columns[1].justify = "right"
    for step, elapsed in (seconds | {"all": sum(seconds.values())}).items():
        table.add_row(step, f"{elapsed:.2f}")
    return table


def _interval(scores: dict[str, float], name: str, form: str) -> str:
    return f" ({scores[f'{name}_low']:{form}} to {scores[f'{name}_high']:{form}})"


def _sharpe(scores: dict[str, float], name: str, note: str) -> str:
    if f"{name}_net" not in scores:
        return "undefined: the returns do not vary"
    return f"{scores[f'{name}_net']:.2f}{_interval(scores, name, '.2f')} {note}".rstrip()
