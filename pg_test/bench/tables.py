"""lineorder (SSB, numeric without precision) and lineitem (TPC-H), generated as dbgen distributes them.

Rows come in order of their keys, one to seven lines an order; what belongs to the order repeats on
its lines. Generated block by block with numpy, sent as CSV by pyarrow: memory does not grow with rows.
"""

import numpy as np
import pyarrow as pa
import pyarrow.csv

LINEORDER = """CREATE TABLE lineorder (
    lo_orderkey numeric, lo_linenumber integer, lo_custkey numeric, lo_partkey integer, lo_suppkey numeric,
    lo_orderdate integer, lo_orderpriority character(15), lo_shippriority character(1), lo_quantity numeric,
    lo_extendedprice numeric, lo_ordertotalprice numeric, lo_discount numeric, lo_revenue numeric,
    lo_supplycost numeric, lo_tax numeric, lo_commit_date character(8), lo_shipmode character(10))"""

LINEITEM = """CREATE TABLE lineitem (
    l_orderkey bigint NOT NULL, l_partkey integer NOT NULL, l_suppkey integer NOT NULL, l_linenumber integer NOT NULL,
    l_quantity numeric(15,2) NOT NULL, l_extendedprice numeric(15,2) NOT NULL, l_discount numeric(15,2) NOT NULL,
    l_tax numeric(15,2) NOT NULL, l_returnflag character(1) NOT NULL, l_linestatus character(1) NOT NULL,
    l_shipdate date NOT NULL, l_commitdate date NOT NULL, l_receiptdate date NOT NULL,
    l_shipinstruct character(25) NOT NULL, l_shipmode character(10) NOT NULL,
    l_comment character varying(44) NOT NULL)"""

BLOCK = 100_000  # orders
FIRST, LAST = np.datetime64("1992-01-01"), np.datetime64("1998-08-02")
CURRENT = np.datetime64("1995-06-17")
PRIORITIES = ["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"]
MODES = ["REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"]
INSTRUCTIONS = ["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"]

NOUNS = """foxes ideas theodolites pinto-beans instructions dependencies excuses platelets asymptotes courts dolphins
multipliers sauternes warthogs frets dinos attainments somas Tiresias patterns forges braids frays warhorses dugouts
notornis epitaphs pearls tithes waters orbits gifts sheaves depths sentiments decoys realms
pains grouches escapades""".split()
VERBS = """sleep wake are cajole haggle nag use boost affix detect integrate maintain nod was lose sublate solve thrash
promise engage hinder print x-ray breach eat grow impress mold poach serve run dazzle snooze doze unwind kindle play
hang believe doubt""".split()
ADJECTIVES = """furious sly careful blithe quick fluffy slow quiet ruthless thin close dogged daring brave stealthy
permanent enticing idle busy regular final ironic even bold silent special pending unusual express""".split()
ADVERBS = """sometimes always never furiously slyly carefully blithely quickly fluffily slowly quietly ruthlessly thinly
closely doggedly daringly bravely stealthily permanently enticingly idly busily regularly finally ironically evenly
boldly silently""".split()
PREPOSITIONS = "about above according-to across after against along among around at before between into of on".split()


def prose(chance, sentences=60_000):
    """The text that comments are cut from: sentences of TPC-H's grammar."""
    words = [
        list(map(str, chance.choice(group, sentences)))
        for group in (ADVERBS, ADJECTIVES, NOUNS, VERBS, ADVERBS, PREPOSITIONS, ADJECTIVES, NOUNS)
    ]
    text = ". ".join(map(" ".join, zip(*words))).replace("-", " ")
    return np.frombuffer(text.encode(), np.uint8)


def comments(chance, text, rows):
    """Cuts of 10 to 43 characters."""
    lengths = chance.integers(10, 44, rows)
    starts = chance.integers(0, len(text) - 43, rows)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    bytes_at = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(text[bytes_at]))


def pick(words, index):
    return pa.DictionaryArray.from_arrays(pa.array(index.astype(np.int32)), pa.array(words)).cast(pa.string())


def cents(values):
    """int64 hundredths as decimals with two digits."""
    wide = np.stack([values, values >> 63], axis=1).astype(np.int64)
    return pa.Array.from_buffers(pa.decimal128(15, 2), len(values), [None, pa.py_buffer(np.ascontiguousarray(wide))])


def yyyymmdd(days):
    years = days.astype("datetime64[Y]")
    months = days.astype("datetime64[M]")
    return (
        (years.astype(int) + 1970) * 10000 + ((months - years).astype(int) + 1) * 100 + (days - months).astype(int) + 1
    )


