"""The schema's history, run by Alembic when a database is opened. One file per step in `versions/`."""

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from gateway.storage.errors import StorageError

# Alembic keeps the migration under way in module globals.
_one_at_a_time = threading.Lock()


def is_newest(connection: Connection) -> bool:
    """Whether the database has the newest schema, in the connection's open transaction."""
    with _one_at_a_time:
        head = ScriptDirectory.from_config(_config(connection)).get_current_head()
        return MigrationContext.configure(connection).get_current_revision() == head


def upgrade(connection: Connection, database: str) -> None:
    """Bring the database to the newest schema, in the connection's open transaction. `database` is its name for errors.

    Raises StorageError, having changed nothing, for a database of a newer gateway or of another program.
    """
    with _one_at_a_time:
        config = _config(connection)
        scripts = ScriptDirectory.from_config(config)
        current = MigrationContext.configure(connection).get_current_revision()
        if current == scripts.get_current_head():
            return
        known = {script.revision for script in scripts.walk_revisions()}
        if current is not None and current not in known:
            raise StorageError(
                f"database {database}: its schema {current!r} is unknown to this gateway; a newer version wrote it, "
                "or another program. Nothing was changed. Install that version again, or use another database"
            )
        if current is None and inspect(connection).get_table_names():
            raise StorageError(f"database {database}: it holds the tables of another program: use another database")
        command.upgrade(config, "head")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
