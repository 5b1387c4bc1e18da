//! SQL on columns: the planner's and the executor's callbacks, and the run over a table by the leader and its workers.
//!
//! ```text
//! paths.rs      offers a path for the aggregation of a table; candidate.rs what can be computed here;
//!               leaves.rs the tables that are read
//! plan.rs       the plan of such a path; shape.rs its private list
//! scan.rs       the plan's execution: the callbacks of its CustomScanState; node.rs its state; explain.rs EXPLAIN;
//!               shown_groups.rs groups -> tuples
//! expressions.rs  the node's expressions with the values of parameters; subqueries.rs which of them wait for a row
//! run.rs        leader and workers: scan -> query::Executor -> groups; file_rows.rs the rows of a foreign table;
//!               sink.rs takes them; exchange.rs merges many groups; odd.rs rows that PostgreSQL evaluates
//! device.rs     the part of a query that a GPU computes
//! ```
//!
//! A plan carries PostgreSQL's own path for the same result, which is used if the query cannot be computed here: no
//! answer depends on what vectors can hold.
//!
//! Runs on the main thread of backends and parallel workers.

mod candidate;
mod device;
mod exchange;
mod explain;
mod expressions;
mod file_rows;
mod leaves;
mod node;
mod odd;
mod paths;
mod plan;
mod run;
mod scan;
mod shape;
mod shown_groups;
mod sink;
mod subqueries;

pub use run::worker_body;

/// Registers the callbacks. Called from `_PG_init`.
pub fn register() {
    scan::register();
    paths::register();
}
