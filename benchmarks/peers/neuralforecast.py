"""neuralforecast's RNN: the next return by squared error, 940 updates of 32 random windows.

Its decoder is a perceptron behind the recurrent layer, here the smallest there is. Progress bar,
logger and checkpoints are off.
"""

import sys

import pandas as pd
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MSE
from neuralforecast.models import RNN

HIDDEN, STEPS, BATCH, UPDATES, RATE = 16, 10, 32, 940, 3e-3

prices = pd.read_csv(sys.argv[1])
returns = prices["close"].pct_change().iloc[1:]
frame = pd.DataFrame({"unique_id": "WALK", "ds": range(len(returns)), "y": returns / returns.std()})
model = RNN(
    h=1,
    input_size=STEPS,
    encoder_n_layers=1,
    encoder_hidden_size=HIDDEN,
    decoder_layers=1,
    decoder_hidden_size=HIDDEN,
    loss=MSE(),
    max_steps=UPDATES,
    learning_rate=RATE,
    batch_size=1,
    windows_batch_size=BATCH,
    scaler_type="identity",
    accelerator="cpu",
    enable_progress_bar=False,
    enable_checkpointing=False,
    logger=False,
)
NeuralForecast(models=[model], freq=1).fit(frame)
