//! Values for a file's rows that its path has: `f_@{year}_${mode}.arrow`, or directories named `year=1993`.

use std::collections::HashSet;

/// One piece of a pattern.
#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Literal(String),
    /// `@{key}`: digits, with or without a minus sign before them.
    Number(String),
    /// `${key}`: one character or more, none of them a slash.
    Text(String),
}

/// A pattern of file names, with keys that stand for parts of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern(Vec<Piece>);

/// The keys of one path, each once, and the text of each there; `None` is NULL.
pub type Keys = Vec<(String, Option<String>)>;

impl Pattern {
    /// Parses a pattern. Errors are sentences for the user.
    pub fn parse(text: &str) -> Result<Pattern, String> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            let is_key = rest.starts_with("@{") || rest.starts_with("${");
            if !is_key {
                literal.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
            let Some((key, after)) = rest[2..].split_once('}') else {
                return Err(format!("\"{rest}\" has no closing brace."));
            };
            if key.is_empty() {
                return Err("A key between braces is empty.".into());
            }
            if pieces.iter().any(|piece| piece.key() == Some(key)) {
                return Err(format!("The key \"{key}\" occurs more than once."));
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
            }
            pieces.push(if c == '@' { Piece::Number(key.into()) } else { Piece::Text(key.into()) });
            rest = after;
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        match pieces.is_empty() {
            true => Err("It is empty.".into()),
            false => Ok(Pattern(pieces)),
        }
    }

    /// Returns the keys, and whether each is a number.
    pub fn keys(&self) -> impl Iterator<Item = (&str, bool)> {
        self.0.iter().filter_map(|piece| Some((piece.key()?, matches!(piece, Piece::Number(_)))))
    }

    /// Returns the texts of the keys in a path below the directory; `None` if it does not match. A pattern
    /// without a slash is compared with the last part of the path alone.
    pub fn matches(&self, path: &str) -> Option<Keys> {
        let has_slash = |piece: &Piece| matches!(piece, Piece::Literal(text) if text.contains('/'));
        let path = match self.0.iter().any(has_slash) {
            true => path,
            false => path.rsplit('/').next().unwrap_or(path),
        };
        let (mut keys, mut failed) = (Keys::new(), HashSet::new());
        matches(&self.0, path, &mut keys, &mut failed).then_some(keys)
    }
}

impl Piece {
    fn key(&self) -> Option<&str> {
        match self {
            Piece::Literal(_) => None,
            Piece::Number(key) | Piece::Text(key) => Some(key),
        }
    }

    /// Returns the lengths of beginnings of `text` that the piece matches, the longest first.
    fn lengths(&self, text: &str) -> Vec<usize> {
        match self {
            Piece::Literal(literal) => {
                if text.starts_with(literal.as_str()) {
                    vec![literal.len()]
                } else {
                    Vec::new()
                }
            }
            Piece::Number(_) => {
                let sign = usize::from(text.starts_with('-'));
                let digits = text[sign..].bytes().take_while(u8::is_ascii_digit).count();
                (1..=digits).rev().map(|digits| sign + digits).collect()
            }
            Piece::Text(_) => {
                let until = text.find('/').unwrap_or(text.len());
                let ends = text[..until].char_indices().map(|(at, c)| at + c.len_utf8());
                ends.rev().collect()
            }
        }
    }
}

/// Matches the pieces by backtracking. `failed` has pairs of a number of pieces and a number of remaining bytes
/// that do not match and are not tried again; without it the time would grow as a power of the pieces.
fn matches(pieces: &[Piece], text: &str, keys: &mut Keys, failed: &mut HashSet<(usize, usize)>) -> bool {
    let Some((piece, rest)) = pieces.split_first() else { return text.is_empty() };
    let place = (pieces.len(), text.len());
    if failed.contains(&place) {
        return false;
    }
    let matched = piece.lengths(text).into_iter().any(|len| {
        let before = keys.len();
        if let Some(key) = piece.key() {
            keys.push((key.to_owned(), Some(text[..len].to_owned())));
        }
        let matched = matches(rest, &text[len..], keys, failed);
        if !matched {
            keys.truncate(before);
        }
        matched
    });
    if !matched {
        failed.insert(place);
    }
    matched
}

