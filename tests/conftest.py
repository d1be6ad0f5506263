"""No test reaches the network: Python's sockets are blocked by pytest-socket, other clients by a dead proxy."""

import os
from collections.abc import Iterator

import pytest

from rnn_core.data import calendars

DEAD_PROXY = "http://127.0.0.1:9"  # the discard port

os.environ["OMP_NUM_THREADS"] = (
    "1"  # torch's threads wait for each other on a busy machine, to no avail
)

for scheme in ("all", "http", "https"):
    os.environ[f"{scheme}_proxy"] = os.environ[f"{scheme.upper()}_PROXY"] = DEAD_PROXY
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1,localhost,::1"


@pytest.fixture(scope="session", autouse=True)
def _calendars(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One place for the hours of exchanges, which take seconds to build, wherever a test stands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calendars, "KEPT", tmp_path_factory.mktemp("calendars"))
        yield
