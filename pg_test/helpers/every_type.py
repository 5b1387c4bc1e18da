"""Every type with its edge values: name, SQL type, the file's type, literals.

The file's type is written as `support.describe` prints it; None where it may be any.
"""

from .support import supports

SCALARS = [
    ("c_bool", "bool", "bool", ["t", "f"]),
    ("c_int2", "int2", "int16", ["0", "1", "-1", "32767", "-32768"]),
    ("c_int4", "int4", "int32", ["0", "-1", "2147483647", "-2147483648"]),
    ("c_int8", "int8", "int64", ["0", "-1", "9223372036854775807", "-9223372036854775808"]),
    ("c_oid", "oid", "uint32", ["0", "2147483648", "4294967295"]),
    ("c_float4", "float4", "float", ["0", "-0", "NaN", "Infinity", "-Infinity", "3.4028235e38", "1e-45", "0.1"]),
    (
        "c_float8",
        "float8",
        "double",
        ["0", "-0", "NaN", "Infinity", "-Infinity", "1.7976931348623157e308", "5e-324", "0.1", "-123456.789"],
    ),
    (
        "c_date",
        "date",
        "date32[day]",
        [
            "1970-01-01",
            "2000-01-01",
            "1999-12-31",
            "0001-01-01",
            "9999-12-31",
            "0044-03-15 BC",
            "4714-11-24 BC",
            "5874897-12-31",
        ],
    ),
    ("c_time", "time", "time64[us]", ["00:00:00", "23:59:59.999999", "12:34:56.7"]),
    (
        "c_timestamp",
        "timestamp",
        "timestamp[us]",
        [
            "1970-01-01 00:00:00",
            "2000-01-01 00:00:00",
            "1999-12-31 23:59:59.999999",
            "0001-01-01 00:00:00",
            "9999-12-31 23:59:59.999999",
            "0044-03-15 12:00:00 BC",
            "4714-11-24 00:00:00 BC",
            "294247-01-10 04:00:54.775806",
        ],
    ),
    (
        "c_timestamptz",
        "timestamptz",
        "timestamp[us, tz=UTC]",
        [
            "1970-01-01 00:00:00+00",
            "2026-06-30 23:59:60+00",
            "1883-11-18 12:03:58-04:56:02",
            "4714-11-24 00:00:00+00 BC",
            "294247-01-10 04:00:54.775806+00",
        ],
    ),
    (
        "c_uuid",
        "uuid",
        "uuid",
        [
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        ],
    ),
    (
        "c_text",
        "text",
        "string",
        [
            "",
            " ",
            "plain",
            "NULL",
            "tab\there",
            "l\nf",
            "\\N",
            "žluťoučký kůň 漢字 🐘",
            "\x01",
            "a" * 126,
            "b" * 127,
            "c" * 128,
            "\ufeff",
            "e\u0301",
        ],
    ),
    ("c_varchar", "varchar(10)", "string", ["", "ten chars.", "漢字漢字漢字漢字漢字"]),
    ("c_bpchar", "char(5)", "string", ["", "a", "漢字", "12345"]),
    ("c_char", '"char"', "string", ["a", "", " ", "~"]),
    ("c_name", "name", "string", ["", "pg_class", "n" * 63]),
    ("c_bytea", "bytea", "binary", ["", "\\x00", "\\x00ff00", "\\x5c27220a", "\\x" + "80" * 130]),
    ("c_json", "json", "json", ["null", '{"a" :  1, "a": 2}', '"\\u00e9"', "[]", '  {"b":1e400}']),
    ("c_jsonb", "jsonb", "json", ["null", '{"a": [1.10, null, {"b": "c"}]}', '""', "12345678901234567890.5"]),
    ("c_enum", "mood", "string", ["sad", "ok", 'it\'s, "quoted"']),
    ("c_domain", "positive", "int32", ["1", "2147483647"]),
    ("c_domain_text", "label", "string", ["", "x"]),
    ("c_domain_domain", "small", "int32", ["1", "99"]),
    ("c_domain_numeric", "price", "decimal(12, 2)", ["0", "9999999999.99"]),
]

