"""A real PostgreSQL server for tests: on loopback, in a folder of its own, gone at the end.

@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as server:
        yield server
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.processes import free_port, require_program

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
    folder: Path

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

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        settings = (f"port={self.port}", *LOOPBACK, *HASTY)
        options = " ".join(f"-c {setting}" for setting in settings)
        try:
            self.administer("pg_ctl", "start", "-w", "-o", options, "-l", str(self.folder / "log"))
        except subprocess.CalledProcessError:
            pytest.fail(f"PostgreSQL ended: {(self.folder / 'log').read_text()}")

    def stop(self) -> None:
        """End the sessions of its clients, and then the server itself."""
        self.administer("pg_ctl", "stop", "-w", "-m", "fast")

    def administer(self, program: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs as the user that owns the files of the server."""
        owner = USER if os.getuid() == 0 else None
        subprocess.run(
            [self.programs / program, *arguments, "-D", self.folder / "data"],
            cwd=self.folder,
            user=owner,
            group=owner,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Yield a running server; without PostgreSQL skip the test, or fail it if CI=true."""
    debian = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path())  # not on the PATH
    programs = Path(require_program(str(debian / "postgres"))).parent
    with TemporaryDirectory(prefix="postgres-") as folder:
        if os.getuid() == 0:
            shutil.chown(folder, USER, USER)
        server = Postgres(HOST, free_port(), USER, programs, Path(folder))
        asked = ("--username", USER, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
        server.administer("initdb", *asked)
        server.start()
        try:
            yield server
        finally:
            server.stop()
