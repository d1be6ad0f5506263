"""The vanishing gradient: the same by two ways, lost with a small radius, and saved by clipping."""

import numpy as np
import pytest
from steps import run

from rnn_core.commands import Study
from rnn_core.config import Model
from rnn_core.nn.layers import recurrent
from rnn_core.nn.network import initial_params, split
from rnn_core.studies.study import Finding, Trained
from rnn_core.studies.vanishing import HIDDEN, LENGTHS, RADII, STUDY, jacobian_product, reach


def study(**options: object) -> Study:
    return Study.model_validate({"name": "vanishing-gradient"} | options)


@pytest.fixture(scope="module")
def found() -> tuple[Finding, dict[str, Trained]]:
    return run(STUDY, study())


@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def test_the_norm_is_that_of_the_jacobian_by_differences(cell: str) -> None:
    model = Model(cell=cell, hidden_size=HIDDEN)
    params = split(initial_params(model, 1, 1, [np.random.default_rng(0)], "float64"))[""]
    x = np.random.default_rng(1).normal(size=(6, 1))
    _, state, _ = recurrent(params, x[None, None, :3], cell=cell)
    start = np.concatenate(
        [part[0, 0, 0] for part in (state if isinstance(state, tuple) else (state,))]
    )

    def end(at: np.ndarray) -> np.ndarray:
        parts = [part[None, None, None].copy() for part in np.split(at, len(at) // HIDDEN)]
        options = dict(zip(("h0", "c0"), parts, strict=False))
        _, last, _ = recurrent(params, x[None, None, 3:], cell=cell, **options)
        return np.concatenate(
            [part[0, 0, 0] for part in (last if isinstance(last, tuple) else (last,))]
        )

    steps = 1e-6 * np.eye(len(start))
    jacobian = np.stack([(end(start + step) - end(start - step)) / 2e-6 for step in steps], axis=1)
    assert reach(model, params, x).state[3] == pytest.approx(np.linalg.norm(jacobian, 2), rel=1e-7)


def test_backpropagation_is_the_product_of_jacobians(
    found: tuple[Finding, dict[str, Trained]],
) -> None:
    finding, _ = found
    assert 0 < finding.metrics["difference/jacobian_product"] < 1e-12
    assert "it is that product" in finding.sentences[2]


def test_the_start_values_have_the_stated_radii(
    found: tuple[Finding, dict[str, Trained]],
) -> None:
    _, trained = found
    radii = [
        np.abs(np.linalg.eigvals(w)).max()
        for w in trained["clipped"].variant.params0["weight_hh_l0"]
    ]
    np.testing.assert_allclose(radii, RADII, rtol=1e-12)


def test_the_smaller_the_radius_the_sooner_the_gradient_is_lost(
    found: tuple[Finding, dict[str, Trained]],
) -> None:
    finding, _ = found
    lags = [finding.metrics.get(f"lost_at_lag/tanh_{radius:g}", np.inf) for radius in RADII]
    assert lags == sorted(lags)
    assert lags[0] < 50
    assert lags[-1] == np.inf
    assert f"0.5 after {lags[0]:.0f} steps" in finding.sentences[0]
    assert "does not with 1.1, 1.5" in finding.sentences[0]


def test_a_forget_bias_keeps_more_of_the_gradient(
    found: tuple[Finding, dict[str, Trained]],
) -> None:
    finding, _ = found
    assert finding.metrics["gradient/LSTM_forget_1"] > 1e6 * finding.metrics["gradient/LSTM"]
    assert "keeps more of it" in finding.sentences[1]


def test_clipping_saves_networks_whose_gradients_explode(
    found: tuple[Finding, dict[str, Trained]],
) -> None:
    finding, trained = found
    learnt = {name: (one.fit.train_loss[:, -1] < 0.1).sum() for name, one in trained.items()}
    assert learnt["clipped"] > learnt["unclipped"]
    assert "Here clipping helps" in finding.sentences[3]
    [short] = trained["clipped"].fit.train_loss[:1, -1]
    assert short > 0.6  # and where the gradient vanishes, it does not


def test_the_table_has_every_network_at_every_length(
    found: tuple[Finding, dict[str, Trained]],
) -> None:
    finding, _ = found
    lines = finding.files["gradients.md"].splitlines()
    assert lines[0].count("T = ") == len(LENGTHS)
    assert len(lines) == 2 + len(RADII) + 3


def test_the_product_of_one_step_is_one_jacobian() -> None:
    rng = np.random.default_rng(0)
    params = split(initial_params(Model(hidden_size=HIDDEN), 1, 1, [rng], "float64"))[""]
    x = rng.normal(size=(2, 1))
    output, _, _ = recurrent(params, x[None, None])
    last = (1 - output[0, 0, 1] ** 2)[:, None] * params["weight_hh_l0"][0]
    np.testing.assert_allclose(
        jacobian_product(params, x), [1, np.linalg.norm(last, 2)], rtol=1e-12
    )


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_it_runs_small_with_either_engine_and_in_korean(engine: str) -> None:
    finding, _ = run(
        STUDY, study(size=0.05, language="ko", training={"epochs": 2, "engine": engine})
    )
    assert np.isfinite(list(finding.metrics.values())).all()
    assert "야코비" in finding.sentences[2]