NUMERICS = [
    ("n_1_0", "numeric(1,0)", "decimal(1, 0)", ["0", "9", "-9"]),
    ("n_9_0", "numeric(9,0)", "decimal(9, 0)", ["999999999", "-999999999", "0"]),
    ("n_9_9", "numeric(9,9)", "decimal(9, 9)", ["0.999999999", "-0.000000001"]),
    ("n_10_4", "numeric(10,4)", "decimal(10, 4)", ["999999.9999", "0.0001", "10000", "-100000.0010"]),
    ("n_18_3", "numeric(18,3)", "decimal(18, 3)", ["999999999999999.999", "-0.001", "1000000000000"]),
    ("n_19_0", "numeric(19,0)", "decimal(19, 0)", ["9999999999999999999", "-9223372036854775809"]),
    ("n_38_0", "numeric(38,0)", "decimal(38, 0)", ["9" * 38, "-" + "9" * 38, "1" + "0" * 37]),
    ("n_38_19", "numeric(38,19)", "decimal(38, 19)", ["9" * 19 + "." + "9" * 19, "-0." + "0" * 18 + "1"]),
    ("n_38_38", "numeric(38,38)", "decimal(38, 38)", ["0." + "9" * 38, "-0." + "0" * 37 + "1"]),
    ("n_5_m2", "numeric(5,-2)", "decimal(7, 0)", ["9999900", "-100", "0"]),
    ("n_3_5", "numeric(3,5)", "decimal(5, 5)", ["0.00999", "-0.00001", "0"]),
    ("n_39_0", "numeric(39,0)", None, ["9" * 39, "-1"]),
    ("n_1000_500", "numeric(1000,500)", None, ["9" * 500 + "." + "9" * 500, "0"]),
    ("n_any", "numeric", "decimal(11, 5)", ["123456", "0.00001", "-7.50", "0", "100000", "1.1"]),
    ("n_any_int", "numeric", "decimal(3, 0)", ["1", "-999"]),
    ("n_any_zero", "numeric", "decimal(2, 1)", ["0", "0.0", "1.0"]),
    ("n_any_18", "numeric", "decimal(18, 9)", ["999999999.999999999", "-1"]),
    ("n_any_38", "numeric", "decimal(38, 20)", ["9" * 18 + "." + "0" * 19 + "1", "10000.00010"]),
    ("n_any_39", "numeric", "string", ["9" * 19 + "." + "0" * 19 + "1", "1.50", "-0.0"]),
    ("n_any_huge", "numeric", "string", ["1e5000", "-0.000", "1e-5000", "12.340"]),
    ("n_array", "numeric[]", None, ["{}", "{1.5,NULL,-2.25}", "{100}"]),
]

NESTED = [
    ("a_bool", "bool[]", "list<bool>", ["{}", "{t,f,NULL}"]),
    ("a_int4", "int4[]", "list<int32>", ["{}", "{1}", "{NULL}", "{1,NULL,-3}", "{2147483647,-2147483648}"]),
    ("a_int8", "int8[]", "list<int64>", ["{9223372036854775807}", "{}"]),
    ("a_float8", "float8[]", "list<double>", ["{NaN,-0,Infinity}", "{0.1}"]),
    ("a_text", "text[]", "list<string>", ["{}", '{""}', '{NULL,"NULL"}', '{"a,b","c\\"d","e\\\\f","{g}"}']),
    ("a_varchar", "varchar(4)[]", "list<string>", ['{abcd,""}', "{}"]),
    ("a_bytea", "bytea[]", "list<binary>", ['{"\\\\x00ff",NULL,"\\\\x"}']),
    ("a_date", "date[]", "list<date32[day]>", ['{1970-01-01,"0044-03-15 BC"}', "{}"]),
    ("a_tstz", "timestamptz[]", "list<timestamp[us, tz=UTC]>", ['{"2026-11-21 12:00:00+00",NULL}']),
    ("a_uuid", "uuid[]", "list<uuid>", ["{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"]),
    ("a_dec", "numeric(10,2)[]", "list<decimal(10, 2)>", ["{1.50,NULL,-99999999.99}", "{}"]),
    ("a_enum", "mood[]", "list<string>", ["{sad,ok}"]),
    ("a_jsonb", "jsonb[]", "list<json>", ['{"{\\"a\\": 1}",null}', "{}"]),
    ("a_2d", "int4[]", "list<list<int32>>", ["{{1,2},{3,NULL}}", "{{1},{2},{3}}", "{}"]),
    ("a_3d", "text[]", "list<list<list<string>>>", ["{{{a,b}},{{c,NULL}}}", "{}"]),
    ("a_bounds", "int4[]", "string", ["{1,2}", "[0:1]={3,4}", "[-5:-5]={NULL}"]),
    ("a_mixed", "int4[]", "string", ["{1,2}", "{{1},{2}}", "{}"]),
    ("r_pair", "pair", "struct<i: int32, t: string>", ["(1,a)", "(,)", '(2,"")', '(-3,"x, ""y"" \\\\")']),
    (
        "r_deep",
        "deep",
        "struct<p: struct<i: int32, t: string>, n: decimal(6, 2), l: list<int32>>",
        ['("(1,a)",1.50,"{1,2}")', "(,,)", '("(,)",0.00,{})'],
    ),
    ("a_pair", "pair[]", "list<struct<i: int32, t: string>>", ['{"(1,a)","(,)",NULL}', "{}"]),
]

