"""Which days are the same, which questions are one, and thirty ways to look again for nothing."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

from rnn_core.commands import Retrain
from rnn_core.config import Evaluation, File, Model, Problem, Synthetic, Training, Yahoo
from rnn_core.data.folds import folds, outcomes
from rnn_core.data.loading import load
from rnn_core.data.prices import Prices
from rnn_core.data.windows import windows
from rnn_core.evaluation.spending import nth_look
from rnn_core.identity import question_hash
from rnn_core.operations.ledger import Ledger
from rnn_core.operations.looks import Question, same_days
from tests.rnn_core.operations.test_ledger import postgres, url

__all__ = ["postgres", "url"]

AAPL = Path(__file__).parents[2] / "data" / "AAPL.csv"
NOW = datetime(2013, 3, 1, 22, tzinfo=UTC)
BASE = Retrain(
    ticker="AAPL",
    source=File(path=AAPL),
    evaluation=Evaluation(train_days=300, valid_days=60, test_days=250),
)


def question(config: Retrain, now: datetime = NOW) -> Question:
    """The question that a retrain asks."""
    prices = load(config.source, config.ticker, now)
    built = windows(config.problem, prices)
    tested = outcomes(built, folds(config.evaluation, built))
    return Question(question_hash(config), prices, tested)


def asked(ledger: Ledger, config: Retrain, now: datetime = NOW) -> int:
    return ledger.ask(question(config, now), "run")[1].number


def returns(days: int = 300, seed: int = 0, start: str = "2013-01-01") -> "pd.Series[float]":
    index = pd.bdate_range(start, periods=days)
    return pd.Series(np.random.default_rng(seed).normal(0, 0.015, days), index)


class TestSameDays:
    @pytest.mark.parametrize(
        "change",
        [
            lambda r: r + 1e-9,
            lambda r: r.round(3),
            lambda r: -r,
            lambda r: r.iloc[100:],
            lambda r: r.iloc[:60],
            lambda r: r.iloc[:5],
            lambda r: r.drop(r.index[150]),
            lambda r: r + np.random.default_rng(1).normal(0, 0.001, len(r)),
            lambda r: r.set_axis(r.index + pd.Timedelta(days=700)),
            lambda r: r.drop(r.index[[50, 120, 200]]).set_axis(r.index[:-3] + pd.Timedelta(days=1)),
            lambda r: r.where(np.arange(len(r)) != 150, 2.3),
        ],
        ids=[
            *("equal", "rounded", "upside down", "a part", "the start", "five days", "a day less"),
            *("noise", "other dates", "other dates and days less", "a split"),
        ],
    )
    def test_changes_that_hide_nothing(self, change: Callable[[Any], "pd.Series[float]"]) -> None:
        original = returns()
        assert same_days(change(original), original)
        assert same_days(original, change(original))

    def test_other_series_have_other_days(self) -> None:
        rng = np.random.default_rng(3)
        market = rng.normal(0, 0.015, 600)
        for seed in range(200):
            peer = returns(600, seed)
            assert not same_days(peer, returns(600, seed + 1000))
            # Two shares of one industry, correlated by 0.9
            first, second = (0.9 * market + 0.3 * own for own in (peer, returns(600, seed + 2000)))
            assert not same_days(first, second)

    def test_days_before_and_after_are_other_days(self) -> None:
        whole = returns(600)
        assert not same_days(whole.iloc[:300], whole.iloc[300:])
        assert not same_days(whole.iloc[:10], whole.iloc[10:30])

    @pytest.mark.parametrize(("price", "size"), [(1, 0.01), (0.3, 0.03), (3, 0.01)])
    def test_prices_in_coarse_steps_are_no_copies_of_each_other(
        self, price: float, size: float
    ) -> None:
        def penny(seed: int, start: str) -> "pd.Series[float]":
            moves = np.random.default_rng(seed).normal(0, size, 1500)
            close = np.maximum(np.round(price * np.exp(np.cumsum(moves)), 2), 0.01)
            index = pd.bdate_range(start, periods=1499)
            return pd.Series(np.diff(np.log(close)), index)

        for seed in range(20):
            assert not same_days(penny(seed, "2001-01-01"), penny(seed + 50, "2011-01-03"))

    def test_days_without_trade_are_nothing_in_common(self) -> None:
        quiet = returns(600, 1) * (np.random.default_rng(2).random(600) < 0.1)
        other = returns(600, 3, "2019-01-01") * (np.random.default_rng(4).random(600) < 0.1)
        assert not same_days(quiet, other)


def copy(folder: Path, change: Callable[[pd.DataFrame], pd.DataFrame], name: str = "x.csv") -> File:
    """A file with the changed prices of AAPL."""
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    change(pd.read_csv(AAPL)).to_csv(path, index=False)
    return File(path=path)


def scaled(by: float, digits: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame(
            {"date": table["Date"], "close": (table["Adj Close"] * by).round(digits)}
        )

    return change


def noisy(table: pd.DataFrame) -> pd.DataFrame:
    noise = np.random.default_rng(0).normal(0, 1e-4, len(table))
    return pd.DataFrame({"date": table["Date"], "close": table["Adj Close"] * np.exp(noise)})


def later(table: pd.DataFrame) -> pd.DataFrame:
    dates = pd.to_datetime(table["Date"]) + pd.Timedelta(days=3)
    return table.assign(Date=dates.dt.strftime("%Y-%m-%d"))


def evasions(folder: Path) -> dict[str, Any]:
    """Ways to ask again that earlier rules did not count: changes of BASE, or of the time."""
    path = folder / "in place.csv"

    def training(**fields: Any) -> dict[str, Any]:
        return {"training": Training(**fields)}

    def evaluation(**fields: Any) -> dict[str, Any]:
        return {"evaluation": BASE.evaluation.model_copy(update=fields)}

    def file(name: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> dict[str, Any]:
        return {"source": copy(folder, change, name)}

    return {
        "seed": training(seed=1),
        "another seed": training(seed=2),
        "dtype": training(dtype="float32"),
        "engine": training(engine="torch"),
        "epochs": training(epochs=41),
        "learning rate": training(learning_rate=0.002),
        "ensemble": training(seeds=3),
        "units": {"model": Model(hidden_size=17)},
        "cell": {"model": Model(cell="gru")},
        "window length": {"problem": Problem(seq_len=11)},
        "features": {"problem": Problem(features=("return",))},
        "training days": evaluation(train_days=310),
        "validation days": evaluation(valid_days=61),
        "test days": evaluation(test_days=249),
        "embargo": evaluation(embargo_days=5),
        "expanding window": evaluation(window="expanding"),
        "lower case": {"ticker": "aapl"},
        "another ticker": {"ticker": "MY-A"},
        "another folder": file("folder/AAPL.csv", lambda table: table),
        "a row less": file("less.csv", lambda table: table.drop(index=1500)),
        "a later start": file("start.csv", lambda table: table.iloc[100:]),
        "an earlier end": file("end.csv", lambda table: table.iloc[:-30]),
        "only the last years": file("years.csv", lambda table: table.iloc[-900:]),
        "rows in another order": file("order.csv", lambda table: table.iloc[::-1]),
        "another unit": file("unit.csv", scaled(7, 9)),
        "another currency, in cents": file("cents.csv", scaled(0.76, 2)),
        "rounded": file("rounded.csv", scaled(1, 2)),
        "noise": file("noise.csv", noisy),
        "upside down": file("inverse.csv", lambda t: t[["Date"]].assign(close=1 / t["Adj Close"])),
        "other dates": file("dates.csv", later) | {"own": True},
        "own sessions": {"source": File(path=AAPL, sessions="data")},
        "a named exchange": {"source": File(path=AAPL, exchange="XNYS")},
        "a named column": {"source": File(path=AAPL, price_column="Close")},
        "an earlier time": {"now": NOW - timedelta(days=400)},
        "a file changed in place": {"source": File(path=path), "place": path},
    }


def config_of(change: dict[str, Any]) -> Retrain:
    fields = {name: value for name, value in change.items() if name in Retrain.model_fields}
    fields.pop("now", None)
    if change.get("own"):
        fields["source"] = File(path=fields["source"].path, sessions="data")
    return BASE.model_copy(update=fields)


PRICE_COLUMNS = {
    f"column {name}": {"source": File(path=AAPL, price_column=name)}
    for name in ("Open", "High", "Low")
}


@pytest.mark.parametrize("renamed", [False, True], ids=["under the ticker", "under other tickers"])
def test_every_evasion_is_counted(tmp_path: Path, renamed: bool) -> None:
    """Other prices of the same days are told by the ticker alone."""
    tried = evasions(tmp_path) | ({} if renamed else PRICE_COLUMNS)
    assert len(tried) >= 30
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        assert asked(ledger, BASE) == 1
        number = 1
        for name, change in tried.items():
            if renamed:
                change["ticker"] = f"T{number}"
            place = change.get("place")
            if place is not None:
                copy(tmp_path, lambda table: table, place.name)
                assert asked(ledger, config_of(change)) == number + 1
                copy(tmp_path, lambda table: table.drop(index=3), place.name)
                number += 1
            number += 1
            assert asked(ledger, config_of(change), change.get("now", NOW)) == number, name
        assert asked(ledger, BASE) == 1, "what was asked first stays first"
        assert asked(ledger, config_of(tried["seed"])) == 2
        looks = ledger.looks()
        assert looks["number"].max() == number == len(tried) + 2


def test_what_cannot_change_an_answer_is_no_try(tmp_path: Path) -> None:
    same = BASE.model_copy(update={"again": True, "scheduled": True})
    costly = BASE.evaluation.model_copy(update={"cost": 20.0, "trade": "next_open"})
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        for config in (BASE, same, BASE.model_copy(update={"evaluation": costly})):
            assert asked(ledger, config) == 1


def test_other_series_and_other_days_are_no_try(tmp_path: Path) -> None:
    msft = BASE.model_copy(
        update={"ticker": "MSFT", "source": File(path=AAPL.with_name("MSFT.csv"))}
    )
    first_years = copy(tmp_path, lambda table: table.iloc[:1400], "first.csv")
    last_years = copy(tmp_path, lambda table: table.iloc[1400:], "last.csv")
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        assert asked(ledger, BASE) == 1
        assert asked(ledger, msft) == 1
    with Ledger.open(f"sqlite:///{tmp_path}/other.db") as ledger:
        for source in (first_years, last_years):
            assert asked(ledger, BASE.model_copy(update={"source": source})) == 1
        assert asked(ledger, BASE) == 3, "it has days of both"


def test_a_question_that_is_asked_daily_is_one_and_is_judged_by_its_growth(tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        days = []
        for back in (400, 399, 300, 200, 0, 0):
            asks = question(BASE, NOW - timedelta(days=back))
            look_id, look = ledger.ask(asks, f"run {back}")
            days.append(len(asks.outcomes))
            assert look == nth_look(1, growth=days[-1] / days[0])
            ledger.answer(look_id, 0.5, "no evidence of skill")
        assert asked(ledger, config_of({"training": Training(seed=9)})) == 2
        looks = ledger.looks()
        assert list(looks["asking"][:6]) == [1, 2, 3, 4, 5, 6]
        assert looks["answered_at"].isna().to_list() == [False] * 6 + [True]


def test_days_that_were_asked_later_are_known_too(tmp_path: Path) -> None:
    """A new question about the latest years alone finds the old question's later askings."""
    latest = copy(tmp_path, lambda table: table.iloc[-600:], "latest.csv")
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        for back in (1200, 600, 0):
            assert asked(ledger, BASE, NOW - timedelta(days=back)) == 1
        assert asked(ledger, BASE.model_copy(update={"source": latest})) == 2


