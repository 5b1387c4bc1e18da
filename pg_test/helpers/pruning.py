"""What pruning leaves out, and conditions that must give the same rows with and without it."""

import re

from psycopg import errors

from .foreign import plan

COLUMNAR = {"on": "auto", "off": "off"}
OPERATORS = ("=", "<>", "<", "<=", ">", ">=")


def counted(connection, query):
    """The numbers that EXPLAIN ANALYZE gives of a scan: groups loaded and skipped."""
    text = plan(connection, query, "ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF")
    found = re.search(r"\[loaded: (\d+), skipped: (\d+)\]|Row Groups: (\d+) loaded, (\d+) skipped", text)
    assert found, text
    loaded, skipped = filter(None, found.groups())
    return int(loaded), int(skipped)


def on_and_off(connection, condition):
    """The ids that match, which must be the same with and without pruning and pushdown, and those of the table."""
    answers = []
    for table, pruning, pushdown in (
        ("f", "on", "on"),
        ("f", "on", "off"),
        ("f", "off", "on"),
        ("f", "off", "off"),
        ("s", "on", "on"),
    ):
        connection.execute(
            f"SET pg_strata.arrow_fdw_pruning = {pruning}; SET pg_strata.arrow_fdw_pushdown = {pushdown};"
            f"SET pg_strata.columnar_sql = {COLUMNAR[pushdown]}"
        )
        ids = connection.execute(f"SELECT array_agg(id ORDER BY id) FROM {table} WHERE {condition}").fetchone()[0]
        answers.append(
            (
                ids,
                connection.execute(
                    f"SELECT count(*), count(id), sum(id), min(id), max(id) FROM {table} WHERE {condition}"
                ).fetchone(),
            )
        )
    connection.execute(
        "RESET pg_strata.arrow_fdw_pruning; RESET pg_strata.arrow_fdw_pushdown; RESET pg_strata.columnar_sql"
    )
    assert all(answer == answers[0] for answer in answers), condition
    return answers[0][0]


def ordered(connection, name):
    """Whether a column's type has an order."""
    return supports_sql(connection, f"SELECT {name} < {name} FROM s LIMIT 1")


def supports_sql(connection, query):
    """Whether the server has the operators, functions and collations of a query."""
    try:
        connection.execute(query)
        return True
    except (errors.UndefinedFunction, errors.UndefinedObject, errors.FeatureNotSupported):
        return False


def conditions_on(connection, cases):
    """Every operator against every edge value, for each column of s that has an order."""
    for name, sql_type, _, literals in cases:
        if not ordered(connection, name):
            continue
        texts = ["'{}'::{}".format(text.replace("'", "''"), sql_type) for text in literals]
        for text in texts:
            yield from (f"{name} {operator} {text}" for operator in OPERATORS)
            yield f"{text} >= {name}"
        yield f"{name} BETWEEN {texts[0]} AND {texts[-1]}"
        yield f"{name} IN ({', '.join(texts[:2])})"
        yield f"{name} IN (NULL, {texts[-1]})"
        if not sql_type.endswith("]"):
            yield from (
                f"{name} {operator} ANY (ARRAY[{texts[0]}, {texts[-1]}, NULL]::{sql_type}[])" for operator in OPERATORS
            )
        yield f"{name} = {texts[0]} OR {name} > {texts[-1]} AND id > 2"
        yield f"NOT ({name} = {texts[0]})"
        yield from (
            f"{name} IS NULL",
            f"{name} IS NOT NULL",
            f"{name} = NULL::{sql_type}",
            f"{name} IS NULL OR id = 1",
            f"id = 3 AND {name} IS NOT NULL",
        )
