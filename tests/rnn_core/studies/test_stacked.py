"""Three stacked layers: right ones learn and pass the gradient check, and each fault fails it."""

import numpy as np
import pytest
from steps import run

from rnn_core.commands import Study
from rnn_core.studies import stacked
from rnn_core.studies.stacked import STUDY, check
from rnn_core.studies.stacked.check import FAULTS, PASSES, RIGHT, TOYS, X, Y
from rnn_core.studies.stacked.sentences import LEARNT
from rnn_core.studies.study import Finding, Trained


def study(**options: object) -> Study:
    return Study.model_validate({"name": "stacked-from-scratch"} | options)


@pytest.fixture(scope="module")
def found() -> tuple[Finding, dict[str, Trained]]:
    return run(STUDY, study())


def test_the_toy_data_are_those_of_the_text() -> None:
    assert X.tolist() == [
        [[1, 2, 3, 4], [3, 4, 5, 6], [4, 5, 6, 7]],
        [[3, 4, 1, 1], [4, 5, 1, 1], [5, 6, 1, 1]],
    ]
    assert Y.tolist() == [0, 1]


@pytest.mark.parametrize("name", TOYS)
def test_the_loss_falls_below_a_thousandth(
    found: tuple[Finding, dict[str, Trained]], name: str
) -> None:
    finding, trained = found
    loss = trained[name].fit.train_loss[0]
    assert loss[0] > 0.1
    assert loss[-1] < LEARNT == 1e-3
    assert "All are below 0.001" in finding.sentences[0]


def test_both_sequences_get_the_right_answer(found: tuple[Finding, dict[str, Trained]]) -> None:
    _, trained = found
    assert ((trained["tanh"].logits[0, :, 0, 0] > 0) == Y).all()
    assert ((trained["prelu"].logits[0, :, 0, 0] > 0) == Y).all()
    assert (trained["softmax"].logits[0, :, 0].argmax(axis=-1) == Y).all()


@pytest.mark.parametrize("seed", range(5))
def test_the_gradient_check_passes_what_is_right_and_fails_every_fault(seed: int) -> None:
    errors = check.gradient_errors(seed)
    assert max(errors[name] for name in RIGHT) < PASSES / 10
    assert min(errors[name] for name in FAULTS) > 0.1
    assert errors["sign"] == pytest.approx(2)


def test_the_sentences_state_the_results_of_the_check(
    found: tuple[Finding, dict[str, Trained]],
) -> None:
    finding, _ = found
    assert "all three pass" in finding.sentences[1]
    assert finding.sentences[2].startswith("Every fault fails it")
    assert set(finding.metrics) >= {f"check/{name}" for name in (*RIGHT, *FAULTS)}


def test_a_fault_that_passed_would_show_in_the_sentences(
    found: tuple[Finding, dict[str, Trained]], monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = {name: 1e-9 for name in (*RIGHT, *FAULTS)} | {"sign": 2.0}
    monkeypatch.setattr(stacked, "gradient_errors", lambda seed: errors)
    finding = STUDY.finding(study(), X, found[1])
    assert finding.sentences[2].startswith("1 of 4 faults fail it")


def test_a_tanh_of_one_hides_the_input_from_the_output() -> None:
    params = check.initial_params(TOYS["tanh"].model, 4, 1, [np.random.default_rng(0)], "float64")
    loss, grads = check.constant_tanh(params, X, TOYS["tanh"].y)
    assert check.constant_tanh(params, 10 * X, TOYS["tanh"].y)[0] == loss
    assert np.abs(grads["weight_hh_l0"]).max() > 0


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_it_runs_with_either_engine_and_says_in_korean_that_too_few_epochs_are_not_enough(
    engine: str,
) -> None:
    finding, _ = run(
        STUDY, study(size=0.05, language="ko", training={"epochs": 2, "engine": engine})
    )
    assert "3개 중 0개가 0.001 미만이다" in finding.sentences[0]
    assert np.isfinite(list(finding.metrics.values())).all()
