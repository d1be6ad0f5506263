"""JAX: the same maths, all updates of an epoch in one compiled scan, Adam written out."""

import sys

import jax
import jax.numpy as jnp
import numpy as np

HIDDEN, STEPS, BATCH, EPOCHS, RATE = 16, 10, 32, 20, 3e-3

close = np.loadtxt(sys.argv[1], delimiter=",", skiprows=1, usecols=1)
returns = np.diff(np.log(close))
x = np.lib.stride_tricks.sliding_window_view(returns[:-1], STEPS)[..., None]
x = jnp.asarray((x - x.mean()) / x.std(), "float32")
y = jnp.asarray(returns[STEPS:] > 0, "float32")

rng = np.random.default_rng(0)
shapes = {
    "weight_ih": (1, HIDDEN),
    "weight_hh": (HIDDEN, HIDDEN),
    "bias_ih": (HIDDEN,),
    "bias_hh": (HIDDEN,),
    "weight": (HIDDEN,),
    "bias": (),
}
params = {
    name: jnp.asarray(rng.uniform(-0.25, 0.25, shape), "float32") for name, shape in shapes.items()
}


def loss_of(params, x, y):
    def step(h, x_t):
        h = jnp.tanh(
            x_t @ params["weight_ih"]
            + params["bias_ih"]
            + h @ params["weight_hh"]
            + params["bias_hh"]
        )
        return h, None

    h, _ = jax.lax.scan(step, jnp.zeros((len(x), HIDDEN)), x.swapaxes(0, 1))
    logits = h @ params["weight"] + params["bias"]
    return jnp.mean(jax.nn.softplus(logits) - y * logits)


def update(state, rows):
    params, first, second, count = state
    loss, grads = jax.value_and_grad(loss_of)(params, x[rows], y[rows])
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, grads)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, grads)
    count += 1

    def moved(p, m, v):
        return p - RATE * (m / (1 - 0.9**count)) / (jnp.sqrt(v / (1 - 0.999**count)) + 1e-8)

    return (jax.tree.map(moved, params, first, second), first, second, count), loss


epoch = jax.jit(lambda state, order: jax.lax.scan(update, state, order))
zeros = jax.tree.map(jnp.zeros_like, params)
state = (params, zeros, zeros, 0.0)
for _ in range(EPOCHS):
    state, losses = epoch(state, rng.permutation(len(x)).reshape(-1, BATCH))
print(losses.mean())
