//! Converts texts and bytes, with a varlena header before each as in PostgreSQL's memory.

use std::borrow::Cow;

use arrow::array::{Array, ArrayRef, AsArray};
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
