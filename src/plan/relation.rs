//! The relations that are read: the table itself, or all that its name means in a query.

use pgrx::pg_sys::Oid;
use serde::{Deserialize, Serialize};

use crate::pg::catalog::{Attribute, Table};
use crate::pg::error::{Code, Error, Result, error};
use crate::pg::snapshot::{Snapshot, check_children, check_storage};

/// A relation with storage, and the blocks it had when the export began.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LeafRelation {
    pub oid: u32,
    pub name: String,
    /// The number of blocks of the leaves before it.
    pub first: u64,
    pub blocks: u32,
}

/// The relations that the table's name means.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Source {
    pub oid: u32,
    /// Schema and name, quoted.
    pub name: String,
    /// In the order in which a query would read them.
    pub leaves: Vec<LeafRelation>,
    /// Workers cannot read temporary tables.
    pub is_temporary: bool,
    /// Every leaf is an ordinary heap.
    pub is_heap: bool,
    /// The parallel_workers storage parameter of the table.
    pub workers_option: Option<i32>,
}

impl Source {
    pub fn blocks(&self) -> u64 {
        self.leaves.last().map_or(0, |leaf| leaf.first + u64::from(leaf.blocks))
    }

    /// Returns the leaf, and the block in it, of a block of the concatenation.
    pub fn locate(&self, block: u64) -> Option<(usize, u32)> {
        // If several leaves begin at the same block, all but the last are empty.
        let index = self.leaves.partition_point(|leaf| leaf.first <= block).checked_sub(1)?;
        let within = block - self.leaves[index].first;
        (within < u64::from(self.leaves[index].blocks)).then_some((index, within as u32))
    }
}

/// Returns the source of a query's result: one block, since one process reads it.
pub fn of_query() -> Source {
    let name = "the query's result".to_owned();
    Source {
        oid: 0,
        name: name.clone(),
        leaves: vec![LeafRelation { oid: 0, name, first: 0, blocks: 1 }],
        is_temporary: true,
        is_heap: true,
        workers_option: None,
    }
}

/// A table that is open for an export, with the snapshot under which it is read.
pub struct Opened {
    pub source: Source,
    /// The table's attributes. `not_null` is false if a descendant allows NULL.
    pub attributes: Vec<Attribute>,
    pub guard: Guard,
}

/// Keeps the table open and its snapshot active.
pub type Guard = (Snapshot, Table);

/// Locks a table and its descendants, and takes the snapshot once it has all locks, so that it includes what their
/// holders wrote meanwhile. Blocks are counted after that. If descendants were added or removed meanwhile, it starts
/// again.
pub fn open(table: Oid) -> Result<Opened> {
    let table = Table::open(table)?;
    let mut locked = describe(&table)?.0;
    loop {
        let snapshot = Snapshot::take();
        let (source, attributes) = describe(&table)?;
        if source.leaves.iter().map(|leaf| leaf.oid).eq(locked.leaves.iter().map(|leaf| leaf.oid)) {
            return Ok(Opened { source, attributes, guard: (snapshot, table) });
        }
        locked = source;
    }
}

/// Returns the relations that a table's name means now.
fn describe(table: &Table) -> Result<(Source, Vec<Attribute>)> {
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
    add(&mut source, &mut attributes, table)?;
    Ok((source, attributes))
}

/// Adds the relations that a relation's name means, in the order in which a query would read them.
fn add(source: &mut Source, attributes: &mut [Attribute], table: &Table) -> Result<()> {
    if table.kind() == b'p' {
        let partitions = table.partitions();
        check_children(table, &[table.oid()], &partitions)?;
        // A partition that does not exist any more was detached before it was dropped.
        for partition in partitions.into_iter().filter_map(Table::find) {
            add(source, attributes, &partition)?;
        }
        return Ok(());
    }
    let family = table.with_descendants();
    check_children(table, &family, &family[1..])?;
    for leaf in family.into_iter().filter_map(Table::find) {
        if leaf.is_other_temporary() && leaf.oid() != table.oid() {
            continue; // as the planner does: its rows live in another session's memory
        }
        add_leaf(source, attributes, &leaf)?;
    }
    Ok(())
}

fn add_leaf(source: &mut Source, attributes: &mut [Attribute], leaf: &Table) -> Result<()> {
    match leaf.kind() {
        b'r' | b'm' => {}
        _ => {
            return Err(error(
                Code::ERRCODE_WRONG_OBJECT_TYPE,
                format!(
                    "cannot export {}: its partition {} is not a table",
                    source.name,
                    leaf.qualified_name()
                ),
            )
            .set_hint("Export the partitions that are tables one by one."));
        }
    }
    if leaf.is_absent_on_standby() {
        return Err(error(
            Code::ERRCODE_FEATURE_NOT_SUPPORTED,
            format!("cannot export unlogged table {} during recovery", leaf.qualified_name()),
        )
        .set_detail("The rows of unlogged tables do not reach a standby.")
        .set_hint("Export it on the primary."));
    }
    check_storage(leaf)?;
    for child in leaf.attributes().iter().filter(|child| !child.dropped && !child.not_null) {
        if let Some(parent) = attributes.iter_mut().find(|parent| parent.name == child.name) {
            parent.not_null = false;
        }
    }
    source.is_temporary |= leaf.is_temporary();
    source.is_heap &= leaf.is_heap();
    source.leaves.push(LeafRelation {
        oid: leaf.oid().to_u32(),
        name: leaf.qualified_name(),
        first: source.blocks(),
        blocks: leaf.blocks(),
    });
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
    if table.kind() == b'm' && !table.is_populated() {
        return Err(error(
            Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("materialized view {name} has not been populated"),
        )
        .set_hint("Use the REFRESH MATERIALIZED VIEW command."));
    }
    const ONLY: &str = "Only tables, partitioned tables and materialized views can be exported.";
    let (what, hint) = match table.kind() {
        b'r' | b'm' | b'p' => return Ok(()),
        b'v' => ("a view", "Export a query that reads it, by export_query_parquet or export_query_arrow."),
        b'f' => (
            "a foreign table",
            "Export a query that reads it, by export_query_parquet or export_query_arrow.",
        ),
        b'i' | b'I' => ("an index", "Export the table that it belongs to."),
        b'S' => ("a sequence", ONLY),
        b'c' => ("a composite type", ONLY),
        b't' => ("a TOAST table", "Export the table that it belongs to."),
        _ => ("not a table", ONLY),
    };
    Err(wrong_kind(&name, what, hint))
}

fn wrong_kind(name: &str, what: &str, hint: &str) -> Error {
    error(Code::ERRCODE_WRONG_OBJECT_TYPE, format!("cannot export {name}"))
        .set_detail(format!("It is {what}."))
        .set_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(blocks: &[u32]) -> Source {
        let mut first = 0;
        let leaves = blocks.iter().map(|&blocks| {
            let leaf = LeafRelation { oid: 0, name: String::new(), first, blocks };
            first += u64::from(blocks);
            leaf
        });
        Source {
            oid: 0,
            name: String::new(),
            leaves: leaves.collect(),
            is_temporary: false,
            is_heap: true,
            workers_option: None,
        }
    }

    #[test]
    fn blocks_are_numbered_over_all_leaves_and_empty_ones_have_none() {
        let source = source(&[0, 2, 0, 0, 1, 0]);
        assert_eq!(source.blocks(), 3);
        let located: Vec<_> = (0..4).map(|block| source.locate(block)).collect();
        assert_eq!(located, [Some((1, 0)), Some((1, 1)), Some((4, 0)), None]);
        assert_eq!(self::source(&[]).locate(0), None);
    }
}
