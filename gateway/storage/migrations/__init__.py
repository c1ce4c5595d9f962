"""The schema's history: one file per step in `versions/`, carried out by `steps` when a database is opened that needs
one."""

from sqlalchemy import Connection, inspect, text

NEWEST = "0001"  # the last step; known without Alembic, whose import is a tenth of a second of every start


def is_newest(connection: Connection) -> bool:
    """Whether the database has the newest schema, in the connection's open transaction."""
    if not inspect(connection).has_table("alembic_version"):
        return False
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    return list(found) == [NEWEST]


def upgrade(connection: Connection, database: str) -> None:
    """Bring the database to the newest schema, in the connection's open transaction. `database` is its name for errors.

    Raises StorageError, having changed nothing, for a database of a newer gateway or of another program.
    """
    if not is_newest(connection):
        from gateway.storage.migrations import steps  # imports Alembic, which most starts do not need

        steps.carry_out(connection, database)
