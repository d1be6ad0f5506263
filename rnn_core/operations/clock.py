"""The machine's clock, which alone decides whether a forecast counts as live.

No option, flow parameter or environment variable reaches it. Tests and simulated days replace
`machine_time`; everybody else calls it as `clock.machine_time()`.
"""

from datetime import UTC, datetime


def machine_time() -> datetime:
    """Return the present time of this machine, UTC."""
    return datetime.now(UTC)
