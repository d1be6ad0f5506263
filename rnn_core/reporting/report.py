"""One self-contained HTML page of a run: no script, nothing from outside."""

import base64
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from rnn_core.commands import Retrain
from rnn_core.data.prices import Prices
from rnn_core.evaluation import names
from rnn_core.evaluation.evaluation import Evaluation

COLOURS = {"skill": "#1a7f37", "inconclusive": "#9a6700", "no evidence of skill": "#57606a"}
CAPTIONS = {
    "folds.png": "Accuracy of each fold with its 95 % interval, beside the majority class.",
    "equity.png": "What trading on the calls would have made of 1, after costs, beside buy and hold.",
    "reliability.png": "How often the session closed up, by the probability that was forecast; the counts are days.",
    "directions.png": "The last test days: the direction that was called and the one that happened.",
    "seeds.png": "How far the seeds of the ensemble are apart.",
    "loss.png": "Training and validation loss by epoch, the mean of all models; ln 2 is a coin toss.",
    "gradient.png": "How strongly the loss of a call depends on the state of earlier steps, fold by fold.",
    "inputs.png": "How much the probability moves with each input, by feature and step.",
}


def report(
    config: Retrain, prices: Prices, evaluation: Evaluation, images: Mapping[str, bytes]
) -> str:
    """The page of a run, as HTML: verdict, baselines, figures, every score, where the prices came from, the config.

    `images` are the figures as PNG, by file name.
    """
    days = evaluation.calls.index
    return render(
        "report.html",
        title=config.ticker,
        colour=COLOURS[evaluation.verdict.tag],
        evaluation=evaluation,
        first=f"{days[0]:%Y-%m-%d}",
        last=f"{days[-1]:%Y-%m-%d}",
        rivals=_rivals(evaluation.scores),
        confusion=zip(("down", "up"), evaluation.confusion.tolist(), strict=True),
        figures=[
            (text, data_uri(images[name])) for name, text in CAPTIONS.items() if name in images
        ],
        provenance=_provenance(prices),
        config=config.model_dump_json(indent=2),
    )


def render(template: str, **values: Any) -> str:
    """One of the pages in `templates/`, as HTML; every value is escaped."""
    return _templates().get_template(template).render(values)


def data_uri(png: bytes) -> str:
    """A picture as an address that holds it."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("rnn_core.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _rivals(scores: dict[str, float]) -> list[dict[str, str]]:
    """The network and its baselines, the lowest log loss first."""
    accuracy = f"{scores[names.ACCURACY]:.1%} ({scores[names.ACCURACY_LOW]:.1%} to {scores[names.ACCURACY_HIGH]:.1%})"
    rows = [(scores[names.LOG_LOSS], "network", accuracy, "")]
    for name in ("majority", "persistence", "reversal", "logistic"):
        pvalue = scores.get(names.dm_pvalue(name))
        said = "undefined" if pvalue is None else f"{pvalue:.3f}"
        rows.append(
            (
                scores[names.baseline_log_loss(name)],
                name,
                f"{scores[names.baseline_accuracy(name)]:.1%}",
                said,
            )
        )
    fields = ("log_loss", "name", "accuracy", "pvalue")
    return [dict(zip(fields, (f"{row[0]:.4f}", *row[1:]), strict=True)) for row in sorted(rows)]


def _provenance(prices: Prices) -> dict[str, str]:
    sessions = prices.frame.index
    known = {
        "source": prices.source,
        "column": prices.column,
        "exchange": prices.exchange,
        "sessions": f"{len(sessions)}, {sessions[0]:%Y-%m-%d} to {sessions[-1]:%Y-%m-%d}",
        "fetched": prices.fetched_at.isoformat(timespec="seconds") if prices.fetched_at else "",
        "SHA-256": prices.sha256,
        "attainable accuracy": ""
        if prices.attainable_accuracy is None
        else f"{prices.attainable_accuracy:.1%}",
        "warnings": "; ".join(prices.warnings),
    }
    return {name: value for name, value in known.items() if value}
