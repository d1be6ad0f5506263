"""Direction from scratch: the historical trajectory to the last digit, and what it means."""

import numpy as np
import pandas as pd
import pytest
from steps import run

from rnn_core.commands import Study
from rnn_core.data.prices import Prices
from rnn_core.errors import DataError
from rnn_core.nn.arrays import Array
from rnn_core.studies.direction import STUDY, variants
from rnn_core.studies.study import Finding, Trained


@pytest.fixture(scope="module")
def found() -> tuple[Finding, dict[str, Trained]]:
    return run(STUDY, Study(name="direction-from-scratch"))


def test_the_historical_trajectory_is_reproduced(found: tuple[Finding, dict[str, Trained]]) -> None:
    finding, trained = found
    assert trained["network"].fit.train_loss.shape == (2, 600)
    assert finding.metrics["train/last_loss"] == pytest.approx(0.691425346832, abs=1e-9)
    assert finding.metrics["test/accuracy"] == pytest.approx(0.5517, abs=1e-4)
    assert finding.metrics["test/share_called_up"] == 1.0


def test_it_has_learned_nothing_and_the_sentences_show_it(
    found: tuple[Finding, dict[str, Trained]],
) -> None:
    finding, _ = found
    assert finding.metrics["test/accuracy"] == finding.metrics["baseline/majority_accuracy"]
    assert finding.metrics["data/return_autocorrelation"] == pytest.approx(-0.5, abs=0.05)
    assert finding.metrics["baseline/reversal_accuracy"] == pytest.approx(0.65, abs=0.02)
    assert "calls every day up" in finding.sentences[0]
    assert "learned nothing" in finding.sentences[0]
    assert "make them reverse" in finding.sentences[1]


def test_the_same_data_standardised_can_be_learned(
    found: tuple[Finding, dict[str, Trained]],
) -> None:
    finding, _ = found
    assert finding.metrics["test/accuracy_standardised"] > 0.6
    assert finding.metrics["train/last_loss_standardised"] < 0.65


def test_the_first_epochs_are_those_of_a_loop_as_it_is_taught() -> None:
    study = Study.model_validate({"name": "direction-from-scratch", "training": {"epochs": 2}})
    [variant] = variants(study, STUDY.data(study)).values()
    _, trained = run(STUDY, study)
    x, y = variant.sequences.x[:, :, 0], variant.sequences.y[:, 0, 0]
    start = {name: value[0].copy() for name, value in variant.params0.items()}
    losses = [taught_epoch(start, x, y, order[0]) for order in variant.order]
    np.testing.assert_allclose(trained["network"].fit.train_loss[0], losses, rtol=1e-13)


def taught_epoch(params: dict[str, Array], x: Array, y: Array, order: Array) -> float:
    """One epoch of plain SGD, a sample at a time, gradients clipped at ±5; the mean loss."""
    total = 0.0
    w_in, w, w_out, b_out = (
        params[name] for name in ("weight_ih_l0", "weight_hh_l0", "head.weight", "head.bias")
    )
    for row in order:
        states = [np.zeros(len(w))]
        for value in x[row]:
            states.append(np.tanh(w_in @ [value, 1.0] + w @ states[-1]))
        p = 1 / (1 + np.exp(-(w_out[0] @ states[-1] + b_out[0])))
        total -= y[row] * np.log(p + 1e-8) + (1 - y[row]) * np.log(1 - p + 1e-8)
        d_state = w_out[0] * (p - y[row])
        grads = [
            np.zeros_like(w_in),
            np.zeros_like(w),
            (p - y[row]) * states[-1][None],
            np.array([p - y[row]]),
        ]
        for t in reversed(range(len(x[row]))):
            d_sum = d_state * (1 - states[t + 1] ** 2)
            grads[0] += np.outer(d_sum, [x[row, t], 1.0])
            grads[1] += np.outer(d_sum, states[t])
            d_state = w.T @ d_sum
        for value, grad in zip((w_in, w, w_out, b_out), grads, strict=True):
            value -= 0.005 * np.clip(grad, -5, 5)
    return total / len(order)


def test_a_sentence_follows_from_the_numbers() -> None:
    study = Study.model_validate({"name": "direction-from-scratch", "training": {"epochs": 3}})
    rose = np.cumprod(
        np.where(np.arange(120) % 4 < 2, 1.02, 0.985)
    )  # two days up, two down: nothing reverses at once
    frame = pd.DataFrame({"close": 100 * rose}, index=pd.bdate_range("2020-01-01", periods=120))
    prices = Prices("TEST", frame, "file", "close", "XNYS")
    finding, _ = run(STUDY._replace(data=lambda study: prices), study)
    assert "reverse" not in finding.sentences[1]


def test_a_size_takes_the_first_of_any_prices() -> None:
    frame = pd.DataFrame(
        {"close": np.linspace(100, 130, 200)}, index=pd.bdate_range("2020-01-01", periods=200)
    )
    prices = Prices("TEST", frame, "file", "close", "XNYS")
    half, whole = (variants(Study(size=size), prices)["network"].sequences for size in (0.5, 1.0))
    assert (len(half), len(whole)) == (2 * (99 - 10), 2 * (199 - 10))
    np.testing.assert_array_equal(half.x[:89], whole.x[:89])


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_it_runs_on_few_days_with_either_engine_and_in_korean(engine: str) -> None:
    options = {"language": "ko", "size": 0.2, "training": {"epochs": 2, "engine": engine}}
    finding, trained = run(STUDY, Study.model_validate(options))
    assert all("이다" in sentence or "다." in sentence for sentence in finding.sentences)
    assert np.isfinite(list(finding.metrics.values())).all()
    assert trained["network"].fit.training.engine == engine


def test_both_engines_go_the_same_way() -> None:
    losses = [
        run(STUDY, Study.model_validate({"training": {"epochs": 3, "engine": engine}}))[1][
            "network"
        ].fit.train_loss
        for engine in ("numpy", "torch")
    ]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-10)


def test_too_few_prices_are_an_error_with_the_number_needed() -> None:
    frame = pd.DataFrame(
        {"close": np.arange(1.0, 30)}, index=pd.bdate_range("2020-01-01", periods=29)
    )
    with pytest.raises(DataError, match="29 prices found; the study needs 30"):
        variants(Study(), Prices("TEST", frame, "file", "close", "XNYS"))
