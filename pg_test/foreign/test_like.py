"""Scans of files leave out groups by what texts begin with: LIKE, ^@ and starts_with, the same rows as without."""

import psycopg
import pyarrow as pa
import pytest

from ..helpers.foreign import FORMATS, columns_of, export_group, foreign, plan, write
from ..helpers.pruning import counted, on_and_off, supports_sql

LAST = "\U0010ffff"
TEXTS = [
    "",
    " ",
    "a",
    "a ",
    "ab",
    "abc",
    "abcd",
    "abc%",
    "abc_",
    "a\\b",
    "\\",
    "\\%",
    "%",
    "%a",
    "_",
    "_x",
    "ABC",
    "ž",
    "žluť",
    "žluťoučký",
    "z",
    "zz",
    LAST,
    LAST * 2,
    "a" + LAST,
    "a" + LAST + "b",
    "b",
    "e\u0301",
    "é",
    "漢",
    "漢字",
    "x" * 80,
    "x" * 31 + LAST * 20,
    None,
]
PATTERNS = [
    "",
    "%",
    "_",
    "__%",
    "a",
    "a%",
    "ab%",
    "abc",
    "abc%",
    r"abc\%",
    r"abc\_%",
    r"abc\%%",
    "a_c%",
    "_b%",
    "a%c",
    "%c",
    r"\\%",
    r"\\",
    r"a\\b",
    r"\%%",
    r"\_%",
    r"\a%",
    "ž%",
    r"\ž%",
    "žluť_učký",
    "žluť%",
    f"{LAST}%",
    f"{LAST}{LAST}%",
    f"a{LAST}%",
    f"a{LAST}",
    "漢%",
    "漢_",
    "e\u0301%",
    "é%",
    "e%",
    "z%",
    "zz%",
    "x" * 40 + "%",
    "x" * 31 + LAST + "%",
    "nothing%",
    "\x7f%",
    "A%",
    " %",
]


def fill(connection, kind, out, rows):
    """Heap table s and foreign table f of TEXTS, in groups of so many rows."""
    connection.execute(
        'CREATE TABLE s (id int, x text, c text COLLATE "C", v varchar(90), n name, p char(90), b bytea)'
    )
    values = [
        (number, *[text] * 3, text and text[:15], text, text and text.encode()) for number, text in enumerate(TEXTS, 1)
    ]
    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO s VALUES (%s, %s, %s, %s, %s, %s, %s)", values)
    export_group(connection, kind, "s", out / f"s.{kind}", rows, workers=0)
    foreign(connection, "f", columns_of(connection, "s"), file=out / f"s.{kind}")


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("kind", FORMATS)
def test_every_pattern(db, out, kind, rows):
    fill(db, kind, out, rows)
    for pattern in PATTERNS:
        for condition in ("x LIKE '{}'", "x NOT LIKE '{}'", "x ^@ '{}'", "v LIKE '{}' OR id = 1"):
            on_and_off(db, condition.format(pattern))
        if rows == 1:
            for condition in (
                "starts_with(c, '{}') AND id > 3",
                "NOT (v LIKE '{}')",
                "n LIKE '{}'",
                "p LIKE '{}'",
                "b LIKE convert_to('{}', 'UTF8')",
                "x LIKE ANY (ARRAY['{}', NULL, 'zz%'])",
                "x LIKE ALL (ARRAY['{}', '%'])",
                "x ILIKE '{}'",
                "'{}' ^@ x",
            ):
                on_and_off(db, condition.format(pattern))


@pytest.mark.parametrize("kind", FORMATS)
def test_groups_are_left_out(db, out, kind):
    """No more groups than there are rows that begin so, and some whose bounds were cut."""
    fill(db, kind, out, 1)
    for column in "xcv" + ("b" if kind == "parquet" else ""):
        for pattern, most in (
            ("ab%", 5),
            ("abc", 1),
            (r"abc\%", 1),
            (r"abc\_%", 1),
            ("žlu%", 2),
            (f"{LAST}%", 2),
            (f"{LAST}{LAST}%", 1),
            ("nothing%", 0),
            (r"\\%", 2),
            ("z_z", 2),
            ("", 1),
        ):
            pattern = f"convert_to('{pattern}', 'UTF8')" if column == "b" else f"'{pattern}'"
            loaded, skipped = counted(db, f"SELECT * FROM f WHERE {column} LIKE {pattern}")
            assert loaded <= most and loaded + skipped == len(TEXTS), (column, pattern, loaded)
    assert (
        counted(db, "SELECT * FROM f WHERE x ^@ 'abc%'")[0]
        == counted(db, "SELECT * FROM f WHERE starts_with(x, 'abc%')")[0]
        == 1
    )
    assert counted(db, "SELECT * FROM f WHERE x LIKE ANY (ARRAY['abcd', 'žlu%', NULL])")[0] == 3
    assert counted(db, "SELECT * FROM f WHERE x LIKE '%'")[1] == 1  # the group of NULL alone
    for condition in (
        "x NOT LIKE 'a%'",
        "x ILIKE 'a%'",
        "p LIKE 'a%'",
        "n LIKE 'a%'",
        "x LIKE v",
        "x LIKE ALL (ARRAY['a%', 'b%'])",
    ):
        assert "Stats-Hint" not in plan(db, f"SELECT * FROM f WHERE {condition}"), condition


