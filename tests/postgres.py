"""A real PostgreSQL server for tests: on loopback, in a folder of its own, gone at the end.

@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.processes import free_port, require_program, wait_for

# The user of the server, and of this machine if the tests run as root: PostgreSQL refuses root
USER = "postgres"
HOST = "127.0.0.1"
HASTY = (
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
)  # a test's data need not survive the machine
LOOPBACK = (f"listen_addresses={HOST}", "unix_socket_directories=")


@dataclass(frozen=True)
class Postgres:
    """A running server. `user` may log in from this machine with any password, or none."""

    host: str
    port: int
    user: str
    programs: Path

    def create_database(self, name: str) -> str:
        """Make an empty database, and return its URL."""
        self.run("createdb", name)
        return f"postgresql://{self.user}@{self.host}:{self.port}/{name}"

    def run(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's own client programs."""
        where = ("--host", self.host, "--port", str(self.port), "--username", self.user)
        subprocess.run(
            [self.programs / program, *where, *arguments], check=True, capture_output=True
        )


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Yield a running server; without PostgreSQL skip the test, or fail it if CI=true."""
    debian = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path())  # not on the PATH
    programs = Path(require_program(str(debian / "postgres"))).parent
    found = Postgres(HOST, free_port(), USER, programs)
    with TemporaryDirectory(prefix="postgres-") as folder:
        owner = USER if os.getuid() == 0 else None
        if owner:
            shutil.chown(folder, owner, owner)
        data, log = Path(folder) / "data", Path(folder) / "log"
        asked = ("--username", USER, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        subprocess.run(
            [programs / "initdb", data, *asked],
            cwd=folder,
            user=owner,
            group=owner,
            check=True,
            capture_output=True,
        )
        settings = [argument for setting in (*LOOPBACK, *HASTY) for argument in ("-c", setting)]
        with log.open("wb") as output:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, "-p", str(found.port), *settings],
                cwd=folder,
                user=owner,
                group=owner,
                stdout=output,
                stderr=output,
            )
        try:
            wait_for(lambda: _answers(found, server, log), "PostgreSQL", seconds=60)
            yield found
        finally:
            _end(server)


def _answers(found: Postgres, server: "subprocess.Popen[bytes]", log: Path) -> bool:
    if server.poll() is not None:
        pytest.fail(f"PostgreSQL ended: {log.read_text()}")
    try:
        found.run("pg_isready")
    except subprocess.CalledProcessError:
        return False
    return True


def _end(server: "subprocess.Popen[bytes]") -> None:
    server.send_signal(signal.SIGINT)  # ends its clients' sessions, and then itself
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
