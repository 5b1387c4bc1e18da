"""VCF files to Arrow: the files are made here from Python values, which are what has to come back."""

import gzip

import pytest

from ..helpers.arrow import open_file, read
from ..helpers.support import entries, raises
from ..helpers.vcf import EXPLICIT, bgzip, make


def import_vcf(connection, vcf, path, **options):
    named = "".join(f", {name} => %s" for name in options)
    return connection.execute(
        f"SELECT * FROM import_vcf(%s, %s{named})", (str(vcf), str(path), *options.values())
    ).fetchone()


@pytest.mark.parametrize("version", EXPLICIT)
@pytest.mark.parametrize("samples", [[], ["one"], ["NA00001", "NA00002", "with space"]])
@pytest.mark.parametrize("way", ["column", "rows"])
@pytest.mark.parametrize("pack", [bytes, bgzip])
def test_values(db, out, version, samples, way, pack):
    text, records = make(version, 2000, samples)
    (out / "in.vcf").write_bytes(pack(text.encode()))
    batches, rows, size = import_vcf(db, out / "in.vcf", out / "t.arrow", samples=way)
    table = read(out / "t.arrow").to_pylist()
    assert (batches, rows, size) == (1, len(table), (out / "t.arrow").stat().st_size)
    expected = []
    for record in records:
        told = record.pop("samples")
        if way == "rows" and samples:
            expected += [
                {
                    **record,
                    **{"sample" if name == "sample" else f"format_{name}": value for name, value in sample.items()},
                }
                for sample in told
            ]
        else:
            expected.append({**record, "samples": told} if samples else record)
    assert table == expected


def test_as_a_table(db, out):
    """Read back as a foreign table, types and all."""
    text, records = make("4.3", 500, ["a", "b"])
    (out / "in.vcf").write_text(text)
    import_vcf(db, out / "in.vcf", out / "variants.arrow", samples="rows", compression="lz4")
    db.execute(f"""CREATE SERVER IF NOT EXISTS vcf_files FOREIGN DATA WRAPPER pg_strata;
        CREATE FOREIGN TABLE variants (chrom text, pos bigint, alt text[], "info_NS" int, "info_AF" real[],
        "info_DB" boolean, sample text, "format_GT" text)
        SERVER vcf_files OPTIONS (file '{out}/variants.arrow')""")
    found = db.execute(
        'SELECT chrom, pos, alt, "info_NS", "info_DB", '
        "\"format_GT\" FROM variants WHERE sample = 'b' AND pos < 300 ORDER BY pos"
    ).fetchall()
    assert found == [
        (r["chrom"], r["pos"], r["alt"], r["info_NS"], r["info_DB"], r["samples"][1]["GT"])
        for r in records
        if r["pos"] < 300
    ]


def test_several_batches(db, out):
    text, _ = make("4.2", 40000, ["a", "b"])
    (out / "in.vcf").write_text(text)
    batches, rows, _ = import_vcf(db, out / "in.vcf", out / "t.arrow", samples="rows")
    assert rows == 80000 and batches == open_file(out / "t.arrow").num_record_batches == 2
    assert read(out / "t.arrow")["pos"].to_pylist() == [3 * row + 1 for row in range(40000) for _ in "ab"]


@pytest.mark.parametrize(
    "break_it, detail",
    [
        (lambda text: text.replace("##fileformat=VCFv4.3\n", ""), ""),
        (lambda text: "", ""),
        (lambda text: text.replace("##INFO=<ID=NS", "##INFO=<ID=N2"), "NS"),
        (lambda text: text.replace("\tGT:", "\tZZ:", 1), "ZZ"),
        (lambda text: text.replace("NS=0", "NS=zero", 1), "Record "),
        (lambda text: text + "20\tnowhere\n", "Record 301"),
        (lambda text: text + "20\t5\t.\tA\tT\t.\t.\tNS=99999999999\tGT\t0\n", "Record 301"),
    ],
)
def test_damaged_files(db, out, break_it, detail):
    text, _ = make("4.3", 300, ["one"])
    (out / "in.vcf").write_text(break_it(text))
    (out / "t.arrow").write_bytes(b"old")
    with raises("22P04") as caught:
        import_vcf(db, out / "in.vcf", out / "t.arrow", overwrite=True)
    assert detail in caught.value.diag.message_detail
    assert (out / "t.arrow").read_bytes() == b"old" and entries(out) == ["in.vcf", "t.arrow"]


