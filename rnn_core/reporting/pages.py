"""The standing of one ticker and of all, as self-contained HTML pages and as short Markdown."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import expm1, isnan
from typing import Any

import numpy as np
import pandas as pd

from rnn_core.evaluation.metrics import called_up
from rnn_core.evaluation.significance import ALPHA, benjamini_hochberg, holm
from rnn_core.evaluation.verdict import INCONCLUSIVE, NO_EVIDENCE, SKILL
from rnn_core.nn.arrays import Array
from rnn_core.operations.live import LiveRecord, in_live_record, is_replay, replays
from rnn_core.operations.standing import Standing
from rnn_core.reporting.figures import live_accuracy, rendered
from rnn_core.reporting.report import COLOURS, data_uri, render
from rnn_core.safe_text import in_markdown

NO_CHAMPION = "no champion"
MEANINGS: dict[str, str] = {
    SKILL: "In its walk-forward it called directions better than the base rate does, and its "
    "probabilities beat it. The page of its run says what that is worth in money, the live record "
    "whether it still holds.",
    INCONCLUSIVE: "Its walk-forward was too short to tell skill from chance: treat its calls as "
    "coin tosses.",
    NO_EVIDENCE: "Its walk-forward was long enough for an oracle of 55 % to "
    "show skill and showed none: treat its calls as coin tosses.",
    NO_CHAMPION: "No model has been promoted, so there are no calls.",
}
NO_PART = "They do not count as live and are no part of the live record, its intervals or alarms."
CALLS = 20  # the last ones, on the page of a ticker
CALLS_IN_SHORT = 5
ROWS_IN_SHORT = 30
COLUMNS_IN_SHORT = (
    "ticker",
    "alarms",
    "verdict",
    "p (Holm)",
    "live",
    "promised",
    "last call",
    "prices",
)


def ticker_page(standing: Standing) -> str:
    """Return the page of a ticker, as HTML: alarms, champion, live record, last calls, replays."""
    verdict = _verdict(standing)
    live, replayed = _live_and_replayed(standing.forecasts)
    return render(
        "ticker.html",
        ticker=standing.ticker,
        as_of=_minute(standing.as_of),
        alarms=standing.alarms,
        verdict=verdict,
        meaning=MEANINGS[verdict],
        colour=COLOURS.get(verdict, COLOURS[NO_EVIDENCE]),
        facts=_facts(standing),
        run=standing.page,
        record=_record(standing.record),
        figures=_live_figures(standing),
        calls=_calls(live, CALLS),
        replays=replays(standing.forecasts) if len(replayed) else None,
        replayed=_replayed(replayed, CALLS),
        no_part=NO_PART,
    )


def universe_page(standings: Sequence[Standing], failures: Mapping[str, str], title: str) -> str:
    """Return the page of many tickers, as HTML, with a row for each.

    `failures` are the reasons of what failed, by ticker.
    """
    newest = max((standing.as_of for standing in standings), default=None)
    return render(
        "universe.html",
        title=title,
        as_of=_minute(newest) if newest else "",
        sums=_sums(standings, failures),
        skill=_skill(standings),
        rows=_rows(standings),
        runs={standing.ticker: standing.page for standing in standings},
        failures=failures,
    )


def markdown(standing: Standing) -> str:
    """Return a short account of a ticker, as Markdown for a Prefect artifact."""
    verdict = _verdict(standing)
    live, replayed = _live_and_replayed(standing.forecasts)
    blocks = [
        f"### {in_markdown(standing.ticker)}: {in_markdown(verdict)}",
        MEANINGS[verdict],
        "\n".join(
            f"- ⚠ **{in_markdown(alarm.kind)}**: {in_markdown(alarm.text)}"
            for alarm in standing.alarms
        ),
        _table([{"": name, " ": value} for name, value in _facts(standing).items()]),
        _table(_record(standing.record)) or "No call is settled yet.",
        _table(_calls(live, CALLS_IN_SHORT)),
        f"#### Replays\n\n{replays(standing.forecasts)}. {NO_PART}" if len(replayed) else "",
        _table(_replayed(replayed, CALLS_IN_SHORT)),
        standing.page and f"[Run]({standing.page})",
    ]
    return "\n\n".join(filter(None, blocks))


def universe_markdown(standings: Sequence[Standing], failures: Mapping[str, str]) -> str:
    """Return a short account of many tickers, as Markdown for a Prefect artifact.

    Failures and alarms come first. It has 30 rows at most, and no more than half of them are
    failures, so that alarms are seen too. `failures` are reasons by ticker.
    """
    failed = [{"failed": ticker, "because": reason} for ticker, reason in failures.items()]
    rows = [{name: row[name] for name in COLUMNS_IN_SHORT} for row in _rows(standings)]
    shown_failures = failed[: ROWS_IN_SHORT // 2]
    shown_rows = rows[: ROWS_IN_SHORT - len(shown_failures)]
    hidden_failures = len(failed) - len(shown_failures)
    hidden_rows = len(rows) - len(shown_rows)
    blocks = [
        "; ".join(f"{name}: {value}" for name, value in _sums(standings, failures).items()) + ".",
        _skill(standings) if standings else "",
        _table(shown_failures),
        _table(shown_rows),
        f"Not shown: {hidden_failures} failures, {hidden_rows} tickers."
        if hidden_failures or hidden_rows
        else "",
    ]
    return "\n\n".join(filter(None, blocks))


def _verdict(standing: Standing) -> str:
    return standing.champion.verdict if standing.champion else NO_CHAMPION


def _live_figures(standing: Standing) -> list[str]:
    """Return the figure of the live record as a URI, if there is a record."""
    settled = standing.forecasts.iloc[_settled(standing.forecasts)]
    if settled.empty:
        return []
    images = rendered({"live.png": live_accuracy(settled, standing.ticker)})
    return [data_uri(png) for png in images.values()]


def _settled(forecasts: pd.DataFrame) -> Array:
    """Return the row numbers of the forecasts that make the live record."""
    return np.flatnonzero(in_live_record(forecasts))


def _facts(standing: Standing) -> dict[str, str]:
    """Return what is known about the champion and the prices, by name."""
    facts = {}
    champion = standing.champion
    if champion:
        since = f", since {_minute(standing.promoted_at)}" if standing.promoted_at else ""
        facts["champion"] = f"version {champion.version}{since}"
        facts["trained on"] = f"{champion.data_source} prices to {champion.data_last}"
    promise = standing.promise
    if promise:
        accuracy = _accuracy(promise.accuracy, promise.low, promise.high)
        log_loss = _number(promise.log_loss, ".4f")
        facts["walk-forward"] = f"accuracy {accuracy}, log loss {log_loss}"
        facts["direction p"] = _number(standing.pvalue, ".2g")
    facts["prices"] = f"{_prices(standing)}, {standing.exchange}"
    return facts


def _record(record: LiveRecord | None) -> list[dict[str, str]]:
    """Return a row for each measure, live and as promised; none without a record."""
    if record is None:
        return []
    return [
        {"": "right calls", "live": f"{record.hits} of {record.days}", "promised": ""},
        {"": "accuracy", "live": _live(record), "promised": _promised(record)},
        {
            "": "log loss",
            "live": _number(record.log_loss, ".4f"),
            "promised": _number(record.promised_log_loss, ".4f"),
        },
    ]


def _calls(forecasts: pd.DataFrame, last: int) -> list[dict[str, str]]:
    """Return a row for each of the last forecasts, the newest first."""
    return [_call(forecasts.iloc[row]) for row in range(len(forecasts))[::-1][:last]]


def _live_and_replayed(forecasts: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    replayed = is_replay(forecasts)
    return forecasts[~replayed], forecasts[replayed]


def _replayed(forecasts: pd.DataFrame, last: int) -> list[dict[str, str]]:
    """Return a row for each of the last replays, the newest first, with its reason."""
    reasons = forecasts["replay"].iloc[::-1][:last]
    calls = _calls(forecasts, last)
    return [call | {"why": reason} for call, reason in zip(calls, reasons, strict=True)]


def _call(call: Any) -> dict[str, str]:
    unknown = pd.isna(call.up)
    happened = "" if unknown else f"{_direction(call.up)} {expm1(call.next_return):+.2%}"
    return {
        "session": f"{call.session}",
        "outcome": _outcome(call),
        "called": _direction(called_up(call.probability)),
        "p (up)": f"{call.probability:.1%}",
        "happened": happened,
        "version": f"{call.model_version}",
    }


def _direction(up: bool) -> str:
    return "▲ up" if up else "▼ down"


def _outcome(call: Any) -> str:
    if pd.isna(call.settled_at):
        outcome = "… open"
    elif pd.isna(call.up):
        outcome = "– void"
    elif called_up(call.probability) == call.up:
        outcome = "✓ right"
    else:
        outcome = "✗ wrong"
    if pd.notna(call.replay) or call.counted:
        return outcome
    return f"{outcome}, not counted"


def _rows(standings: Sequence[Standing]) -> list[dict[str, str]]:
    """Return a row for each ticker, those with alarms first."""
    pvalues = _pvalues(standings)
    rows = zip(standings, holm(pvalues), benjamini_hochberg(pvalues), strict=True)
    return [_row(*row) for row in sorted(rows, key=lambda row: (not row[0].alarms, row[0].ticker))]


def _row(standing: Standing, by_holm: float, by_benjamini_hochberg: float) -> dict[str, str]:
    champion = standing.champion
    record = standing.record
    forecasts = standing.forecasts
    live_rows = np.flatnonzero(~is_replay(forecasts))
    return {
        "ticker": standing.ticker,
        "alarms": ", ".join(f"⚠ {alarm.kind}" for alarm in standing.alarms),
        "version": f"{champion.version}" if champion else "",
        "verdict": _verdict(standing),
        "p": _number(standing.pvalue, ".2g") if champion else "",
        "p (Holm)": _number(by_holm, ".2g"),
        "p (B–H)": _number(by_benjamini_hochberg, ".2g"),
        "days": f"{record.days}" if record else "",
        "live": _live(record) if record else "",
        "promised": _promised(record) if record else "",
        "last call": _last("{session} {called} {p (up)}", forecasts, live_rows),
        "last outcome": _last("{session} {outcome}", forecasts, _settled(forecasts)),
        "prices": _prices(standing),
        "replays": str(replays(forecasts)) if is_replay(forecasts).any() else "",
    }


def _last(form: str, forecasts: pd.DataFrame, rows: Array) -> str:
    """Format the last of the forecasts with the row numbers `rows`; empty if there is none."""
    return form.format(**_call(forecasts.iloc[rows[-1]])) if len(rows) else ""


def _sums(standings: Sequence[Standing], failures: Mapping[str, str]) -> dict[str, str]:
    """Return the totals over all tickers, by name."""
    records = [standing.record for standing in standings if standing.record]
    days = sum(record.days for record in records)
    hits = sum(record.hits for record in records)
    kinds = Counter(alarm.kind for standing in standings for alarm in standing.alarms)
    return {
        "tickers": f"{len(standings)}",
        "with a champion": f"{sum(standing.champion is not None for standing in standings)}",
        "alarms": ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "none",
        "failures": f"{len(failures)}",
        "settled calls": f"{days:,}, {hits / days:.1%} of them right" if days else "none",
        "replays": f"{sum(is_replay(standing.forecasts).sum() for standing in standings):,}",
    }


def _skill(standings: Sequence[Standing]) -> str:
    """Say how many tickers show skill before and after adjustment, and how many chance gives."""
    pvalues = _pvalues(standings)
    skilled = np.array([_verdict(standing) == SKILL for standing in standings], bool)
    alone, by_holm, by_benjamini_hochberg = (
        np.count_nonzero((adjusted <= ALPHA) & skilled)
        for adjusted in (pvalues, holm(pvalues), benjamini_hochberg(pvalues))
    )
    tested = sum(standing.pvalue is not None for standing in standings)
    return (
        f"{alone} of {len(standings)} tickers show skill if each is judged alone; of the {tested} "
        f"that could be tested, up to {ALPHA * tested:.3g} would show it by chance. "
        f"Adjusted for all {len(standings)}: {by_holm} by Holm's method, "
        f"{by_benjamini_hochberg} by Benjamini and Hochberg's."
    )


def _pvalues(standings: Sequence[Standing]) -> Array:
    """Return the p-value of each ticker, 1 if it has none."""
    return np.array([1.0 if standing.pvalue is None else standing.pvalue for standing in standings])


def _prices(standing: Standing) -> str:
    if not standing.last_price:
        return "none"
    missing = f", {standing.missing} missing since" if standing.missing else ""
    return f"to {standing.last_price} ({standing.data_source}){missing}"


def _live(record: LiveRecord) -> str:
    return _accuracy(record.accuracy, record.low, record.high)


def _promised(record: LiveRecord) -> str:
    return _accuracy(record.promised_accuracy, record.promised_low, record.promised_high)


def _accuracy(accuracy: float, low: float, high: float) -> str:
    return "undefined" if isnan(accuracy) else f"{accuracy:.1%} ({low:.1%} to {high:.1%})"


def _number(value: float | None, form: str) -> str:
    return "undefined" if value is None or isnan(value) else f"{value:{form}}"


def _minute(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _table(rows: Sequence[Mapping[str, str]]) -> str:
    """Return a Markdown table; empty without rows."""
    if not rows:
        return ""
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    head, *body = (f"| {' | '.join(map(in_markdown, line))} |" for line in lines)
    rule = f"| {' | '.join(['---'] * len(rows[0]))} |"
    return "\n".join([head, rule, *body])
