"""What version 0.1.0 has written, used by this one: its ledger, its price store and its champions.

`tests/data/README.md` says what is in the archive and how it was made.
"""

import sqlite3
import tarfile
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest

from flows.forecast import forecast
from flows.retrain import retrain
from flows.score import score
from flows.tracking import serving
from rnn_core.commands import Retrain
from rnn_core.config import Evaluation, Model, Training, Yahoo
from rnn_core.data.exchanges import sessions
from rnn_core.data.loading import STORE
from rnn_core.data.store import read
from rnn_core.identity import config_hash
from rnn_core.operations import live
from rnn_core.operations.ledger import Ledger
from tests.yahoo_server import sample_frame, yahoo_server

ARCHIVE = Path(__file__).parents[1] / "data" / "written-by-0.1.0.tar.gz"
WRITTEN_IN = "/srv/rnnflow"
TICKER = "OLDER"
FORECASTS = {
    1: (0.4876983366872113, 0.013331095666265114),
    2: (0.45772120939681815, 0.05818944637375986),
}
LAST_SESSIONS = {1: "2024-05-31", 2: "2024-06-03"}
START = date(2023, 6, 1)
NEXT_DAY = datetime(2024, 6, 4, 22, tzinfo=UTC)
SETTINGS = {
    "model": Model(hidden_size=4),
    "training": Training(epochs=2, seeds=2),
    "evaluation": Evaluation(train_days=60, valid_days=20, test_days=60),
}


@pytest.fixture(autouse=True)
def older(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which version 0.1.0 had worked, moved here."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(workplace, filter="data")
    for name, script in (("mlflow.db", "mlflow.sql"), ("data/ledger.db", "ledger.sql")):
        statements = Path(script).read_text(encoding="utf-8").replace(WRITTEN_IN, str(workplace))
        with sqlite3.connect(name) as connection:
            connection.executescript(statements)
        connection.close()
    # A relative address would reach the folder of an earlier test in this process
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workplace}/mlflow.db")
    monkeypatch.delenv("LEDGER_URL", raising=False)
    return workplace


@pytest.fixture
def _a_day_later(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    frame = sample_frame(sessions("XNYS", START, NEXT_DAY.date()))
    with yahoo_server(monkeypatch, frame):
        yield


def stored_closes() -> pd.DataFrame:
    stored = read(STORE, TICKER)
    assert stored is not None
    return pd.DataFrame({"close": stored.frame["adj_close"]})


@pytest.mark.parametrize("version", [1, 2])
def test_its_registered_models_forecast_the_same_bits(version: int) -> None:
    frame = stored_closes().loc[: LAST_SESSIONS[version]]
    assert serving.call(TICKER, version, frame) == FORECASTS[version]


def test_its_forecasts_are_in_the_ledger_as_replays_and_are_not_made_again() -> None:
    """They were backdated: version 0.1.0 wrote them two years after their sessions."""
    with Ledger.open() as ledger:
        before = ledger.forecasts(TICKER)
    assert list(before["probability"]) == [probability for probability, _ in FORECASTS.values()]
    assert set(before["replay"]) == {"written after the open"}
    assert not before["counted"].any()
    rows = forecast(ticker=TICKER, now=datetime(2024, 6, 3, 23, tzinfo=UTC))
    assert rows[TICKER].id == before["id"].iloc[-1]


@pytest.mark.usefixtures("_a_day_later")
def test_its_champion_forecasts_the_next_session_and_its_forecasts_are_scored() -> None:
    rows = forecast(ticker=TICKER, now=NEXT_DAY)
    assert (rows[TICKER].session, rows[TICKER].model_version) == (date(2024, 6, 5), 2)
    standing = score(ticker=TICKER, now=NEXT_DAY)[TICKER]
    assert standing.champion is not None
    assert standing.champion.version == 2
    assert standing.record is None
    assert live.replays(standing.forecasts).settled == 2


@pytest.mark.usefixtures("_a_day_later")
def test_the_gate_compares_its_champion_with_a_model_of_now() -> None:
    same = retrain(ticker=TICKER, source=Yahoo(start=START), now=NEXT_DAY, **SETTINGS)
    assert same.judgement is not None
    assert "same configuration as version 2" in same.judgement.reason
    other = SETTINGS | {"training": Training(epochs=2, seeds=2, learning_rate=1e-3)}
    judgement = retrain(ticker=TICKER, source=Yahoo(start=START), now=NEXT_DAY, **other).judgement
    assert judgement is not None
    assert judgement.figures["days"] > 100


def test_a_trial_is_known_by_the_same_hash() -> None:
    assert config_hash(Retrain()) == "675d61bd836d"
