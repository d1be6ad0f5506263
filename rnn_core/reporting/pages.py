"""What stands today, of a ticker and of all: self-contained HTML pages, and the same in short as Markdown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import expm1, isnan
from typing import Any

import numpy as np
import pandas as pd

from rnn_core.evaluation.metrics import called_up
from rnn_core.evaluation.significance import ALPHA, benjamini_hochberg, holm
from rnn_core.nn.arrays import Array
from rnn_core.operations.live import LiveRecord, in_live_record
from rnn_core.operations.standing import Standing
from rnn_core.reporting.figures import live_accuracy, rendered
from rnn_core.reporting.report import COLOURS, data_uri, render

NO_CHAMPION = "no champion"
MEANINGS = {
    "skill": "In its walk-forward it called directions better than chance, and its probabilities beat the base rate. "
    "Whether it still does, the live record must show.",
    "inconclusive": "Its walk-forward was too short to tell skill from chance: take its calls for coin tosses.",
    "no evidence of skill": "Its walk-forward was long enough to show skill and showed none: take its calls for coin "
    "tosses.",
    NO_CHAMPION: "No model has been promoted, so nobody makes calls.",
}
CALLS = 20  # the last of them, on the page of a ticker
CALLS_IN_SHORT, ROWS_IN_SHORT = 5, 30
COLUMNS_IN_SHORT = (
    "ticker",
    "look at",
    "verdict",
    "p (Holm)",
    "live",
    "promised",
    "last call",
    "prices",
)


def ticker_page(standing: Standing) -> str:
    """The page of a ticker, as HTML: alarms, champion, live record beside what was promised, last calls."""
    verdict, settled = _verdict(standing), standing.forecasts.iloc[_settled(standing.forecasts)]
    images = rendered({"live.png": live_accuracy(settled, standing.ticker)} if len(settled) else {})
    return render(
        "ticker.html",
        ticker=standing.ticker,
        as_of=_minute(standing.as_of),
        alarms=standing.alarms,
        verdict=verdict,
        meaning=MEANINGS[verdict],
        colour=COLOURS.get(verdict, COLOURS["no evidence of skill"]),
        facts=_facts(standing),
        run=standing.page,
        record=_record(standing.record),
        figures=[data_uri(png) for png in images.values()],
        calls=_calls(standing.forecasts, CALLS),
    )


def universe_page(standings: Sequence[Standing], failures: Mapping[str, str], title: str) -> str:
    """The page of many tickers, as HTML, a row each; `failures` are reasons by ticker of what could not be done."""
    return render(
        "universe.html",
        title=title,
        as_of=_minute(max(standing.as_of for standing in standings)) if standings else "",
        sums=_sums(standings, failures),
        skill=_skill(standings),
        rows=_rows(standings),
        runs={standing.ticker: standing.page for standing in standings},
        failures=failures,
    )


def markdown(standing: Standing) -> str:
    """A ticker in short, as Markdown for a Prefect artifact."""
    verdict = _verdict(standing)
    blocks = [
        f"### {standing.ticker}: {verdict}",
        MEANINGS[verdict],
        "\n".join(f"- ⚠ **{alarm.kind}**: {alarm.text}" for alarm in standing.alarms),
        _table([{"": name, " ": value} for name, value in _facts(standing).items()]),
        _table(_record(standing.record)) or "No call is settled yet.",
        _table(_calls(standing.forecasts, CALLS_IN_SHORT)),
        standing.page and f"[Run]({standing.page})",
    ]
    return "\n\n".join(filter(None, blocks))


def universe_markdown(standings: Sequence[Standing], failures: Mapping[str, str]) -> str:
    """Many tickers in short, as Markdown for a Prefect artifact: failures and alarms first, 30 rows at most."""
    failed = [{"failed": ticker, "because": reason} for ticker, reason in failures.items()]
    rows = [{name: row[name] for name in COLUMNS_IN_SHORT} for row in _rows(standings)]
    most = ROWS_IN_SHORT // 2  # of failures, so that alarms are seen too
    room = ROWS_IN_SHORT - len(failed[:most])
    hidden = len(failed[most:]), len(rows[room:])
    blocks = [
        "; ".join(f"{name}: {value}" for name, value in _sums(standings, failures).items()) + ".",
        _skill(standings) if standings else "",
        _table(failed[:most]),
        _table(rows[:room]),
        f"Not shown: {hidden[0]} failures, {hidden[1]} tickers." if any(hidden) else "",
    ]
    return "\n\n".join(filter(None, blocks))


def _verdict(standing: Standing) -> str:
    return standing.champion.verdict if standing.champion else NO_CHAMPION


def _settled(forecasts: pd.DataFrame) -> Array:
    """Row numbers of the forecasts that make the live record."""
    return np.flatnonzero(in_live_record(forecasts))


def _facts(standing: Standing) -> dict[str, str]:
    """What is known of the champion and of the prices, by name."""
    champion, promise, since = standing.champion, standing.promise, standing.promoted_at
    facts = {}
    if champion:
        facts["champion"] = f"version {champion.version}" + (
            f", since {_minute(since)}" if since else ""
        )
        facts["trained on"] = f"{champion.data_source} prices to {champion.data_last}"
    if promise:
        found = _accuracy(promise.accuracy, promise.low, promise.high)
        facts["walk-forward"] = f"accuracy {found}, log loss {_number(promise.log_loss, '.4f')}"
        facts["direction p"] = _number(standing.pvalue, ".2g")
    facts["prices"] = f"{_prices(standing)}, {standing.exchange}"
    return facts


def _record(record: LiveRecord | None) -> list[dict[str, str]]:
    """A row a measure, live and as promised; none without a record."""
    if record is None:
        return []
    live = (
        f"{record.hits} of {record.days}",
        _accuracy(record.accuracy, record.low, record.high),
        _number(record.log_loss, ".4f"),
    )
    promised = "", _promised(record), _number(record.promised_log_loss, ".4f")
    names = "right calls", "accuracy", "log loss"
    return [
        {"": name, "live": now, "promised": then}
        for name, now, then in zip(names, live, promised, strict=True)
    ]


def _calls(forecasts: pd.DataFrame, last: int) -> list[dict[str, str]]:
    """A row for each of the last forecasts, the newest first."""
    return [_call(forecasts.iloc[row]) for row in range(len(forecasts))[::-1][:last]]


def _call(call: Any) -> dict[str, str]:
    return {
        "session": f"{call.session}",
        "outcome": _outcome(call),
        "called": _direction(called_up(call.probability)),
        "p (up)": f"{call.probability:.1%}",
        "happened": ""
        if pd.isna(call.up)
        else f"{_direction(call.up)} {expm1(call.next_return):+.2%}",
        "version": f"{call.model_version}",
    }


def _direction(up: bool) -> str:
    return "▲ up" if up else "▼ down"


def _outcome(call: Any) -> str:
    if pd.isna(call.settled_at):
        outcome = "… open"
    elif pd.isna(call.up):
        outcome = "– void"
    else:
        outcome = "✓ right" if called_up(call.probability) == call.up else "✗ wrong"
    return outcome + (", late" if call.late else "" if call.counted else ", not counted")


def _rows(standings: Sequence[Standing]) -> list[dict[str, str]]:
    """A row a ticker, those with alarms first."""
    pvalues = _pvalues(standings)
    rows = zip(standings, holm(pvalues), benjamini_hochberg(pvalues), strict=True)
    return [_row(*row) for row in sorted(rows, key=lambda row: (not row[0].alarms, row[0].ticker))]


def _row(standing: Standing, by_holm: float, by_benjamini_hochberg: float) -> dict[str, str]:
    champion, record, forecasts = standing.champion, standing.record, standing.forecasts
    return {
        "ticker": standing.ticker,
        "look at": ", ".join(f"⚠ {alarm.kind}" for alarm in standing.alarms),
        "version": f"{champion.version}" if champion else "",
        "verdict": _verdict(standing),
        "p": _number(standing.pvalue, ".2g") if champion else "",
        "p (Holm)": _number(by_holm, ".2g"),
        "p (B–H)": _number(by_benjamini_hochberg, ".2g"),
        "days": f"{record.days}" if record else "",
        "live": _accuracy(record.accuracy, record.low, record.high) if record else "",
        "promised": _promised(record) if record else "",
        "last call": _last("{session} {called} {p (up)}", forecasts, np.arange(len(forecasts))),
        "last outcome": _last("{session} {outcome}", forecasts, _settled(forecasts)),
        "prices": _prices(standing),
    }


def _last(form: str, forecasts: pd.DataFrame, rows: Array) -> str:
    return form.format(**_call(forecasts.iloc[rows[-1]])) if len(rows) else ""


def _sums(standings: Sequence[Standing], failures: Mapping[str, str]) -> dict[str, str]:
    """What the tickers add up to, by name."""
    records = [standing.record for standing in standings if standing.record]
    days, hits = sum(record.days for record in records), sum(record.hits for record in records)
    kinds = Counter(alarm.kind for standing in standings for alarm in standing.alarms)
    return {
        "tickers": f"{len(standings)}",
        "with a champion": f"{sum(standing.champion is not None for standing in standings)}",
        "alarms": ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "none",
        "failures": f"{len(failures)}",
        "settled calls": f"{days:,}, {hits / days:.1%} of them right" if days else "none",
    }


def _skill(standings: Sequence[Standing]) -> str:
    """How many tickers show skill before and after the adjustment, beside what chance alone would give."""
    pvalues, verdicts = (
        _pvalues(standings),
        np.array([_verdict(standing) for standing in standings]),
    )
    before, by_holm, by_benjamini_hochberg = (
        np.count_nonzero((adjusted <= ALPHA) & (verdicts == "skill"))
        for adjusted in (pvalues, holm(pvalues), benjamini_hochberg(pvalues))
    )
    tested = sum(standing.pvalue is not None for standing in standings)
    return (
        f"{before} of {len(standings)} tickers show skill, each looked at by itself; of the {tested} that could be "
        f"tested, chance alone would show it in up to {ALPHA * tested:.3g}. Adjusted for all {len(standings)}: "
        f"{by_holm} by Holm's method, {by_benjamini_hochberg} by Benjamini and Hochberg's."
    )


def _pvalues(standings: Sequence[Standing]) -> Array:
    return np.array([1.0 if standing.pvalue is None else standing.pvalue for standing in standings])


def _prices(standing: Standing) -> str:
    missing = f", {standing.missing} missing since" if standing.missing else ""
    return (
        f"to {standing.last_price} ({standing.data_source}){missing}"
        if standing.last_price
        else "none"
    )


def _promised(record: LiveRecord) -> str:
    return _accuracy(record.promised_accuracy, record.promised_low, record.promised_high)


def _accuracy(accuracy: float, low: float, high: float) -> str:
    return "undefined" if isnan(accuracy) else f"{accuracy:.1%} ({low:.1%} to {high:.1%})"


def _number(value: float | None, form: str) -> str:
    return "undefined" if value is None or isnan(value) else f"{value:{form}}"


def _minute(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    """A table in Markdown; nothing without rows."""
    if not rows:
        return ""
    lines = [rows[0].keys(), ["---"] * len(rows[0]), *(row.values() for row in rows)]
    return "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
