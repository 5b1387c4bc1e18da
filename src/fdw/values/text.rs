//! Converts texts and bytes, with a varlena header before each as in PostgreSQL's memory.

use std::borrow::Cow;
use std::ops::Range;
use std::ptr;

use arrow::array::{Array, ArrayRef, AsArray, GenericStringArray, OffsetSizeTrait, StringArray};
use arrow::datatypes::DataType;

use super::{Misfit, NO_MEMORY, Words, unexpected};
use crate::interrupts::{self, STEP_BYTES, contains, copy, in_steps, in_text_steps};
use crate::memory::reserve;
use crate::types::Reason;

/// A varlena's header of four bytes; values longer than a header can state are an error.
const HEADER: usize = 4;
pub const LONGEST: usize = (1 << 30) - 1 - HEADER;
pub const TOO_LARGE: &str = "a value of PostgreSQL is smaller than 1 GB";
pub const HAS_NUL: &str = "text of PostgreSQL cannot have a NUL character";

/// Calls `work` with the array's values as bytes, for any kind of text or bytes.
fn with_bytes<R>(array: &ArrayRef, work: impl FnOnce(&dyn Fn(usize) -> *const [u8]) -> R) -> Option<R> {
    Some(match array.data_type() {
        DataType::Utf8 => {
            let values = array.as_string::<i32>();
            work(&|row| values.value(row).as_bytes())
        }
        DataType::LargeUtf8 => {
            let values = array.as_string::<i64>();
            work(&|row| values.value(row).as_bytes())
        }
        DataType::Utf8View => {
            let values = array.as_string_view();
            work(&|row| values.value(row).as_bytes())
        }
        DataType::Binary => {
            let values = array.as_binary::<i32>();
            work(&|row| values.value(row))
        }
        DataType::LargeBinary => {
            let values = array.as_binary::<i64>();
            work(&|row| values.value(row))
        }
        DataType::BinaryView => {
            let values = array.as_binary_view();
            work(&|row| values.value(row))
        }
        DataType::FixedSizeBinary(_) => {
            let values = array.as_fixed_size_binary();
            work(&|row| values.value(row))
        }
        _ => return None,
    })
}

pub fn bytes(array: &ArrayRef, out: &mut Words) -> Result<(), Misfit> {
    append(array, out, |bytes| Ok(Cow::Borrowed(bytes)))
}

/// Converts texts of at most `most` characters; with `padded`, blanks are added up to that number, and only
/// blanks are removed beyond it.
pub fn texts(array: &ArrayRef, most: Option<usize>, padded: bool, out: &mut Words) -> Result<(), Misfit> {
    let is_plain = match array.data_type() {
        DataType::Utf8 => short_texts(array.as_string::<i32>(), most, padded, out)?,
        DataType::LargeUtf8 => short_texts(array.as_string::<i64>(), most, padded, out)?,
        _ => false,
    };
    if is_plain {
        return Ok(());
    }
    let known = matches!(array.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    append(array, out, move |bytes| {
        if !known && !in_text_steps(bytes, |_| ()) {
            return Err(Reason::InvalidUtf8);
        }
        if contains(bytes, 0) {
            return Err(Reason::Malformed(HAS_NUL));
        }
        match most {
            None => Ok(Cow::Borrowed(bytes)),
            Some(most) => limited(bytes, most, padded),
        }
    })
}

/// Converts texts that are ASCII and as they are kept, which can be seen of all at once; returns false for others.
fn short_texts<O: OffsetSizeTrait>(
    array: &GenericStringArray<O>,
    most: Option<usize>,
    padded: bool,
    out: &mut Words,
) -> Result<bool, Misfit> {
    let offsets = array.value_offsets();
    let (first, last) = (offsets[0].as_usize(), offsets[array.len()].as_usize());
    let (values, used) = (array.value_data(), first..last);
    if used.len() > STEP_BYTES || !values[used.clone()].is_ascii() || contains(&values[used], 0) {
        return Ok(false);
    }
    let mut total = 0;
    for (row, ends) in offsets.windows(2).enumerate() {
        let length = ends[1].as_usize() - ends[0].as_usize();
        let is_right = most.is_none_or(|most| if padded { length == most } else { length <= most });
        if !is_right && !out.nulls[row] {
            return Ok(false);
        }
        total += (HEADER + length).next_multiple_of(HEADER);
    }
    /// Copied at once, of which a value may use the beginning.
    const CHUNK: usize = 16;
    let mut at = out.arena(total + CHUNK)?;
    for (row, ends) in offsets.windows(2).enumerate() {
        if out.nulls[row] {
            out.words.push(0);
            continue;
        }
        out.words.push(at as u64);
        let (start, length) = (ends[0].as_usize(), ends[1].as_usize() - ends[0].as_usize());
        let chunk = values.get(start..).and_then(|rest| rest.first_chunk::<CHUNK>());
        // SAFETY: the arena has room for every value with its header, rounded up, as summed above, and for a chunk
        // after them.
        unsafe {
            at.cast::<u32>().write(((HEADER + length) as u32) << 2);
            match chunk.filter(|_| length <= CHUNK) {
                Some(chunk) => at.add(HEADER).cast::<[u8; CHUNK]>().write(*chunk),
                None => ptr::copy_nonoverlapping(values[start..].as_ptr(), at.add(HEADER), length),
            }
            at = at.add((HEADER + length).next_multiple_of(HEADER));
        }
    }
    Ok(true)
}

fn limited(bytes: &[u8], most: usize, padded: bool) -> Result<Cow<'_, [u8]>, Reason> {
    const TOO_LONG: Reason = Reason::Malformed("the text has more characters than the type");
    let mut chars = 0;
    in_steps(bytes, |step| chars += step.iter().filter(|&byte| byte & 0xc0 != 0x80).count());
    match chars.cmp(&most) {
        std::cmp::Ordering::Equal => Ok(Cow::Borrowed(bytes)),
        std::cmp::Ordering::Less if padded => {
            let (mut text, len) = (Vec::new(), bytes.len() + most - chars);
            reserve(&mut text, len).map_err(|_| Reason::Malformed(NO_MEMORY))?;
            text.extend_from_slice(bytes);
            text.resize(len, b' ');
            Ok(Cow::Owned(text))
        }
        std::cmp::Ordering::Less => Ok(Cow::Borrowed(bytes)),
        std::cmp::Ordering::Greater => {
            let kept = bytes.len() - (chars - most);
            let blanks =
                padded && bytes.get(kept..).is_some_and(|rest| rest.iter().all(|&byte| byte == b' '));
            if blanks { Ok(Cow::Borrowed(&bytes[..kept])) } else { Err(TOO_LONG) }
        }
    }
}

