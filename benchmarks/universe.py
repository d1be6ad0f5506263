"""A stack of 256 models against torch.nn.RNN trained one by one: 20 epochs of 32 updates each.

Hidden 16, T 10, batch 32, Adam, two cores. torch may use both cores and does not: its matrices are
too small for threads. Two of its processes at once would at best halve the ratios. It trains two of
the models, ours trains all.
"""

from functools import partial

from benchmarks.rounds import compare, engine_name, save
from benchmarks.torch_nn import direction, torch_loop

MODELS = 256
EPOCHS = 20
UPDATES = 32


def main() -> list[str]:
    rows = []
    for dtype in ("float32", "float64"):
        variant = direction(UPDATES * 32, epochs=EPOCHS, batch_size=32, seeds=MODELS, dtype=dtype)
        rows += compare(
            f"{MODELS} models, {dtype}",
            variant,
            {"torch-one-by-one": partial(torch_loop, models=2)},
            epochs=EPOCHS,
            unit="model",
            updates=EPOCHS * UPDATES,
            cores=2,
        )
    for row in rows:
        models_a_second = 1e6 / row.median_us
        print(f"{models_a_second:7.0f} models a second, {row.case}, by {engine_name(row.kernel)}")
    save("universe", rows)
    return []
