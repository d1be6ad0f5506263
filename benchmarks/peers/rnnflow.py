"""Ours, by `rnn_core` alone: prices are checked against the exchange's calendar as ever."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from rnn_core.config import File, Model, Problem, Training
from rnn_core.folds import holdout
from rnn_core.problems import windows
from rnn_core.sources import load
from rnn_core.training import fit

prices = load(File(path=Path(sys.argv[1])), "WALK", datetime.now(UTC))
built = windows(Problem(seq_len=10, features=("return",)), prices)
training = Training(dtype="float32", epochs=20, learning_rate=3e-3, clip_norm=None, patience=None, seeds=1)
fitted = fit(Model(hidden_size=16), training, built, holdout(built.live, 0, 0))
print(fitted.train_loss[0, -1])
