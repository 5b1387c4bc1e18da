//! Shapes: the parts of a column's type that the catalogs leave open and the data determine.
//!
//! A shape only widens, and `merge` is commutative and associative: the final shape is that of the data, in whatever
//! order and by however many processes they are seen. It packs into a `u64`, so that processes can share it through
//! one atomic.

use serde::{Deserialize, Serialize};

/// The largest precision of Parquet's DECIMAL and of 128-bit arithmetic.
const MAX_DIGITS: u16 = 38;

/// One more than PostgreSQL's MAXDIM, so that a dimension count and its complement are both positive.
const DIMENSIONS: u16 = 7;

/// The shape of a numeric, its digits on either side of the point, or of an array, its dimensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// numeric: the least number of digits before the point. Array: the most dimensions seen, 0 before any.
    pub whole: u16,
    /// numeric: the largest display scale. Array: 7 less the fewest dimensions seen, so that it too
    /// grows as the shape widens.
    pub scale: u16,
    /// The column must be text, whatever the other two say, as for an array whose lower bound is not 1.
    pub text: bool,
}

impl Shape {
    pub const TEXT: Shape = Shape { whole: 0, scale: 0, text: true };

    pub fn numeric(whole: u16, scale: u16) -> Shape {
        Shape { whole, scale, text: false }
    }

    /// Returns the shape of an array of `dimensions` (1 to 6).
    pub fn list(dimensions: u16) -> Shape {
        Shape { whole: dimensions, scale: DIMENSIONS - dimensions, text: false }
    }

    pub fn merge(self, other: Shape) -> Shape {
        Shape {
            whole: self.whole.max(other.whole),
            scale: self.scale.max(other.scale),
            text: self.text || other.text,
        }
    }

    pub fn covers(self, other: Shape) -> bool {
        self.merge(other) == self
    }

    /// Returns precision and scale of the narrowest DECIMAL for all values; `None` if 38 digits are too few.
    pub fn decimal(self) -> Option<(u8, u8)> {
        let digits = self.whole.saturating_add(self.scale).max(1);
        (!self.text && digits <= MAX_DIGITS).then_some((digits as u8, self.scale as u8))
    }

    /// Returns the dimensions of a LIST column; `None` if the column is text, because the arrays differ in their
    /// dimensions or have another lower bound than 1.
    pub fn dimensions(self) -> Option<u16> {
        let mixed = self.whole > 0 && self.whole + self.scale != DIMENSIONS;
        (!self.text && !mixed).then_some(self.whole.max(1))
    }

    /// Widens the shape of a numeric to the digits before the point that the same physical type can represent, so
    /// that only a value that needs another physical type or scale is a misfit.
    pub fn widened_numeric(self) -> Shape {
        match self.decimal() {
            None => Shape { text: true, ..self },
            Some((precision, _)) => {
                let limit = match precision {
                    0..=9 => 9,
                    10..=18 => 18,
                    _ => MAX_DIGITS,
                };
                Shape { whole: limit - self.scale, ..self }
            }
        }
    }

    /// Widens the shape of an array to one dimension if none was seen yet.
    pub fn widened_list(self) -> Shape {
        if self == Shape::default() { Shape::list(1) } else { self }
    }

    pub fn pack(self) -> u64 {
        u64::from(self.whole) | u64::from(self.scale) << 16 | u64::from(self.text) << 32
    }

    pub fn unpack(bits: u64) -> Shape {
        Shape { whole: bits as u16, scale: (bits >> 16) as u16, text: bits >> 32 & 1 == 1 }
    }
}

/// The shapes of one export, each of which starts as `Shape::default()`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shapes(Vec<Shape>);

impl Shapes {
    pub fn new(shape_count: usize) -> Shapes {
        Shapes(vec![Shape::default(); shape_count])
    }

    pub fn get(&self, shape_index: usize) -> Shape {
        self.0[shape_index]
    }

    pub fn set(&mut self, shape_index: usize, shape: Shape) {
        self.0[shape_index] = shape;
    }

    /// Widens a shape; returns whether that changed it.
    pub fn merge(&mut self, shape_index: usize, shape: Shape) -> bool {
        let merged = self.0[shape_index].merge(shape);
        std::mem::replace(&mut self.0[shape_index], merged) != merged
    }

    pub fn iter(&self) -> impl Iterator<Item = Shape> + '_ {
        self.0.iter().copied()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_numeric_shape_is_the_least_decimal_that_holds_all() {
        let seen = Shape::numeric(3, 0).merge(Shape::numeric(1, 4));
        assert_eq!(seen.decimal(), Some((7, 4)));
        assert_eq!(Shape::numeric(0, 0).decimal(), Some((1, 0)));
        assert_eq!(Shape::numeric(30, 9).decimal(), None);
        assert_eq!(seen.widened_numeric().decimal(), Some((9, 4)));
        assert_eq!(Shape::numeric(8, 2).widened_numeric().decimal(), Some((18, 2)));
        assert_eq!(Shape::numeric(0, 38).widened_numeric().decimal(), Some((38, 38)));
    }

    #[test]
    fn mixed_dimensions_make_text_in_any_order() {
        let (one, two) = (Shape::list(1), Shape::list(2));
        assert_eq!(one.dimensions(), Some(1));
        assert_eq!(two.merge(two).dimensions(), Some(2));
        assert_eq!(one.merge(two).dimensions(), None);
        assert_eq!(two.merge(one).dimensions(), None);
        assert_eq!(Shape::default().dimensions(), Some(1));
        assert_eq!(one.merge(Shape::TEXT).dimensions(), None);
    }

    #[test]
    fn packing_keeps_every_part() {
        for shape in [Shape::default(), Shape::TEXT, Shape::numeric(u16::MAX, 16383), Shape::list(6)] {
            assert_eq!(Shape::unpack(shape.pack()), shape);
        }
    }
}
