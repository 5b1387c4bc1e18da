"""Who may export what, and where to. Everything is refused before the first block is read."""

import psycopg
import pytest

from ..helpers.support import SCANS, entries, export, export_and_check, raises

pytestmark = [pytest.mark.fast, pytest.mark.parametrize("scan", SCANS)]


@pytest.fixture
def secret(db):
    db.execute(
        "CREATE TABLE t (id int, owner text, salary numeric); "
        "INSERT INTO t SELECT i, 'o' || i % 3, i * 1.5 FROM generate_series(1, 300) i"
    )
    return db


def test_plain_role_may_not_write_files(secret, out, role, scan):
    """Refused by the functions themselves, with a hint."""
    secret.execute(
        f"REVOKE pg_write_server_files FROM {role}; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO {role}; "
        f"GRANT SELECT ON t TO {role}; SET ROLE {role}"
    )
    with raises("42501"):
        export(secret, "t", out / "t.parquet", scan=scan)
    with raises("42501"):
        secret.execute(f"SELECT copy_binary_dump('t', '{out / 't.bin'}')")
    assert entries(out) == []


def test_member_with_select(secret, out, role, scan):
    secret.execute(f"GRANT SELECT ON t TO {role}; SET ROLE {role}")
    export_and_check(secret, "t", out / "t.parquet", scan=scan, workers=2)


def test_no_select(secret, out, role, scan):
    secret.execute(f"SET ROLE {role}")
    with raises("42501"):
        export(secret, "t", out / "t.parquet", scan=scan)
    assert entries(out) == []


def test_column_privileges(secret, out, role, scan):
    """SELECT on each exported column suffices; one column without it does not."""
    secret.execute(f"GRANT SELECT (id, owner) ON t TO {role}; SET ROLE {role}")
    assert export(secret, "t", out / "t.parquet", scan=scan, columns=["owner", "id"]).rows == 300
    for columns in (None, ["id", "salary"]):
        with raises("42501"):
            export(secret, "t", out / "no.parquet", scan=scan, columns=columns)
    assert entries(out) == ["t.parquet"]


def test_partition_privileges_are_the_parents(db, out, role, scan):
    """As in a query: SELECT on the partitioned table is enough for its partitions."""
    db.execute(f"""CREATE TABLE t (a int) PARTITION BY RANGE (a); CREATE TABLE p PARTITION OF t DEFAULT;
        INSERT INTO t SELECT generate_series(1, 100); GRANT SELECT ON t TO {role}; SET ROLE {role}""")
    assert export(db, "t", out / "t.parquet", scan=scan).rows == 100
    with raises("42501"):
        export(db, "p", out / "p.parquet", scan=scan)


def test_row_security(secret, out, role, scan):
    """Policies that apply to the caller: no row that they hide may reach a file."""
    secret.execute(f"""ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON t USING (owner = 'o1');
        GRANT SELECT ON t TO {role}; SET ROLE {role}""")
    with raises("0A000"):
        export(secret, "t", out / "t.parquet", scan=scan)
    assert entries(out) == []


def test_row_security_does_not_apply(secret, out, role, scan):
    """BYPASSRLS and the table's owner see everything, unless the owner is FORCEd."""
    secret.execute(
        f"ALTER TABLE t ENABLE ROW LEVEL SECURITY; GRANT SELECT ON t TO {role}; "
        f"ALTER ROLE {role} BYPASSRLS; SET ROLE {role}"
    )
    assert export(secret, "t", out / "bypass.parquet", scan=scan).rows == 300
    secret.execute(f"RESET ROLE; ALTER ROLE {role} NOBYPASSRLS; ALTER TABLE t OWNER TO {role}; SET ROLE {role}")
    assert export(secret, "t", out / "owner.parquet", scan=scan).rows == 300
    secret.execute("ALTER TABLE t FORCE ROW LEVEL SECURITY")
    with raises("0A000"):
        export(secret, "t", out / "forced.parquet", scan=scan)
    assert entries(out) == ["bypass.parquet", "owner.parquet"]


