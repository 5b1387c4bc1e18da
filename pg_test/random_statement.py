"""Random aggregations over a table of random rows."""

# Each column: its type, and the values that rows have, beside NULL.
COLUMNS = {
    "b": ("boolean", ["true", "false"]),
    "i2": ("smallint", ["-32768", "32767", "0", "1", "-1", "7", "100"]),
    "i4": ("integer", ["-2147483648", "2147483647", "0", "1", "-1", "2", "30000", "65536"]),
    "i8": ("bigint", ["-9223372036854775808", "9223372036854775807", "0", "1", "-1", "3", "4294967296", "10000000000"]),
    "s4": ("integer", [str(value) for value in range(-5, 6)]),
    "f4": ("real", ["'NaN'", "'Infinity'", "'-Infinity'", "0", "1.5", "-2.25", "1e30"]),
    "f8": ("double precision", ["'NaN'", "'Infinity'", "'-Infinity'", "0", "0.1", "-1e300", "3"]),
    "n": (
        "numeric",
        [
            "'NaN'",
            "'Infinity'",
            "'-Infinity'",
            "0",
            "0.00",
            "1",
            "1.0",
            "1.50",
            "-3.14159",
            "12345678901234567890123456789",
            "99999999999999999999999999999999999999",
            "-0.000000000000000000000001",
            "1e-30",
            "1e60",
            "7",
            "0.5",
            "-0.5",
            "2.5",
            "10000",
            "9999.9999",
            "0.00009999",
            "1e27",
            "-1e28",
        ],
    ),
    "n2": (
        "numeric(15,2)",
        [
            "0.00",
            "1.00",
            "-1.01",
            "9999999999999.99",
            "-9999999999999.99",
            "0.05",
            "10.10",
            "0.50",
            "-2.50",
            "10000.00",
        ],
    ),
    "nw": ("numeric(38,10)", ["0", "1234567890123456789012345678.0123456789", "-1.5", "0.0000000001", "99"]),
    "d": (
        "date",
        [
            "'2000-01-01'",
            "'1999-12-31'",
            "'infinity'",
            "'-infinity'",
            "'4713-01-01 BC'",
            "'5874897-12-31'",
            "'2024-02-29'",
            "'0001-01-01'",
            "'0001-12-31 BC'",
            "'2005-01-01'",
            "'2024-12-30'",
            "'294276-12-31'",
        ],
    ),
    "ti": ("time", ["'00:00'", "'24:00'", "'12:34:56.789012'"]),
    "ts": (
        "timestamp",
        [
            "'2000-01-01'",
            "'infinity'",
            "'-infinity'",
            "'1999-12-31 23:59:59.999999'",
            "'2024-02-29 12:00'",
            "'294276-12-31'",
            "'294276-12-31 23:59:59.999999'",
            "'4714-11-24 BC'",
            "'0001-01-01 00:00:00.000001'",
            "'0001-12-31 BC'",
            "'2005-01-01 07:08:09.5'",
        ],
    ),
    "tz": ("timestamptz", ["'2000-01-01 00:00+00'", "'infinity'", "'2024-02-29 12:00+05'"]),
    "t": (
        'text COLLATE "C"',
        [
            "''",
            "'a'",
            "'ab'",
            "'abcdefghijkl'",
            "'abcdefghijklm'",
            "'abcdefghijkln'",
            "'žluťoučký kůň'",
            "'a%b'",
            "'a_b'",
            "'aBC'",
            "'Žß€'",
            "'a  '",
            "' '",
            "repeat('x', 3000)",
            "repeat(md5('toast'), 400)",
        ],
    ),
    "v": ("varchar(20)", ["''", "'a'", "'B'", "'a '", "'twelve bytes'", "'thirteen byte'"]),
    "c": ("char(6)", ["''", "'a'", "'ab'", "'a b'", "'ABCDEF'"]),
    "u": (
        "uuid",
        [
            "'00000000-0000-0000-0000-000000000000'",
            "'ffffffff-ffff-ffff-ffff-ffffffffffff'",
            "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'",
        ],
    ),
}
INTEGERS = ("i2", "i4", "i8", "s4")
NUMERICS = ("n", "n2", "nw")
TEXTS = ("t", "v", "c")
# Equal values of these may differ in how they are shown, and which of them a group shows is not defined.
SHOWN = {"n": "trim_scale({})", "f4": "({} + 0::real)", "f8": "({} + 0::double precision)"}
ORDERED = (
    "i2",
    "i4",
    "i8",
    "s4",
    "f4",
    "f8",
    "n",
    "n2",
    "nw",
    "d",
    "ti",
    "ts",
    "tz",
    "t",
    'v COLLATE "C"',
    'c COLLATE "C"',
)
SPREADS = ("variance", "var_pop", "var_samp", "stddev", "stddev_pop", "stddev_samp")


