"""CREATE EXTENSION: the functions' labels and privileges, objects of others with the same names, schemas."""

import psycopg
import pytest

from ..helpers.extensions import MEMBERS, ODD, STROM, check_round_trip, database, other_extension, value
from ..helpers.gpu_server import GpuServer
from ..helpers.support import entries, raises

READERS, WRITERS, MONITORS, ANYONE = "pg_read_server_files", "pg_write_server_files", "pg_monitor", ""
# Volatility, parallel label, strictness, cost, rows, and who may execute. Every result depends on files, on another
# process or on the session: all are volatile. What starts parallel workers of its own, or a background worker, is
# unsafe; what reads by the session's cache or log is restricted to its leader. What reads or writes files or tables is
# worth a thousand operators, so that conditions are decided before. PostgreSQL calls the last two itself, and labels
# those of its own wrappers so.
EXPORT = ("v", "u", False, 1000, 1, WRITERS)
LABELS = {
    "export_table_parquet": EXPORT,
    "export_table_arrow": EXPORT,
    "export_query_parquet": EXPORT,
    "export_query_arrow": EXPORT,
    "import_vcf": EXPORT,
    "copy_binary_dump": EXPORT,
    "decode_table": ("v", "u", False, 1000, 1, ANYONE),
    "gpu_devices": ("v", "u", False, 1000, 8, MONITORS),
    "gpu_status": ("v", "r", False, 1000, 100, MONITORS),
    "read_parquet": ("v", "r", True, 1000, 1000, READERS),
    "read_arrow": ("v", "r", True, 1000, 1000, READERS),
    "arrow_fdw_metadata_info": ("v", "r", True, 1000, 100, READERS),
    "arrow_fdw_metadata_stats": ("v", "r", False, 1, 1, ANYONE),
    "arrow_fdw_handler": ("v", "u", True, 1, 0, ANYONE),
    "arrow_fdw_validator": ("v", "u", True, 1, 0, ANYONE),
}
# What pg_duckdb has: all arguments but the first have defaults.
DUCKDB = """
    CREATE FUNCTION read_parquet(path text, binary_as_string boolean DEFAULT false, filename boolean DEFAULT false)
    RETURNS SETOF text LANGUAGE sql AS $$SELECT 'theirs'$$"""
SAME_ARGUMENTS = "CREATE FUNCTION read_parquet(path text) RETURNS SETOF text LANGUAGE sql AS $$SELECT 'theirs'$$"


@pytest.fixture
def empty(server):
    with database(server, "extension") as inside:
        yield inside


def test_labels_and_privileges(db):
    found = db.execute(f"""
        SELECT proname, provolatile, proparallel, proisstrict, procost, prorows,
               ARRAY(SELECT CASE grantee WHEN 0 THEN '' ELSE grantee::regrole::text END
                       FROM aclexplode(coalesce(proacl, acldefault('f', proowner))) WHERE grantee <> proowner)
          FROM pg_proc JOIN ({MEMBERS}) AS member ON class = 'pg_proc'::regclass AND member.oid = pg_proc.oid""")
    assert {name: (*labels, *who) for name, *labels, who in found.fetchall()} == LABELS


# A role exports without being a member of pg_write_server_files


def functions_of(role):
    return {name for name, labels in LABELS.items() if labels[-1] == role}


