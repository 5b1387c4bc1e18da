"""VCF files made of Python values, which are what has to come back."""

import random
import struct
import zlib

HEADER = """##fileformat=VCFv{version}
##contig=<ID=20,length=62435964>
##FILTER=<ID=q10,Description="Quality below 10">
##INFO=<ID=NS,Number=1,Type=Integer,Description="Samples, with data">
##INFO=<ID=AF,Number=A,Type=Float,Description="Frequency">
##INFO=<ID=AA,Number=1,Type=String,Description="Ancestral allele">
##INFO=<ID=DB,Number=0,Type=Flag,Description="dbSNP">
##INFO=<ID=OPS,Number=.,Type=String,Description="Per allele">
##INFO=<ID=END,Number=1,Type=Integer,Description="End">
##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">
##FORMAT=<ID=GQ,Number=1,Type=Integer,Description="Quality">
##FORMAT=<ID=PL,Number=G,Type=Integer,Description="Likelihoods">
##FORMAT=<ID=VAF,Number=1,Type=Float,Description="Fraction">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO"""
# From 4.4 on a genotype may say of its first allele, too, whether it is phased.
EXPLICIT = {"4.2": (), "4.3": (), "4.4": ("/0|1", "|0|1", "/1"), "4.5": ("/0|1", "|0|1", "/1")}


def write(value):
    """A value as the format writes it; NULL is '.', and of lists each item."""
    if value is None:
        return "."
    if isinstance(value, list):
        return ",".join(write(item) for item in value)
    if isinstance(value, float):
        return repr(value)
    return str(value)


def make(version, rows, samples, seed=1):
    """A file's text, and its records as Python values."""
    chance = random.Random(seed)
    pick = lambda *choices: chance.choice(choices)
    number = lambda: struct.unpack("f", struct.pack("f", chance.uniform(-1e3, 1e3)))[0]
    lines, records = [HEADER.format(version=version) + ("\tFORMAT\t" + "\t".join(samples) if samples else "")], []
    for row in range(rows):
        record = {
            "chrom": pick("20", "X", "chrUn_1"),
            "pos": row * 3 + 1,
            "id": pick(None, ["rs%d" % row], ["rs%d" % row, "cosm9"]),
            "ref": pick("A", "GATTACA"),
            "alt": pick(None, ["T"], ["T", "<DEL>"]),
            "qual": pick(None, 0.0, number()),
            "filter": pick(None, ["PASS"], ["q10", "s50"]),
            "info_NS": pick(None, 0, -2147483640, 2147483647),
            "info_AF": pick(None, [0.5], [number(), None]),
            "info_AA": pick(None, "T", "ä€"),
            "info_DB": pick(True, False),
            "info_OPS": pick(None, ["1M", "2D"], ["3I"]),
            "info_END": None,
        }
        info = [
            f"{name[5:]}={write(value)}"
            for name, value in record.items()
            if name.startswith("info_") and name != "info_DB" and value is not None
        ]
        info += ["DB"] * record["info_DB"]
        fields = [
            record["chrom"],
            record["pos"],
            ";".join(record["id"]) if record["id"] else ".",
            record["ref"],
            write(record["alt"]),
            write(record["qual"]),
            ";".join(record["filter"]) if record["filter"] else ".",
            ";".join(info) or ".",
        ]
        keys = pick(["GT", "GQ"], ["GT", "PL", "VAF"], ["GQ"])
        told = [{"sample": name, "GT": None, "GQ": None, "PL": None, "VAF": None} for name in samples]
        for sample in told:
            values = {
                "GT": pick("0/1", "0|1", "./.", "1", "2|2|1", *EXPLICIT[version]),
                "GQ": pick(None, 7, -1),
                "PL": pick(None, [0, 10, None], [255]),
                "VAF": pick(None, number()),
            }
            sample.update({key: values[key] for key in keys})
        if samples:
            fields += [":".join(keys)] + [":".join(write(sample[key]) for key in keys) for sample in told]
        record["samples"] = told
        records.append(record)
        lines.append("\t".join(map(str, fields)))
    return "\n".join(lines) + "\n", records


def bgzip(data):
    """Blocks of the gzip format that say how long they are (SAM specification, 4.1), and the empty one at the end."""
    blocks = []
    for start in [*range(0, len(data), 40000), None]:
        piece = b"" if start is None else data[start : start + 40000]
        deflate = zlib.compressobj(6, zlib.DEFLATED, -15)
        body = deflate.compress(piece) + deflate.flush()
        blocks.append(
            b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x06\0BC\x02\0"
            + struct.pack("<H", len(body) + 25)
            + body
            + struct.pack("<II", zlib.crc32(piece), len(piece))
        )
    return b"".join(blocks)