DATE_PARTS = (
    "year",
    "quarter",
    "month",
    "week",
    "day",
    "dow",
    "isodow",
    "doy",
    "isoyear",
    "century",
    "decade",
    "epoch",
)
TIME_PARTS = ("hour", "minute", "second", "milliseconds", "microseconds")
UNITS = ("year", "quarter", "month", "week", "day", "hour", "minute", "second", "milliseconds", "decade")


class Statement:
    """Writes one statement. Some of its constants are subqueries, or parameters if it is `prepared`."""

    def __init__(self, chance, prepared=False):
        self.chance = chance
        self.prepared = prepared
        # The type and the value of each.
        self.parameters = []

    def constant(self, name):
        kind, values = COLUMNS[name]
        value = f"({self.chance.choice(values)})::{kind}" if self.chance.random() < 0.9 else f"NULL::{kind}"
        other = self.chance.random()
        if self.prepared and other < 0.6:
            self.parameters.append((kind.split(" COLLATE")[0], value))
            # A parameter has its type's collation.
            return f"${len(self.parameters)}{kind[kind.index(' COLLATE') :] if ' COLLATE' in kind else ''}"
        return f"(SELECT {value})" if other > 0.95 else value

    def integer(self, depth):
        kind = self.chance.random()
        if depth == 0 or kind < 0.4:
            return self.chance.choice(INTEGERS)
        if kind < 0.5:
            return self.chance.choice(("1", "0", "-1", "100", "3::bigint", "2::smallint"))
        if kind < 0.6:
            return (
                f"(CASE WHEN {self.condition(depth - 1)} THEN {self.integer(0)}::bigint ELSE "
                f"{self.integer(depth - 1)}::bigint END)"
            )
        if kind < 0.65:
            return f"coalesce({self.integer(0)}::bigint, {self.integer(depth - 1)}::bigint)"
        if kind < 0.7:
            return f"(- {self.integer(depth - 1)})"
        if kind < 0.75:
            return f"{self.integer(depth - 1)}::{self.chance.choice(('smallint', 'integer', 'bigint'))}"
        if kind < 0.87:
            return self.other_integer(depth - 1)
        return (
            f"({self.integer(depth - 1)} {self.chance.choice(('+', '-', '*', '*', '/', '%'))} "
            f"{self.integer(depth - 1)})"
        )

    def other_integer(self, depth):
        one, other = self.integer(depth), self.integer(depth)
        return self.chance.choice(
            (
                lambda: f"abs({one})",
                lambda: f"(@ {one})",
                lambda: f"(~ {one})",
                lambda: f"({one}::bigint {self.chance.choice('&|#')} {other}::bigint)",
                lambda: (
                    f"({one} {self.chance.choice(('<<', '>>'))} {self.chance.choice(('1', '7', '31', '40', 's4'))})"
                ),
                lambda: f"mod({one}::bigint, {other}::bigint)",
                lambda: f"{self.chance.choice(('greatest', 'least'))}({one}, {other}, {self.integer(0)})",
                lambda: f"nullif({one}, {other})",
                lambda: f"{self.chance.choice(('length', 'octet_length'))}({self.text_value(depth)})",
                lambda: f"length({self.chance.choice(TEXTS)})",
                lambda: f"({self.date(depth)} - {self.date(0)})",
                lambda: f"extract({self.chance.choice(DATE_PARTS)} FROM d)::integer",
                lambda: f"{self.numeric(depth)}::{self.chance.choice(('smallint', 'integer', 'bigint'))}",
            )
        )()

    def date(self, depth):
        kind = self.chance.random()
        if depth == 0 or kind < 0.4:
            return "d"
        if kind < 0.6:
            return f"({self.date(depth - 1)} {self.chance.choice('+-')} {self.chance.choice(('s4', '30', 'i4', 'i2'))})"
        return self.chance.choice(
            (
                f"{self.timestamp(depth - 1)}::date",
                f"coalesce({self.date(0)}, {self.constant('d')})",
                f"{self.chance.choice(('greatest', 'least'))}({self.date(0)}, {self.constant('d')})",
                f"(CASE WHEN {self.condition(0)} THEN {self.date(depth - 1)} END)",
            )
        )

    def timestamp(self, depth):
        kind = self.chance.random()
        if depth == 0 or kind < 0.3:
            return "ts"
        interval = self.chance.choice(
            ("1 day", "-3 days 04:05:06.789", "1 hour", "100000 days", "00:00:00.000001", "1 mon")
        )
        return self.chance.choice(
            (
                f"({self.timestamp(depth - 1)} {self.chance.choice('+-')} interval '{interval}')",
                f"({self.date(depth - 1)} {self.chance.choice('+-')} interval '{interval}')",
                f"date_trunc('{self.chance.choice(UNITS)}', {self.timestamp(depth - 1)})",
                f"{self.date(depth - 1)}::timestamp",
                f"{self.chance.choice(('greatest', 'least'))}(ts, {self.timestamp(depth - 1)}, {self.constant('ts')})",
                f"nullif(ts, {self.constant('ts')})",
            )
        )

    def text_value(self, depth):
        kind = self.chance.random()
        if depth == 0 or kind < 0.3:
            return self.chance.choice(("t", 'v COLLATE "C"', 'c::text COLLATE "C"'))
        one, number = self.text_value(depth - 1), self.chance.randint(-3, 14)
        return self.chance.choice(
            (
                f"left({one}, {number})",
                f"right({one}, {number})",
                f"substring({one}, {number})",
                f"substr({one}, {number}, {self.chance.randint(0, 13)})",
                f"lower({one})",
                f"upper({one})",
                f"({one} || {self.text_value(0)})",
                f"coalesce({one}, {self.text_value(0)})",
                f"nullif({one}, {self.constant('t')})",
                f"{self.chance.choice(('greatest', 'least'))}({one}, {self.text_value(0)}, 'ab')",
                f"(CASE WHEN {self.condition(0)} THEN {one} ELSE {self.text_value(0)} END)",
            )
        )

    def numeric(self, depth):
        kind = self.chance.random()
        if depth == 0 or kind < 0.4:
            return self.chance.choice(NUMERICS)
        if kind < 0.5:
            return self.chance.choice(("1::numeric", "0.5", "100.00", "-1.000000"))
        if kind < 0.6:
            return f"{self.integer(depth - 1)}::numeric"
        if kind < 0.7:
            return f"(CASE WHEN {self.condition(depth - 1)} THEN {self.numeric(0)} ELSE {self.numeric(depth - 1)} END)"
        if kind < 0.75:
            return f"coalesce({self.numeric(0)}, {self.numeric(depth - 1)})"
        if kind < 0.87:
            return self.other_numeric(depth - 1)
        return f"({self.numeric(depth - 1)} {self.chance.choice(('+', '-', '*'))} {self.numeric(depth - 1)})"

    def other_numeric(self, depth):
        one, other = self.numeric(depth), self.numeric(depth)
        number = self.chance.randint(0, 12)
        return self.chance.choice(
            (
                f"({one} {self.chance.choice('/%')} {other})",
                f"({one} / {self.chance.choice(('3', '7.00', '-0.001', '12345.678'))})",
                f"{self.chance.choice(('abs', 'sign', 'round', 'trunc', 'ceil', 'floor', '-'))}({one})",
                f"{self.chance.choice(('round', 'trunc'))}({one}, {number})",
                f"{one}::numeric({number + self.chance.randint(1, 20)}, {number})",
                f"{self.chance.choice(('greatest', 'least'))}({one}, {other})",
                f"nullif({one}, {other})",
                f"extract({self.chance.choice(DATE_PARTS)} FROM {self.date(depth)})",
                f"extract({self.chance.choice(DATE_PARTS + TIME_PARTS)} FROM {self.timestamp(depth)})",
                "extract(epoch FROM tz)",
            )
        )

    def comparison(self, depth):
        operator = self.chance.choice(("=", "<>", "<", "<=", ">", ">="))
        kind = self.chance.random()
        if kind < 0.2:
            return f"{self.integer(depth)} {operator} {self.integer(depth)}"
        if kind < 0.4:
            return f"{self.numeric(depth)} {operator} {self.numeric(depth)}"
        if kind < 0.5:
            return self.chance.choice((f"d {operator} ts", f"ts {operator} d", f"f4 {operator} f8"))
        name = self.chance.choice([name for name in COLUMNS if name != "b"])
        if kind < 0.6 and name in TEXTS:
            pattern = self.chance.choice(("a%", "%b", "_", "%a%b%", "", "%", "a\\%b", "__", "%_%", "ž%", "%ň"))
            return f"{name} {self.chance.choice(('LIKE', 'NOT LIKE'))} '{pattern}'"
        if kind < 0.68:
            return self.other_comparison(depth, operator)
        if kind < 0.8:
            values = ", ".join(self.constant(name) for _ in range(self.chance.randint(1, 12)))
            return f"{name} {self.chance.choice(('IN', 'NOT IN'))} ({values})"
        if name in ("v", "c", "u"):
            operator = self.chance.choice(("=", "<>"))
        return f"{name} {operator} {self.constant(name)}"

    def other_comparison(self, depth, operator):
        some = self.chance.choice(("= ANY", "<> ALL", f"{operator} ANY", f"{operator} ALL"))
        pair = self.chance.choice((self.integer, self.numeric, self.date, self.timestamp, self.text_value))
        return self.chance.choice(
            (
                lambda: f"{pair(depth)} {operator} {pair(depth)}",
                lambda: f"{pair(depth)} IS {self.chance.choice(('', 'NOT '))}DISTINCT FROM {pair(depth)}",
                lambda: (
                    f"{name} IS DISTINCT FROM {self.constant(name)}"
                    if (name := self.chance.choice(list(COLUMNS)))
                    else ""
                ),
                lambda: f"{self.date(depth)} {operator} {self.timestamp(depth)}",
                lambda: f"{self.integer(0)} {some} (ARRAY[1, NULL, -1, 4294967296, 7]::bigint[])",
                lambda: f"i8 {some} (ARRAY[1, 0, 2]::smallint[])",
                lambda: f"ts {some} (ARRAY['2000-01-01', 'infinity', '5874897-12-31', NULL]::date[])",
                lambda: f"d {some} (ARRAY['2000-01-01', '1999-12-31 23:59:59.999999', '-infinity']::timestamp[])",
                lambda: f"t {some} (ARRAY['a', 'b', 'abcdefghijklm'])",
                lambda: f"n {some} (ARRAY[1, 1.50, 'NaN']::numeric[])",
                lambda: f"starts_with({self.text_value(depth)}, 'a')",
                lambda: f"{self.text_value(depth)} LIKE 'a%'",
                lambda: f"tz {operator} now()",
                lambda: f"d {operator} CURRENT_DATE - 30",
                lambda: f"ts {operator} date_trunc('month', LOCALTIMESTAMP) - interval '1 month'",
                lambda: f"date_part('{self.chance.choice(DATE_PARTS)}', {self.timestamp(depth)}) {operator} 12",
            )
        )()

    def condition(self, depth):
        kind = self.chance.random()
        if depth > 0 and kind < 0.3:
            return f"({self.condition(depth - 1)} {self.chance.choice(('AND', 'OR'))} {self.condition(depth - 1)})"
        if depth > 0 and kind < 0.4:
            return f"(NOT {self.condition(depth - 1)})"
        if kind < 0.5:
            return self.chance.choice(
                (
                    "b",
                    "NOT b",
                    "b IS TRUE",
                    "b IS NOT TRUE",
                    "b IS FALSE",
                    "b IS NOT FALSE",
                    "b IS UNKNOWN",
                    "b IS NOT UNKNOWN",
                )
            )
        if kind < 0.6:
            return f"{self.chance.choice(list(COLUMNS))} IS {self.chance.choice(('', 'NOT '))}NULL"
        return f"({self.comparison(max(depth - 1, 0))})"

    def key(self):
        """A key, and what shows it."""
        kind = self.chance.random()
        if kind < 0.7:
            name = self.chance.choice(list(COLUMNS))
            return name, SHOWN.get(name, "{}").format(name)
        makers = (self.integer, self.integer, self.condition, self.date, self.timestamp, self.text_value)
        expression = self.chance.choice(makers)(1)
        # A constant would be a column's number.
        return (expression, expression) if any(name in expression for name in COLUMNS) else ("b", "b")

    def aggregate(self):
        kind = self.chance.random()
        if kind < 0.15:
            found = "count(*)"
        elif kind < 0.3:
            found = f"count({self.chance.choice(('', 'DISTINCT '))}{self.chance.choice(list(COLUMNS))})"
        elif kind < 0.4:
            name = self.chance.choice(ORDERED)
            found = f"{self.chance.choice(('min', 'max'))}({name})"
        elif kind < 0.45:
            maker = self.chance.choice((self.integer, self.date, self.timestamp, self.text_value))
            found = f"{self.chance.choice(('min(', 'max(', 'count(', 'count(DISTINCT ', 'max(DISTINCT '))}{maker(2)})"
        elif kind < 0.5:
            found = f"{self.chance.choice(('bool_and', 'bool_or', 'every'))}({self.condition(1)})"
        elif kind < 0.57:
            functions = ("bit_and(", "bit_or(", "bit_xor(", "bit_xor(DISTINCT ", "sum(DISTINCT ", "avg(DISTINCT ")
            found = f"{self.chance.choice(functions)}{self.integer(1)})"
        elif kind < 0.67:
            found = f"{self.chance.choice(SPREADS)}({self.chance.choice((self.integer, self.numeric))(1)})"
        else:
            found = f"{self.chance.choice(('sum', 'avg'))}({self.chance.choice((self.integer, self.numeric))(2)})"
        if self.chance.random() < 0.2:
            filtered = f"{found} FILTER (WHERE {self.condition(1)})"
        else:
            filtered = found
        name = found[4:-1] if found.startswith(("min(", "max(")) else ""
        return SHOWN[name].format(filtered) if name in SHOWN else filtered

    def text(self, table):
        keys = [self.key() for _ in range(self.chance.choice((0, 0, 1, 1, 2, 3)))]
        aggregates = [self.aggregate() for _ in range(self.chance.randint(1 if not keys else 0, 4))]
        shown = [f"({shown})::text" for _, shown in keys] + [f"({aggregate})::text" for aggregate in aggregates]
        if keys and self.chance.random() < 0.1:
            condition = f" WHERE {self.condition(2)}" if self.chance.random() < 0.5 else ""
            inner = f"SELECT DISTINCT {', '.join(f'({key}) AS k{at}' for at, (key, _) in enumerate(keys))}"
            outer = ", ".join(f"({SHOWN.get(key, '{}').format(f'k{at}')})::text" for at, (key, _) in enumerate(keys))
            return f"SELECT {outer} FROM ({inner} FROM {table}{condition}) AS q"
        text = f"SELECT {', '.join(shown)} FROM {table}"
        if self.chance.random() < 0.6:
            text += f" WHERE {' AND '.join(self.condition(2) for _ in range(self.chance.randint(1, 2)))}"
        if keys:
            text += f" GROUP BY {', '.join(f'({key})' for key, _ in keys)}"
        if aggregates and self.chance.random() < 0.15:
            text += f" HAVING {self.chance.choice(aggregates)} IS NOT NULL AND count(*) > {self.chance.randint(0, 3)}"
        return text
