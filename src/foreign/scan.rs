//! One scan of a foreign table: files, groups, batches, rows.

use pgrx::pg_sys::{self, Oid};

use super::batch::{Batch, Selection, in_context};
use super::claims::{Claims, ScanFile};
use super::column::Converter;
use super::conditions::{Conditions, Known};
use super::decided::Decided;
use super::error::report;
use super::file_column::TableColumn;
use super::files::{list, metadata, open, reopen};
use super::held::Loaded;
use super::open_file::OpenFile;
use super::options::{self, TableOptions};
use crate::fdw::{FileId, Keys, Rows};
use crate::pg::context::context;
use crate::pg::error::{Result, internal};
use crate::pg::expr::Scope;
use crate::pg::tuple_slot::{Cells, clear, store};
use crate::pg::{catalog, check_for_interrupts, guc, pg_type};

pub struct Scan {
    pub options: TableOptions,
    pub columns: Vec<TableColumn>,
    /// The conditions that skip groups.
    pub conditions: Conditions,
    /// Those that are decided row by row.
    decided: Option<Decided>,
    /// Whether conditions skip groups.
    pub is_pruning: bool,
    /// The context that the conditions' expressions are evaluated in; null if they are not.
    expressions: *mut pg_sys::ExprContext,
    evaluated: bool,
    /// The files. They are listed when the first row is wanted, or by the leader of a parallel scan.
    pub units: Option<Vec<ScanFile>>,
    pub claims: Claims,
    /// A file that the conditions on virtual columns exclude.
    rejected: Option<usize>,
    open: Option<OpenFile>,
    /// The values of the batch that is being returned.
    cells: Vec<Cells>,
    rows: usize,
    next: usize,
    contexts: Contexts,
}

/// Memory that lives as long as the conditions' values, as a file is open, as a batch is returned.
struct Contexts {
    values: pg_sys::MemoryContext,
    file: pg_sys::MemoryContext,
    batch: pg_sys::MemoryContext,
}

impl Scan {
    /// Makes a scan of a table. The executor sees the attributes that are `shown`; the `hidden` ones are read besides.
    pub fn new(table: Oid, shown: &[i16], hidden: &[i16], descriptor: pg_sys::TupleDesc) -> Result<Scan> {
        // SAFETY: the descriptor is that of the scan's relation, which is open.
        let attributes = unsafe { catalog::attributes_of(descriptor) };
        let options = options::of_table(table)?;
        let is_read = |number: &i16| shown.contains(number) || hidden.contains(number);
        let referenced = attributes.iter().enumerate().filter(|(_, of)| !of.dropped && is_read(&of.number));
        let columns = referenced.map(|(index, of)| {
            Ok(TableColumn {
                index,
                number: of.number,
                name: of.name.clone(),
                type_oid: of.type_oid,
                typmod: of.typmod,
                source: options::of_column(table, of.number, &of.name)?,
                may_be_missing: options.missing_as_null && !of.not_null,
                is_shown: shown.contains(&of.number),
            })
        });
        let columns = columns.collect::<Result<_>>()?;
        Ok(Scan::of_columns(options, columns))
    }

    /// Makes a scan of columns without a table.
    pub fn of_columns(options: TableOptions, columns: Vec<TableColumn>) -> Scan {
        Scan {
            options,
            columns,
            conditions: Conditions::default(),
            decided: None,
            is_pruning: guc::arrow_fdw_pruning(),
            expressions: std::ptr::null_mut(),
            evaluated: false,
            units: None,
            claims: Claims::own(),
            rejected: None,
            open: None,
            cells: Vec::new(),
            rows: 0,
            next: 0,
            contexts: Contexts {
                values: context(c"pg_strata conditions"),
                file: context(c"pg_strata file"),
                batch: context(c"pg_strata batch"),
            },
        }
    }

    /// Takes the plan's conditions: those that the scan decides, and those that skip groups. The columns are attributes
    /// of `relation`. `running` is false for EXPLAIN without ANALYZE.
    ///
    /// # Safety
    /// The node is the scan's, in `begin`.
    pub unsafe fn take_conditions(
        &mut self,
        node: *mut pg_sys::ForeignScanState,
        relation: u32,
        running: bool,
    ) {
        let columns = self
            .columns
            .iter()
            .map(|column| (column.number, pg_type::base_type(column.type_oid, column.typmod).0));
        let columns = columns.collect();
        // SAFETY: the plan outlives the scan.
        unsafe {
            let plan = (*node).ss.ps.plan;
            let decided = (*plan.cast::<pg_sys::ForeignScan>()).fdw_exprs;
            if self.is_pruning {
                let scope = Scope { relation, columns, parent: Some(&raw mut (*node).ss.ps) };
                self.conditions = Conditions::new(&[decided, (*plan).qual], &scope);
            }
            if running {
                self.expressions = (*node).ss.ps.ps_ExprContext;
                self.decided = Decided::new(node, &self.columns);
            }
        }
    }

