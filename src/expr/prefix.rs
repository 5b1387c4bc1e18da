//! The beginning of texts that match a LIKE pattern.

use super::operator::Pattern;

/// The bytes that texts begin with if they match a pattern.
#[derive(Debug, PartialEq, Eq)]
pub struct Prefix {
    bytes: Vec<u8>,
    /// No bytes follow.
    is_whole: bool,
}

impl Prefix {
    pub fn new(pattern: Pattern, bytes: &[u8]) -> Prefix {
        match pattern {
            Pattern::Like => Prefix::of_pattern(bytes),
            Pattern::Literal => Prefix { bytes: bytes.to_vec(), is_whole: false },
        }
    }

    /// Reads a pattern with `\` as the escape character, as PostgreSQL matches it byte by byte (like_match.c).
    fn of_pattern(pattern: &[u8]) -> Prefix {
        let mut bytes = Vec::with_capacity(pattern.len());
        let mut rest = pattern.iter();
        while let Some(&byte) = rest.next() {
            match (byte, rest.as_slice().first()) {
                (b'%' | b'_', _) => return Prefix { bytes, is_whole: false },
                // An escape character at the end is an error for texts that continue there, and only for those.
                (b'\\', None) => return Prefix { bytes, is_whole: false },
                (b'\\', Some(&escaped)) => {
                    bytes.push(escaped);
                    rest.next();
                }
                _ => bytes.push(byte),
            }
        }
        Prefix { bytes, is_whole: true }
    }

    /// Returns whether a text that matches may lie between two bounds, either of which need not be known. Bounds that
    /// were cut are bounds.
    pub fn may_lie(&self, min: Option<&[u8]>, max: Option<&[u8]>) -> bool {
        let prefix = &self.bytes[..];
        // All texts with the prefix sort at it or after it, and before a text that has a greater byte there.
        let above = max.is_none_or(|max| prefix <= max);
        let below = min.is_none_or(|min| match self.is_whole {
            true => min <= prefix,
            false => min.get(..prefix.len()).unwrap_or(min) <= prefix,
        });
        above && below
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Prefix {
        Prefix::new(Pattern::Like, text.as_bytes())
    }

    #[test]
    fn patterns() {
        let prefix = |bytes: &[u8], is_whole| Prefix { bytes: bytes.to_vec(), is_whole };
        for (text, bytes, is_whole) in [
            ("", "", true),
            ("%", "", false),
            ("abc%", "abc", false),
            ("abc", "abc", true),
            ("ab_c%", "ab", false),
            (r"a\%b%", "a%b", false),
            (r"a\_b", "a_b", true),
            (r"a\\%", r"a\", false),
            (r"a\\", r"a\", true),
            (r"a\", "a", false),
            (r"\", "", false),
            (r"\ž%", "ž", false),
            (r"žl\uť%", "žluť", false),
        ] {
            assert_eq!(pattern(text), prefix(bytes.as_bytes(), is_whole), "{text}");
        }
        assert_eq!(Prefix::new(Pattern::Literal, b"a%"), prefix(b"a%", false));
    }

    /// Matches LIKE by its definition.
    fn is_like(text: &[char], pattern: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['%', rest @ ..] => (0..=text.len()).any(|at| is_like(&text[at..], rest)),
            ['_', rest @ ..] => !text.is_empty() && is_like(&text[1..], rest),
            ['\\', one, rest @ ..] => text.first() == Some(one) && is_like(&text[1..], rest),
            [one, rest @ ..] => text.first() == Some(one) && is_like(&text[1..], rest),
        }
    }

    const TEXT: &str = "[ab%_ž\u{10ffff}\\\\]{0,5}";

    proptest! {
        /// If a text between two bounds matches, one may; bounds that were cut are bounds, too.
        #[test]
        fn nothing_that_matches_is_left_out(texts in prop::collection::vec(TEXT, 1..4), like in TEXT, cut in 0..6usize) {
            let chars = |text: &str| text.chars().collect::<Vec<char>>();
            let (Some(min), Some(max)) = (texts.iter().min(), texts.iter().max()) else { return Ok(()) };
            let min = &min.as_bytes()[..cut.min(min.len())];
            let prefix = pattern(&like);
            let begins = Prefix::new(Pattern::Literal, like.as_bytes());
            for text in &texts {
                if is_like(&chars(text), &chars(&like)) {
                    prop_assert!(prefix.may_lie(Some(min), Some(max.as_bytes())));
                    prop_assert!(prefix.may_lie(None, Some(max.as_bytes())) && prefix.may_lie(Some(min), None));
                }
                if text.starts_with(&like) {
                    prop_assert!(begins.may_lie(Some(min), Some(max.as_bytes())));
                }
            }
        }
    }

    #[test]
    fn what_is_left_out() {
        for (like, min, max, found) in [
            ("b%", "a", "azzz", false),
            ("b%", "c", "d", false),
            ("b%", "bz", "d", true),
            ("b%", "a", "b", true),
            ("b", "ba", "bz", false),
            ("ba%", "b", "baa", true),
            ("ba%", "bb", "bz", false),
            ("", "a", "b", false),
            ("%", "a", "b", true),
            ("\u{10ffff}%", "a", "\u{10fffe}", false),
            ("\u{10ffff}%", "\u{10ffff}\u{10ffff}", "\u{10ffff}\u{10ffff}", true),
        ] {
            let found_now = pattern(like).may_lie(Some(min.as_bytes()), Some(max.as_bytes()));
            assert_eq!(found_now, found, "{like} in {min}..{max}");
        }
        // The first bytes of a character that goes on otherwise.
        assert!(!Prefix::new(Pattern::Literal, b"\xc5\xbe").may_lie(Some(b"\xc5\xbf"), None));
    }
}
