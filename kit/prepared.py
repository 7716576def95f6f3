"""A statement that is built once and, on SQLite, goes straight to the driver: a third of what SQLAlchemy takes for it.

The SQL, the order of its parameters and the conversions of its types are SQLAlchemy's own, worked out at the first use.
On other databases it is an ordinary statement.
"""

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

BLOCKS = (64, 8, 1)
"""Rows that one INSERT of many writes; SQLite takes 32,766 parameters in a statement."""
Convert = Callable[[Any], Any]


class Ran(Protocol):
    """What came of it. Rows have the columns' names and `_asdict`."""

    @property
    def rowcount(self) -> int: ...
    def first(self) -> Any: ...  # noqa: ANN401 - a row, or None
    def one(self) -> Any: ...  # noqa: ANN401 - a row
    def scalar(self) -> Any: ...  # noqa: ANN401 - a value, or None
    def scalar_one(self) -> Any: ...  # noqa: ANN401 - a value


def row_class(columns: Sequence[str]) -> Any:  # noqa: ANN401 - a class made at run time
    """Rows of these columns; what is not given is None."""
    return namedtuple("Row", columns, rename=True, defaults=[None] * len(columns))


class Prepared:
    """One statement with named parameters."""

    def __init__(self, statement: sa.Executable) -> None:
        self.statement = statement
        self._plans: dict[tuple[str, ...], _Plan] = {}

    def run(self, connection: sqlite3.Connection, dialect: Dialect, given: Mapping[str, Any]) -> Ran:
        """On SQLite. An INSERT names the columns it is given, so there is a plan for each set of names."""
        return self._plan(dialect, given).run(connection, given)

    def run_many(self, connection: sqlite3.Connection, dialect: Dialect, rows: Sequence[Mapping[str, Any]]) -> None:
        """On SQLite, an INSERT; every row has the names of the first."""
        self._plan(dialect, rows[0]).run_many(connection, rows)

    def _plan(self, dialect: Dialect, given: Mapping[str, Any]) -> "_Plan":
        keys = tuple(given)
        plan = self._plans.get(keys)
        if plan is None:
            plan = self._plans[keys] = _Plan(self.statement, dialect, keys)
        return plan


class _Plan:
    """SQL text, how its parameters are made, and how its rows are read."""

    def __init__(self, statement: Any, dialect: Dialect, keys: tuple[str, ...]) -> None:  # noqa: ANN401 - any statement
        inserts = list(keys) if isinstance(statement, sa.Insert) else None
        compiled = statement.compile(dialect=dialect, column_keys=inserts)
        blank = compiled.construct_params(dict.fromkeys(keys))
        expanded = compiled._process_parameters_for_postcompile(blank)  # each `in_` with the values it was built with
        self.sql = expanded.statement
        self._blocks: dict[int, str] = {}
        converts = dict(compiled._bind_processors) | dict(expanded.processors)
        fixed = dict(blank) | dict(expanded.additional_parameters)
        order = list(expanded.positiontup)
        self._fixed = {name: fixed.get(name) for name in order if name not in keys}
        self._taken = itemgetter(*order) if len(order) > 1 else lambda given: [given[name] for name in order]
        self._converts = [(place, convert) for place, name in enumerate(order) if (convert := converts.get(name))]
        columns = compiled._result_columns or []
        names = [column[0] for column in columns]
        self._row: Any = row_class(names) if names else None
        self._reads = [
            (index, convert)
            for index, column in enumerate(columns)
            if (convert := column[3]._cached_result_processor(dialect, None)) is not None
        ]

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        """The parameters as the driver takes them, in order."""
        values = list(self._taken({**self._fixed, **given} if self._fixed else given))
        for place, convert in self._converts:
            value = values[place]
            if value is not None:
                values[place] = convert(value)
        return values

    def run(self, connection: sqlite3.Connection, given: Mapping[str, Any]) -> "_Done":
        cursor = connection.execute(self.sql, self.values(given))
        if self._row is None:
            return _Done(cursor.rowcount, [])
        return _Done(cursor.rowcount, [self._read(row) for row in cursor.fetchall()])

    def run_many(self, connection: sqlite3.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
        """Many rows a step: at every step the driver lets go of the interpreter and has to get it back."""
        begin, _, one = self.sql.rpartition(" VALUES ")
        left = [self.values(row) for row in rows]
        for size in BLOCKS:
            while len(left) >= size:
                block, left = left[:size], left[size:]
                sql = self._blocks.setdefault(size, f"{begin} VALUES {', '.join([one] * size)}")
                connection.execute(sql, [value for values in block for value in values])

    def _read(self, raw: tuple[Any, ...]) -> Any:  # noqa: ANN401 - a row
        row = list(raw)
        for index, convert in self._reads:
            row[index] = convert(row[index])
        return self._row._make(row)


class _Done:
    def __init__(self, rowcount: int, rows: list[Any]) -> None:
        self.rowcount = rowcount
        self._rows = rows

    def first(self) -> Any:  # noqa: ANN401 - a row, or None
        return self._rows[0] if self._rows else None

    def one(self) -> Any:  # noqa: ANN401 - a row
        if len(self._rows) != 1:
            raise sa.exc.NoResultFound(f"{len(self._rows)} rows instead of one")
        return self._rows[0]

    def scalar(self) -> Any:  # noqa: ANN401 - a value, or None
        return self._rows[0][0] if self._rows else None

    def scalar_one(self) -> Any:  # noqa: ANN401 - a value
        return self.one()[0]