def test_patterns_that_end_in_an_escape(db, out):
    """An error for a text that goes on there, and for no other."""
    fill(db, "parquet", out, 1)
    for condition in (r"x LIKE 'ab\'", r"x LIKE 'a%\'", r"x LIKE '\'"):
        for pruning in ("on", "off"):
            db.execute(f"SET pg_strata.arrow_fdw_pruning = {pruning}")
            with pytest.raises(psycopg.errors.InvalidEscapeSequence):
                db.execute(f"SELECT * FROM f WHERE {condition}")
    for condition in (r"x LIKE 'nothing\'", r"x LIKE 'žluťoučký\'", r"x ^@ 'a\'"):
        on_and_off(db, condition)


def test_collations(db, out):
    """Bytes, whatever the collation's order; nothing is left out where it is not deterministic."""
    fill(db, "parquet", out, 1)
    collations = ["C", "POSIX", "default", "ucs_basic"]
    if supports_sql(db, "SELECT 'a' COLLATE \"en-x-icu\""):
        collations += ["en-x-icu", "sv-x-icu"]
        db.execute("CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level1', deterministic = false)")
        assert "Stats-Hint" not in plan(db, "SELECT * FROM f WHERE x COLLATE loose LIKE 'a%'")
        if supports_sql(db, "SELECT 'a' COLLATE loose LIKE 'A%'"):
            for pattern in ("A%", "abc", "é%", "E%"):
                on_and_off(db, f"x COLLATE loose LIKE '{pattern}'")
    for collation in collations:
        for pattern in PATTERNS:
            on_and_off(db, f"x COLLATE \"{collation}\" LIKE '{pattern}'")
        assert counted(db, f"SELECT * FROM f WHERE x LIKE 'žlu%' COLLATE \"{collation}\"")[0] == 2
        assert counted(db, f"SELECT * FROM f WHERE x ^@ 'žlu' COLLATE \"{collation}\"")[0] == 2


@pytest.mark.parametrize("kind", FORMATS)
def test_cut_statistics(db, out, kind):
    """Bounds of long texts are cut, the greatest raised: prefixes shorter and longer than they."""
    values = ["x" * 100, "x" * 100 + "y", "x" * 30 + LAST * 30, "ž" * 60, "\x7f" * 80, LAST * 40]
    rows = ", ".join(f"({number}, '{text}')" for number, text in enumerate(values, 1))
    db.execute(f"CREATE TABLE s (id int, x text); INSERT INTO s VALUES {rows}")
    export_group(db, kind, "s", out / f"s.{kind}", 1, workers=0)
    foreign(db, "f", columns_of(db, "s"), file=out / f"s.{kind}")
    for number, text in enumerate(values, 1):
        for length in (1, 7, 15, 16, 30, 31, 32, 33, 59, 60, 63, 64, 65, len(text)):
            assert number in on_and_off(db, f"x LIKE '{text[:length]}%'")
            on_and_off(db, f"x LIKE '{text[:length]}_%'")
            on_and_off(db, f"x LIKE '{text[:length]}'")
    # In Arrow files a greatest value that cannot be raised is not stated.
    assert 1 <= counted(db, "SELECT * FROM f WHERE x LIKE 'ž%'")[0] <= (1 if kind == "parquet" else 3)


def test_parameters(by_hundreds):  # noqa: F811
    """Known only when the query runs."""
    db = by_hundreds
    db.execute("SET plan_cache_mode = force_generic_plan; PREPARE q (text) AS SELECT count(id) FROM f WHERE x LIKE $1")
    for pattern, rows, loaded in (("k0095%", 10, 1), ("k0090%", 10, 2), ("k%", 1000, 10), ("l%", 0, 0)):
        assert db.execute(f"EXECUTE q ('{pattern}')").fetchone() == (rows,)
        assert counted(db, f"EXECUTE q ('{pattern}')") == (loaded, 10 - loaded)
    assert counted(db, "EXECUTE q (NULL)") == (0, 10)
    assert counted(
        db, "SELECT * FROM f WHERE starts_with(x, (SELECT 'k00' || 95 + count(*) FROM pg_class WHERE false))"
    ) == (1, 9)
    db.execute("SET enable_material = off; SET enable_memoize = off")
    lateral = (
        "SELECT g, n FROM (VALUES ('k0000%'), ('k0095%')) v(g), LATERAL (SELECT count(*) AS n FROM f WHERE x LIKE g) l"
    )
    assert sorted(db.execute(lateral).fetchall()) == [("k0000%", 9), ("k0095%", 10)]


def test_virtual_columns(db, out):
    """Files whose names do not begin so are not opened."""
    for mode in ("AIR", "RAIL", "REG AIR"):
        write(out / f"f_{mode}.parquet", pa.table({"id": [1, 2], "x": [mode, mode]}))
    db.execute(
        f"CREATE FOREIGN TABLE f (id int8, x text, "
        f"mode text OPTIONS (virtual 'mode')) SERVER pg_strata OPTIONS (dir '{out}', pattern 'f_${{mode}}.parquet')"
    )
    db.execute("CREATE TABLE s AS SELECT * FROM f")
    on_and_off(db, "mode LIKE 'R%'")
    assert counted(db, "SELECT * FROM f WHERE mode LIKE 'A%'") == (1, 2)
    assert counted(db, "SELECT * FROM f WHERE mode ^@ 'RE'") == (1, 2)
