"""Activations, each with its backward pass."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np

from rnn_core.nn.arrays import Array


class _Activation(NamedTuple):
    """An elementwise function y = φ(a)."""

    value: Callable[[Array, Array], object]  # (a, out): writes y into out
    derivative: Callable[[Array, Array], Array]  # (a, y): a new array φ′(a)


Elementwise: TypeAlias = tuple[Array, Callable[[Array], Array]]


def tanh(x: Array) -> Elementwise:
    """Return the hyperbolic tangent y of x, of any shape, and `backward(dy) -> dx`."""
    return _elementwise(_ACTIVATIONS["rnn_tanh"], x)


def relu(x: Array) -> Elementwise:
    """Return y = max(x, 0), of any shape, and `backward(dy) -> dx`; the derivative at 0 is 0."""
    return _elementwise(_ACTIVATIONS["rnn_relu"], x)


def sigmoid(x: Array) -> Elementwise:
    """Return y = 1 / (1 + exp(−x)), of any shape and to a rounding of 1, and `backward(dy) -> dx`."""
    return _elementwise(_ACTIVATIONS["rnn_sigmoid"], x)


def prelu(x: Array, slope: Array) -> tuple[Array, Callable[[Array], tuple[Array, Array]]]:
    """Return y = max(x, 0) + slope · min(x, 0) of x (M, ...), and `backward(dy) -> (dx, dslope)` (He et al. 2015).

    The slope is learnt, one of each model: (M,) or (M, 1). The derivative at 0 is the slope.
    """
    y, backward = _elementwise(_prelu(slope.reshape(-1, *[1] * (x.ndim - 1))), x)
    return y, lambda dy: (backward(dy), _slope_gradient(slope, x, dy))


def softmax(x: Array) -> Elementwise:
    """Return y = exp(x) / Σ exp(x) over the last axis, and `backward(dy) -> dx`."""
    y = np.exp(x - x.max(axis=-1, keepdims=True))
    y /= y.sum(axis=-1, keepdims=True)
    return y, lambda dy: y * (dy - (dy * y).sum(axis=-1, keepdims=True))


def _elementwise(activation: _Activation, x: Array) -> Elementwise:
    y = np.empty_like(x)
    activation.value(x, y)
    return y, lambda dy: dy * activation.derivative(x, y)


def _sigmoid(a: Array, out: Array) -> None:
    """σ(a) = (1 + tanh(a/2)) / 2, which overflows nowhere."""
    np.multiply(a, 0.5, out=out)
    np.tanh(out, out=out)
    out *= 0.5
    out += 0.5


def _prelu(slope: Array) -> _Activation:
    """max(a, 0) + slope · min(a, 0), with a slope that broadcasts with a."""

    def value(a: Array, out: Array) -> None:
        np.minimum(a, 0, out=out)
        out *= slope
        out += np.maximum(a, 0)

    return _Activation(value, lambda a, y: np.where(a > 0, 1, slope))


def _slope_gradient(slope: Array, a: Array, dy: Array) -> Array:
    """The gradient of each model's slope, from a and dy (M, ...)."""
    each: Array = dy * np.minimum(a, 0)
    gradient: Array = each.reshape(len(a), -1).sum(axis=1)
    return gradient.reshape(slope.shape)


def _tanh_derivative(a: Array, y: Array) -> Array:
    derivative: Array = y * y
    return np.subtract(1, derivative, out=derivative)


_ACTIVATIONS = {
    "rnn_tanh": _Activation(np.tanh, _tanh_derivative),
    "rnn_relu": _Activation(lambda a, out: np.maximum(a, 0, out=out), lambda a, y: (y > 0).astype(y.dtype)),
    "rnn_sigmoid": _Activation(_sigmoid, lambda a, y: y * (1 - y)),
}
