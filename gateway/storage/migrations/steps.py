"""Carrying out the steps of the schema's history, by Alembic."""

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


def newest() -> str | None:
    """The revision of the last step."""
    return ScriptDirectory.from_config(_config(None)).get_current_head()


def carry_out(connection: Connection, database: str) -> None:
    """See `migrations.upgrade`."""
    with _one_at_a_time:
        config = _config(connection)
        current = MigrationContext.configure(connection).get_current_revision()
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        if current is not None and current not in known:
            raise StorageError(
                f"database {database}: its schema {current!r} is unknown to this gateway; a newer version wrote it, "
                "or another program. Nothing was changed. Install that version again, or use another database"
            )
        if current is None and inspect(connection).get_table_names():
            raise StorageError(f"database {database}: it holds the tables of another program: use another database")
        command.upgrade(config, "head")


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
