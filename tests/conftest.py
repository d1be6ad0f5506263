"""No test reaches the network: Python's sockets are blocked by pytest-socket, other clients by a dead proxy."""

import os
from collections.abc import Iterator

import pytest

from rnn_core.data import exchanges

DEAD_PROXY = "http://127.0.0.1:9"  # the discard port

os.environ["OMP_NUM_THREADS"] = (
    "1"  # torch's threads wait for each other on a busy machine, to no avail
)

for scheme in ("all", "http", "https"):
    os.environ[f"{scheme}_proxy"] = os.environ[f"{scheme.upper()}_PROXY"] = DEAD_PROXY
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1,localhost,::1"


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks for the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of a file in one process, and those of all files that share a Prefect site."""
    for item in items:
        shares_the_site = "site" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("site" if shares_the_site else item.path.stem))


@pytest.fixture(scope="session", autouse=True)
def _calendars(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One place for the hours of exchanges, which take seconds to build, wherever a test stands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchanges, "KEPT", tmp_path_factory.mktemp("calendars"))
        yield