def test_row_security_off(secret, out, role, scan):
    secret.execute(f"""ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY mine ON t USING (true);
        GRANT SELECT ON t TO {role};
        SET ROLE {role}; SET row_security = off""")
    with raises("0A000"):
        export(secret, "t", out / "t.parquet", scan=scan)


def test_copy_binary_dump_is_guarded_alike(secret, out, role, scan):
    dump = f"SELECT copy_binary_dump('t', '{out / 't.bin'}')"
    secret.execute(f"SET ROLE {role}")
    with raises("42501"):
        secret.execute(dump)
    assert entries(out) == []


def test_export_directories(secret, out, scan):
    """Outside pg_strata.export_directories nothing is written, whatever the path is spelled like."""
    allowed, other, lookalike = out / "allowed", out / "other", out / "allowed2"
    for directory in (allowed, other, lookalike):
        directory.mkdir()
        directory.chmod(0o777)
    (allowed / "link").symlink_to(other)
    secret.execute(f"SET pg_strata.export_directories = '{allowed}'")
    assert export(secret, "t", allowed / "t.parquet", scan=scan).rows == 300
    for path in (
        other / "t.parquet",
        lookalike / "t.parquet",
        out / "t.parquet",
        allowed / ".." / "other" / "t.parquet",
        allowed / "link" / "t.parquet",
        out / "nowhere" / "t.parquet",
        allowed / ".." / "nowhere" / "t.parquet",
        "/root/t.parquet",
    ):
        with raises("42501"):
            export(secret, "t", path, scan=scan)
    assert entries(other) == entries(lookalike) == [] and entries(allowed) == ["link", "t.parquet"]
    secret.execute("RESET pg_strata.export_directories")


def test_outside_of_export_directories_all_errors_are_alike(secret, out, scan):
    """Neither the code nor the text tells whether a directory is there, or where a link leads."""
    for directory in ("allowed", "other", "other/there"):
        (out / directory).mkdir()
    for link, target in (("link", out / "other"), ("dangling", out / "nowhere"), ("deeper", out / "other" / "nowhere")):
        (out / "allowed" / link).symlink_to(target)
    secret.execute(f"SET pg_strata.export_directories = '{out}/allowed'")
    told = set()
    for path in (
        "other",
        "nowhere",
        "other/there",
        "other/nowhere",
        "allowed/../other",
        "allowed/../nowhere",
        "allowed/link",
        "allowed/link/there",
        "allowed/link/nowhere",
        "allowed/dangling",
        "allowed/dangling/there",
        "allowed/deeper",
    ):
        with raises("42501") as caught:
            export(secret, "t", f"{out}/{path}/t.parquet", scan=scan)
        told.add(str(caught.value).replace(f"{out}/{path}/t.parquet", "PATH"))
    assert len(told) == 1, told
    # What is missing inside is said to be missing.
    for path in ("nowhere", "nowhere/../there", "nowhere/deeper"):
        with raises("58P01"):
            export(secret, "t", f"{out}/allowed/{path}/t.parquet", scan=scan)
    secret.execute("RESET pg_strata.export_directories")


def test_only_a_superuser_sets_export_directories(secret, out, role, scan):
    secret.execute("LOAD 'pg_strata'")  # until then nobody knows the setting, and a value is thrown away
    secret.execute(f"SET ROLE {role}")
    with pytest.raises(psycopg.Error) as caught:
        secret.execute("SET pg_strata.export_directories = '/'")
    assert caught.value.sqlstate == "42501"


@pytest.fixture
def guarded(server, db, role, scan, out):
    """How a role's own connections with an option end: exports to an allowed and to another directory."""
    if scan != "heap":
        pytest.skip("the target is checked before anything is scanned")
    (out / "allowed").mkdir()
    (out / "allowed").chmod(0o777)
    out.chmod(0o777)
    db.execute(
        f"CREATE TABLE g AS SELECT 1 AS a; GRANT SELECT ON g TO {role}; "
        f"ALTER ROLE {role} SET search_path = {db.schema}, public"
    )

    def outcomes(options):
        with psycopg.connect(server.dsn(user=role), autocommit=True, options=options) as connection:
            return [outcome(connection, out / "allowed" / "t.parquet"), outcome(connection, out / "t.parquet")]

    def outcome(connection, path):
        try:
            return export(connection, "g", path, overwrite=True).rows
        except psycopg.Error as error:
            return error.sqlstate

    return outcomes


