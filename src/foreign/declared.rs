//! A column of the foreign table that IMPORT FOREIGN SCHEMA makes.

/// A column of the foreign table.
pub struct Declared {
    /// The file's, or the key of the files' paths.
    pub name: String,
    pub sql_type: String,
    pub source: Origin,
}

pub enum Origin {
    /// Of the columns of the name, the one that counts so; `None` where there is one.
    File(Option<usize>),
    Path,
    /// The paths of some files, and the columns of the others.
    Either,
}

impl Declared {
    /// As CREATE FOREIGN TABLE takes it, under a name of the table's.
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