def test_files_that_end_early(db, out):
    whole = bgzip(make("4.2", 3000, ["one"])[0].encode())
    for packed in (whole[: len(whole) // 2], whole[:40], gzip.compress(b"##fileformat=VCFv4.2\n")):
        (out / "in.vcf.gz").write_bytes(packed)
        with raises("22P04"):
            import_vcf(db, out / "in.vcf.gz", out / "t.arrow")
    assert entries(out) == ["in.vcf.gz"]


def test_who_may(db, out, role):
    (out / "in.vcf").write_text(make("4.2", 1, [])[0])
    db.execute(f"SET ROLE {role}")
    with raises("42501"):
        import_vcf(db, out / "in.vcf", out / "t.arrow")
    db.execute(f"RESET ROLE; GRANT pg_read_server_files TO {role}; SET ROLE {role}")
    assert import_vcf(db, out / "in.vcf", out / "t.arrow")[1] == 1
    for vcf, path, sqlstate in (
        ("in.vcf", out / "u.arrow", "42602"),
        (out / "in.vcf", out / "t.arrow", "58P02"),
        (out / "none.vcf", out / "u.arrow", "58P01"),
        (out, out / "u.arrow", "42809"),
    ):
        with raises(sqlstate):
            import_vcf(db, vcf, path)
    with raises("22023"):
        import_vcf(db, out / "in.vcf", out / "u.arrow", samples="no")
    assert entries(out) == ["in.vcf", "t.arrow"]


# What is large

NAMES = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"


@pytest.mark.parametrize("samples", ("rows", "column"))
def test_lines_of_many_samples(db, out, samples):
    """Megabytes of them, which are read some at a time, between lines that are not."""
    count = 250_000
    names = [f"s{at}" for at in range(count)]
    head = [
        "##fileformat=VCFv4.3",
        '##INFO=<ID=N,Number=1,Type=Integer,Description="n">',
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="g">',
        '##FORMAT=<ID=GQ,Number=1,Type=Integer,Description="q">',
        NAMES + "\tFORMAT\t" + "\t".join(names),
    ]
    wide = [f"{at % 3}|1:{at}" if at % 7 else "." for at in range(count)]
    lines = [
        f"1\t{row}\t.\tA\tC\t.\t.\tN={row}\tGT:GQ\t" + "\t".join(wide if row == 2 else ["0/1:5"] * count)
        for row in (1, 2, 3)
    ]
    (out / "t.vcf").write_text("\n".join(head + lines) + "\n")
    db.execute(f"SELECT import_vcf('{out}/t.vcf', '{out}/t.arrow', samples => '{samples}')")
    table = read(out / "t.arrow")
    if samples == "column":
        assert table.column("info_N").to_pylist() == [1, 2, 3]
        found = [[(one["sample"], one["GT"], one["GQ"]) for one in row] for row in table.column("samples").to_pylist()]
    else:
        rows = list(
            zip(
                table.column("pos").to_pylist(),
                *(table.column(name).to_pylist() for name in ("sample", "format_GT", "format_GQ", "info_N")),
            )
        )
        assert all(row[0] == row[4] for row in rows)
        found = [[row[1:4] for row in rows if row[0] == pos] for pos in (1, 2, 3)]
    assert found[0] == found[2] == [(name, "0/1", 5) for name in names]
    assert found[1] == [(name, f"{at % 3}|1", at) if at % 7 else (name, None, None) for at, name in enumerate(names)]
    (out / "t.vcf").write_text("\n".join(head + [lines[0] + "\t0/1:5"]) + "\n")
    with raises("22P04"):
        db.execute(f"SELECT import_vcf('{out}/t.vcf', '{out}/u.arrow', samples => '{samples}')")


def test_headers_that_are_too_large(db, out):
    """By bytes, of which the file has none on disk, and by fields."""
    with open(out / "long.vcf", "wb") as file:
        file.write(b"##fileformat=VCFv4.3\n##comment=")
        file.truncate(300 << 20)
    info = "".join(f'##INFO=<ID=X{at},Number=1,Type=String,Description="x">\n' for at in range(10_001))
    (out / "wide.vcf").write_text(f"##fileformat=VCFv4.3\n{info}{NAMES}\n")
    for name in ("long", "wide"):
        with raises("54000") as caught:
            db.execute(f"SELECT import_vcf('{out}/{name}.vcf', '{out}/t.arrow')")
        assert "header" in caught.value.diag.message_detail
    assert sorted(entries(out)) == ["long.vcf", "wide.vcf"]


def test_long_values_of_many_samples(db, out):
    """A row for each sample repeats the value, in less than 2 GB."""
    names = "\t".join(f"s{at}" for at in range(1100))
    head = f'##fileformat=VCFv4.3\n##FORMAT=<ID=GT,Number=1,Type=String,Description="g">\n{NAMES}\tFORMAT\t{names}\n'
    samples = "\t0" * 1100
    records = [f"1\t{at}\t.\t{'A' * size}\tC\t.\t.\t.\tGT{samples}\n" for at, size in ((1, 1), (2, 2 << 20))]
    (out / "t.vcf").write_text(head + "".join(records))
    with raises("54000") as caught:
        db.execute(f"SELECT import_vcf('{out}/t.vcf', '{out}/t.arrow', samples => 'rows')")
    assert "Record 2: " in caught.value.diag.message_detail and "1100 samples" in caught.value.diag.message_detail
    assert entries(out) == ["t.vcf"]
    db.execute(f"SELECT import_vcf('{out}/t.vcf', '{out}/t.arrow', samples => 'column')")
    assert [len(value) for value in read(out / "t.arrow").column("ref").to_pylist()] == [1, 2 << 20]