@pytest.mark.parametrize("where", ["system", "database", "role", "role in database"])
def test_export_directories_hold_however_a_session_begins(db, guarded, role, out, where):
    target = {
        "system": "SYSTEM",
        "database": "DATABASE postgres",
        "role": f"ROLE {role}",
        "role in database": f"ROLE {role} IN DATABASE postgres",
    }[where]
    db.execute(
        f"LOAD 'pg_strata'; ALTER {target} SET pg_strata.export_directories = '{out}/allowed'"
    ) if where != "system" else db.execute("LOAD 'pg_strata'")
    if where == "system":
        db.execute(f"ALTER SYSTEM SET pg_strata.export_directories = '{out}/allowed'")
    db.execute("SELECT pg_reload_conf(), pg_sleep(0.3)")
    try:
        assert guarded("") == [1, "42501"]
        for name in ("pg_strata.export_directories", "PG_Strata.Export_Directories"):
            assert guarded(f"-c {name}=/") == ["42501", "42501"]
        assert guarded("--pg-strata.export-directories=") == ["42501", "42501"]
        assert guarded("-c pg_strata.gpu=off") == ["42501", "42501"]
        assert guarded("-c work_mem=1MB -c pg_strata.arrow_fdw_pruning=off") == [1, "42501"]
    finally:
        db.execute(f"ALTER {target} RESET pg_strata.export_directories")
        db.execute("SELECT pg_reload_conf(), pg_sleep(0.3)")


def test_a_setting_that_is_not_known_tells_nothing_of_directories(server, guarded, role, out):
    """Which the session set before the library was loaded."""
    with psycopg.connect(
        server.dsn(user=role), autocommit=True, options="-c pg_strata.export_directories=/"
    ) as connection:
        for directory in ("allowed", "nowhere"):
            with raises("42501"):
                export(connection, "g", out / directory / "t.parquet")


@pytest.mark.parametrize("value", ["','", "' , '", "' '"])
def test_export_directories_that_name_none_allow_none(secret, out, scan, value):
    secret.execute(f"LOAD 'pg_strata'; SET pg_strata.export_directories = {value}")
    with raises("42501"):
        export(secret, "t", out / "t.parquet", scan=scan)
    secret.execute("RESET pg_strata.export_directories")


def test_explain_of_a_view_tells_nothing_of_hidden_rows(secret, out, role, scan):
    """Names of files, and how many groups a condition leaves out, are for those who may read the server's files."""
    if scan != "heap":
        pytest.skip("nothing is exported by a scan of its own here")
    export(secret, "t", out / "hidden-name.parquet", row_group_rows=100)
    secret.execute(f"""CREATE FOREIGN TABLE f (id int, owner text,
        salary numeric) SERVER pg_strata OPTIONS (file '{out}/hidden-name.parquet');
        CREATE VIEW v WITH (security_barrier) AS SELECT * FROM f WHERE owner = 'o1'; GRANT SELECT ON v TO {role}""")

    def told():
        queries = ("SELECT * FROM v WHERE id = 250", "SELECT count(*) FROM v WHERE id < 50")
        return [
            secret.execute(f"EXPLAIN (ANALYZE {analyze}, COSTS OFF, VERBOSE, FORMAT {form}) {query}").fetchall()
            for analyze in ("ON", "OFF")
            for form in ("TEXT", "JSON")
            for query in queries
        ]

    assert all("hidden-name" in str(plan) for plan in told())
    assert sum("skipped" in str(plan) for plan in told()) == 4
    secret.execute(f"SET ROLE {role}")
    assert secret.execute("SELECT count(*) FROM v").fetchone() == (100,)
    for plan in told():
        assert "referenced" in str(plan)
        assert not any(word in str(plan) for word in ("hidden-name", "skipped", "loaded", "file0", "read:")), plan
    secret.execute(f"RESET ROLE; GRANT pg_read_server_files TO {role}; SET ROLE {role}")
    assert all("hidden-name" in str(plan) for plan in told())
