"""One system call fails: every call of every function that writes files, one after the other, by a library in front of libc.

Either the call fails and all is as it was, or it succeeds and the file is whole: there is nothing between."""

import ctypes
import errno
import mmap
import os
import shutil
import subprocess
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .lab import places
from .lab.server import Server
from .conftest import SETTINGS
from .support import entries

ROWS = 3000
CALLS = ["write", "pwrite64", "pread64", "read", "copy_file_range", "fsync", "sync_file_range", "ftruncate64", "fchmod", "lseek64", "chmod",
         "mkdir", "open64", "rename", "renameat2", "unlink", "rmdir"]
EXPORTS = {
    "parquet": ("export_table_parquet('t', {path}, workers => 2, row_group_rows => 1000, overwrite => true)", "t.parquet"),
    "parquet, new": ("export_table_parquet('t', {path}, workers => 0)", "t.parquet"),
    "directory": ("export_table_parquet('t', {path}, workers => 2, row_group_rows => 1000, overwrite => true)", "parts"),
    "arrow": ("export_table_arrow('t', {path}, workers => 0, overwrite => true)", "t.arrow"),
    "append": ("export_table_arrow('t', {path}, workers => 0, append => true)", "t.arrow"),
    "query": ("export_query_parquet('SELECT * FROM t', {path}, overwrite => true)", "t.parquet"),
    "dump": ("copy_binary_dump('t', {path}, overwrite => true)", "t.bin"),
    "vcf": ("import_vcf({vcf}, {path}, overwrite => true)", "t.arrow"),
}
VCF = "##fileformat=VCFv4.3\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n" + "".join(f"1\t{i}\t.\tA\tC\t.\tPASS\t.\n" for i in range(1, ROWS + 1))


class Control(ctypes.Structure):
    """As in faults.c."""

    _fields_ = [("call", ctypes.c_char * 32), ("under", ctypes.c_char * 256), ("error", ctypes.c_int), ("left", ctypes.c_int),
                ("fired", ctypes.c_int), ("reached", ctypes.c_int)]

    def arm(self, call, under, number, error):
        self.call, self.under, self.error, self.left, self.fired, self.reached = b"", str(under).encode(), error, number, 0, 0
        self.call = call.encode()

    def disarm(self):
        self.call = b""


@pytest.fixture(scope="module")
def faulty(installation):
    """A server whose calls can be made to fail, and what says which."""
    place = places.fresh(places.home() / "faults", 0o755)
    library, page = place / "faults.so", place / "control"
    source = Path(__file__).with_name("faults.c")
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-w", str(source), "-o", str(library), "-ldl"], check=True)
    page.write_bytes(bytes(ctypes.sizeof(Control)))
    page.chmod(0o666)
    server = Server(installation, "faults", **SETTINGS)
    server.environment = {"LD_PRELOAD": str(library), "PG_STRATA_FAULTS": str(page)}
    with open(page, "r+b") as file, server:
        control = Control.from_buffer(mmap.mmap(file.fileno(), 0))
        with server.connect() as db:
            db.execute("CREATE EXTENSION pg_strata")
            db.execute(f"CREATE TABLE t AS SELECT i, 'text ' || i AS s FROM generate_series(1, {ROWS}) i")
        yield server, control


def rows_of(path):
    if path.is_dir():
        assert (path / "_SUCCESS").is_file()
        return sum(pq.read_table(file).num_rows for file in path.glob("part-*"))
    if path.suffix == ".parquet":
        return pq.read_table(path).num_rows
    if path.suffix == ".arrow":
        return pa.ipc.open_file(path).read_all().num_rows
    data = path.read_bytes()
    assert data.startswith(b"PGCOPY") and data.endswith(b"\xff\xff")
    return data.count(b"text ")


def contents(path):
    return {file.name: file.read_bytes() for file in path.iterdir()} if path.is_dir() else path.read_bytes()


def outcomes(server, control, directory, export, call, error):
    """Fails each of the call's occurrences in turn; how many there were."""
    sql, name = EXPORTS[export]
    path, vcf = directory / name, directory.parent / "t.vcf"
    sql = f"SELECT rows FROM {sql.format(path=repr(str(path)), vcf=repr(str(vcf)))}"
    number = 0
    while True:
        with server.connect() as db:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            if "new" not in export:
                control.disarm()
                db.execute(sql)
            before = contents(path) if path.exists() else None
            control.arm(call, directory, number, error)
            try:
                assert db.execute(sql).fetchone()[0] == ROWS
                assert rows_of(path) == ROWS * (2 if export == "append" else 1), (call, number)
            except psycopg.Error as failed:
                assert failed.sqlstate in ("58030", "53100", "42501", "XX001"), (call, number, failed)
                assert failed.diag.message_hint, failed
                assert (contents(path) if path.exists() else None) == before, (call, number)
            fired, reached = control.fired, control.reached
            control.disarm()
            assert db.execute("SELECT 1").fetchone() == (1,)
            if call not in ("unlink", "rmdir"):
                assert set(entries(directory)) <= {name}, (call, number)
        if not fired:
            return reached
        number += 1


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("export", EXPORTS)
def test_every_call(faulty, out, export, error):
    server, control = faulty
    (out / "t.vcf").write_text(VCF)
    directory = places.fresh(out / "under", 0o755)
    reached = {call: outcomes(server, control, directory, export, call, error) for call in CALLS}
    # What storage says is heard in every export.
    assert reached["fsync"] >= 2 and reached["sync_file_range"] >= 1 and reached["open64"] >= 2, reached
    assert reached["rename"] + reached["renameat2"] == 1, reached
    assert server.process.poll() is None and "terminated by signal" not in server.log()
