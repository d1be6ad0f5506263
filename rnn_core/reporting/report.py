"""The self-contained HTML page of a run: no script, nothing loaded from outside."""

import base64
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from rnn_core.commands import Retrain
from rnn_core.data.prices import Prices
from rnn_core.evaluation import names
from rnn_core.evaluation.baselines import BASELINES
from rnn_core.evaluation.evaluation import Evaluation
from rnn_core.evaluation.metrics import COIN_TOSS
from rnn_core.evaluation.verdict import INCONCLUSIVE, NO_EVIDENCE, SKILL

COLOURS: dict[str, str] = {SKILL: "#1a7f37", INCONCLUSIVE: "#9a6700", NO_EVIDENCE: "#57606a"}
CAPTIONS = {
    "folds.png": "Accuracy of each fold with its 95 % interval, and of the majority class.",
    "equity.png": "Value of 1 traded on the calls, after costs, and of buy and hold.",
    "reliability.png": "Frequency of up by forecast probability, with the number of days.",
    "directions.png": "The last test days: the direction that was called and what happened.",
    "seeds.png": "How far the seeds of the ensemble lie apart.",
    "loss.png": "Mean training and validation loss of all models by epoch; ln 2 is a coin toss.",
    "gradient.png": "How strongly the loss of a call depends on earlier states, by step and fold.",
    "inputs.png": "How much the probability moves with each input, by feature and step.",
}


def report(
    config: Retrain, prices: Prices, evaluation: Evaluation, images: Mapping[str, bytes]
) -> str:
    """Return the page of a run, as HTML.

    It shows the verdict, the baselines, the figures, every score, the origin of the prices and the
    configuration. `images` are the figures as PNG, by file name.
    """
    days = evaluation.calls.index
    shown = [name for name in CAPTIONS if name in images]
    return render(
        "report.html",
        title=config.ticker,
        colour=COLOURS[evaluation.verdict.tag],
        evaluation=evaluation,
        first=f"{days[0]:%Y-%m-%d}",
        last=f"{days[-1]:%Y-%m-%d}",
        rivals=_rivals(evaluation.scores),
        spa=_number(evaluation.scores, names.pvalue("spa"), ".3f"),
        accounts=_accounts(evaluation, config.evaluation.trade),
        timing=_timing(evaluation.scores),
        cost=f"{config.evaluation.cost:g}",
        confusion=zip(("down", "up"), evaluation.confusion.tolist(), strict=True),
        figures=[(CAPTIONS[name], data_uri(images[name])) for name in shown],
        provenance=_provenance(prices),
        config=config.model_dump_json(indent=2),
    )


def render(template: str, **values: Any) -> str:
    """Return a page of `templates/` as HTML, with every value escaped."""
    return _templates().get_template(template).render(values)


def data_uri(png: bytes) -> str:
    """Return a URI that contains the whole picture.

    >>> data_uri(b"png")
    'data:image/png;base64,cG5n'
    """
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


@cache
def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("rnn_core.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals["coin_toss"] = f"{COIN_TOSS:.4f}"
    return templates


def _rivals(scores: dict[str, float]) -> list[dict[str, str]]:
    """Return the rows of the network and its baselines, the lowest log loss first."""
    network = f"{scores[names.ACCURACY]:.1%}"
    interval = f"{scores[names.ACCURACY_LOW]:.1%} to {scores[names.ACCURACY_HIGH]:.1%}"
    rows = [(scores[names.LOG_LOSS], "network", f"{network} ({interval})", "")]
    for name in BASELINES:
        log_loss = scores[names.baseline_log_loss(name)]
        accuracy = f"{scores[names.baseline_accuracy(name)]:.1%}"
        pvalue = scores.get(names.dm_pvalue(name))
        rows.append((log_loss, name, accuracy, "undefined" if pvalue is None else f"{pvalue:.3f}"))
    return [
        {"log_loss": f"{log_loss:.4f}", "name": name, "accuracy": accuracy, "pvalue": pvalue}
        for log_loss, name, accuracy, pvalue in sorted(rows)
    ]


def _accounts(evaluation: Evaluation, trade: str) -> list[dict[str, str]]:
    """Return a row for each account: on the calls, held, and the others that could be kept."""
    labels = {
        names.backtest("{}"): f"calls, at the {trade.replace('_', ' ')}",
        names.backtest("{}", names.NEXT_OPEN): "calls, at the next open",
        names.hold("{}"): "buy and hold",
        names.backtest("{}", names.FRICTIONLESS): "calls, at once, no cost: an upper bound",
    }
    scores = evaluation.scores
    return [
        {
            "name": label,
            "sharpe": _number(scores, name.format("sharpe_net"), ".2f") or "undefined",
            "total": _number(scores, name.format("total_return"), ".1%"),
            "break_even": _number(scores, name.format("break_even_cost"), ".1f bp"),
        }
        for name, label in labels.items()
        if name.format("total_return") in scores
    ]


def _timing(scores: dict[str, float]) -> str:
    t = _number(scores, names.TIMING_T, ".2f")
    return f"{scores[names.TIMING_GAIN]:.2f} basis points a day{f' (t {t})' if t else ''}"


def _number(scores: dict[str, float], name: str, form: str) -> str:
    """Return the score in a form such as `.1f bp`, empty if it is undefined."""
    number, _, unit = form.partition(" ")
    return f"{scores[name]:{number}} {unit}".strip() if name in scores else ""


def _provenance(prices: Prices) -> dict[str, str]:
    """Return what is known about the origin of the prices, by name."""
    sessions = prices.frame.index
    attainable = prices.attainable_accuracy
    fetched_at = prices.fetched_at
    rows = {
        "source": prices.source,
        "column": prices.column,
        "exchange": prices.exchange,
        "sessions": f"{len(sessions)}, {sessions[0]:%Y-%m-%d} to {sessions[-1]:%Y-%m-%d}",
        "fetched": fetched_at.isoformat(timespec="seconds") if fetched_at else "",
        "SHA-256": prices.sha256,
        "attainable accuracy": "" if attainable is None else f"{attainable:.1%}",
        "warnings": "; ".join(prices.warnings),
    }
    return {name: value for name, value in rows.items() if value}