    /// Takes conditions that skip groups only, over Vars whose numbers are those of `number`. They have no parameters.
    ///
    /// # Safety
    /// The list is one of expressions, which outlive the scan.
    pub unsafe fn prune_by(
        &mut self,
        conditions: *mut pg_sys::List,
        number: impl Fn(&TableColumn) -> i16,
    ) -> Result<()> {
        if !self.is_pruning {
            return Ok(());
        }
        let base = |of: &TableColumn| (number(of), pg_type::base_type(of.type_oid, of.typmod).0);
        let columns = self.columns.iter().map(base).collect();
        let scope = Scope { relation: 1, columns, parent: Some(std::ptr::null_mut()) };
        // SAFETY: the caller passes a list of expressions.
        unsafe {
            self.conditions = Conditions::new(&[conditions], &scope);
            self.expressions = pg_sys::CreateStandaloneExprContext();
        }
        Ok(())
    }

    /// Evaluates the conditions' expressions: all of them, or those that do not depend on other nodes of the plan.
    fn evaluate(&mut self, all: bool) {
        if self.expressions.is_null() {
            return;
        }
        // SAFETY: the contexts are the scan's own, and the executor runs the node.
        unsafe {
            pg_sys::MemoryContextReset(self.contexts.values);
            let before = pg_sys::MemoryContextSwitchTo(self.contexts.values);
            self.conditions.evaluate(self.expressions, all);
            if let Some(decided) = self.decided.as_mut().filter(|_| all) {
                decided.compile(self.expressions);
            }
            pg_sys::MemoryContextSwitchTo(before);
        }
    }

    /// Lists the files and their groups, once. Files that conditions on virtual columns exclude in every case are not
    /// opened.
    pub fn list(&mut self) -> Result<&[ScanFile]> {
        if self.units.is_none() {
            self.evaluate(false);
            let mut units = Vec::new();
            let mut first = 0;
            for file in list(&self.options)? {
                check_for_interrupts();
                if !self.path_may_match(&file.path, &file.keys)? {
                    self.claims.count(0, 1);
                    continue;
                }
                let source = open(&file.path)?;
                let groups = metadata(&source)?.groups();
                units.push(ScanFile { id: source.id().clone(), keys: file.keys, groups, first });
                first += groups;
            }
            self.claims.prepare(units.len());
            self.units = Some(units);
            self.evaluated = false;
        }
        Ok(self.units.as_deref().unwrap_or_default())
    }

    /// Returns whether rows of a file may match, by its path.
    fn path_may_match(&mut self, path: &str, keys: &Keys) -> Result<bool> {
        let about = self.conditions.columns();
        let of_key = |at: usize| self.columns[at].key(keys).map(|key| (at, key));
        let about: Vec<(usize, &str)> = about.into_iter().filter_map(of_key).collect();
        if about.is_empty() || !self.is_pruning {
            return Ok(true);
        }
        // SAFETY: the context is the scan's own, and no batch needs it.
        unsafe {
            in_context(self.contexts.batch, || {
                let values =
                    about.iter().map(|&(at, key)| Ok((at, self.columns[at].of_path(path, keys, key)?)));
                let values: Vec<(usize, Converter)> = values.collect::<Result<_>>()?;
                let bounds = |at| values.iter().find(|(of, _)| *of == at).map(|(_, value)| value.bounds());
                Ok(self.conditions.may_match(&Known { bounds: &bounds, filters: &[] }))
            })
        }
    }

