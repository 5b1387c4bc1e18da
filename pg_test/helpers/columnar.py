"""Plans on columns, and their answers beside PostgreSQL's own."""

NODE = "Custom Scan (ColumnarAggregate)"


def plan(connection, query, options="COSTS OFF"):
    return "\n".join(line for (line,) in connection.execute(f"EXPLAIN ({options}) {query}"))


def both(connection, query):
    """The rows of a query on columns, which are those of PostgreSQL's plan."""
    found = connection.execute(query).fetchall()
    connection.execute("SET pg_strata.columnar_sql = off")
    assert NODE not in plan(connection, query)
    assert sorted(found, key=repr) == sorted(connection.execute(query).fetchall(), key=repr)
    connection.execute("SET pg_strata.columnar_sql = force")
    return found
