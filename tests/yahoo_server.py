"""A local server of Yahoo Finance's chart JSON, for tests that run yfinance's own code.

    with yahoo_server(monkeypatch, frame) as yahoo:
        yahoo.answers = [TOO_MANY_REQUESTS, TOO_MANY_REQUESTS]  # then the frame again
        load(Yahoo(), "MSFT", now, store=tmp_path)
        assert len(yahoo.requests) == 3

yfinance itself asks again, with other cookies, after any status of 400 or more: script those twice.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from time import sleep
from typing import TypeVar
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pandas as pd
import pytest

CLOSED_PORT = (
    "http://127.0.0.1:9"  # nothing listens there: a host asked through this proxy fails at once
)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer as it is sent."""

    status: int
    body: str


TOO_MANY_REQUESTS = Answer(429, "Too Many Requests\r\n")
SERVER_ERROR = Answer(500, "<html><body>Internal Server Error</body></html>")
JSON_SERVER_ERROR = Answer(
    500,
    '{"chart": {"result": null, "error": {"code": "500", "description": "Internal Server Error"}}}',
)
CONSENT_PAGE = Answer(200, "<!DOCTYPE html><html><body>Before you continue to Yahoo</body></html>")
EMPTY = Answer(200, '{"chart": {"result": [], "error": null}}')
UNKNOWN_TICKER = Answer(
    404,
    '{"chart": {"result": null, "error":'
    ' {"code": "Not Found", "description": "No data found, symbol may be delisted"}}}',
)


@dataclass
class YahooServer:
    """What the server answers, and what it was asked.

    `frame` (L, 4) has `open`, `close`, `adj_close` and `volume` by naive session in `zone`, and may
    have nulls and doubled days; `answers` are given first, one a request, before the frame.
    """

    frame: pd.DataFrame
    zone: str = "America/New_York"
    opens_at: str = "09:30"
    delay: float = 0.0  # seconds before each answer
    symbol: str | None = None  # that it answers for, if not the one asked for
    currency: str = "USD"
    splits: dict[str, float] = field(default_factory=dict)  # new shares for an old one, by day
    dividends: dict[str, float] = field(default_factory=dict)  # by day
    answers: list[Answer] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str]]] = field(
        default_factory=list
    )  # path and query of each

    def answer(self, path: str, query: dict[str, str]) -> Answer:
        self.requests.append((path, query))
        sleep(self.delay)
        if self.answers:
            return self.answers.pop(0)
        if not path.startswith("/v8/finance/chart/"):
            return Answer(404, "")
        return self.chart(path.rsplit("/", 1)[1], query)

    def chart(self, ticker: str, query: dict[str, str]) -> Answer:
        """What is known of a ticker: here, the same frame of every one."""
        return Answer(200, json.dumps(self._chart(ticker, query)))

    def first_days(self) -> list[str]:
        """The first day that each request asked for."""
        return [
            f"{self._local(query['period1']):%Y-%m-%d}"
            for _, query in self.requests
            if "period1" in query
        ]

    def _local(self, seconds: str) -> pd.Timestamp:
        return pd.Timestamp(int(seconds), unit="s", tz=self.zone)

    def _chart(self, ticker: str, query: dict[str, str]) -> dict[str, object]:
        opens = pd.DatetimeIndex(self.frame.index).tz_localize(self.zone) + pd.Timedelta(
            f"{self.opens_at}:00"
        )
        seconds = (opens.tz_convert("UTC").to_numpy("datetime64[s]")).astype(int)
        asked = (seconds >= int(query.get("period1", 0))) & (
            seconds < int(query.get("period2", 2**40))
        )
        frame = self.frame[asked].astype(object).where(self.frame[asked].notna(), None)
        close = frame["close"].tolist()
        quote = {"open": frame["open"].tolist(), "high": close, "low": close, "close": close}
        result = {
            "meta": {
                "symbol": self.symbol or ticker,
                "currency": self.currency,
                "instrumentType": "EQUITY",
                "exchangeTimezoneName": self.zone,
                "validRanges": ["1d", "max"],
            },
            "timestamp": seconds[asked].tolist(),
            "events": self._events(int(query.get("period1", 0))),
            "indicators": {
                "quote": [{**quote, "volume": frame["volume"].tolist()} if asked.any() else {}],
                "adjclose": [{"adjclose": frame["adj_close"].tolist()}],
            },
        }
        return {"chart": {"result": [result], "error": None}}

    def _events(self, since: int) -> dict[str, dict[str, dict[str, float]]]:
        def by_moment(days: dict[str, float], *names: str) -> dict[str, dict[str, float]]:
            moments = {self._seconds(day): value for day, value in days.items()}
            return {
                str(at): {"date": at, names[0]: value} | dict.fromkeys(names[1:], 1)
                for at, value in moments.items()
                if at >= since
            }

        return {
            "splits": by_moment(self.splits, "numerator", "denominator"),
            "dividends": by_moment(self.dividends, "amount"),
        }

    def _seconds(self, day: str) -> int:
        return int(pd.Timestamp(f"{day} {self.opens_at}", tz=self.zone).timestamp())


Yahoo = TypeVar("Yahoo", bound=YahooServer)


@contextmanager
def yahoo_server(
    monkeypatch: pytest.MonkeyPatch, frame: pd.DataFrame, **options: str
) -> Iterator[YahooServer]:
    """Serve `frame` on a free local port to yfinance; every other host fails at once."""
    with serving(monkeypatch, YahooServer(frame, **options)) as yahoo:  # type: ignore[arg-type]
        yield yahoo


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, yahoo: Yahoo) -> Iterator[Yahoo]:
    """Serve what `yahoo` answers, as `yahoo_server` does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            answer = yahoo.answer(
                unquote(url.path), {key: values[0] for key, values in parse_qs(url.query).items()}
            )
            body = answer.body.encode()
            with suppress(ConnectionError):  # a client that ran into its timeout has left
                self._send(answer.status, body)

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        _redirect(monkeypatch, f"http://127.0.0.1:{server.server_port}")
        yield yahoo
    finally:
        server.shutdown()
        server.server_close()


def _redirect(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    import yfinance.base
    import yfinance.data
    import yfinance.scrapers.history

    monkeypatch.setattr(yfinance.base, "_BASE_URL_", address)
    monkeypatch.setattr(yfinance.scrapers.history, "_BASE_URL_", address)
    # Session, cookies and crumb are kept in a singleton: each test begins without
    monkeypatch.setattr(yfinance.data.SingletonMeta, "_instances", {})
    yfinance.data.YfData.cache_get.cache_clear()
    for proxy in ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(proxy, CLOSED_PORT)
        monkeypatch.setenv(proxy.lower(), CLOSED_PORT)
    for exempt in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(exempt, "127.0.0.1,localhost")


def sample_frame(index: pd.DatetimeIndex, *, seed: int = 0) -> pd.DataFrame:
    """A frame to serve: a random walk of raw closes, all adjusted by one dividend of 1 %."""
    rng = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(0.01 * rng.standard_normal(len(index)))), 2)
    columns = {"open": close * 1.001, "close": close, "adj_close": close * 0.99}
    return pd.DataFrame(
        {**columns, "volume": rng.integers(1_000, 9_000, len(index)).astype(float)}, index
    )