    /// Takes the next batch that has rows; false at the end.
    fn advance(&mut self) -> Result<bool> {
        (self.rows, self.next) = (0, 0);
        self.cells.clear();
        while let Some(rows) = self.next_batch()? {
            if self.take(rows)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the next rows of the groups that may match; `None` at the end.
    pub fn next_batch(&mut self) -> Result<Option<Rows>> {
        loop {
            check_for_interrupts();
            if let Some(open) = &mut self.open {
                let rows = open.scanner.next_batch().map_err(report)?;
                self.claims.count_read(open.unit, open.uncounted());
                if rows.is_some() {
                    return Ok(rows);
                }
            }
            let Some((unit, group)) = self.claim()? else {
                self.open = None;
                return Ok(None);
            };
            let loaded = self.open_group(unit, group)?;
            self.claims.count(u64::from(loaded), u64::from(!loaded));
            if let Some(open) = &mut self.open {
                self.claims.count_read(open.unit, open.uncounted());
            }
        }
    }

    /// Passes on the values of all columns in a batch, or the error that one of them is not a value of its column.
    pub fn with_columns<T>(
        &mut self,
        rows: &Rows,
        work: impl FnOnce(Result<Vec<Loaded>>) -> Result<T>,
    ) -> Result<T> {
        let Some(open) = &mut self.open else { return Err(internal("a batch has no file")) };
        let (columns, path, first) = (&self.columns, &open.scanner.meta().id.path, open.first);
        let mut batch = Batch { columns, values: &mut open.values, rows, path, first };
        let all: Vec<usize> = (0..columns.len()).collect();
        // SAFETY: the last batch is not used any more.
        unsafe { in_context(self.contexts.batch, || work(batch.load(&all))) }
    }

    /// Returns a group that no other process reads; `None` at the end.
    fn claim(&mut self) -> Result<Option<(usize, usize)>> {
        self.list()?;
        if !self.evaluated {
            self.evaluate(true);
            self.evaluated = true;
        }
        let units = self.units.as_deref().unwrap_or_default();
        let ordinal = self.claims.next();
        // The last file that begins at or before the group: files without groups begin where the next one does.
        let Some(unit) = units.partition_point(|unit| unit.first <= ordinal).checked_sub(1) else {
            return Ok(None);
        };
        let group = ordinal - units[unit].first;
        Ok((group < units[unit].groups).then_some((unit, group)))
    }

    /// Opens a group; returns false if the conditions exclude it.
    fn open_group(&mut self, unit: usize, group: usize) -> Result<bool> {
        if self.rejected == Some(unit) {
            return Ok(false);
        }
        if self.open.as_ref().is_none_or(|open| open.unit != unit) {
            self.open = None;
            let of = &self.units.as_deref().unwrap_or_default()[unit];
            let (id, keys) = (of.id.clone(), of.keys.clone());
            if !self.path_may_match(&id.path, &keys)? {
                self.rejected = Some(unit);
                return Ok(false);
            }
            self.open = Some(self.open_file(unit, &id, &keys)?);
        }
        let Some(open) = &mut self.open else { return Ok(false) };
        // SAFETY: the context is the scan's own.
        let before = unsafe { pg_sys::MemoryContextSwitchTo(self.contexts.file) };
        let filled = open.fill_metadata(&self.columns, group);
        // SAFETY: the context was the caller's.
        unsafe { pg_sys::MemoryContextSwitchTo(before) };
        filled?;
        let conditions = self.is_pruning.then_some(&self.conditions);
        // SAFETY: the context is the scan's own, and no batch needs it.
        let found = unsafe { in_context(self.contexts.batch, || open.begin(conditions, group)) };
        // The file must still be the one whose metadata excluded the group.
        open.scanner.check().map_err(report)?;
        found
    }

    fn open_file(&mut self, unit: usize, id: &FileId, keys: &Keys) -> Result<OpenFile> {
        let about = if self.is_pruning { self.conditions.columns() } else { Vec::new() };
        // SAFETY: the context is the scan's, and nothing that the last file left in it is used.
        unsafe { in_context(self.contexts.file, || OpenFile::new(unit, id, keys, &self.columns, &about)) }
    }

    /// Keeps a batch's rows that match, to be returned; false if there are none.
    fn take(&mut self, rows: Rows) -> Result<bool> {
        let Some(open) = &mut self.open else { return Ok(false) };
        let (columns, path, first) = (&self.columns, &open.scanner.meta().id.path, open.first);
        let mut batch = Batch { columns, values: &mut open.values, rows: &rows, path, first };
        // SAFETY: the last batch's rows have been returned; the conditions' expressions were evaluated before the group
        // was claimed.
        let returned = unsafe {
            in_context(self.contexts.batch, || {
                let selection = match &mut self.decided {
                    Some(decided) => {
                        let loaded = batch.load(&decided.columns)?;
                        decided.select(rows.count, &loaded, self.expressions)?
                    }
                    None => Selection::All,
                };
                let selected = match &selection {
                    Selection::None => return Ok(0),
                    Selection::All => None,
                    Selection::Some(selected) => Some(&selected[..]),
                };
                batch.fill(selected, &mut self.cells)
            })
        };
        self.rows = returned?;
        Ok(self.rows > 0)
    }

    /// Puts the next row into the slot; false at the end, with the slot empty.
    ///
    /// # Safety
    /// The slot is of the scan's relation.
    pub unsafe fn next_row(&mut self, slot: *mut pg_sys::TupleTableSlot) -> Result<bool> {
        // SAFETY: the slot is the scan's; the cells have a value for each row of the batch.
        unsafe {
            clear(slot);
            if self.next == self.rows && !self.advance()? {
                return Ok(false);
            }
            store(slot, &self.cells, self.next);
        }
        self.next += 1;
        Ok(true)
    }

    /// Returns the files: path, bytes that were read, size. If the scan has not run, the bytes read are the size of its
    /// columns.
    pub fn files_read(&mut self, has_run: bool) -> Result<Vec<(String, u64, u64)>> {
        self.list()?;
        let describe = |(at, unit): (usize, &ScanFile)| {
            if has_run {
                return Ok((unit.id.path.clone(), self.claims.read(at), unit.id.size));
            }
            check_for_interrupts();
            let meta = metadata(&reopen(&unit.id)?)?;
            let places = self.columns.iter().filter_map(|column| column.place(&meta, &unit.keys));
            let columns: Vec<usize> = places.collect();
            Ok((unit.id.path.clone(), meta.column_bytes(&columns), meta.id.size))
        };
        self.units.as_deref().unwrap_or_default().iter().enumerate().map(describe).collect()
    }

    /// Closes the file that is open.
    pub fn close(&mut self) {
        self.open = None;
    }

    pub fn restart(&mut self) {
        self.open = None;
        self.rejected = None;
        self.evaluated = false;
        (self.rows, self.next) = (0, 0);
        self.cells.clear();
        self.claims.restart();
    }
}
