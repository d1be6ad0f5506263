"""A recurrent network as textbooks write it in NumPy: one sample, one step, one update a time."""

import numpy as np

from rnn_core.nn.arrays import Array

EPSILON = 1e-8  # keeps the logarithm from 0


def train(
    x: Array, y: Array, order: Array, start: dict[str, Array], learning_rate: float, clip: float
) -> Array:
    """Return the mean binary cross-entropy (E,) of each epoch of stochastic gradient descent.

    x is (N, T), y (N,), `order` (E, n) the samples of each epoch and `start` the initial Wx (H, 1),
    Wh (H, H), Wy (1, H), bh (H, 1) and by (1, 1). Each element of a gradient is clipped to ±`clip`.
    """
    params = {name: value.copy() for name, value in start.items()}
    Wx, Wh, Wy, bh, by = (params[name] for name in ("Wx", "Wh", "Wy", "bh", "by"))  # noqa: N806
    losses = []
    for samples in order:
        total = 0.0
        for sample in samples:
            inputs = x[sample]
            target = y[sample]
            h = {-1: np.zeros_like(bh)}
            for t in range(len(inputs)):
                h[t] = np.tanh(np.dot(Wx, inputs[t].reshape(1, 1)) + np.dot(Wh, h[t - 1]) + bh)
            p = 1 / (1 + np.exp(-(np.dot(Wy, h[len(inputs) - 1]) + by)))
            total -= (target * np.log(p + EPSILON) + (1 - target) * np.log(1 - p + EPSILON)).item()

            grads = {name: np.zeros_like(value) for name, value in params.items()}
            dz = p - target
            grads["Wy"] += np.dot(dz, h[len(inputs) - 1].T)
            grads["by"] += dz
            dh = np.dot(Wy.T, dz)
            for t in reversed(range(len(inputs))):
                da = (1 - h[t] ** 2) * dh
                grads["Wx"] += np.dot(da, inputs[t].reshape(1, 1))
                grads["Wh"] += np.dot(da, h[t - 1].T)
                grads["bh"] += da
                dh = np.dot(Wh.T, da)
            for name, grad in grads.items():
                params[name] -= learning_rate * np.clip(grad, -clip, clip)
        losses.append(total / len(samples))
    return np.array(losses)