/// What Hive writes for NULL.
const HIVE_NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Adds the keys in the names of the directories, `year=1993/mode=AIR/part-0.parquet`, unless they are known.
/// As in DuckDB, `null` in any case is NULL too.
pub fn add_hive_keys(path: &str, keys: &mut Keys) {
    let directories = path.rsplit_once('/').map_or("", |(directories, _)| directories);
    for (key, text) in directories.split('/').filter_map(|part| part.split_once('=')) {
        let key = percent_decoded(key);
        if !key.is_empty() && keys.iter().all(|(known, _)| *known != key) {
            let is_null = text == HIVE_NULL || text.eq_ignore_ascii_case("null");
            keys.push((key, (!is_null).then(|| percent_decoded(text))));
        }
    }
}

/// Decodes Hive's escapes of what a path cannot hold: % and two digits. Anything else stays as it is.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match escape.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
        let found = Pattern::parse(pattern).unwrap().matches(path)?;
        Some(found.into_iter().map(|(key, value)| (key, value.unwrap())).collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        Some(pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect())
    }

    #[test]
    fn names_are_taken_apart() {
        let pattern = "f_lineorder_@{year}_${mode}.arrow";
        let found = pairs(&[("year", "1993"), ("mode", "REG AIR")]);
        assert_eq!(keys(pattern, "f_lineorder_1993_REG AIR.arrow"), found);
        assert_eq!(keys(pattern, "deep/er/f_lineorder_1993_REG AIR.arrow"), found);
        for other in
            ["f_lineorder_199x_AIR.arrow", "f_lineorder_1993_.arrow", "xf_lineorder_1993_A.arrow", ""]
        {
            assert_eq!(keys(pattern, other), None, "{other}");
        }
    }

    #[test]
    fn longer_first_and_back_again() {
        assert_eq!(keys("${a}_${b}", "x_y_z"), pairs(&[("a", "x_y"), ("b", "z")]));
        assert_eq!(keys("@{a}1", "111"), pairs(&[("a", "11")]));
        assert_eq!(keys("@{a}", "-7"), pairs(&[("a", "-7")]));
        assert_eq!(keys("${a}/@{b}.x", "é/5.x"), pairs(&[("a", "é"), ("b", "5")]));
        assert_eq!(keys("${a}/@{b}.x", "q/é/5.x"), None);
    }

    #[test]
    fn many_keys_over_many_separators() {
        let keys_of =
            |count: usize| (0..count).map(|key| format!("${{k{key}}}")).collect::<Vec<_>>().join("-");
        let dashes = "-".repeat(250);
        assert_eq!(keys(&format!("{}.parquet", keys_of(12)), &dashes), None);
        assert_eq!(keys(&keys_of(12), &dashes).map(|found| found.len()), Some(12));
    }

    #[test]
    fn bad_patterns() {
        for bad in ["", "@{", "@{}", "${a}@{a}"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
        assert!(Pattern::parse("$a@b{}").is_ok());
    }

    #[test]
    fn hive_directories() {
        let keys = |path: &str, mut keys: Keys| {
            add_hive_keys(path, &mut keys);
            keys
        };
        let pair = |key: &str, value: Option<&str>| (key.to_string(), value.map(str::to_string));
        assert_eq!(
            keys("x/year=1993/mode=REG%20AIR/n=__HIVE_DEFAULT_PARTITION__/a=b.parquet", Keys::new()),
            [pair("year", Some("1993")), pair("mode", Some("REG AIR")), pair("n", None)]
        );
        assert_eq!(
            keys("a=null/b=Null/c=/d=nul/x", Keys::new()).iter().filter(|(_, value)| value.is_none()).count(),
            2
        );
        // Each key occurs once: with the first directory's value, unless the pattern has it.
        let known = pair("p", Some("1"));
        assert_eq!(keys("p=2/q=3/q=4/x", vec![known.clone()]), [known, pair("q", Some("3"))]);
        assert_eq!(percent_decoded("100%é%zz%41"), "100%é%zzA");
    }
}
