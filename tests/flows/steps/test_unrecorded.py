"""A training that could not be recorded is taken by the same retrain, and by no other."""

import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from flows.steps import unrecorded
from flows.steps.learning import build_windows
from rnn_core.commands import Retrain
from rnn_core.config import File, Promotion
from rnn_core.data import parquet
from rnn_core.data.loading import load
from rnn_core.data.prices import Prices
from rnn_core.nn import checkpoints
from rnn_core.nn.engines import kernel
from rnn_core.nn.training import Fit, fit
from tests.flows.conftest import AAPL, TINY

CONFIG = Retrain(ticker="AAPL", source=File(path=AAPL), **TINY)


class Trainer:
    """Returns a training made before, and counts how often it was asked to."""

    def __init__(self, fitted: Fit) -> None:
        self.fitted = fitted
        self.times = 0

    def __call__(self) -> Fit:
        self.times += 1
        return self.fitted


@pytest.fixture(scope="module")
def prices() -> Prices:
    return load(CONFIG.source, "AAPL", datetime(2013, 3, 2, tzinfo=UTC))


@pytest.fixture(scope="module")
def fitted(prices: Prices) -> Fit:
    windows, folds = build_windows(CONFIG.problem, CONFIG.evaluation, prices)
    return fit(CONFIG.model, CONFIG.training, windows, folds)


@pytest.fixture
def train(fitted: Fit, prices: Prices) -> Trainer:
    """A trainer whose training was kept, and not recorded."""
    trainer = Trainer(fitted)
    assert unrecorded.trained(CONFIG, prices, trainer) is fitted
    return trainer


def changed(section: str, **fields: Any) -> Retrain:
    settings = CONFIG.model_dump()
    settings[section] |= fields
    return Retrain(**settings)


def test_the_same_retrain_takes_it_bit_for_bit(train: Trainer, prices: Prices, fitted: Fit) -> None:
    elsewhere = CONFIG.model_copy(
        update={"now": datetime.now(UTC), "promotion": Promotion(margin=0.1), "again": True}
    )
    taken = unrecorded.trained(elsewhere, prices, train)
    assert train.times == 1
    assert asdict(taken.model) == asdict(fitted.model)
    assert asdict(taken.training) == asdict(fitted.training)
    assert taken.engine == fitted.engine
    arrays, expected = checkpoints.arrays_of(taken), checkpoints.arrays_of(fitted)
    assert arrays.keys() == expected.keys()
    for name, array in arrays.items():
        assert array.dtype == expected[name].dtype
        assert array.tobytes() == expected[name].tobytes(), name


@pytest.mark.parametrize(
    "config",
    [
        changed("model", hidden_size=5),
        changed("training", epochs=3),
        changed("training", seed=1),
        changed("training", seeds=3),
        changed("training", dtype="float32"),
        changed("training", engine="torch"),
        changed("problem", seq_len=9),
        changed("evaluation", train_days=301),
        CONFIG.model_copy(update={"ticker": "MSFT"}),
    ],
    ids=str,
)
def test_other_settings_train_anew(train: Trainer, prices: Prices, config: Retrain) -> None:
    unrecorded.trained(config, prices, train)
    assert train.times == 2


def test_other_prices_train_anew(train: Trainer, prices: Prices) -> None:
    frame = prices.frame.copy()
    frame.iloc[-1, 0] = np.nextafter(frame.iloc[-1, 0], np.inf)
    for other in (
        replace(prices, frame=frame),
        replace(prices, exchange="XKRX"),
        replace(prices, own_sessions=True),
    ):
        unrecorded.trained(CONFIG, other, train)
    assert train.times == 4


def test_another_machine_or_version_trains_anew(
    train: Trainer, prices: Prices, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, answer in (("of_this_process", {"numpy": "another"}), ("_code", "another")):
        with monkeypatch.context() as patch:
            patch.setattr(unrecorded, name, lambda answer=answer: answer)
            unrecorded.trained(CONFIG, prices, train)
    monkeypatch.setenv(kernel.SWITCH, "0")
    unrecorded.trained(CONFIG, prices, train)
    assert train.times == 3 + (kernel.library() is not None)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-1],
        lambda content: content[: unrecorded.DIGEST],
        lambda content: content + b"\0",
        *(
            lambda content, place=place: _flipped(content, int(place * len(content)))
            for place in np.linspace(0, 0.999, 40)
        ),
    ],
)
def test_a_damaged_one_is_trained_again_and_replaced(
    train: Trainer, prices: Prices, damage: Callable[[bytes], bytes]
) -> None:
    (path,) = unrecorded.ROOT.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    unrecorded.trained(CONFIG, prices, train)
    assert train.times == 2
    assert path.read_bytes() == whole


def _flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def test_one_that_is_recorded_is_forgotten(train: Trainer, prices: Prices) -> None:
    unrecorded.forget(CONFIG)
    assert not list(unrecorded.ROOT.iterdir())
    unrecorded.forget(CONFIG)
    unrecorded.trained(CONFIG, prices, train)
    assert train.times == 2


def test_one_that_cannot_be_read_or_deleted_stops_no_run(
    train: Trainer, prices: Prices, caplog: pytest.LogCaptureFixture
) -> None:
    [path] = unrecorded.ROOT.glob("*.fit")
    path.unlink()
    path.mkdir()  # what a user with other rights would see is another error of the same kind
    unrecorded.trained(CONFIG, prices, train)
    assert train.times == 2
    assert f"{path} cannot be read (Is a directory), and is trained again" in caplog.text
    unrecorded.forget(CONFIG)
    assert f"{path} cannot be deleted" in caplog.text
    path.rmdir()


def test_old_ones_are_pruned(train: Trainer) -> None:
    (path,) = unrecorded.ROOT.iterdir()
    now = time.time()
    unrecorded.delete(before=now - 60)
    assert path.exists()
    os.utime(path, (now - 61, now - 61))
    unrecorded.delete(before=now - 60)
    assert not path.exists()


def test_without_room_for_it_the_run_goes_on(
    fitted: Fit,
    prices: Prices,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet, "replace", full)
    trainer = Trainer(fitted)
    assert unrecorded.trained(CONFIG, prices, trainer) is fitted
    assert "cannot be kept for a rerun (No space left on device)" in caplog.text