/// Texts of a file that are PostgreSQL's as they are.
#[derive(Clone, Copy)]
pub struct Texts<'a>(&'a StringArray);

impl<'a> Texts<'a> {
    /// Returns the texts of an array, if each is one of PostgreSQL's of at most `most` characters; with `padded`, of as
    /// many. For other arrays, and for those of other types, it returns `None`.
    pub fn new(array: &'a ArrayRef, most: Option<usize>, padded: bool) -> Option<Texts<'a>> {
        let texts = Texts(array.as_string_opt::<i32>()?);
        let offsets = texts.0.value_offsets();
        let bytes = texts.bytes().get(*offsets.first()? as usize..*offsets.last()? as usize)?;
        let all = |is_fitting: &dyn Fn(usize) -> bool| {
            texts.places().flatten().all(|place| is_fitting(place.len()))
        };
        let are_fitting = match (most, padded) {
            (None, _) => !padded,
            (Some(most), true) => bytes.is_ascii() && all(&|length| length == most),
            // No character is shorter than a byte.
            (Some(most), false) => all(&|length| length <= most),
        };
        (are_fitting && bytes.len() <= LONGEST && !contains(bytes, 0)).then_some(texts)
    }

    /// Returns the bytes in which the texts lie.
    pub fn bytes(&self) -> &'a [u8] {
        self.0.value_data()
    }

    /// Returns where each text lies; `None` for NULL.
    pub fn places(&self) -> impl Iterator<Item = Option<Range<usize>>> {
        let places = self.0.value_offsets().windows(2).map(|ends| ends[0] as usize..ends[1] as usize);
        places.enumerate().map(|(row, place)| self.0.is_valid(row).then_some(place))
    }

    /// Returns a text; `None` for NULL.
    pub fn at(&self, row: usize) -> Option<&'a [u8]> {
        self.0.is_valid(row).then(|| self.0.value(row).as_bytes())
    }
}

/// Appends values in two passes: first their places, then the values.
fn append(
    array: &ArrayRef,
    out: &mut Words,
    check: impl for<'a> Fn(&'a [u8]) -> Result<Cow<'a, [u8]>, Reason>,
) -> Result<(), Misfit> {
    let done = with_bytes(array, |value| {
        // SAFETY: the pointers come from the array, which outlives this function.
        let value = |row| unsafe { &*value(row) };
        let mut values = Vec::with_capacity(array.len());
        let (mut total, mut looked_at) = (0, 0);
        for row in 0..array.len() {
            if total >= looked_at {
                interrupts::check();
                looked_at = total + STEP_BYTES;
            }
            let bytes = match out.nulls[row] {
                true => Cow::Borrowed(&[][..]),
                false => check(value(row)).map_err(|reason| Misfit { row, reason })?,
            };
            if bytes.len() > LONGEST {
                return Err(Misfit { row, reason: Reason::Malformed(TOO_LARGE) });
            }
            total += (HEADER + bytes.len()).next_multiple_of(HEADER);
            values.push(bytes);
        }
        let mut at = out.arena(total)?;
        for (bytes, null) in values.iter().zip(&out.nulls) {
            out.words.push(if *null { 0 } else { at as u64 });
            let size = HEADER + bytes.len();
            // SAFETY: the arena has room for every value with its header, rounded up, as summed above.
            unsafe {
                at.cast::<u32>().write((size as u32) << 2);
                copy(bytes, at.add(HEADER));
                at = at.add(size.next_multiple_of(HEADER));
            }
        }
        Ok(())
    });
    done.unwrap_or_else(unexpected)
}
