"""`fit` against torch.nn.RNN, GRU and LSTM with autograd and torch's own optimisers, as torch's users write it.

Both start from the same parameters and see the same batches, which torch is handed as a tensor of all windows, without
a DataLoader. `compiled` is torch.compile of the whole network; it unrolls the steps, so it takes a minute where T is 10
and is left out where T is more. Ours is the whole of `fit`, its epochs' bookkeeping with it.
"""

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.rounds import Job, compare, drawn, save
from rnn_core.commands import Study
from rnn_core.config import Model, Training
from rnn_core.nn.arrays import Array
from rnn_core.nn.sequences import Sequences, holdout
from rnn_core.studies import sines
from rnn_core.studies.study import Variant

STEPS = 10


def torch_loop(variant: Any, models: int = 1, compiled: bool = False) -> Job:
    """Training the first `models` of the variant one by one."""
    import torch
    from torch import nn

    from rnn_core import to_torch_state_dict

    model, training, sequences = variant.model, variant.training, variant.sequences
    dtype = getattr(torch, training.dtype)
    x, y = (torch.as_tensor(array).to(dtype) for array in (sequences.x, sequences.y))
    states = [to_torch_state_dict(variant.params0, m) for m in range(models)]
    orders = torch.as_tensor(variant.order)
    losses = {"binary_cross_entropy": nn.BCEWithLogitsLoss, "mean_squared_error": nn.MSELoss}
    loss_of = losses[sequences.loss]()
    optimiser_class = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[training.optimiser]

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            recurrent = {"rnn_tanh": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[model.cell]
            self.recurrent = recurrent(x.shape[-1], model.hidden_size, batch_first=True)
            self.head = nn.Linear(model.hidden_size, y.shape[-1])

        def forward(self, x: Any) -> Any:
            output, _ = self.recurrent(x)
            return self.head(output[:, -1:] if model.readout == "last" else output)

    network = Network().to(dtype)
    if compiled:
        torch._dynamo.config.allow_rnn = True  # else the recurrent layer is left as it is
    run = torch.compile(network) if compiled else network

    def train(m: int) -> list[float]:
        network.load_state_dict(
            {name if "." in name else f"recurrent.{name}": own for name, own in states[m].items()}
        )
        optimiser = optimiser_class(network.parameters(), lr=training.learning_rate)
        means = []
        for order in orders[:, m]:
            total = 0.0
            for rows in order.split(training.batch_size):
                optimiser.zero_grad()
                loss = loss_of(run(x[rows]), y[rows])
                loss.backward()
                if training.clip_value is not None:
                    nn.utils.clip_grad_value_(network.parameters(), training.clip_value)
                if training.clip_norm is not None:
                    nn.utils.clip_grad_norm_(network.parameters(), training.clip_norm)
                optimiser.step()
                total += loss.item() * len(rows)
            means.append(total / len(order))
        return means

    def job() -> Array:
        return np.array([train(m) for m in range(models)])

    return job


def direction(rows: int, *, cell: str = "rnn_tanh", **training: Any) -> Variant:
    """Windows of noise, asked whether the last value is positive; hidden 16, T 10."""
    x = np.random.default_rng(0).normal(size=(rows, STEPS, 1))
    sequences = Sequences(x, (x[:, -1:] > 0).astype(float), np.ones((rows, 1), bool), raw=True)
    settings = {"patience": None, "seeds": 1, "clip_norm": None, "learning_rate": 3e-3} | training
    variant = Variant(Model(cell=cell), Training(**settings), sequences, holdout(rows, 0, 0))
    return drawn(variant)


def sine(name: str, model: Model, training: dict[str, Any]) -> Variant:
    """A study of sines in float32, at a constant learning rate."""
    study: Any = Study.model_validate({"name": name})
    steps = {"sine-next-value": sines.NEXT_VALUE, "sine-synced": sines.SYNCED}[name]
    (variant,) = steps.variants(study, steps.data(study)).values()
    settings = replace(variant.training, **{"dtype": "float32", "schedule": "constant"} | training)
    return drawn(replace(variant, model=model, training=settings))


def main() -> list[str]:
    compiled = partial(torch_loop, compiled=True)
    single = direction(256, epochs=400, batch_size=1, optimiser="sgd", clip_value=5.0)
    batches = {
        cell: direction(1024, epochs=40, batch_size=32, cell=cell)
        for cell in ("rnn_tanh", "gru", "lstm")
    }
    next_value = sine("sine-next-value", Model(hidden_size=32), {"epochs": 20})
    synced = sine("sine-synced", Model(hidden_size=32, readout="steps"), {"epochs": 2})

    rows = compare("batch 1, SGD", single, {"torch-batch-1": torch_loop}, epochs=4)
    for cell, variant in batches.items():
        rows += compare(
            f"batch 32, Adam, {cell}", variant, {"torch-batch-32": torch_loop}, epochs=10
        )
    rows += compare("next value of a sine", next_value, {"torch-sine": torch_loop}, epochs=5)
    rows += compare("every step of a sine", synced, {"torch-synced": torch_loop}, epochs=2)
    rows += compare("batch 1, torch compiled", single, {"torch-batch-1": compiled}, epochs=4)
    rows += compare(
        "batch 32, torch compiled", batches["rnn_tanh"], {"torch-batch-32": compiled}, epochs=10
    )
    save("torch", rows)
    return []
