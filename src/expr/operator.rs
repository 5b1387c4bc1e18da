//! What values are compared for.

use serde::{Deserialize, Serialize};

/// A comparison of a column's value with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Test {
    Less,
    LessEqual,
    Equal,
    GreaterEqual,
    Greater,
    NotEqual,
}

impl Test {
    #[inline]
    pub fn holds(self, order: std::cmp::Ordering) -> bool {
        match self {
            Test::Less => order.is_lt(),
            Test::LessEqual => order.is_le(),
            Test::Equal => order.is_eq(),
            Test::GreaterEqual => order.is_ge(),
            Test::Greater => order.is_gt(),
            Test::NotEqual => order.is_ne(),
        }
    }

    /// Returns the test that is true for the values in the other order.
    pub fn commuted(self) -> Test {
        match self {
            Test::Less => Test::Greater,
            Test::LessEqual => Test::GreaterEqual,
            Test::GreaterEqual => Test::LessEqual,
            Test::Greater => Test::Less,
            Test::Equal | Test::NotEqual => self,
        }
    }

    /// Returns the test that is true where this one is false.
    pub fn negated(self) -> Test {
        match self {
            Test::Less => Test::GreaterEqual,
            Test::LessEqual => Test::Greater,
            Test::Equal => Test::NotEqual,
            Test::GreaterEqual => Test::Less,
            Test::Greater => Test::LessEqual,
            Test::NotEqual => Test::Equal,
        }
    }
}

/// How the value of `Begins` is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    Like,
    Literal,
}
