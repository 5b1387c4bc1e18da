//! The text of a numeric, as `numeric_out` prints it (`get_str_from_var`).

use super::numeric::{DEC_DIGITS, Num, Numeric};
use crate::types::Reason;

impl<const WIRE: bool> Numeric<'_, WIRE> {
    /// Appends the value's text.
    pub fn write_text(&self, out: &mut Vec<u8>) -> Result<(), Reason> {
        match self {
            Numeric::Finite(num) => num.write_text(out)?,
            Numeric::Nan => out.extend_from_slice(b"NaN"),
            Numeric::Infinity { negative: false } => out.extend_from_slice(b"Infinity"),
            Numeric::Infinity { negative: true } => out.extend_from_slice(b"-Infinity"),
        }
        Ok(())
    }
}

impl<const WIRE: bool> Num<'_, WIRE> {
    /// Appends the value's text, with at least one digit before the point and `dscale` digits after it. That is at
    /// most 147,458 bytes, since weights have 16 bits and display scales 14.
    pub fn write_text(&self, out: &mut Vec<u8>) -> Result<(), Reason> {
        self.check()?;
        let span = self.span();
        if self.negative && span.is_some() {
            out.push(b'-');
        }
        match span.filter(|&(first, _)| first >= 0) {
            None => out.push(b'0'),
            Some((first, _)) => {
                // Only the first digit is printed without leading zeros; it is not zero itself.
                let leading = decimal(self.digit_at(first));
                let zeros = leading.iter().take_while(|&&digit| digit == b'0').count();
                out.extend_from_slice(&leading[zeros..]);
                for weight in (0..first).rev() {
                    out.extend_from_slice(&decimal(self.digit_at(weight)));
                }
            }
        }
        if self.dscale > 0 {
            out.push(b'.');
            let mut left = usize::from(self.dscale);
            let mut weight = -1;
            while left > 0 {
                let shown = left.min(DEC_DIGITS as usize);
                out.extend_from_slice(&decimal(self.digit_at(weight))[..shown]);
                left -= shown;
                weight -= 1;
            }
        }
        Ok(())
    }
}

/// Returns the four decimal digits of a number below 10000.
fn decimal(digit: u16) -> [u8; 4] {
    [1000, 100, 10, 1].map(|unit| b'0' + (digit / unit % 10) as u8)
}
