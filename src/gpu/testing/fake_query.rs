//! Queries on a fake device: the CPU's executor behind the requests and answers of `slot::query`.

use std::sync::{Arc, Mutex};

use crate::decode::slot::{decode_slot, heap_cells};
use crate::gpu::lock::lock;
use crate::gpu::queries::Queries;
use crate::query::cuda::{Task, generate};
use crate::query::{Executor, Odd, Rows, Type, Unfit, Value};
use crate::slot::input::Input;
use crate::slot::output::Output;
use crate::slot::query::{BEGIN, GROUPS, Marks, Request, write_groups, write_marks};

#[derive(Default)]
pub struct FakeQueries(Queries<Arc<Mutex<Executor>>>);

impl std::fmt::Debug for FakeQueries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeQueries")
    }
}

/// Marks rows.
struct Marked<'m>(&'m mut [u32]);

impl Marked<'_> {
    fn mark(&mut self, row: usize) {
        self.0[row / 32] |= 1 << (row % 32);
    }

    fn has(&self, row: usize) -> bool {
        self.0[row / 32] >> (row % 32) & 1 == 1
    }
}

impl Odd for Marked<'_> {
    type Error = Unfit;

    fn row(&mut self, _: &Rows, row: usize) -> Result<Option<Vec<Value>>, Unfit> {
        self.mark(row);
        Ok(None)
    }
}

impl FakeQueries {
    pub fn answer(
        &self,
        number: u64,
        request: &Request,
        text: &[u8],
        output: &mut [u8],
    ) -> Result<(), String> {
        match request.step {
            BEGIN => {
                self.0.prepare(number);
                let task: Task = serde_json::from_slice(text).map_err(|error| error.to_string())?;
                // What has no text here has none on a GPU.
                let executor = generate(&task).and_then(|_| Executor::new(task.plan, usize::MAX));
                let executor = executor.map_err(|unfit| unfit.0)?;
                self.0.begin(number, Arc::new(Mutex::new(executor)));
                Ok(())
            }
            GROUPS => {
                let query = self.0.find(number)?;
                let executor = lock(&query);
                let is_plain =
                    executor.table.texts.is_empty() && executor.states.iter().all(|of| of.others.is_empty());
                let rows = &executor.table.rows;
                match is_plain && write_groups(output, executor.table.count as u64, rows, request.from) {
                    true => Ok(()),
                    false => Err("groups that no device has".into()),
                }
            }
            step => Err(format!("step {step} of a query")),
        }
    }

    /// Adds a slot's rows, but for those that are left to its process: those with a long text, too.
    pub fn add(&self, number: u64, region: &[u8], output: &mut [u8]) -> Result<(), String> {
        let query = self.0.find(number)?;
        let input = Input::new(region)?;
        let rows = input.rows();
        let (arena, cells) = heap_cells(&input)?;
        // What a device decodes it leaves out as a device does.
        let mut decoded = vec![0; output.len()];
        decode_slot(region, &mut decoded)?;
        let statuses = Output::of(&input, &decoded)?.statuses();
        let mut bitmap = vec![0; rows.div_ceil(32)];
        let mut marked = Marked(&mut bitmap);
        match &statuses {
            Some(listed) => listed.iter().for_each(|status| marked.mark(status.row as usize)),
            None => (0..rows).for_each(|row| marked.mark(row)),
        }
        let mut executor = lock(&query);
        let is_text = |number: &usize| matches!(executor.plan.columns[*number].of, Type::Text | Type::Bpchar);
        let texts: Vec<usize> = (0..cells.len()).filter(is_text).collect();
        let is_long = |row: &usize| texts.iter().any(|column| cells[*column][*row].len() > LONG);
        (0..rows).filter(is_long).for_each(|row| marked.mark(row));
        let batch = Rows::heap(&cells, &arena);
        for row in 0..rows {
            if !marked.has(row) {
                executor.add(&batch, row..row + 1, &mut marked).map_err(|unfit| unfit.0)?;
            }
        }
        let marks = bitmap.iter().map(|word: &u32| word.count_ones()).sum();
        let bytes: Vec<u8> = bitmap.iter().flat_map(|word| word.to_le_bytes()).collect();
        match write_marks(output, Marks { rows: rows as u32, marked: marks }, &bytes) {
            true => Ok(()),
            false => Err("marks have no room in their region".into()),
        }
    }
}

/// Bytes of a text beyond which a key's do not lie in its words.
const LONG: usize = 12;
