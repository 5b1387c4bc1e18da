//! Shapes: the parts of a column's type that the catalogs leave open and the data decide.
//!
//! A shape only ever widens, and `merge` is commutative and associative: the final shape is that of
//! the data, in whatever order and by however many processes they were seen. It packs into a `u64`
//! so that processes can share it through one atomic.

/// The largest precision that Parquet's DECIMAL and this project's 128-bit arithmetic hold.
const MAX_DIGITS: u32 = 38;

/// numeric: the digits needed on either side of the point. Array: the dimensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// numeric: digits before the point, at least. Array: number of dimensions.
    pub whole: u16,
    /// numeric: the largest display scale. Array: 0.
    pub scale: u16,
    /// The column has to be text: mixed dimensions or a lower bound that is not 1.
    pub text: bool,
}

impl Shape {
    pub fn numeric(whole: u16, scale: u16) -> Shape {
        Shape {
            whole,
            scale,
            text: false,
        }
    }

    pub fn list(dimensions: u16) -> Shape {
        Shape {
            whole: dimensions,
            scale: 0,
            text: false,
        }
    }

    pub const TEXT: Shape = Shape {
        whole: 0,
        scale: 0,
        text: true,
    };

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
        let digits = (u32::from(self.whole) + u32::from(self.scale)).max(1);
        (!self.text && digits <= MAX_DIGITS).then_some((digits as u8, self.scale as u8))
    }

    /// Whether a column of this shape is written as text. For a numeric that no DECIMAL holds, see `decimal`.
    pub fn is_text(self) -> bool {
        self.text
    }

    pub fn pack(self) -> u64 {
        u64::from(self.whole) | u64::from(self.scale) << 16 | u64::from(self.text) << 32
    }

    pub fn unpack(bits: u64) -> Shape {
        Shape {
            whole: bits as u16,
            scale: (bits >> 16) as u16,
            text: bits >> 32 & 1 == 1,
        }
    }
}

/// The shapes of one export, by slot. Every slot starts as `Shape::default()`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shapes(Vec<Shape>);

impl Shapes {
    pub fn new(slots: usize) -> Shapes {
        Shapes(vec![Shape::default(); slots])
    }

    pub fn get(&self, slot: usize) -> Shape {
        self.0[slot]
    }

    /// Widens a slot; true when that changed it.
    pub fn merge(&mut self, slot: usize, shape: Shape) -> bool {
        let merged = self.0[slot].merge(shape);
        std::mem::replace(&mut self.0[slot], merged) != merged
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
