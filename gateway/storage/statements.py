"""Statements as the driver takes them: each is compiled once, to its text and the order of its parameters.

SQLAlchemy remembers the text too, but makes a context for every execution and a dictionary for every row, which is half
of what a small transaction costs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from sqlalchemy import ClauseElement, Connection, Executable
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect
from sqlalchemy.sql.compiler import SQLCompiler

STATEMENTS_MOST = 512

_DIALECT = sqlite_dialect()

Adapt = Callable[[Any], Any]  # a value to what the driver takes


@dataclass(frozen=True, slots=True)
class _Compiled:
    text: str
    columns: tuple[tuple[str, Adapt | None], ...]  # the parameters in their order

    def row(self, params: Mapping[str, Any]) -> tuple[Any, ...]:
        return tuple(params[name] if adapt is None else adapt(params[name]) for name, adapt in self.columns)


def execute(connection: Connection, executable: Executable, rows: Sequence[Mapping[str, Any]]) -> None:
    """Carries out a statement once for each of the rows, which name the same parameters; at least one."""
    compiled = _compiled(executable, tuple(rows[0]))
    if compiled is None:
        connection.execute(executable, rows)
    else:
        connection.exec_driver_sql(compiled.text, [compiled.row(params) for params in rows])


@lru_cache(maxsize=STATEMENTS_MOST)
def _compiled(executable: Executable, names: tuple[str, ...]) -> _Compiled | None:
    """None for what SQLAlchemy has to finish at each execution: values of its own, lists, texts without parameters."""
    if not names or not isinstance(executable, ClauseElement):
        return None
    compiled = executable.compile(dialect=_DIALECT, column_keys=list(names))
    if not isinstance(compiled, SQLCompiler) or compiled.post_compile_params or compiled.insert_prefetch:
        return None
    order = compiled.positiontup or ()
    if not set(order) <= set(names):
        return None
    types = {name: compiled.binds[name].type.dialect_impl(_DIALECT) for name in order}
    return _Compiled(str(compiled), tuple((name, types[name].bind_processor(_DIALECT)) for name in order))
