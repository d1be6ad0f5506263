"""A SQLite store that was moved to another folder with its files, whose paths it keeps."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

FOLDER = "mlruns"  # next to the database: the files of all experiments
PATHS = {
    "experiments": "artifact_location",
    "runs": "artifact_uri",
    "logged_models": "artifact_location",
    "model_versions": "storage_location",
}
"""The columns of MLflow's tables that hold a path of files."""

logger = logging.getLogger(__name__)


def follow_files(database: Path) -> None:
    """Correct the paths in a store whose files are next to it and no longer where it says."""
    here = str(database.resolve().parent / FOLDER)
    with closing(sqlite3.connect(database)) as connection, connection:
        for (location,) in connection.execute("SELECT artifact_location FROM experiments"):
            before, folder, experiment = location.rpartition(f"/{FOLDER}/")
            there = before + folder.rstrip("/")
            if not before or Path(there).exists() or not Path(here, experiment).exists():
                continue
            for table, column in PATHS.items():
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608
                    f"WHERE substr({column}, 1, ?) = ?",
                    (here, len(there) + 1, len(there) + 1, f"{there}/"),
                )
            logger.warning("MLflow's store was moved: its files are in %s, not in %s", here, there)
