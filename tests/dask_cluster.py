"""A Dask scheduler and workers, as processes of their own, some of which die."""

import sys
from pathlib import Path
from subprocess import Popen

from distributed import Client

from tests.processes import free_port, start

ALONE = ("--no-nanny",)  # options of a worker that nobody starts again


class Cluster:
    """A Dask scheduler on this machine, and the workers it is given."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        port = str(free_port())
        self.folder, self.environment, self.address = folder, environment, f"tcp://127.0.0.1:{port}"
        self.workers = 0
        self.scheduler = self.start(
            "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"
        )

    def start(self, what: str, *options: str) -> "Popen[bytes]":
        log = self.folder / f"{what}-{self.workers}.log"
        command = (sys.executable, "-m", f"distributed.cli.dask_{what}", *options)
        return start(*command, environment=self.environment, cwd=self.folder, log=log)

    def add_worker(
        self, dies_at: str | None = None, preload: str = "", options: tuple[str, ...] = ALONE
    ) -> "Popen[bytes]":
        """Add a worker; `dies_at` names a function: a call of it kills the worker instead.

        `preload` is what it does first, after it has imported the flow.
        """
        preload = f"import flows.universe.flow\n{preload}\n"
        if dies_at:
            module, _, function = dies_at.rpartition(".")
            kill = "lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)"
            preload += f"import os, signal\nimport {module} as module\nmodule.{function} = {kill}\n"
        self.workers += 1
        file = self.folder / f"preload_{self.workers}.py"
        file.write_text(preload)
        fixed = ("--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1", "--preload", str(file))
        return self.start("worker", self.address, *options, *fixed)

    def wait(self) -> None:
        """Wait until every worker has come."""
        with Client(self.address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(self.workers, timeout=120)
