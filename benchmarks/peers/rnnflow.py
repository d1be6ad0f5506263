"""Ours, by `rnn_core.nn.training` alone, which is handed arrays as the others are."""

import sys

import numpy as np

from rnn_core.nn.memory import tune_process
from rnn_core.nn.sequences import Sequences, holdout
from rnn_core.nn.settings import Model, Training
from rnn_core.nn.training import fit

tune_process()
HIDDEN, STEPS, BATCH, EPOCHS, RATE = 16, 10, 32, 20, 3e-3

close = np.loadtxt(sys.argv[1], delimiter=",", skiprows=1, usecols=1)
returns = np.diff(np.log(close))
x = np.lib.stride_tricks.sliding_window_view(returns[:-1], STEPS)[..., None]
y = (returns[STEPS:] > 0).astype(float)[:, None, None]

training = Training(
    dtype="float32",
    batch_size=BATCH,
    epochs=EPOCHS,
    learning_rate=RATE,
    clip_norm=None,
    patience=None,
    seeds=1,
)
sequences = Sequences(x, y, np.ones((len(x), 1), bool))
fitted = fit(Model(hidden_size=HIDDEN), training, sequences, holdout(len(x), 0, 0))
print(fitted.train_loss[0, -1])
