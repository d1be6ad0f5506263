"""What trained networks look at: how far back their gradient reaches, and which inputs count."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnn_core.data.windows import Windows
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.engines import Inputs
from rnn_core.nn.layers import RecurrentBackward, State, run_recurrent
from rnn_core.nn.losses import sigmoid
from rnn_core.nn.network import read, split
from rnn_core.nn.training import Fit


@dataclass(frozen=True)
class Explanation:
    """Means over the rows of each of M models, NaN for a frozen model or one without rows.

    Attributes:
        reach: (M, T) ‖∂L/∂h_t‖, with the states h_t of all layers after step t and the log loss L
            of one row; step T − 1 is the last. None for a bidirectional model: its states have no
            single direction in time.
        sensitivity: (M, T, I) |∂p/∂x|, by one standard deviation of the input.
    """

    reach: Array | None
    sensitivity: Array


def explain(fit: Fit, windows: Windows, rows: Array) -> Explanation:
    """Explain each of M models by its own labelled `rows` (M, s), padded with −1."""
    dtype = fit.training.dtype
    inputs = Inputs(windows.x.astype(dtype), fit.center, fit.scale)
    x, _ = inputs.batch(np.arange(len(fit)), rows)
    usable = (rows >= 0) & (fit.frozen < 0)[:, None]
    x = np.where(usable[..., None, None], x, 0)
    if fit.model.bidirectional:
        return Explanation(None, _mean(_sensitivity(fit, x), usable))
    y = np.where(usable, windows.y[rows, -1, 0], 0).astype(dtype)
    reach, sensitivity = _through_time(fit, x, y)
    return Explanation(_mean(reach, usable), _mean(sensitivity, usable))


def _sensitivity(fit: Fit, x: Array) -> Array:
    """Return |∂p/∂x| (M, N, T, I) for inputs of that shape."""
    parts = split(fit.params)
    output, state, backward = run_recurrent(parts[""], x, **_layers(fit))
    logits, read_backward = read(parts, output, state, fit.model)
    _, d_output, d_state = read_backward(_probability_slope(logits))
    _, dx, _ = backward(d_output, d_state)
    return np.abs(dx)


def _through_time(fit: Fit, x: Array, y: Array) -> tuple[Array, Array]:
    """Return ‖∂L/∂h_t‖ (M, N, T) and |∂p/∂x| (M, N, T, I), for x (M, N, T, I) and y (M, N).

    All gradients are those of the logit z, the only output, times ∂L/∂z or ∂p/∂z.
    """
    parts = split(fit.params)
    output, state, backwards = _forward(fit, parts[""], x)
    logits, read_backward = read(parts, output, state, fit.model)  # (M, N, 1, 1)
    _, _, d_state = read_backward(np.ones_like(logits))
    by_state, by_input = _back(backwards, d_state)
    error = sigmoid(logits) - y[..., None, None]  # ∂L/∂z
    return by_state * np.abs(error)[..., 0], by_input * _probability_slope(logits)


def _forward(fit: Fit, params: Params, x: Array) -> tuple[Array, State, list[RecurrentBackward]]:
    """Run one step at a time, so that the gradient of every state is seen on its way back."""
    h0: Array | None = None
    c0: Array | None = None
    backwards: list[RecurrentBackward] = []
    for t in range(x.shape[2]):
        step = x[:, :, t : t + 1]
        output, state, backward = run_recurrent(params, step, h0=h0, c0=c0, **_layers(fit))
        h0, c0 = state if isinstance(state, tuple) else (state, None)
        backwards.append(backward)
    return output, state, backwards


def _back(backwards: list[RecurrentBackward], d_state: State | None) -> tuple[Array, Array]:
    """Return ‖∂z/∂h_t‖ (M, N, T) and |∂z/∂x| (M, N, T, I)."""
    norms = []
    slopes = []
    for backward in reversed(backwards):
        norms.append(_norm(d_state))
        _, dx, d_state = backward(None, d_state)
        slopes.append(np.abs(dx[:, :, 0]))
    return np.stack(norms[::-1], axis=2), np.stack(slopes[::-1], axis=2)


def _layers(fit: Fit) -> dict[str, Any]:
    model = fit.model
    return {
        "cell": model.cell,
        "num_layers": model.num_layers,
        "bidirectional": model.bidirectional,
    }


def _probability_slope(logits: Array) -> Array:
    """Return ∂p/∂z of p = σ(z)."""
    p = sigmoid(logits)
    return np.asarray(p * (1 - p))


def _norm(d_state: State | None) -> Array:
    """Return the norm (M, N) over layers and units of the gradient of the hidden states."""
    d_hidden: Any = d_state[0] if isinstance(d_state, tuple) else d_state  # (M, D·num_layers, N, H)
    return np.asarray(np.sqrt(np.square(d_hidden).sum(axis=(1, 3))))


def _mean(values: Array, usable: Array) -> Array:
    """Return the mean of values (M, s, …) over the usable rows (M, s) of each model."""
    weight = usable.reshape(*usable.shape, *[1] * (values.ndim - 2))
    count = weight.sum(axis=1)
    total = np.where(weight, values, 0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)
