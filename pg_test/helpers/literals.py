"""PostgreSQL's text output turned into values: the side of the oracle that knows no Parquet."""

import re

MICROS_A_DAY = 86_400_000_000


def days(year, month, day):
    """Days since 1970-01-01 of a proleptic Gregorian date; years count from 0 = 1 BC."""
    year -= month <= 2
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719468


def date(text):
    """DateStyle ISO: 2026-11-21, 0044-03-15 BC."""
    year, month, day = map(int, text.removesuffix(" BC").split("-"))
    return days(1 - year if text.endswith(" BC") else year, month, day)


def time(text):
    """Microseconds since midnight."""
    hours, minutes, seconds = text.split(":")
    whole, _, fraction = seconds.partition(".")
    return (int(hours) * 3600 + int(minutes) * 60 + int(whole)) * 1_000_000 + int(fraction.ljust(6, "0"))


def timestamp(text):
    """Microseconds since 1970-01-01; timestamptz is read as printed with TimeZone UTC."""
    era = " BC" if text.endswith(" BC") else ""
    day, clock = text.removesuffix(" BC").split(" ")
    return date(day + era) * MICROS_A_DAY + time(clock.removesuffix("+00"))


def array(text, delimiter=","):
    """Nested lists of element texts, None for NULL. An explicit lower bound is dropped."""
    values, end = _braces(text, text.index("{"), delimiter)
    assert end == len(text), text
    return values


def _braces(text, start, delimiter):
    items, position = [], start + 1
    while text[position] != "}":
        if text[position] == "{":
            item, position = _braces(text, position, delimiter)
        elif text[position] == '"':
            item, position = _quoted(text, position)
        else:
            end = re.compile(rf"[{delimiter}}}]").search(text, position).start()
            item, position = text[position:end], end
            item = None if item == "NULL" else item
        items.append(item)
        position += text[position] == delimiter
    return items, position + 1


def _quoted(text, start):
    """A double-quoted item, with backslash escapes and doubled quotes."""
    out, position = [], start + 1
    while True:
        character = text[position]
        if character == "\\":
            out.append(text[position + 1])
            position += 2
        elif character == '"' and text[position + 1 : position + 2] == '"':
            out.append('"')
            position += 2
        elif character == '"':
            return "".join(out), position + 1
        else:
            out.append(character)
            position += 1


def record(text, fields):
    """The field texts of a composite, None for NULL."""
    items, position = [], 1
    while len(items) < fields:
        item, start = [], position
        while text[position] not in ",)":
            if text[position] == '"':
                part, position = _quoted(text, position)
            else:
                part, position = text[position], position + 1
            item.append(part)
        items.append("".join(item) if position > start else None)
        position += 1
    assert position == len(text), text
    return items
