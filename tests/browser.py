"""A page as headless Chromium sees it."""

import os
from pathlib import Path

from tests.processes import require_program, run

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--window-size=1300,5000",
    "--enable-logging=stderr",
    "--virtual-time-budget=60000",  # ms of the page's own clock
)


def open_page(
    address: str, profile: Path, environment: dict[str, str] | None = None
) -> tuple[str, str]:
    """The page's elements after its scripts have run, as HTML, and what it wrote to the console."""
    options = (*FLAGS, f"--user-data-dir={profile}", "--dump-dom", address)
    done = run(
        require_program("chromium"),
        *options,
        environment=environment or dict(os.environ),
        cwd=profile,
    )
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
