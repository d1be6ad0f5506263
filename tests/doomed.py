"""What the processes of a universe do in a test of those that die."""

import os
import signal
from pathlib import Path
from typing import Any, NoReturn

from flows.steps import learning
from flows.steps.summary import Summary
from rnn_core.commands import Retrain

DOOMED, UNLUCKY = "DOOMED", "UNLUCKY"


def learn_or_die(config: Retrain, *rest: Any) -> Summary:
    """Do as `learn_one_of_many`, but die at DOOMED every time and at UNLUCKY the first time."""
    if config.ticker == DOOMED:
        learning.learn = die
    if config.ticker == UNLUCKY and not (tried := Path("tried")).exists():
        tried.touch()
        learning.learn = die
    return learning.learn_one_of_many(config, *rest)


def die(*_: Any, **__: Any) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError
