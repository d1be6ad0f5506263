"""What trained networks look at: how far back their gradient reaches, and which inputs move their probability."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnn_core.data.windows import Windows
from rnn_core.nn.arrays import Array
from rnn_core.nn.engines import Inputs
from rnn_core.nn.layers import State, run_recurrent
from rnn_core.nn.losses import sigmoid
from rnn_core.nn.network import read, split
from rnn_core.nn.training import Fit


@dataclass(frozen=True)
class Explanation:
    """Means over the rows that each of M models was asked about, NaN for a frozen model or one without rows.

    Attributes:
        reach: (M, T) ‖∂L/∂h_t‖, the states h_t of all layers after step t, L the log loss of one row; step T − 1 is the
            last. None for a bidirectional model: its states have no one direction in time.
        sensitivity: (M, T, I) |∂p/∂x|, by one standard deviation of the input.
    """

    reach: Array | None
    sensitivity: Array


def explain(fit: Fit, windows: Windows, rows: Array) -> Explanation:
    """Look at labelled `rows` (M, s), padded with −1, through the models that were fitted for them."""
    model, dtype = fit.model, fit.training.dtype
    inputs = Inputs(windows.x.astype(dtype), fit.center, fit.scale)
    x, _ = inputs.batch(np.arange(len(fit)), rows)
    usable = (rows >= 0) & (fit.frozen < 0)[:, None]
    x = np.where(usable[..., None, None], x, 0)
    parts = split(fit.params)
    options: dict[str, Any] = {
        "cell": model.cell,
        "num_layers": model.num_layers,
        "bidirectional": model.bidirectional,
    }
    if model.bidirectional:
        output, state, backward = run_recurrent(parts[""], x, **options)
        logits, read_backward = read(parts, output, state, model)
        _, d_output, d_state = read_backward(_probability_slope(logits))
        return Explanation(None, _mean(np.abs(backward(d_output, d_state)[1]), usable))

    steps = []  # one step at a time, to see the gradient of every state on its way back
    h0: Array | None = None
    c0: Array | None = None
    for t in range(x.shape[2]):
        output, state, backward = run_recurrent(
            parts[""], x[:, :, t : t + 1], h0=h0, c0=c0, **options
        )
        h0, c0 = state if isinstance(state, tuple) else (state, None)
        steps.append(backward)
    logits, read_backward = read(parts, output, state, model)
    y = np.where(usable, windows.y[rows, -1, 0], 0).astype(dtype)[..., None, None]
    error = (
        sigmoid(logits) - y
    )  # (M, N, 1, 1) ∂L/∂z; of the one logit z, all gradients are its own times a number
    _, _, d_state = read_backward(np.ones_like(logits))
    reach, moved = [], []
    for backward in reversed(steps):
        reach.append(_norm(d_state))
        _, dx, d_state = backward(None, d_state)
        moved.append(np.abs(dx[:, :, 0]))
    by_step = np.stack(reach[::-1], axis=2) * np.abs(error)[..., 0]
    by_input = np.stack(moved[::-1], axis=2) * _probability_slope(logits)
    return Explanation(_mean(by_step, usable), _mean(by_input, usable))


def _probability_slope(logits: Array) -> Array:
    """∂p/∂z of p = σ(z)."""
    p = sigmoid(logits)
    return np.asarray(p * (1 - p))


def _norm(d_state: State | None) -> Array:
    """(M, N) Euclidean norm over layers and units of the gradient of the hidden states."""
    d_hidden: Any = d_state[0] if isinstance(d_state, tuple) else d_state  # (M, D·num_layers, N, H)
    return np.asarray(np.sqrt(np.square(d_hidden).sum(axis=(1, 3))))


def _mean(values: Array, usable: Array) -> Array:
    """Mean of values (M, s, …) over the usable rows (M, s) of each model."""
    weight = usable.reshape(*usable.shape, *[1] * (values.ndim - 2))
    count = weight.sum(axis=1)
    return np.where(
        count > 0, np.where(weight, values, 0).sum(axis=1) / np.maximum(count, 1), np.nan
    )
