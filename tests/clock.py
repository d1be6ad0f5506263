"""The machine's clock, set for a while: the only way to make a past forecast count as live."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import wraps
from typing import Any

import pytest

from rnn_core.operations import clock


@contextmanager
def machine_at(time: datetime) -> Iterator[None]:
    """Let it be `time` on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "machine_time", lambda: time)
        yield


def on_that_day(flow: Callable[..., Any]) -> Callable[..., Any]:
    """Return the flow, run while it is its `now` on this machine too."""

    @wraps(flow)
    def run(*, now: datetime, **options: Any) -> Any:
        with machine_at(now):
            return flow(now=now, **options)

    return run
