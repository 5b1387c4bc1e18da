//! The names of columns in a foreign table: the file's if PostgreSQL allows it, otherwise a distinct one.

use std::collections::HashSet;

use pgrx::pg_sys;

use super::declared::Declared;
use crate::pg::encoding::try_from_utf8;
use crate::pg::error::warning;

/// MaxHeapAttributeNumber of access/htup_details.h.
pub const MOST_COLUMNS: usize = 1600;

/// Every table has columns of these names.
const SYSTEM: &[&str] = &["ctid", "xmin", "cmin", "xmax", "cmax", "tableoid"];

/// Keeps the names that PostgreSQL allows, and truncates or numbers the others. Leaves out columns whose names cannot
/// be written in the database's encoding.
pub fn name_all(columns: Vec<Declared>) -> Vec<(String, Declared)> {
    let mut taken = HashSet::new();
    let kept: Vec<bool> =
        columns.iter().map(|column| is_name(&column.name) && taken.insert(column.name.clone())).collect();
    let name = |(column, kept): (Declared, bool)| {
        let name = if kept { Some(column.name.clone()) } else { distinct(&column.name, &mut taken) };
        if name.is_none() {
            warning(
                "a column is left out",
                format!(
                    "The name of column {:?} has a character that names in this database cannot have.",
                    column.name
                ),
                "Write the file with another name for it.",
            );
        }
        Some((name?, column))
    };
    columns.into_iter().zip(kept).filter_map(name).collect()
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && !SYSTEM.contains(&name) && bytes(name).is_some_and(|bytes| bytes <= longest())
}

fn longest() -> usize {
    pg_sys::NAMEDATALEN as usize - 1
}

/// Returns a name's length in the database's encoding; `None` if that lacks a character, or if the name has a NUL.
fn bytes(name: &str) -> Option<usize> {
    (!name.contains('\0')).then(|| try_from_utf8(name)).flatten().map(|bytes| bytes.len())
}

fn distinct(name: &str, taken: &mut HashSet<String>) -> Option<String> {
    bytes(name)?;
    let base = if name.is_empty() { "column" } else { name };
    let names = (0..).map(|number| match number {
        0 => cut(base, longest()),
        _ => {
            let suffix = format!("_{number}");
            cut(base, longest() - suffix.len()) + &suffix
        }
    });
    let name = names.into_iter().find(|name| is_name(name) && !taken.contains(name))?;
    taken.insert(name.clone());
    Some(name)
}

/// Truncates a name to `most` bytes at a character's boundary.
fn cut(name: &str, most: usize) -> String {
    let mut cut = name;
    while let Some((last, _)) = cut.char_indices().last()
        && bytes(cut).is_some_and(|bytes| bytes > most)
    {
        cut = &cut[..last];
    }
    cut.to_owned()
}
