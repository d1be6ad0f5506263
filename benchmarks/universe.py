"""A stack of 256 models against torch.nn.RNN trained one by one: 20 epochs of 32 updates each, on two cores.

Hidden 16, T 10, batch 32, Adam. torch may use both cores and cannot: its matrices are too small for threads. Two
processes of it at once would at best halve the ratios. It trains two of the models, ours trains all.
"""

from functools import partial

from benchmarks.rounds import compare, save
from benchmarks.torch_nn import direction, torch_loop

MODELS, EPOCHS, UPDATES = 256, 20, 32


def main() -> list[str]:
    rows = []
    for dtype in ("float32", "float64"):
        variant = direction(UPDATES * 32, epochs=EPOCHS, batch_size=32, seeds=MODELS, dtype=dtype)
        against = {"torch-one-by-one": partial(torch_loop, models=2)}
        rows += compare(
            f"{MODELS} models, {dtype}",
            variant,
            against,
            epochs=EPOCHS,
            unit="model",
            updates=EPOCHS * UPDATES,
            cores=2,
        )
    for row in rows:
        name = "kernel" if row.kernel else "NumPy"
        print(f"{1e6 / row.median_us:7.0f} models a second, {row.case}, by {name}")
    save("universe", rows)
    return []
