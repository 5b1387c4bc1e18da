//! Reads what `array_send` and `record_send` write (src/backend/utils/adt/arrayfuncs.c and rowtypes.c). All integers
//! are big-endian:
//!
//! ```text
//! array   dimensions: i32  has nulls: i32  element type: u32
//!         { size: i32  lower bound: i32 } for every dimension
//!         { length: i32, -1 for NULL; that many bytes } for every element, the last dimension fastest
//! record  fields: i32  { type: u32  length: i32, -1 for NULL; that many bytes } for every field
//! ```

use crate::types::Reason;

/// `MAXDIM` in src/include/utils/array.h.
const MAX_DIMENSIONS: usize = 6;

const SHORT: Reason = Reason::Malformed("array or composite shorter than it says");

/// The bytes of an array or composite that have not been read yet.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    pub(super) fn int(&mut self) -> Result<i32, Reason> {
        let (word, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(i32::from_be_bytes(*word))
    }

    /// Reads a length word and as many bytes; `None` for NULL.
    pub(super) fn value(&mut self) -> Result<Option<&'a [u8]>, Reason> {
        let len = self.int()?;
        if len == -1 {
            return Ok(None);
        }
        let (value, rest) =
            usize::try_from(len).ok().and_then(|len| self.0.split_at_checked(len)).ok_or(SHORT)?;
        self.0 = rest;
        Ok(Some(value))
    }

    pub(super) fn end(&self) -> Result<(), Reason> {
        match self.0 {
            [] => Ok(()),
            _ => Err(Reason::Malformed("bytes after the end of an array or composite")),
        }
    }
}

/// The header of an array.
pub(super) struct Dimensions {
    sizes: [usize; MAX_DIMENSIONS],
    count: usize,
    /// Some lower bound is not 1, which a list cannot represent.
    pub(super) shifted: bool,
}

impl Dimensions {
    /// Reads the header. The sizes are at least 1, and there are no more elements than there are bytes for, so that
    /// work in proportion to the sizes is in proportion to the input.
    pub(super) fn read(reader: &mut Reader) -> Result<Dimensions, Reason> {
        const BAD: Reason = Reason::Malformed("array dimensions");
        let count = usize::try_from(reader.int()?).ok().filter(|&n| n <= MAX_DIMENSIONS).ok_or(BAD)?;
        reader.int()?;
        reader.int()?;
        let mut found = Dimensions { sizes: [0; MAX_DIMENSIONS], count, shifted: false };
        let mut elements = 1usize;
        for size in &mut found.sizes[..count] {
            // An empty array has no dimensions, so none of them is empty.
            *size = usize::try_from(reader.int()?).ok().filter(|&size| size > 0).ok_or(BAD)?;
            elements = elements.checked_mul(*size).ok_or(BAD)?;
            found.shifted |= reader.int()? != 1;
        }
        if count > 0 && elements > reader.0.len() / 4 {
            return Err(SHORT);
        }
        Ok(found)
    }

    pub(super) fn sizes(&self) -> &[usize] {
        &self.sizes[..self.count]
    }

    pub(super) fn elements(&self) -> usize {
        if self.count == 0 { 0 } else { self.sizes().iter().product() }
    }
}
