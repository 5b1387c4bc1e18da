//! Which relations are read: the table itself, or all that its name stands for in a query.

use serde::{Deserialize, Serialize};

use crate::pg::catalog::{Attribute, Table};
use crate::pg::error::{Code, Error, Result, error};

/// A relation with storage, and the blocks it had when the export began.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Leaf {
    pub oid: u32,
    pub name: String,
    pub blocks: u32,
}

/// What the table's name stands for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Source {
    pub oid: u32,
    /// Schema and name, quoted.
    pub name: String,
    /// In the order of their OIDs, as the planner expands them.
    pub leaves: Vec<Leaf>,
    /// Workers cannot read temporary tables.
    pub is_temporary: bool,
    /// Every leaf is an ordinary heap.
    pub is_heap: bool,
    /// The parallel_workers storage parameter of the table.
    pub workers_option: Option<i32>,
}

impl Source {
    pub fn blocks(&self) -> u64 {
        self.leaves.iter().map(|leaf| u64::from(leaf.blocks)).sum()
    }

    /// The leaf and its block that a block of the concatenation stands for.
    pub fn locate(&self, mut block: u64) -> Option<(usize, u32)> {
        for (index, leaf) in self.leaves.iter().enumerate() {
            if block < u64::from(leaf.blocks) {
                return Some((index, block as u32));
            }
            block -= u64::from(leaf.blocks);
        }
        None
    }
}

/// Reads a table and its descendants. `attributes` are the table's own, with `not_null` cleared where a
/// descendant allows NULL.
pub fn describe(table: &Table) -> Result<(Source, Vec<Attribute>)> {
    check_kind(table)?;
    let mut source = Source {
        oid: table.oid().to_u32(),
        name: table.qualified_name(),
        leaves: Vec::new(),
        is_temporary: table.is_temporary(),
        is_heap: true,
        workers_option: table.parallel_workers_option(),
    };
    let mut attributes = table.attributes();
    for oid in table.with_descendants() {
        let leaf = Table::open(oid)?;
        if leaf.is_other_temporary() && oid != table.oid() {
            continue; // as the planner does: its rows live in another session's memory
        }
        add_leaf(&mut source, &mut attributes, &leaf)?;
    }
    Ok((source, attributes))
}

fn add_leaf(source: &mut Source, attributes: &mut [Attribute], leaf: &Table) -> Result<()> {
    match leaf.kind() {
        b'p' => return Ok(()),
        b'r' | b'm' => {}
        _ => {
            return Err(error(
                Code::ERRCODE_WRONG_OBJECT_TYPE,
                format!("cannot export {}: its partition {} is not a table", source.name, leaf.qualified_name()),
            )
            .set_hint("Export the partitions that are tables one by one."));
        }
    }
    for child in leaf.attributes().iter().filter(|child| !child.dropped && !child.not_null) {
        if let Some(parent) = attributes.iter_mut().find(|parent| parent.name == child.name) {
            parent.not_null = false;
        }
    }
    source.is_temporary |= leaf.is_temporary();
    source.is_heap &= leaf.is_heap();
    source.leaves.push(Leaf { oid: leaf.oid().to_u32(), name: leaf.qualified_name(), blocks: leaf.blocks() });
    Ok(())
}

fn check_kind(table: &Table) -> Result<()> {
    let name = table.qualified_name();
    if table.is_other_temporary() {
        return Err(error(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("cannot export {name}, a temporary table of another session"),
        )
        .set_hint("Run the export in the session that made it."));
    }
    let (what, hint) = match table.kind() {
        b'r' | b'm' | b'p' => return Ok(()),
        b'v' => ("a view", "Create a table or a materialized view from it, and export that."),
        b'f' => ("a foreign table", "Copy its rows into a table, and export that."),
        b'i' | b'I' => ("an index", "Export the table that it belongs to."),
        b'S' => ("a sequence", "Only tables, partitioned tables and materialized views can be exported."),
        b'c' => ("a composite type", "Only tables, partitioned tables and materialized views can be exported."),
        b't' => ("a TOAST table", "Export the table that it belongs to."),
        _ => ("not a table", "Only tables, partitioned tables and materialized views can be exported."),
    };
    Err(wrong_kind(&name, what, hint))
}

fn wrong_kind(name: &str, what: &str, hint: &str) -> Error {
    error(Code::ERRCODE_WRONG_OBJECT_TYPE, format!("cannot export {name}"))
        .set_detail(format!("It is {what}."))
        .set_hint(hint)
}
