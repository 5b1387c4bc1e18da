//! A column of the foreign table that IMPORT FOREIGN SCHEMA makes.

/// A column of the foreign table.
pub struct Declared {
    /// The name of the file's column, or the key of the files' paths.
    pub name: String,
    pub sql_type: String,
    pub source: Origin,
}

pub enum Origin {
    /// A column of the files. If several have the name, its number among them.
    File(Option<usize>),
    Path,
    /// A key of the paths of some files, and a column of the others.
    Either,
}

impl Declared {
    /// Returns the column's definition in CREATE FOREIGN TABLE, under a name of the table's.
    pub fn definition(&self, name: &str) -> String {
        let option = |name: &str, value: &str| format!("{name} {}", literal(value));
        let mut options = Vec::new();
        match self.source {
            Origin::Path => options.push(option("virtual", &self.name)),
            Origin::Either if name != self.name => options.push(option("virtual", &self.name)),
            Origin::File(_) if name != self.name => options.push(option("field", &self.name)),
            _ => {}
        }
        if let Origin::File(Some(occurrence)) = self.source {
            options.push(option("occurrence", &occurrence.to_string()));
        }
        let options = match options.is_empty() {
            true => String::new(),
            false => format!(" OPTIONS ({})", options.join(", ")),
        };
        format!("{} {}{options}", quoted(name), self.sql_type)
    }
}

pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

pub fn literal(text: &str) -> String {
    let text = text.replace('\'', "''");
    match text.contains('\\') {
        true => format!("E'{}'", text.replace('\\', "\\\\")),
        false => format!("'{text}'"),
    }
}
