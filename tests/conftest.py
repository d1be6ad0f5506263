"""No test reaches the network: pytest-socket blocks Python's sockets, a dead proxy the rest."""

import os
from collections.abc import Iterator

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from rnn_core.data import calendars

DEAD_PROXY = "http://127.0.0.1:9"  # the discard port
OWN_SERVERS = ("test_simulation.py", "test_stack.py")  # of tests/e2e; the others share a site

os.environ["OMP_NUM_THREADS"] = (
    "1"  # torch's threads wait for each other on a busy machine, to no avail
)

for scheme in ("all", "http", "https"):
    os.environ[f"{scheme}_proxy"] = os.environ[f"{scheme.upper()}_PROXY"] = DEAD_PROXY
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1,localhost,::1"


class _OneSite(LoadFileScheduling):
    """Runs a file's tests in one process, and those of all files that share a Prefect site."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        shares_the_site = file.startswith("tests/e2e/") and not file.endswith(OWN_SERVERS)
        return "site" if shares_the_site else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadFileScheduling | None:
    """Replace pytest-xdist's own scheduler of files; its groups do not work under pytest 9.2."""
    return _OneSite(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session", autouse=True)
def _calendars(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One place for the hours of exchanges, which take seconds to build, wherever a test stands."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calendars, "KEPT", tmp_path_factory.mktemp("calendars"))
        yield
