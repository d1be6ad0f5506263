"""Sines: how near the networks come, where they cannot, and what each way round that costs."""

import re
from typing import NamedTuple

import numpy as np
import pytest
from steps import run

from rnn_core.commands import Study
from rnn_core.nn.arrays import Array
from rnn_core.nn.ensemble import predict
from rnn_core.nn.training import fit
from rnn_core.studies.sines import (
    BIDIRECTIONAL,
    DELAY,
    DELAYED,
    NEXT_VALUE,
    SEEN,
    STEPS,
    SYNCED,
    cosines,
)
from rnn_core.studies.study import Finding, Steps, Trained

STUDIES = {
    "sine-next-value": NEXT_VALUE,
    "sine-synced": SYNCED,
    "sine-delayed": DELAYED,
    "sine-bidirectional": BIDIRECTIONAL,
}
every_study = pytest.mark.parametrize("name", STUDIES)


class Taught(NamedTuple):
    steps: Steps
    study: Study
    finding: Finding
    trained: dict[str, Trained]

    @property
    def metrics(self) -> dict[str, float]:
        return self.finding.metrics

    def mse_by_step(self, name: str) -> Array:
        """Computed from the predictions again: (S,)."""
        variant = self.trained[name].variant
        rows = variant.folds.test
        answers = predict(self.trained[name].fit, variant.sequences.x, rows)[0, :, :, 0]
        return ((answers - variant.sequences.y[rows[0], :, 0]) ** 2).mean(axis=0)


def taught(name: str, **values: object) -> Taught:
    study = Study.model_validate({"name": name} | values)
    return Taught(STUDIES[name], study, *run(STUDIES[name], study))


@pytest.fixture(scope="module")
def next_value() -> Taught:
    return taught("sine-next-value")


@pytest.fixture(scope="module")
def synced() -> Taught:
    return taught("sine-synced", size=0.1)


@pytest.fixture(scope="module")
def delayed() -> Taught:
    return taught("sine-delayed", size=0.1)


@pytest.fixture(scope="module")
def bidirectional() -> Taught:
    return taught("sine-bidirectional", size=0.1)


def test_the_next_value_of_a_sine_is_predicted_to_a_mean_squared_error_of_1e_5(
    next_value: Taught,
) -> None:
    assert next_value.metrics["test/mse"] <= 1e-5
    assert next_value.metrics["test/mse"] == pytest.approx(next_value.mse_by_step("network")[0])
    assert next_value.trained["network"].fit.train_loss.shape == (1, 50)
    assert "the network is better" in next_value.finding.sentences[1]


def test_windows_of_the_next_value_are_two_turns_of_a_sine_and_go_on_with_their_target(
    next_value: Taught,
) -> None:
    waves = next_value.steps.data(next_value.study)
    assert (waves.train, waves.sequences.x.shape, waves.sequences.y.shape) == (
        1000,
        (1200, 50, 1),
        (1200, 1, 1),
    )
    assert waves.sequences.x[:, 0, 0] == pytest.approx(waves.sequences.x[:, -1, 0])  # 4π later
    assert waves.sequences.y[:, 0, 0] == pytest.approx(waves.sequences.x[:, 1, 0])
    assert next_value.metrics["baseline/two_value_rule_mse"] < 1e-25