def lines(chance, first_order, scale):
    """One block of orders, one entry per line: what both tables are made of."""
    counts = chance.integers(1, 8, BLOCK)
    order = np.repeat(np.arange(BLOCK), counts)
    rows, index = len(order), first_order + np.arange(BLOCK)
    start = np.cumsum(counts) - counts
    part = chance.integers(1, int(200_000 * scale) + 1, rows)
    quantity = chance.integers(1, 51, rows)
    price = 90_000 + (part // 10) % 20_001 + 100 * (part % 1_000)
    date = FIRST + chance.integers(0, (LAST - FIRST).astype(int) + 1, BLOCK)
    made = dict(
        rows=rows,
        order=order,
        key=((index // 8) * 32 + index % 8 + 1)[order],
        line=np.arange(rows) - start[order] + 1,
        customer=chance.integers(1, int(150_000 * scale) + 1, BLOCK)[order],
        part=part,
        supplier=chance.integers(1, int(10_000 * scale) + 1, rows),
        quantity=quantity,
        price=price,
        extended=quantity * price,
        discount=chance.integers(0, 11, rows),
        tax=chance.integers(0, 9, rows),
        date=date[order],
    )
    made["total"] = np.bincount(
        order, made["extended"] * (100 + made["tax"]) * (100 - made["discount"]) // 10_000, BLOCK
    ).astype(np.int64)[order]
    return made


def lineorder(chance, first_order, scale, _):
    made = lines(chance, first_order, scale)
    rows = made["rows"]
    commit = yyyymmdd(made["date"] + chance.integers(30, 91, rows))
    return pa.table(
        [
            made["key"],
            made["line"],
            made["customer"],
            made["part"],
            made["supplier"],
            yyyymmdd(made["date"]),
            pick(PRIORITIES, chance.integers(0, 5, BLOCK)[made["order"]]),
            pick(["0"], np.zeros(rows)),
            made["quantity"],
            made["extended"],
            made["total"],
            made["discount"],
            made["extended"] * (100 - made["discount"]) // 100,
            made["price"] * 6 // 10,
            made["tax"],
            commit,
            pick(MODES, chance.integers(0, 7, rows)),
        ],
        names=[f"c{i}" for i in range(17)],
    )


def lineitem(chance, first_order, scale, text):
    made = lines(chance, first_order, scale)
    rows = made["rows"]
    ship = made["date"] + chance.integers(1, 122, rows)
    receipt = ship + chance.integers(1, 31, rows)
    returned = np.where(receipt <= CURRENT, chance.integers(0, 2, rows), 2)
    return pa.table(
        [
            made["key"],
            made["part"],
            made["supplier"],
            made["line"],
            cents(made["quantity"] * 100),
            cents(made["extended"]),
            cents(made["discount"]),
            cents(made["tax"]),
            pick(["R", "A", "N"], returned),
            pick(["F", "O"], ship > CURRENT),
            ship,
            made["date"] + chance.integers(30, 91, rows),
            receipt,
            pick(INSTRUCTIONS, chance.integers(0, 4, rows)),
            pick(MODES, chance.integers(0, 7, rows)),
            comments(chance, text, rows),
        ],
        names=[f"c{i}" for i in range(16)],
    )


TABLES = {"lineorder": (LINEORDER, lineorder), "lineitem": (LINEITEM, lineitem)}


def load(connection, name, rows):
    """Fills a new table with exactly `rows` rows; the transaction that makes it skips the WAL."""
    definition, make = TABLES[name]
    chance = np.random.default_rng(42)
    text, scale, left, first = prose(chance), max(rows / 6_000_000, 0.01), rows, 0
    options = pyarrow.csv.WriteOptions(include_header=False, quoting_style="needed")
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute(definition)
        with cursor.copy(f"COPY {name} FROM STDIN (FORMAT csv, FREEZE)") as copy:
            while left > 0:
                block = make(chance, first, scale, text).slice(0, left)
                sink = pa.BufferOutputStream()
                pyarrow.csv.write_csv(block, sink, options)
                copy.write(sink.getvalue().to_pybytes())
                left, first = left - block.num_rows, first + BLOCK
    connection.execute(f"VACUUM ANALYZE {name}")
    warm(connection, name)


def warm(connection, name):
    """Into shared buffers: a plain scan of a large table would go through a small ring of them."""
    connection.execute("CREATE EXTENSION IF NOT EXISTS pg_prewarm")
    connection.execute("SELECT pg_prewarm(%s::regclass)", (name,))
    connection.execute(f"SELECT count(t.*) FROM {name} t")
