//! Shapes: the parts of a column's type that the catalogs leave open and the data decide.
//!
//! A shape only ever widens, and `merge` is commutative and associative: the final shape is that of
//! the data, in whatever order and by however many processes they were seen. It packs into a `u64`
//! so that processes can share it through one atomic.

use serde::{Deserialize, Serialize};

/// The largest precision that Parquet's DECIMAL and this project's 128-bit arithmetic hold.
const MAX_DIGITS: u16 = 38;

/// One more than PostgreSQL's MAXDIM, so that a dimension count and its complement are both positive.
const DIMENSIONS: u16 = 7;

/// numeric: the digits needed on either side of the point. Array: the dimensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// numeric: digits before the point, at least. Array: the most dimensions seen, 0 before any.
    pub whole: u16,
    /// numeric: the largest display scale. Array: 7 less the fewest dimensions seen, so that it too
    /// grows as the shape widens.
    pub scale: u16,
    /// The column has to be text whatever the other two say, as for an array whose lower bound is not 1.
    pub text: bool,
}

impl Shape {
    pub const TEXT: Shape = Shape { whole: 0, scale: 0, text: true };

    pub fn numeric(whole: u16, scale: u16) -> Shape {
        Shape { whole, scale, text: false }
    }

    /// An array of `dimensions` (1 to 6).
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

    /// Precision and scale of the narrowest DECIMAL that holds every value; `None` when 38 digits cannot.
    pub fn decimal(self) -> Option<(u8, u8)> {
        let digits = self.whole.saturating_add(self.scale).max(1);
        (!self.text && digits <= MAX_DIGITS).then_some((digits as u8, self.scale as u8))
    }

    /// The dimensions of a LIST column; `None` when the arrays' dimensions mix or a lower bound is odd,
    /// and the column is text.
    pub fn dimensions(self) -> Option<u16> {
        let mixed = self.whole > 0 && self.whole + self.scale != DIMENSIONS;
        (!self.text && !mixed).then_some(self.whole.max(1))
    }

    /// numeric: as many digits before the point as the same physical type still holds, so that only a
    /// value that needs another physical type or scale is a misfit.
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

    /// Array: one dimension where none was seen yet.
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
