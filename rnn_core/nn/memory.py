"""How a process that trains deals with its memory: for a program that owns its process, never on import."""

import atexit
import gc
from functools import cache

import numpy as np

LARGEST_KEPT = 31 * 2**20  # bytes


@cache
def tune_process() -> None:
    """Make this process exit faster and reuse large blocks of memory; a second call does nothing."""
    # At its end Python looks through all that was imported, to take it apart, which is a tenth of a process that trains
    # one network, and more than a second of one that has imported Prefect and MLflow.
    atexit.register(gc.freeze)
    # glibc gives large blocks back to the system when they are freed, and at the next call every page is faulted in
    # anew, which took half of the time. Large is what exceeds the largest block freed so far, up to 32 MB.
    np.empty(LARGEST_KEPT, np.uint8)  # freed at once
