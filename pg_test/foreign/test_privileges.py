"""Who may read files through foreign tables, and name them."""

import pyarrow as pa
import pytest

from ..helpers.foreign import foreign, import_schema, write
from ..helpers.support import raises

pytestmark = pytest.mark.fast


@pytest.fixture
def secret(db, out):
    write(out / "t.parquet", pa.table({"a": [1, 2]}))
    foreign(db, "f", "a int8", file=out / "t.parquet")
    return db


def test_reading_needs_the_role(secret, role):
    """pg_read_server_files for whoever reads, checked before any file is looked at."""
    secret.execute(f"GRANT SELECT ON f TO {role}; SET ROLE {role}")
    for statement in ("SELECT * FROM f", "EXPLAIN SELECT * FROM f"):
        with raises("42501"):
            secret.execute(statement)
    secret.execute(f"RESET ROLE; GRANT pg_read_server_files TO {role}; SET ROLE {role}")
    assert secret.execute("SELECT sum(a) FROM f").fetchone() == (3,)
    secret.execute(f"RESET ROLE; REVOKE SELECT ON f FROM {role}; SET ROLE {role}")
    with pytest.raises(Exception, match="permission denied"):
        secret.execute("SELECT * FROM f")


def test_a_view_reads_as_its_owner(secret, role):
    secret.execute(f"CREATE VIEW v AS SELECT * FROM f; GRANT SELECT ON v TO {role}; SET ROLE {role}")
    assert secret.execute("SELECT sum(a) FROM v").fetchone() == (3,)


def test_a_server_reads_as_its_owner(secret, role):
    """Who has SELECT reads; naming files takes the role as before, and so does reading where the owner lacks it."""
    server = f"as_owner_{role}"
    secret.execute(
        f"CREATE SERVER {server} FOREIGN DATA WRAPPER pg_strata OPTIONS (read_as 'owner'); "
        f"CREATE FOREIGN TABLE g (a int8) SERVER {server} OPTIONS "
        f"(file '{secret.execute('SELECT file FROM arrow_fdw_metadata_info(%s) LIMIT 1', ('f',)).fetchone()[0]}'); "
        f"GRANT SELECT ON g TO {role}; GRANT USAGE ON FOREIGN SERVER {server} TO {role}; "
        f"GRANT CREATE ON SCHEMA {secret.schema} TO {role}; SET ROLE {role}"
    )
    try:
        assert secret.execute("SELECT sum(a) FROM g").fetchone() == (3,)
        assert secret.execute("SELECT a FROM g WHERE a > 1").fetchall() == [(2,)]
        with raises("42501"):
            secret.execute(f"CREATE FOREIGN TABLE mine (a int8) SERVER {server} OPTIONS (file '/etc/passwd')")
        with raises("42501"):
            secret.execute("SELECT * FROM f")
        secret.execute(f"RESET ROLE; ALTER SERVER {server} OWNER TO {role}")
        for statement in ("SELECT sum(a) FROM g", "ANALYZE g"):
            with raises("42501") as caught:
                secret.execute(statement)
            assert "read_as" in caught.value.diag.message_hint and server in caught.value.diag.message_hint
        secret.execute(f"ALTER SERVER {server} OPTIONS (SET read_as 'user')")
        assert secret.execute("SELECT sum(a) FROM g").fetchone() == (3,)
    finally:
        secret.execute(f"RESET ROLE; DROP SERVER {server} CASCADE")


def test_naming_files_needs_the_role(secret, role):
    secret.execute(
        f"GRANT USAGE ON FOREIGN SERVER pg_strata TO {role}; "
        f"GRANT CREATE ON SCHEMA {secret.schema} TO {role}; SET ROLE {role}"
    )
    try:
        with raises("42501"):
            foreign(secret, "mine", "a int8", file="/etc/passwd")
    finally:
        secret.execute(f"RESET ROLE; REVOKE USAGE ON FOREIGN SERVER pg_strata FROM {role}")


def test_import_needs_files_and_the_role(db, out, role):
    with raises("HV00Q"):
        import_schema(db, "f", dir=out)
    with raises("58P01"):
        import_schema(db, "f", dir=out / "none")
    db.execute(
        f"GRANT USAGE ON FOREIGN SERVER pg_strata TO {role}; "
        f"GRANT CREATE ON SCHEMA {db.schema} TO {role}; SET ROLE {role}"
    )
    try:
        with raises("42501"):
            import_schema(db, "f", dir=out)
    finally:
        db.execute(f"RESET ROLE; REVOKE USAGE ON FOREIGN SERVER pg_strata FROM {role}")


def test_read_files_needs_the_role(db, out, role):
    write(out / "t.parquet", pa.table({"a": [1]}))
    db.execute(f"GRANT EXECUTE ON FUNCTION read_parquet TO {role}; SET ROLE {role}")
    with raises("42501"):
        db.execute(f"SELECT * FROM read_parquet('{out}/t.parquet') AS t(a int)")