# Types without a kind of their own: their text, under pinned output settings.
FALLBACK = [
    ("f_inet", "inet", "string", ["192.168.0.1/24", "::1"]),
    ("f_cidr", "cidr", "string", ["10.0.0.0/8"]),
    ("f_macaddr", "macaddr", "string", ["08:00:2b:01:02:03"]),
    ("f_macaddr8", "macaddr8", "string", ["08:00:2b:01:02:03:04:05"]),
    ("f_interval", "interval", "string", ["1 year 2 mons -3 days 04:05:06.7", "0", "-1 us"]),
    ("f_timetz", "timetz", "string", ["12:00:00+02", "23:59:59.999999-15:59:59"]),
    ("f_money", "money", "string", ["1234.56", "-0.01"]),
    ("f_bit", "bit(5)", "string", ["10101"]),
    ("f_varbit", "varbit", "string", ["", "101010101010"]),
    ("f_int4range", "int4range", "string", ["[1,5)", "empty", "(,)"]),
    ("f_tsrange", "tsrange", "string", ['["2026-01-01 00:00:00","2026-02-01 00:00:00")']),
    ("f_multirange", "int4multirange", "string", ["{}", "{[1,2),[5,9)}"]),
    ("f_point", "point", "string", ["(0.1,-2)"]),
    ("f_box", "box", "string", ["(2,2),(0,0)"]),
    ("f_polygon", "polygon", "string", ["((0,0),(1,1),(1,0))"]),
    ("f_tsvector", "tsvector", "string", ["a:1 fat:2A cat:3"]),
    ("f_tsquery", "tsquery", "string", ["fat & (rat | !cat)"]),
    ("f_oidvector", "oidvector", "string", ["1 2 3", ""]),
    ("f_int2vector", "int2vector", "string", ["1 -2"]),
    ("f_regclass", "regclass", "string", ["pg_class", "0"]),
    ("f_regtype", "regtype", "string", ["integer"]),
    ("f_pg_lsn", "pg_lsn", "string", ["16/B374D848"]),
    ("f_xid", "xid", "string", ["4294967295"]),
    ("f_xid8", "xid8", "string", ["18446744073709551615"]),
    ("f_tid", "tid", "string", ["(4294967295,65535)"]),
    ("f_jsonpath", "jsonpath", "string", ["$.a[*]"]),
]

XML = [("f_xml", "xml", "string", ["<a>b</a>", "plain"])]

FAMILIES = {"scalars": SCALARS, "numerics": NUMERICS, "nested": NESTED, "fallback": FALLBACK}

TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s, "quoted"');
CREATE DOMAIN positive AS int4 CHECK (VALUE > 0);
CREATE DOMAIN small AS positive CHECK (VALUE < 100);
CREATE DOMAIN label AS text;
CREATE DOMAIN price AS numeric(12,2);
CREATE TYPE pair AS (i int4, t text);
CREATE TYPE deep AS (p pair, n numeric(6,2), l int4[]);
"""


def create(connection, table, cases, repeat=1):
    """A table with one column per case: a row per literal, a row of NULLs, all of it `repeat` times."""
    columns = ", ".join(f"{name} {sql_type}" for name, sql_type, _, _ in cases)
    connection.execute(f"CREATE TABLE {table} ({columns})")
    places = ", ".join(f"%s::{sql_type}" for _, sql_type, _, _ in cases)
    length = max(len(literals) for *_, literals in cases)
    rows = [[literals[i] if i < len(literals) else None for *_, literals in cases] for i in range(length + 1)]
    with connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {table} VALUES ({places})", rows)
    if repeat > 1:
        connection.execute(f"INSERT INTO {table} SELECT t.* FROM {table} t, generate_series(2, {repeat})")


def make(db, family, repeat=1):
    """Table t with the columns of a family, those that this server has; returns the cases."""
    db.execute(TYPES)
    cases = list(FAMILIES[family])
    if family == "fallback" and supports(db, "SELECT '<a/>'::xml"):
        cases += XML
    create(db, "t", cases, repeat)
    return cases
