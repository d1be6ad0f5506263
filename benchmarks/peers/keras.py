"""Keras 3 on torch: the same maths, but one bias vector (torch has two) and its own start."""

import os
import sys

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np

HIDDEN, STEPS, BATCH, EPOCHS, RATE = 16, 10, 32, 20, 3e-3

close = np.loadtxt(sys.argv[1], delimiter=",", skiprows=1, usecols=1)
returns = np.diff(np.log(close))
x = np.lib.stride_tricks.sliding_window_view(returns[:-1], STEPS)[..., None]
x = ((x - x.mean()) / x.std()).astype("float32")
y = (returns[STEPS:] > 0).astype("float32")

network = keras.Sequential(
    [keras.Input((STEPS, 1)), keras.layers.SimpleRNN(HIDDEN), keras.layers.Dense(1)]
)
network.compile(keras.optimizers.Adam(RATE), keras.losses.BinaryCrossentropy(from_logits=True))
history = network.fit(x, y, batch_size=BATCH, epochs=EPOCHS, verbose=0)
print(history.history["loss"][-1])
