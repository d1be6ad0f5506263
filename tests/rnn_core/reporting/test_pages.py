"""The pages of a ticker and of all: alarms first, then calls and outcomes, and no more."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rnn_core.data.exchanges import sessions
from rnn_core.operations.ledger import Forecast, Ledger
from rnn_core.operations.live import Alarm, live_record
from rnn_core.operations.promotion import Candidate
from rnn_core.operations.standing import Promise, Standing
from rnn_core.reporting.pages import (
    markdown,
    ticker_page,
    universe_markdown,
    universe_page,
)
from tests.clock import machine_at
from tests.rnn_core.reporting.test_report import assert_readable

NOW = datetime(2024, 3, 29, 9, tzinfo=UTC)
BEFORE = sessions("XNYS", date(2023, 12, 29), date(2024, 4, 30)).date[:61].tolist()
SESSIONS = BEFORE[1:]
ALARMS = (
    Alarm("drift", "recent inputs differ"),
    Alarm("stale", "closed sessions without a price: 3"),
)
RETURNS = 0.01 * np.random.default_rng(1).standard_normal(60)
FAILURES = {"GONE": "no prices | at all\nof <b>GONE</b>", "LATE": "prices end on 2020-01-02"}


def champion(verdict: str = "skill") -> Candidate:
    return Candidate(
        version=7,
        run_id="run",
        config_hash="config",
        exchange="XNYS",
        data_source="yahoo",
        data_sha256="0" * 64,
        data_last=SESSIONS[-1],
        verdict=verdict,
        scores={},
        calls=pd.DataFrame,
    )


def forecast(number: int, version: int, probability: float) -> Forecast:
    session = SESSIONS[number]
    return Forecast(
        ticker="TEST",
        exchange="XNYS",
        session=session,
        last_session=BEFORE[number],
        opens_at=opening(number),
        model_version=version,
        run_id="run",
        learned_to=BEFORE[0],
        probability=probability,
        spread=0.01,
        verdict="skill",
        data_source="yahoo",
        data_sha256="0" * 64,
        promised_accuracy=0.53,
        promised_low=0.51,
        promised_high=0.55,
        promised_log_loss=0.6912,
        as_of=opening(number) - timedelta(hours=1),
    )


def opening(number: int) -> datetime:
    return datetime.combine(SESSIONS[number], time(14, 30), UTC)


@pytest.fixture(scope="module")
def forecasts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pd.DataFrame]:
    """Sixty sessions; the last six are right, wrong, a replay, void, called twice, open."""
    with Ledger.open(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.db") as ledger:
        for number, after in enumerate(RETURNS):
            written_at = opening(number) + timedelta(hours=1 if number == 56 else -1)
            with machine_at(written_at):
                row = ledger.record(forecast(number, 6, 0.6 if number % 3 else 0.45))
                if number == 58:
                    again = ledger.record(forecast(number, 7, 0.7))
                    ledger.settle(again.id, -0.02, NOW)
            if number < 59:
                outcome = {54: 0.01, 55: -0.01, 56: 0.01, 57: None, 58: -0.02}.get(
                    number, float(after)
                )
                ledger.settle(row.id, outcome, NOW)
        yield ledger.forecasts("TEST")


@pytest.fixture
def standing(forecasts: pd.DataFrame) -> Standing:
    return Standing(
        ticker="TEST",
        exchange="XNYS",
        as_of=NOW,
        champion=champion(),
        promoted_at=NOW - timedelta(days=3),
        pvalue=0.012,
        promise=Promise(0.54, 0.52, 0.56, 0.6901),
        record=live_record(forecasts[forecasts["counted"] & forecasts["up"].notna()]),
        forecasts=forecasts,
        alarms=ALARMS,
        last_price=date(2024, 3, 22),
        missing=3,
        data_source="yahoo",
        page="http://127.0.0.1:5000/#/runs/run",
    )


@pytest.fixture
def new(standing: Standing) -> Standing:
    """A ticker without champion, prices or calls."""
    nothing = standing.forecasts.iloc[:0]
    return replace(
        standing,
        champion=None,
        promoted_at=None,
        pvalue=None,
        promise=None,
        record=None,
        forecasts=nothing,
        alarms=(),
        last_price=None,
        missing=0,
        page="",
    )


def rows(text: str) -> list[list[str]]:
    """The cells of the tables in a Markdown text."""
    return [
        re.split(r" *(?<!\\)\| *", line)[1:-1] for line in text.splitlines() if line.startswith("|")
    ]


def test_each_call_shows_its_outcome_in_words_and_each_replay_its_reason(
    standing: Standing,
) -> None:
    live, replayed = markdown(standing).split("#### Replays")
    outcomes = {(row[0], row[5]): row[1:5] for row in rows(live) if row[0].startswith("2024")}
    day = [f"{session}" for session in SESSIONS]
    assert outcomes == {
        (day[59], "6"): ["… open", "▲ up", "60.0%", ""],
        (day[58], "7"): ["✗ wrong, not counted", "▲ up", "70.0%", "▼ down -1.98%"],
        (day[58], "6"): ["✗ wrong", "▲ up", "60.0%", "▼ down -1.98%"],
        (day[57], "6"): ["– void", "▼ down", "45.0%", ""],
        (day[55], "6"): ["✗ wrong", "▲ up", "60.0%", "▼ down -1.00%"],
    }
    assert rows(replayed)[2:] == [
        [day[56], "✓ right", "▲ up", "60.0%", "▲ up +1.01%", "6", "written after the open"]
    ]
    assert "1, 100.0% of 1 right. They do not count as live" in replayed


def test_replays_have_a_heading_of_their_own_and_no_part_in_the_record(
    standing: Standing, new: Standing
) -> None:
    live, replayed = ticker_page(standing).split("<h2>Replays</h2>")
    assert f"{SESSIONS[56]}" in replayed
    assert f"<td>{SESSIONS[56]}</td>" not in live
    assert standing.record is not None
    assert standing.record.days == 57, "60 without the replay, the void and the open one"
    assert "Replays" not in ticker_page(new)
    assert "replays: 1." in universe_markdown([standing], {})
    only = replace(standing, forecasts=standing.forecasts.iloc[[56]], record=None)
    assert "No call is settled yet." in markdown(only)
    assert "<p>None yet.</p>" in ticker_page(only)


def test_the_page_shows_the_last_twenty_calls_newest_first(standing: Standing) -> None:
    page = ticker_page(standing)
    calls = page[page.index("<h2>Last calls") : page.index("<h2>Replays")]
    shown = re.findall(r"<tr><td>(\d{4}-\d\d-\d\d)</td>", calls)
    assert shown == sorted(shown, reverse=True)
    assert len(shown) == 20
    assert shown[0] == f"{SESSIONS[-1]}"


def test_alarms_come_first_then_the_verdict_then_the_record(standing: Standing) -> None:
    page = ticker_page(standing)
    in_order = [
        ALARMS[0].text,
        ALARMS[1].text,
        "<b>skill</b>",
        "version 7",
        "Live record",
        "Last calls",
    ]
    assert [page.index(text) for text in in_order] == sorted(page.index(text) for text in in_order)


def test_the_live_record_is_shown_with_the_promise_of_those_calls(
    standing: Standing,
) -> None:
    record = standing.record
    assert record is not None
    live = f"{record.accuracy:.1%} ({record.low:.1%} to {record.high:.1%})"
    table = rows(markdown(standing))
    assert ["right calls", f"{record.hits} of {record.days}", ""] in table
    assert ["accuracy", live, "53.0% (51.0% to 55.0%)"] in table
    assert ["log loss", f"{record.log_loss:.4f}", "0.6912"] in table
    unpromised = replace(record, promised_accuracy=float("nan"), promised_log_loss=float("nan"))
    table = rows(markdown(replace(standing, record=unpromised)))
    assert ["accuracy", live, "undefined"] in table
    assert ["log loss", f"{record.log_loss:.4f}", "undefined"] in table


def test_a_ticker_without_a_champion_has_its_pages(new: Standing) -> None:
    for text in (
        ticker_page(new),
        markdown(new),
        universe_page([new], {}, "all"),
        universe_markdown([new], {}),
    ):
        assert "no champion" in text
        assert "nan" not in text
        assert "None" not in text.replace("None yet", "")
    assert "ZZZ" in universe_page([], {"ZZZ": "gone"}, "all")
    assert "ZZZ" in universe_markdown([], {"ZZZ": "gone"})


def test_skill_is_counted_before_and_after_the_adjustment_for_all_tickers(
    standing: Standing,
) -> None:
    tickers = [
        replace(standing, ticker=f"T{i}", pvalue=pvalue)
        for i, pvalue in enumerate((0.001, 0.02, 0.04, None))
    ]
    tickers[2:] = [replace(ticker, champion=champion("inconclusive")) for ticker in tickers[2:]]
    skill = (
        "2 of 4 tickers show skill if each is judged alone; of the 3 that could be tested, up to "
        "0.15 would show it by chance. Adjusted for all 4: 1 by Holm's method, 2 by Benjamini "
        "and Hochberg's."
    )
    # By hand, Holm: 4 × 0.001, 3 × 0.02, 2 × 0.04, 1
    # Benjamini and Hochberg: 4 × 0.001, 2 × 0.02, 4/3 × 0.04, 1
    assert skill in universe_markdown(tickers, {})
    page = universe_page(tickers, {}, "all")
    assert skill.replace("'", "&#39;") in page
    pvalues = [re.findall(r"<td>([^<]*)", row)[4:7] for row in page.split("<tr>") if ">T" in row]
    assert pvalues == [
        ["0.001", "0.004", "0.004"],
        ["0.02", "0.06", "0.04"],
        ["0.04", "0.08", "0.053"],
        ["undefined", "1", "1"],
    ]


def test_a_row_ends_with_the_newest_call_the_last_counted_outcome_and_the_prices(
    standing: Standing,
) -> None:
    cells = re.findall(r"<td>([^<]*)", universe_page([standing], {}, "all"))
    newest, settled = f"{SESSIONS[59]} ▲ up 60.0%", f"{SESSIONS[58]} ✗ wrong"
    assert [cell.strip() for cell in cells[-4:]] == [
        newest,
        settled,
        "to 2024-03-22 (yahoo), 3 missing since",
        "1, 100.0% of 1 right",
    ]


def test_in_short_alarms_and_failures_come_first_and_the_rest_is_counted(
    standing: Standing,
) -> None:
    tickers = [
        replace(standing, ticker=f"T{i:02}", alarms=ALARMS if i == 39 else ()) for i in range(40)
    ]
    failures = {f"F{i:02}": "gone" for i in range(20)}
    text = universe_markdown(tickers, failures)
    named = [row[0] for row in rows(text) if row[0][1:].isdigit()]
    assert named == [*(f"F{i:02}" for i in range(15)), "T39", *(f"T{i:02}" for i in range(14))]
    assert "Not shown: 5 failures, 25 tickers." in text
    assert "alarms: 1 drift, 1 stale; failures: 20;" in text


def test_nobody_elses_text_breaks_a_table_or_the_page(standing: Standing) -> None:
    assert ["GONE", r"no prices \| at all of &lt;b&gt;GONE&lt;/b&gt;"] in rows(
        universe_markdown([standing], FAILURES)
    )
    page = universe_page([standing], FAILURES, "<i>all")
    assert "&lt;b&gt;GONE" in page
    assert "<i>" not in page


def test_an_alarm_that_is_a_link_or_a_picture_is_shown_as_text(standing: Standing) -> None:
    alarm = Alarm("stale", "![x](http://127.0.0.1:9) <img src=x onerror=alert(1)> of [a](b)")
    alarmed = replace(standing, alarms=(alarm,))
    for shown in (markdown(alarmed), ticker_page(alarmed)):
        assert "<img src=x" not in shown
        assert "&lt;img src=x" in shown
    assert r"!\[x\](http:&#47;&#47;127.0.0.1:9)" in markdown(alarmed)
    assert r"\[a\](b)" in markdown(alarmed)


def test_only_links_lead_outside(standing: Standing) -> None:
    for page in (ticker_page(standing), universe_page([standing], FAILURES, "all")):
        linked = re.sub(r'<a href="[^"]*">', "", page)
        assert linked != page
        assert not re.findall(r"""(?:src|href)=["'](?!data:)""", linked)
        assert not re.search(r"url\(|<script|http", linked)


def test_a_thousand_tickers_are_a_page_of_half_a_megabyte_at_most(standing: Standing) -> None:
    tickers = [replace(standing, ticker=f"{i:06}.KS") for i in range(1000)]
    page = universe_page(tickers, {}, "all")
    assert page.count("</a>") == 1000
    assert len(page.encode()) < 500_000


@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_them_whole_and_readable(
    standing: Standing, new: Standing, tmp_path: Path, width: int
) -> None:
    assert_readable(ticker_page(standing), tmp_path, width, images=1)
    assert_readable(
        universe_page([standing, replace(new, ticker="NEW")], FAILURES, "all tickers"),
        tmp_path,
        width,
        0,
    )
