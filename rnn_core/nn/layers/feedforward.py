"""The linear layer and dropout, each with its backward pass."""

from collections.abc import Callable, Sequence

import numpy as np

from rnn_core.errors import ArrayError
from rnn_core.nn.arrays import Array, Params
from rnn_core.nn.layers.activations import Elementwise
from rnn_core.nn.layers.axes import _sum_rows
from rnn_core.nn.layers.checks import _check_dropout, _check_linear


def linear(params: Params, x: Array) -> tuple[Array, Callable[[Array], tuple[Params, Array]]]:
    """Return y = x Wᵀ + b of x (M, ..., I), with `weight` (M, O, I) and, if there is one, `bias` (M, O).

    Beside y (M, ..., O) comes `backward(dy) -> (grads, dx)`, the gradients by the names of params.

    Raises:
        ArrayError: params, x or dy of shapes that do not fit.
    """
    _check_linear(params, x)
    weight, rows = params["weight"], x.reshape(len(x), -1, x.shape[-1])  # (M, O, I), (M, R, I)
    y = np.matmul(rows, weight.swapaxes(1, 2))  # (M, R, O)
    if "bias" in params:
        y += params["bias"][:, None]
    shape = (*x.shape[:-1], weight.shape[1])

    def backward(dy: Array) -> tuple[Params, Array]:
        if dy.shape != shape:
            raise ArrayError(f"dy has shape {dy.shape}; {shape} is expected, the shape of y")
        d_rows = dy.reshape(y.shape)
        grads = {"weight": np.matmul(d_rows.swapaxes(1, 2), rows)}
        if "bias" in params:
            grads["bias"] = _sum_rows(d_rows)
        outer = weight.shape[1] == 1  # of two vectors: many times faster than as a product of matrices
        d_x = d_rows * weight if outer else np.matmul(d_rows, weight)
        return grads, d_x.reshape(x.shape)

    return y.reshape(shape), backward


def dropout(x: Array, p: float, rng: Sequence[np.random.Generator] | None) -> Elementwise:
    """Zero each element of x (M, ...) with probability p and divide the others by 1 − p (Srivastava et al. 2014).

    `rng` holds one Generator a model; with p = 0 none is drawn from and x comes back as it is. The draws are float32
    whatever x is, so that both precisions see the same mask. `backward(dy)` returns dx under that mask.

    Raises:
        ConfigError: p outside [0, 1).
        ArrayError: p > 0 and not one Generator a model.
    """
    _check_dropout(p, rng, len(x))
    return _drop(x, p, rng, axis=0)


def _drop(x: Array, p: float, rng: Sequence[np.random.Generator] | None, axis: int) -> Elementwise:
    """`dropout` without its checks, the models along `axis`."""
    if p == 0 or rng is None:
        return x, lambda dy: dy
    one_model = x.shape[:axis] + x.shape[axis + 1 :]
    kept = np.stack([stream.random(one_model, np.float32) >= p for stream in rng], axis)
    mask = kept * x.dtype.type(1 / (1 - p))
    return x * mask, lambda dy: dy * mask
