//! Thrift's compact protocol (thrift-compact-protocol.md): a reader that does not trust its input, and a
//! writer.

use crate::encode::bits::{put_varint, put_zigzag};

/// The deepest nesting of structs. Each takes some kilobytes of stack, of which a backend has two megabytes.
pub const DEEPEST: usize = 64;

pub const MALFORMED: &str = "its metadata is not in Thrift's compact protocol";

/// The decoder does not skip their bytes and would take them for the next field, such as a list without an end.
const BOOLEANS: &str = "unsupported: its metadata has booleans in a list or map of an unknown meaning";

pub type Checked<T> = Result<T, &'static str>;

pub const TRUE: u8 = 1;
pub const FALSE: u8 = 2;
pub const BYTE: u8 = 3;
pub const I16: u8 = 4;
pub const I32: u8 = 5;
pub const I64: u8 = 6;
pub const DOUBLE: u8 = 7;
pub const BINARY: u8 = 8;
pub const LIST: u8 = 9;
pub const SET: u8 = 10;
pub const MAP: u8 = 11;
pub const STRUCT: u8 = 12;
const UUID: u8 = 13;

pub struct Reader<'a> {
    pub rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn byte(&mut self) -> Checked<u8> {
        let (byte, rest) = self.rest.split_first().ok_or(MALFORMED)?;
        self.rest = rest;
        Ok(*byte)
    }

    fn advance(&mut self, bytes: u64) -> Checked<()> {
        let bytes = usize::try_from(bytes).map_err(|_| MALFORMED)?;
        self.rest = self.rest.get(bytes..).ok_or(MALFORMED)?;
        Ok(())
    }

    pub fn varint(&mut self) -> Checked<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(MALFORMED)
    }

    pub fn zigzag(&mut self) -> Checked<i64> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Reads a number of a field whose type is I32: a varint can hold more.
    pub fn int(&mut self) -> Checked<i64> {
        self.zigzag().and_then(|value| i32::try_from(value).map(i64::from).map_err(|_| MALFORMED))
    }

    /// Visits a struct's fields by number and type; `visit` reads the value.
    pub fn fields(
        &mut self,
        depth: usize,
        visit: &mut dyn FnMut(&mut Self, i64, u8) -> Checked<()>,
    ) -> Checked<()> {
        if depth == 0 {
            return Err("its metadata has more structs in structs than can be read");
        }
        let mut field = 0;
        loop {
            let header = self.byte()?;
            if header == 0 {
                return Ok(());
            }
            field = match header >> 4 {
                0 => self.zigzag()?,
                delta => field.checked_add(delta.into()).ok_or(MALFORMED)?,
            };
            visit(self, field, header & 0xf)?;
        }
    }

    /// Visits a struct's fields with the bytes of their values; a boolean has none, since its type is the
    /// value.
    pub fn values(&mut self, visit: &mut dyn FnMut(i64, u8, &'a [u8]) -> Checked<()>) -> Checked<()> {
        self.fields(DEEPEST, &mut |reader, field, kind| {
            let before = reader.rest;
            reader.skip(kind, DEEPEST)?;
            visit(field, kind, &before[..before.len() - reader.rest.len()])
        })
    }

    /// Visits a list's items, which are structs; `visit` reads each.
    pub fn structs(&mut self, visit: &mut dyn FnMut(&mut Self) -> Checked<()>) -> Checked<()> {
        let (kind, size) = self.list()?;
        for _ in 0..size {
            if kind != STRUCT {
                return Err(MALFORMED);
            }
            visit(self)?;
        }
        Ok(())
    }

    /// Visits the bytes of a list's items, which are structs.
    pub fn struct_values(&mut self, visit: &mut dyn FnMut(&'a [u8]) -> Checked<()>) -> Checked<()> {
        self.structs(&mut |reader| {
            let before = reader.rest;
            reader.skip(STRUCT, DEEPEST)?;
            visit(&before[..before.len() - reader.rest.len()])
        })
    }

    /// Reads the type and number of a list's items.
    pub fn list(&mut self) -> Checked<(u8, u64)> {
        let header = self.byte()?;
        let size = match header >> 4 {
            15 => self.varint()?,
            size => u64::from(size),
        };
        Ok((header & 0xf, size))
    }

    pub fn skip(&mut self, kind: u8, depth: usize) -> Checked<()> {
        match kind {
            TRUE | FALSE => Ok(()),
            BYTE => self.advance(1),
            I16 | I32 | I64 => self.varint().map(|_| ()),
            DOUBLE => self.advance(8),
            UUID => self.advance(16),
            BINARY => {
                let len = self.varint()?;
                self.advance(len)
            }
            LIST | SET => {
                let (kind, size) = self.list()?;
                (0..size).try_for_each(|_| self.skip_item(kind, depth))
            }
            MAP => {
                let size = self.varint()?;
                let kinds = if size > 0 { self.byte()? } else { 0 };
                (0..size).try_for_each(|_| {
                    self.skip_item(kinds >> 4, depth)?;
                    self.skip_item(kinds & 0xf, depth)
                })
            }
            STRUCT => {
                let inner = depth.checked_sub(1).ok_or(MALFORMED)?;
                self.fields(inner, &mut |reader, _, kind| reader.skip(kind, inner))
            }
            _ => Err(MALFORMED),
        }
    }

    /// Skips a list's items if they are booleans, which take a byte each; returns whether they are.
    pub fn skip_booleans(&mut self) -> Checked<bool> {
        let mut list = Reader { rest: self.rest };
        let (TRUE | FALSE, size) = list.list()? else { return Ok(false) };
        list.advance(size)?;
        self.rest = list.rest;
        Ok(true)
    }

    /// Skips an item as `skip` does, but nested lists count as depth.
    fn skip_item(&mut self, kind: u8, depth: usize) -> Checked<()> {
        match kind {
            TRUE | FALSE => Err(BOOLEANS),
            LIST | SET | MAP => self.skip(kind, depth.checked_sub(1).ok_or(MALFORMED)?),
            _ => self.skip(kind, depth),
        }
    }
}

/// A struct that is being written.
#[derive(Default)]
pub struct Fields {
    out: Vec<u8>,
    last: i64,
}

impl Fields {
    pub fn put(&mut self, field: i64, kind: u8, value: &[u8]) {
        match field.wrapping_sub(self.last) {
            step @ 1..=15 => self.out.push((step as u8) << 4 | kind),
            _ => {
                self.out.push(kind);
                put_zigzag(&mut self.out, field);
            }
        }
        self.out.extend_from_slice(value);
        self.last = field;
    }

    pub fn put_integer(&mut self, field: i64, kind: u8, value: i64) {
        let mut bytes = Vec::new();
        put_zigzag(&mut bytes, value);
        self.put(field, kind, &bytes);
    }

    pub fn put_list(&mut self, field: i64, kind: u8, items: &[Vec<u8>]) {
        let mut bytes = Vec::new();
        match items.len() {
            size @ 0..15 => bytes.push((size as u8) << 4 | kind),
            size => {
                bytes.push(0xf0 | kind);
                put_varint(&mut bytes, size as u64);
            }
        }
        items.iter().for_each(|item| bytes.extend_from_slice(item));
        self.put(field, LIST, &bytes);
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.out.push(0);
        self.out
    }
}
