"""Plans on columns, and their answers beside PostgreSQL's own."""

import psycopg
import pytest

from .. import random_sql

NODE = "Custom Scan (ColumnarAggregate)"


def force(connection):
    """Takes plans on columns wherever there is one, with up to two workers."""
    random_sql.prepare(connection, 2)
    connection.execute("SET pg_strata.columnar_sql = force")
    return connection


def plan(connection, query, options="COSTS OFF"):
    return "\n".join(line for (line,) in connection.execute(f"EXPLAIN ({options}) {query}"))


def analyzed(connection, query):
    return plan(connection, query, "ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF")


def both(connection, query):
    """The rows of a query on columns, which are those of PostgreSQL's plan: over files, of its plan over all rows."""
    assert NODE in plan(connection, query), plan(connection, query)
    found = connection.execute(query).fetchall()
    connection.execute("SET pg_strata.columnar_sql = off; SET pg_strata.arrow_fdw_pushdown = off")
    assert NODE not in plan(connection, query)
    # NaN is not equal to itself.
    assert sorted(map(repr, found)) == sorted(map(repr, connection.execute(query).fetchall()))
    connection.execute("SET pg_strata.columnar_sql = force; RESET pg_strata.arrow_fdw_pushdown")
    return found


def fill(connection, name, columns, rows):
    """Makes a table of the rows that VALUES or SELECT gives."""
    connection.execute(f"CREATE TABLE {name} ({columns}); INSERT INTO {name} {rows}; ANALYZE {name}")


def fails(connection, query, code):
    """A query on columns raises what PostgreSQL's plan raises."""
    assert NODE in plan(connection, query), plan(connection, query)
    for mode in ("off", "force"):
        connection.execute(f"SET pg_strata.columnar_sql = {mode}")
        with pytest.raises(psycopg.Error) as raised:
            connection.execute(query)
        assert raised.value.sqlstate == code, (mode, raised.value)
