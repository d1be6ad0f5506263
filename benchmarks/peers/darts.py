"""darts' BlockRNNModel: the next return by squared error from the last state.

Every window is seen once an epoch. Its head reads the last state as ours does. Progress bar,
logger and checkpoints are off.
"""

import sys

import numpy as np
from darts import TimeSeries
from darts.models import BlockRNNModel

HIDDEN, STEPS, BATCH, EPOCHS, RATE = 16, 10, 32, 20, 3e-3

close = np.loadtxt(sys.argv[1], delimiter=",", skiprows=1, usecols=1)
returns = np.diff(np.log(close)).astype("float32")
model = BlockRNNModel(
    input_chunk_length=STEPS,
    output_chunk_length=1,
    model="RNN",
    hidden_dim=HIDDEN,
    batch_size=BATCH,
    n_epochs=EPOCHS,
    optimizer_kwargs={"lr": RATE},
    pl_trainer_kwargs={"accelerator": "cpu", "enable_progress_bar": False, "logger": False},
)
model.fit(TimeSeries.from_values(returns / returns.std()))
print(model.trainer.callback_metrics["train_loss"].item(), model.trainer.global_step)
