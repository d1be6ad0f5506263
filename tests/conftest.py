"""No test reaches the network: Python's sockets are blocked by pytest-socket, other clients by a dead proxy."""

import os

DEAD_PROXY = "http://127.0.0.1:9"  # the discard port

os.environ["OMP_NUM_THREADS"] = "1"  # torch's threads wait for each other on a busy machine, to no avail

for scheme in ("all", "http", "https"):
    os.environ[f"{scheme}_proxy"] = os.environ[f"{scheme.upper()}_PROXY"] = DEAD_PROXY
os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1,localhost,::1"
