"""README and docs: every statement of an `sql` block runs, and the tables say what the extension does.

In those blocks `-- 200` behind a SELECT is the first value of its first row, `-- ERROR 42501` the SQLSTATE that it
fails with.
"""

import re

import psycopg
import pyarrow.parquet as pq
import pytest

from ..lab import places

pytestmark = pytest.mark.fast

FILES = [places.ROOT / "README.md", *sorted((places.ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```sql\n(.*?)^```", re.M | re.S)
STATEMENT = re.compile(r"(.+?);[ ]*(?:--[ ]*(.*?))?[ ]*$", re.M | re.S)
# What the statements read.
TABLES = """
    CREATE TABLE lineorder (lo_orderkey bigint NOT NULL, lo_custkey int NOT NULL, lo_year int NOT NULL,
    lo_discount numeric NOT NULL,
                            lo_revenue numeric NOT NULL);
    INSERT INTO lineorder SELECT i, i % 5, 1992 + i % 7, i % 11, i * 100 FROM generate_series(1, 200) i;
    CREATE TABLE customer AS SELECT i AS c_custkey, 'nation ' || i AS c_nation FROM generate_series(0, 4) i;
    CREATE TABLE events (at date NOT NULL, what text) PARTITION BY RANGE (at);
    CREATE TABLE events_2024 PARTITION OF events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
    INSERT INTO events SELECT date '2024-02-01' + i, 'event ' || i FROM generate_series(1, 100) i"""


def tables(text):
    """Rows of all tables in a page, as lists of cells without their markup."""
    for line in text.splitlines():
        if line.startswith("|"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


@pytest.fixture
def database(server):
    """Opens a database without the extension, and drops it with the roles that were made meanwhile."""
    with server.connect() as connection:
        roles = "SELECT rolname FROM pg_roles"
        before = {role for (role,) in connection.execute(roles)}
        connection.execute("CREATE DATABASE docs TEMPLATE template0")
        inside = server.connect("docs")
        yield inside
        inside.close()
        connection.execute("DROP DATABASE docs WITH (FORCE)")
        for (role,) in connection.execute(roles).fetchall():
            if role not in before:
                connection.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_statements(database, out, file):
    script = "\n".join(BLOCK.findall(file.read_text()))
    if "CREATE EXTENSION pg_strata" not in script:
        database.execute("CREATE EXTENSION pg_strata")
    database.execute(TABLES)
    for name in ("exports", "archive"):
        places.fresh(out / name, 0o755)
        script = script.replace(f"'/{name}", f"'{out}/{name}")
    for statement, expected in STATEMENT.findall(script):
        if expected.startswith("ERROR"):
            with pytest.raises(psycopg.Error) as caught:
                database.execute(statement)
            assert caught.value.sqlstate == expected.removeprefix("ERROR").strip(), statement
            continue
        cursor = database.execute(statement)
        if expected and cursor.description:
            value = cursor.fetchone()[0]
            assert (str(value)[0].lower() if isinstance(value, bool) else str(value)) == expected, statement


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_links(file):
    for link in re.findall(r"\]\(([^)]+)\)", file.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (file.parent / path).resolve() if path else file
        assert target.exists(), link
        headings = re.findall(r"^#+ (.*)$", target.read_text(), re.M) if anchor else []
        anchors = [re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-") for heading in headings]
        assert not anchor or anchor in anchors, link


def test_settings(db):
    """Each parameter, its default, and who may set it."""
    who = {"user": "anyone", "superuser": "superusers", "sighup": "configuration"}
    db.execute("LOAD 'pg_strata'")
    settings = db.execute("SELECT name, context FROM pg_settings WHERE name LIKE 'pg_strata.%'").fetchall()
    show = lambda name: db.execute("SELECT current_setting(%s)", (name,)).fetchone()[0]
    named = lambda value: f"`{value}`" if value else ""
    expected = {(f"`{name}`", named(show(name)), who[context]) for name, context in settings}
    rows = tables((places.ROOT / "docs" / "settings.md").read_text())
    assert {tuple(row[:3]) for row in rows if row[0].startswith("`pg_strata.")} == expected


def test_arguments(db):
    """Each argument of the exporting functions, with its default."""
    text = (places.ROOT / "docs" / "exporting.md").read_text()
    documented = {(row[0].strip('`"'), row[1].strip("`")) for row in tables(text) if len(row) == 3}
    functions = "SELECT oid, proname FROM pg_proc WHERE proname ~ '^export_' AND probin = '$libdir/pg_strata'"
    for oid, name in db.execute(functions).fetchall():
        arguments = db.execute("SELECT pg_get_function_arguments(%s)", (oid,)).fetchone()[0]
        for argument in arguments.split(", "):
            declared, _, default = argument.partition(" DEFAULT ")
            pair = (declared.split(" ")[0].strip('"'), re.sub("::.*|^'(\\d+)'.*", r"\1", default))
            assert pair in documented or pair[0] == "query", f"{name}: {pair}"


def test_functions_are_named(db):
    text = " ".join(file.read_text() for file in FILES)
    functions = db.execute("SELECT proname FROM pg_proc WHERE probin = '$libdir/pg_strata'").fetchall()
    internal = {"arrow_fdw_handler", "arrow_fdw_validator"}
    assert functions and not [name for (name,) in functions if name not in internal and name not in text]


def parquet_name(column):
    """A Parquet column's type in the words of docs/types.md."""
    kind = str(column.logical_type)
    if kind == "None":
        return column.physical_type
    name, _, rest = kind.partition("(")
    if bits := re.match(r"bitWidth=(\d+), isSigned=(\w+)", rest):
        return f"{'' if bits[2] == 'true' else 'U'}INT({bits[1]})"
    return name.upper() + ("(µs)" if "timeUnit=microseconds" in rest else "")


def test_types(db, out):
    """The rows with types that can be declared as they are."""
    rows = [row for row in tables((places.ROOT / "docs" / "types.md").read_text()) if row[0].startswith("`")]
    expected = {}
    for kinds, names in rows:
        kinds, names = (
            re.findall("`([^`]+)`", kinds),
            re.findall(r"U?INT\(\d+\)|\b(?!UTC)[A-Z_]+(?:32|64)?\b(?:\(µs\))?", names),
        )
        for at, kind in enumerate(kinds):
            expected[kind.replace("(p,s)", "(9,2)")] = names[min(at, len(names) - 1)]
    assert len(expected) > 20
    columns = ", ".join(f"c{at} {kind if kind != 'char' else 'char(3)'}" for at, kind in enumerate(expected))
    db.execute(f"CREATE TABLE t ({columns})")
    db.execute("INSERT INTO t DEFAULT VALUES")
    db.execute("SELECT export_table_parquet('t', %s)", (str(out / "t.parquet"),))
    schema = pq.ParquetFile(out / "t.parquet").schema
    found = {kind: parquet_name(schema.column(at)) for at, kind in enumerate(expected)}
    assert found == expected