def test_execute_alone_is_not_enough(db, out, role):
    """PostgreSQL checks EXECUTE; the functions check the role too, whoever was granted EXECUTE."""
    db.execute(f"""CREATE TABLE t AS SELECT 1 AS a; GRANT SELECT ON t TO {role};
        REVOKE pg_write_server_files FROM {role}""")
    calls = [
        "export_table_parquet('t', '{}/t.parquet')",
        "export_query_parquet('TABLE t', '{}/t.parquet')",
        "export_table_arrow('t', '{}/t.arrow')",
        "export_query_arrow('TABLE t', '{}/t.arrow')",
        "copy_binary_dump('t', '{}/t.bin')",
        "import_vcf('/none.vcf', '{}/t.arrow')",
    ]
    assert {call.partition("(")[0] for call in calls} == functions_of(WRITERS)
    for call in calls:
        name = call.partition("(")[0]
        db.execute(f"SET ROLE {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match=f"for function {name}"):
            db.execute("SELECT * FROM " + call.format(out))
        db.execute(f"RESET ROLE; GRANT EXECUTE ON FUNCTION {name} TO {role}; SET ROLE {role}")
        with raises("42501"):
            db.execute("SELECT * FROM " + call.format(out))
        db.execute("RESET ROLE")
    assert entries(out) == []


def test_execute_alone_is_not_enough_to_read(db, out, role):
    db.execute(f"CREATE TABLE t AS SELECT 1 AS a; SELECT export_table_parquet('t', '{out}/t.parquet')")
    db.execute(f"IMPORT FOREIGN SCHEMA f FROM SERVER pg_strata INTO {db.schema} OPTIONS (file '{out}/t.parquet')")
    calls = [
        f"read_parquet('{out}/t.parquet') AS t(a int)",
        f"read_arrow('{out}/t.parquet') AS t(a int)",
        "arrow_fdw_metadata_info('f')",
    ]
    assert {call.partition("(")[0] for call in calls} == functions_of(READERS)
    for call in calls:
        name = call.partition("(")[0]
        db.execute(f"SET ROLE {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match=f"for function {name}"):
            db.execute(f"SELECT * FROM {call}")
        db.execute(f"RESET ROLE; GRANT EXECUTE ON FUNCTION {name} TO {role}; SET ROLE {role}")
        with raises("42501"):
            db.execute(f"SELECT * FROM {call}")
        db.execute(f"""RESET ROLE; REVOKE EXECUTE ON FUNCTION {name} FROM {role}; GRANT {READERS} TO {role};
            SET ROLE {role}""")
        assert db.execute(f"SELECT count(*) > 0 FROM {call}").fetchone() == (True,)
        db.execute(f"RESET ROLE; REVOKE {READERS} FROM {role}")


@pytest.fixture
def sessions(server, db, out, role):
    """Opens sessions of a role that may read `t` and is no member of pg_write_server_files; there is `allowed/`."""
    (out / "allowed").mkdir()
    for directory in (out, out / "allowed"):
        directory.chmod(0o777)
    db.execute(f"""CREATE TABLE t AS SELECT 1 AS a; GRANT SELECT ON t TO {role};
        REVOKE pg_write_server_files FROM {role}""")

    def connect(options=""):
        session = psycopg.connect(server.dsn(user=role), autocommit=True, options=options)
        session.execute(f"SET search_path = {db.schema}, public")
        return session

    return connect


def attempt(session, path):
    """The rows that were exported, or the SQLSTATE."""
    try:
        return session.execute(f"SELECT rows FROM export_table_parquet('t', '{path}', overwrite => true)").fetchone()[0]
    except psycopg.Error as error:
        return error.sqlstate


@pytest.mark.parametrize(
    "where, may",
    [
        ("ROLE {role}", True),
        ("ROLE {role} IN DATABASE postgres", True),
        ("DATABASE postgres", False),
        ("ROLE ALL", False),
    ],
)
def test_directories_of_a_role_permit_it_to_export(db, sessions, out, role, where, may):
    """With EXECUTE, and only there. Those that are set for others too only confine who may write files anyway."""
    target = where.format(role=role)
    db.execute(f"ALTER {target} SET pg_strata.export_directories = '{out}/allowed'")
    paths = [f"{out}/{path}t.parquet" for path in ("allowed/", "", "allowed/../", "allowed/../none/")]
    refused = ["42501"] * len(paths)
    expected = [1, *refused[1:]] if may else refused
    try:
        with sessions() as session:
            assert [attempt(session, path) for path in paths] == refused
        db.execute(f"GRANT EXECUTE ON FUNCTION export_table_parquet TO {role}")
        with sessions() as session:
            assert [attempt(session, path) for path in paths] == expected
    finally:
        db.execute(f"ALTER {target} RESET pg_strata.export_directories")


@pytest.mark.parametrize("loaded", [True, False])
def test_a_role_does_not_widen_its_directories(db, sessions, out, role, loaded):
    db.execute(f"""ALTER ROLE {role} SET pg_strata.export_directories = '{out}/allowed';
        GRANT EXECUTE ON FUNCTION export_table_parquet TO {role}""")
    if not loaded:
        # Nobody knows the parameter yet: PostgreSQL keeps the value for later, and refuses it then.
        with sessions() as session:
            session.execute("SET pg_strata.export_directories = '/'")
            assert attempt(session, f"{out}/t.parquet") == "42501"
        with sessions("-c pg_strata.export_directories=/") as session:
            assert attempt(session, f"{out}/t.parquet") == "42501"
    for widen in (
        "SET pg_strata.export_directories = '/'",
        f"ALTER ROLE {role} SET pg_strata.export_directories = '/'",
        f"ALTER ROLE {role} RESET pg_strata.export_directories",
        f"ALTER ROLE {role} RESET ALL",
    ):
        with sessions() as session:
            session.execute("SELECT arrow_fdw_metadata_stats()" if loaded else "SELECT 1")
            try:
                session.execute(widen)
            except psycopg.errors.InsufficientPrivilege:
                pass
            assert attempt(session, f"{out}/t.parquet") == "42501"
        with sessions() as session:
            assert attempt(session, f"{out}/t.parquet") == "42501", widen
    assert entries(out) == ["allowed"]


def test_directories_are_those_of_the_role_that_logged_in(db, sessions, out, role):
    """Neither SET ROLE nor a function that runs as its owner gives them to another role."""
    owner = f"{role}_owner"
    db.execute(f"CREATE ROLE {owner}")
    try:
        db.execute(f"""GRANT {owner} TO {role}; GRANT USAGE ON SCHEMA {db.schema} TO {owner};
            GRANT SELECT ON t TO {owner};
            GRANT EXECUTE ON FUNCTION export_table_parquet TO {role}, {owner};
            ALTER ROLE {role} SET pg_strata.export_directories = '{out}/allowed';
            CREATE FUNCTION export_as_owner() RETURNS bigint LANGUAGE sql SECURITY DEFINER
            SET search_path = {db.schema}, public
            AS $$SELECT rows FROM export_table_parquet('t', '{out}/allowed/t.parquet', overwrite => true)$$;
            ALTER FUNCTION export_as_owner() OWNER TO {owner}""")
        with sessions() as session:
            assert attempt(session, f"{out}/allowed/t.parquet") == 1
            with raises("42501"):
                session.execute("SELECT export_as_owner()")
            session.execute(f"SET ROLE {owner}")
            assert attempt(session, f"{out}/allowed/t.parquet") == "42501"
            session.execute("RESET ROLE")
            assert attempt(session, f"{out}/allowed/t.parquet") == 1
        db.execute(f"ALTER ROLE {role} SUPERUSER")
        with sessions() as session:
            session.execute(f"SET SESSION AUTHORIZATION {owner}; SET search_path = {db.schema}, public")
            assert attempt(session, f"{out}/allowed/t.parquet") == "42501"
    finally:
        db.execute(f"DROP OWNED BY {owner}; DROP ROLE {owner}")


@pytest.mark.parametrize("value", ["''", "' '", "','"])
def test_empty_directories_permit_nothing(db, sessions, out, role, value):
    db.execute(f"""ALTER ROLE {role} SET pg_strata.export_directories = {value};
        GRANT EXECUTE ON FUNCTION export_table_parquet TO {role}""")
    with sessions() as session:
        assert attempt(session, f"{out}/allowed/t.parquet") == "42501"


# Beside extensions with the same names


@pytest.mark.parametrize("ours_first", [True, False])
def test_beside_an_extension_that_owns_arrow_fdw(installation, empty, out, ours_first):
    with other_extension(installation, "strom_like", STROM) as create:
        for command in ["CREATE EXTENSION pg_strata", create][:: 1 if ours_first else -1]:
            empty.execute(command)
        check_round_trip(empty, out)
        assert empty.execute("SELECT pgstrom.arrow_fdw_metadata_stats()").fetchone() == (2,)
        empty.execute("DROP EXTENSION pg_strata")
        assert empty.execute("SELECT srvname FROM pg_foreign_server").fetchall() == [("arrow_fdw",)]
        empty.execute(f"CREATE EXTENSION pg_strata; {create.replace('CREATE', 'DROP')}")
        check_round_trip(empty, out)


def test_a_wrapper_and_a_server_named_arrow_fdw_for_scripts(empty, out):
    empty.execute("""CREATE EXTENSION pg_strata;
        CREATE FOREIGN DATA WRAPPER arrow_fdw HANDLER arrow_fdw_handler VALIDATOR arrow_fdw_validator;
        CREATE SERVER arrow_fdw FOREIGN DATA WRAPPER arrow_fdw""")
    check_round_trip(empty, out, server="arrow_fdw")


@pytest.mark.parametrize("ours_first", [True, False])
def test_a_read_parquet_with_other_arguments_in_one_schema(installation, empty, out, ours_first):
    """A call with a path alone is ambiguous, until ours is moved."""
    with other_extension(installation, "duckdb_like", DUCKDB) as create:
        for command in ["CREATE EXTENSION pg_strata", create][:: 1 if ours_first else -1]:
            empty.execute(command)
        with pytest.raises(psycopg.errors.AmbiguousFunction):
            empty.execute("SELECT read_parquet('/none')")
        empty.execute("CREATE SCHEMA strata; ALTER EXTENSION pg_strata SET SCHEMA strata")
        check_round_trip(empty, out, "strata")
        assert empty.execute("SELECT read_parquet('/none')").fetchone() == ("theirs",)


@pytest.mark.parametrize("theirs", [DUCKDB, SAME_ARGUMENTS])
@pytest.mark.parametrize("ours_first", [True, False])
def test_a_read_parquet_in_another_schema(installation, empty, out, ours_first, theirs):
    with other_extension(installation, "duckdb_like", theirs) as create:
        empty.execute("CREATE SCHEMA strata")
        for command in ["CREATE EXTENSION pg_strata SCHEMA strata", create][:: 1 if ours_first else -1]:
            empty.execute(command)
        check_round_trip(empty, out, "strata")
        assert empty.execute("SELECT read_parquet('/none')").fetchone() == ("theirs",)


def test_a_read_parquet_with_the_same_arguments_in_one_schema(installation, empty, out):
    """Whichever comes second is refused whole, and can have a schema of its own."""
    with other_extension(installation, "duckdb_like", SAME_ARGUMENTS) as create:
        empty.execute("CREATE EXTENSION pg_strata")
        with pytest.raises(psycopg.errors.DuplicateFunction, match="read_parquet"):
            empty.execute(create)
        empty.execute(f"DROP EXTENSION pg_strata; {create}")
        with pytest.raises(psycopg.errors.DuplicateFunction, match="read_parquet"):
            empty.execute("CREATE EXTENSION pg_strata")
        assert empty.execute("SELECT count(*) FROM pg_foreign_server").fetchone() == (0,)
        empty.execute("CREATE SCHEMA strata; CREATE EXTENSION pg_strata SCHEMA strata")
        check_round_trip(empty, out, "strata")


# In a schema of its own


VCF = """##fileformat=VCFv4.3
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO
1\t7\t.\tA\tC\t.\tPASS\t.
"""


@pytest.fixture(scope="module")
def devices(installation):
    """A server with fake GPUs and without the extension."""
    with GpuServer(installation, "extension") as server:
        yield server


@pytest.mark.parametrize("schema", ["strata", ODD])
@pytest.mark.parametrize("moved", [False, True])
def test_everything_works_in_a_schema_outside_of_the_search_path(devices, out, schema, moved):
    with database(devices, "extension") as db:
        db.execute(f"CREATE SCHEMA {schema}; SET search_path = ''")
        db.execute(
            f"CREATE EXTENSION pg_strata SCHEMA public; ALTER EXTENSION pg_strata SET SCHEMA {schema}"
            if moved
            else f"CREATE EXTENSION pg_strata SCHEMA {schema}"
        )
        check_round_trip(db, out, schema)
        db.execute(f"""CREATE TYPE {schema}."Mood" AS ENUM ('well', 'ill');
            CREATE TABLE {schema}."Ta""ble" AS SELECT i AS "Id", ('{{well,ill}}'::{schema}."Mood"[])[1 + i % 2] AS mood
              FROM generate_series(1, 20000) i""")
        table, foreign = f'{schema}."Ta""ble"', f'{schema}."Fi""le"'
        calls = {
            "heap.parquet": f"export_table_parquet('{table}', '{{}}', workers => 2, device => 'cpu')",
            "gpu.parquet": f"export_table_parquet('{table}', '{{}}', scan => 'copy_binary', device => 'gpu')",
            "t.arrow": f"export_table_arrow('{table}', '{{}}')",
            "q.parquet": f"export_query_parquet('TABLE {table}', '{{}}')",
            "q.arrow": f"export_query_arrow('TABLE {table}', '{{}}')",
        }
        for name, call in calls.items():
            assert value(db, f"SELECT rows FROM {schema}.{call.format(out / name)}") == 20000, name
            db.execute(f"""IMPORT FOREIGN SCHEMA "Fi""le" FROM SERVER pg_strata INTO {schema}
                OPTIONS (file '{out / name}')""")
            read = f'SELECT "Id", mood::text::{schema}."Mood" FROM {foreign}'
            assert value(db, f"SELECT count(*) FROM (TABLE {table} EXCEPT ALL {read}) AS d") == 0, name
            assert value(db, f'SELECT count(*) FROM {foreign} WHERE "Id" BETWEEN 5 AND 8') == 4
            rows = f"""{schema}.read_{name.partition(".")[2]}('{out / name}') AS t("Id" int)"""
            assert value(db, f'SELECT sum("Id") FROM {rows}') == 200010000
            db.execute(f"DROP FOREIGN TABLE {foreign}")
        assert value(db, f"SELECT rows FROM {schema}.copy_binary_dump('{table}', '{out}/t.bin')") == 20000
        assert value(db, f"SELECT rows FROM {schema}.decode_table('{table}')") == 20000
        assert value(db, f"SELECT count(*) FROM {schema}.gpu_devices()") == 2
        assert value(db, f"SELECT count(*) > 1 FROM {schema}.gpu_status()")
        assert value(db, f"SELECT hits >= 0 FROM {schema}.arrow_fdw_metadata_stats()")
        (out / "t.vcf").write_text(VCF)
        assert value(db, f"SELECT rows FROM {schema}.import_vcf('{out}/t.vcf', '{out}/vcf.arrow')") == 1
