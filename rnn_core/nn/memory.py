"""Memory settings of a process that trains. A program calls them; no import does."""

import atexit
import gc
from functools import cache

import numpy as np

LARGEST_KEPT = 31 * 2**20  # bytes


@cache
def tune_process() -> None:
    """Make this process exit faster and reuse large blocks of memory; call it once or more."""
    # By default a process looks through its imports, which stay, for a second in all.
    gc.set_threshold(10_000)
    # At its end Python visits all that was imported to take it apart. This is a tenth of a process
    # that trains one network, and more than a second of one that has imported Prefect and MLflow.
    atexit.register(gc.freeze)
    # glibc returns large blocks to the system when they are freed, and the next call faults every
    # page in anew, which took half of the time. Large is what exceeds the largest block freed so
    # far, up to 32 MB.
    np.empty(LARGEST_KEPT, np.uint8)  # freed at once