def test_skill_that_was_found_is_judged_as_at_first(tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        look_id, first = ledger.ask(question(BASE, NOW - timedelta(days=300)), "a")
        ledger.answer(look_id, 0.001, "skill")
        assert ledger.ask(question(BASE), "b")[1] == first


def test_yahoo_may_correct_its_history_and_a_file_may_not(tmp_path: Path) -> None:
    asks = question(BASE)
    frame = asks.prices.frame.copy()
    frame.iloc[10, 0] *= 1.01
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        for source, number in (("yahoo", 1), ("file", 2)):
            first = Prices("AAPL", asks.prices.frame, source, "close", "XNYS")
            second = Prices("AAPL", frame, source, "close", "XNYS")
            settings = f"of {source}"
            ledger.ask(Question(settings, first, asks.outcomes), "a")
            _, look = ledger.ask(Question(settings, second, asks.outcomes), "b")
            assert look.number == number + (source == "file")


def test_tries_that_the_ledger_does_not_know_come_before(tmp_path: Path) -> None:
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        assert ledger.ask(question(BASE), "run", before=4)[1].number == 5
        assert ledger.ask(question(BASE), "run", before=9)[1].number == 5, "it was asked before"
        for seed, number in ((1, 6), (2, 7), (3, 8)):
            asks = question(config_of({"training": Training(seed=seed)}))
            assert ledger.ask(asks, "run", before=4)[1].number == number, "they come once"


def test_a_walk_that_stood_in_for_yahoo_was_another_question(tmp_path: Path) -> None:
    asks = question(BASE)
    with Ledger.open(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        for source in ("synthetic-fallback", "yahoo", "yahoo-stored"):
            prices = Prices("AAPL", asks.prices.frame, source, "close", "XNYS")
            ledger.ask(Question("of both", prices, asks.outcomes), "a")
        assert list(ledger.looks()["revision"]) == [1, 2, 2]


def test_an_option_at_its_default_is_no_part_of_a_question() -> None:
    named = BASE.model_copy(update={"model": Model(hidden_size=Model().hidden_size)})
    assert question_hash(named) == question_hash(BASE)
    kinds = [Retrain(ticker="A", source=kind()).model_copy() for kind in (Yahoo, Synthetic)]
    assert len({question_hash(config) for config in kinds}) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM looks",
        "UPDATE looks SET number = 1",
        "UPDATE looks SET days = 1",
        "UPDATE looks SET verdict = 'skill'",
    ],
)
def test_looks_are_never_rewritten_or_deleted(url: str, statement: str) -> None:
    """By no program, on either database."""
    with Ledger.open(url) as ledger:
        look_id, _ = ledger.ask(question(BASE), "run")
        ledger.answer(look_id, 0.5, "inconclusive")
        before = ledger.looks()
        engine = create_engine(make_url(url.replace("postgresql:", "postgresql+psycopg:")))
        with pytest.raises(DBAPIError, match="looks are"), engine.begin() as connection:
            connection.execute(text(statement))
        engine.dispose()
        pd.testing.assert_frame_equal(ledger.looks(), before)
        assert before["asked_at"][0].date() <= date.today()
