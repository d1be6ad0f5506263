"""Who may ask the stack's servers: settings of Prefect and MLflow, and a password if one is wanted.

Both servers listen on this machine alone and answer only to their own addresses. With a password
every request needs it, those of the worker and the flows included.
"""

import os
import secrets
from pathlib import Path

from rnn_core.errors import StackError

CREDENTIALS = "RNNFLOW_AUTH"  # environment variable: user:password
KEPT = Path("data/auth")  # made up credentials, readable by their owner alone
MLFLOW_CONFIG = Path("data/mlflow-auth.ini")
MLFLOW_USERS = Path("data/mlflow-auth.db")
OPEN_TO = (  # variables with which a user lets others in, such as a proxy
    "RNNFLOW_ORIGINS",
    "PREFECT_SERVER_CORS_ALLOWED_ORIGINS",
    "MLFLOW_SERVER_ALLOWED_HOSTS",
    "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS",
)
SHORTEST_PASSWORD = 12  # characters that MLflow takes


def addresses(prefect: int, mlflow: int | None) -> dict[str, str]:
    """Return the environment variables that tell programs where the servers are and who may ask.

    Those that a user has set to let others in stay as they are.
    """
    origins = _origins(prefect)
    variables = {
        "PREFECT_API_URL": f"http://127.0.0.1:{prefect}/api",
        "RNNFLOW_ORIGINS": ",".join(origins),
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins),
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        # In memory, which is the default, slots stay taken after a power cut
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
            "prefect.server.concurrency.lease_storage.filesystem"
        ),
        # Otherwise MLflow starts eight processes that nothing here uses
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    if mlflow:
        own = _origins(mlflow)
        variables["MLFLOW_SERVER_ALLOWED_HOSTS"] = ",".join(map(_host, own))
        variables["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] = ",".join(own)
    return variables | {name: value for name, value in os.environ.items() if name in OPEN_TO}


def passwords() -> dict[str, str]:
    """Return the environment variables that make servers ask for a password, and others give it.

    It is that of the variable `RNNFLOW_AUTH`, else one that was made up once and is kept.

    Raises:
        StackError: the variable is not user:password, or the password is short.
    """
    credentials = os.environ.get(CREDENTIALS) or _made_up()
    user, _, password = credentials.partition(":")
    if not user or len(password) < SHORTEST_PASSWORD or not credentials.isprintable():
        raise StackError(
            f"{CREDENTIALS} must be user:password in printable characters, at least "
            f"{SHORTEST_PASSWORD} of them in the password (got {len(password)})"
        )
    _write_for_owner(
        MLFLOW_CONFIG,
        "[mlflow]\n"
        "default_permission = READ\n"
        f"database_uri = sqlite:///{MLFLOW_USERS}\n"
        f"admin_username = {user}\n"
        f"admin_password = {password.replace('%', '%%')}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n",
    )
    return {
        "PREFECT_SERVER_API_AUTH_STRING": credentials,
        "PREFECT_API_AUTH_STRING": credentials,
        "MLFLOW_AUTH_CONFIG_PATH": str(MLFLOW_CONFIG.resolve()),
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(32),
        "MLFLOW_TRACKING_USERNAME": user,
        "MLFLOW_TRACKING_PASSWORD": password,
    }


def where_credentials_are() -> str:
    """Return what a shell takes for user:password, without showing it."""
    return f"${CREDENTIALS}" if os.environ.get(CREDENTIALS) else f"$(cat {KEPT})"


def _origins(port: int) -> list[str]:
    return [f"http://{host}:{port}" for host in ("127.0.0.1", "localhost")]


def _host(origin: str) -> str:
    return origin.partition("://")[2]


def _made_up() -> str:
    if not KEPT.exists():
        _write_for_owner(KEPT, f"rnnflow:{secrets.token_urlsafe(18)}")
    return KEPT.read_text(encoding="utf-8").strip()


def _write_for_owner(file: Path, text: str) -> None:
    """Write a file that nobody else can read, not even for a moment."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text)
