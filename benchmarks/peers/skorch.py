"""skorch around torch.nn.RNN: the same maths."""

import sys

import numpy as np
import torch
from skorch import NeuralNetBinaryClassifier
from torch import nn

HIDDEN, STEPS, BATCH, EPOCHS, RATE = 16, 10, 32, 20, 3e-3

close = np.loadtxt(sys.argv[1], delimiter=",", skiprows=1, usecols=1)
returns = np.diff(np.log(close))
x = np.lib.stride_tricks.sliding_window_view(returns[:-1], STEPS)[..., None]
x = ((x - x.mean()) / x.std()).astype("float32")
y = (returns[STEPS:] > 0).astype("float32")


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.recurrent = nn.RNN(1, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, 1)

    def forward(self, x):
        return self.head(self.recurrent(x)[0][:, -1])[:, 0]


network = NeuralNetBinaryClassifier(
    Network,
    optimizer=torch.optim.Adam,
    lr=RATE,
    batch_size=BATCH,
    max_epochs=EPOCHS,
    train_split=None,
    iterator_train__shuffle=True,
    verbose=0,
)
network.fit(x, y)
print(network.history[-1, "train_loss"])
