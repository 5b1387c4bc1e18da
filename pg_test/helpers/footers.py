"""Parquet footers, taken apart and put together again: files that no writer at hand writes.

A struct is a dict of field number -> (type, value); a list is a pair (type of its items, items)."""

import struct

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def zigzag(self):
        value = self.varint()
        return (value >> 1) ^ -(value & 1)

    def value(self, kind):
        match kind:
            case 1 | 2:
                return kind == TRUE
            case 3:
                return self.take(1)[0]
            case 4 | 5 | 6:
                return self.zigzag()
            case 7:
                return self.take(8)
            case 8:
                return self.take(self.varint())
            case 9 | 10:
                header = self.take(1)[0]
                size = header >> 4 if header >> 4 < 15 else self.varint()
                return header & 15, [self.value(header & 15) for _ in range(size)]
            case 12:
                fields, number = {}, 0
                while header := self.take(1)[0]:
                    number = number + (header >> 4) if header >> 4 else self.zigzag()
                    fields[number] = (header & 15, self.value(header & 15))
                return fields


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def zigzag(value):
    return varint(value << 1 if value >= 0 else (-value << 1) - 1)


def encode(kind, value):
    match kind:
        case 1 | 2:
            return b""
        case 3:
            return bytes([value])
        case 4 | 5 | 6:
            return zigzag(value)
        case 7:
            return value
        case 8:
            return varint(len(value)) + value
        case 9 | 10:
            item, items = value
            head = bytes([len(items) << 4 | item]) if len(items) < 15 else bytes([0xF0 | item]) + varint(len(items))
            return head + b"".join(encode(item, one) for one in items)
        case 12:
            out, last = b"", 0
            for number, (inner, one) in sorted(value.items()):
                if inner in (TRUE, FALSE):
                    inner = TRUE if one else FALSE
                step = number - last
                out += (bytes([step << 4 | inner]) if 0 < step < 16 else bytes([inner]) + zigzag(number)) + encode(
                    inner, one
                )
                last = number
            return out + b"\0"


def read(path):
    """A file's bytes before its footer, and the footer."""
    data = path.read_bytes()
    length = struct.unpack("<I", data[-8:-4])[0]
    return data[: -8 - length], Reader(data[-8 - length : -8]).value(STRUCT)


def write(path, body, footer):
    footer = encode(STRUCT, footer)
    path.write_bytes(body + footer + struct.pack("<I", len(footer)) + b"PAR1")
    path.chmod(0o644)


def element(name, kind=None, repetition=1, children=None, converted=None, logical=None, length=None):
    """An element of the schema; `repetition` 0 is REQUIRED, 1 OPTIONAL, 2 REPEATED."""
    fields = {4: (BINARY, name.encode())}
    for number, value in ((1, kind), (2, length), (3, repetition), (5, children), (6, converted)):
        if value is not None:
            fields[number] = (I32, value)
    if logical is not None:
        fields[10] = (STRUCT, {logical: (STRUCT, {})})
    return fields