def test_the_first_step_is_no_better_than_the_answer_0_and_later_ones_are_good(
    synced: Taught,
) -> None:
    errors = synced.mse_by_step("synced")
    assert errors[0] > 0.8 * synced.metrics["baseline/zero_mse_first_step"] > 0.35
    assert errors[STEPS // 2 :].max() < 0.01 * errors[0]
    assert synced.metrics["test/mse_first_step"] == pytest.approx(errors[0])
    assert synced.metrics["test/mse_second_half"] == pytest.approx(errors[STEPS // 2 :].mean())
    assert "later ones are good" in synced.finding.sentences[0]


def test_the_quadrature_is_a_quarter_of_a_turn_ahead_of_its_wave() -> None:
    waves = SYNCED.data(Study(name="sine-synced", size=0.01))
    x, y = waves.sequences.x[..., 0], waves.sequences.y[..., 0]
    assert x**2 + y**2 == pytest.approx(np.ones((92, STEPS)))
    turned = np.unwrap(np.arctan2(x, y))
    periods = np.diff(turned).mean(axis=1) * STEPS / (2 * np.pi)
    assert periods.min() >= 2
    assert periods.max() <= 4


def test_the_twins_of_the_synced_study_begin_alike_and_differ_in_what_is_asked(
    synced: Taught,
) -> None:
    numbers = re.findall(r"[+−][\d.]+\d", synced.finding.sentences[1])
    first, other_first, asked, other_asked, answer, other_answer = (
        float(n.replace("−", "-")) for n in numbers
    )
    assert abs(first - other_first) < 0.05
    assert abs(asked - other_asked) > 1
    assert abs(answer - other_answer) < 0.2


def test_a_delay_takes_the_early_error_away(delayed: Taught) -> None:
    now, later = delayed.mse_by_step("synced"), delayed.mse_by_step("delayed")
    assert later[DELAY] < 0.1 * now[0]
    assert delayed.metrics["test/mse"] == pytest.approx(later[DELAY:].mean())
    assert delayed.metrics["test/mse_first_step"] == pytest.approx(later[DELAY])
    assert delayed.metrics["test/mse_first_step_synced"] == pytest.approx(now[0])
    assert "of the early error is gone" in delayed.finding.sentences[0]


def test_a_delayed_target_is_an_earlier_cosine_and_nothing_is_scored_before_the_delay() -> None:
    study = Study(name="sine-delayed", size=0.01)
    variants = DELAYED.variants(study, DELAYED.data(study))
    delayed, synced = variants["delayed"].sequences, variants["synced"].sequences
    assert np.array_equal(delayed.x, synced.x)
    assert np.array_equal(delayed.y[:, DELAY:], synced.y[:, :-DELAY])
    assert not delayed.mask[:, :DELAY].any()
    assert delayed.mask[:, DELAY:].all()
    assert synced.mask.all()


def test_reading_both_ways_takes_the_early_error_away_by_looking_into_the_future(
    bidirectional: Taught,
) -> None:
    metrics, errors = bidirectional.metrics, bidirectional.mse_by_step("bidirectional")
    assert errors[0] < 0.1 * metrics["baseline/zero_mse_first_step"]
    assert metrics["test/mse_first_step"] == pytest.approx(errors[0])
    assert metrics["test/change_by_future_inputs"] > 0.1
    assert metrics["test/change_by_future_inputs_one_way"] == 0
    assert "of the early error is gone" in bidirectional.finding.sentences[0]
    assert "has seen its future" in bidirectional.finding.sentences[2]


def test_a_trained_network_that_reads_forwards_only_does_not_see_the_future_either(
    synced: Taught,
) -> None:
    variant, forwards = synced.trained["synced"].variant, synced.trained["synced"].fit
    x = variant.sequences.x.copy()
    before = predict(forwards, x, variant.folds.test)
    x[:, SEEN:] = -x[:, SEEN:]
    after = predict(forwards, x, variant.folds.test)
    assert np.array_equal(after[:, :, :SEEN], before[:, :, :SEEN])
    assert not np.array_equal(after[:, :, SEEN], before[:, :, SEEN])


def test_the_graph_holds_the_weights_once_and_a_tanh_for_each_of_three_steps_and_the_head(
    synced: Taught,
) -> None:
    dot = synced.finding.files["graph.dot"]
    assert dot.startswith("digraph")
    assert dot.count("weight_hh_l0") == 1
    assert dot.count("[label=TanhBackward0]") == 3 + 1


@pytest.mark.parametrize("missing", ["torch", "torchviz"])
def test_without_what_traces_it_there_is_no_graph(
    missing: str, synced: Taught, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cosines, "find_spec", lambda name: None if name == missing else name)
    waves = synced.steps.data(synced.study)
    assert synced.steps.finding(synced.study, waves, synced.trained).files == {}


@every_study
@pytest.mark.parametrize(("engine", "language"), [("numpy", "ko"), ("torch", "en")])
def test_a_network_that_was_hardly_trained_gives_finite_numbers_and_is_not_praised(
    name: str, engine: str, language: str
) -> None:
    finding = taught(
        name, size=0.005, training={"epochs": 2, "engine": engine}, language=language
    ).finding
    assert np.isfinite(list(finding.metrics.values())).all()
    hangul = [any("가" <= letter <= "힣" for letter in sentence) for sentence in finding.sentences]
    assert hangul == [language == "ko"] * len(finding.sentences)
    for praise in (
        "error is gone",
        "later ones are good",
        "나머지는 사라졌다",
        "그 뒤의 답은 좋다",
    ):
        assert praise not in " ".join(finding.sentences)


@every_study
def test_the_same_study_gives_the_same_bits_and_another_seed_others(name: str) -> None:
    def learned(seed: int) -> tuple[Array, Array]:
        study = Study.model_validate(
            {"name": name, "size": 0.005, "training": {"epochs": 2, "seed": seed}}
        )
        v = next(iter(STUDIES[name].variants(study, STUDIES[name].data(study)).values()))
        return v.sequences.x, fit(v.model, v.training, v.sequences, v.folds).params["weight_hh_l0"]

    for first, again, other in zip(learned(0), learned(0), learned(1), strict=True):
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)
