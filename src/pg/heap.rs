//! Heap pages into batches: core finds the visible tuples, we copy the page and list them.
//!
//! heapgetpage (15, 16) and heap_prepare_pagescan (17, 18) do visibility, pruning, the serializable
//! checks and the bulk-read ring on a sequential scan's descriptor; we only choose the block. A tuple
//! found visible is stable while its page is pinned (heapam.c), so the page is copied under the pin and
//! the copy is read through the listed offsets alone.

use pgrx::pg_sys;
use pgrx::pg_sys::Oid;

use super::catalog::Table;
use super::error::{Code, Result, error};
use crate::slot::{Batch, Tid};
use crate::wire::page::line_pointer;
use crate::wire::tuple::TupleRef;

pub const BLOCK_SIZE: usize = pg_sys::BLCKSZ as usize;

pub struct HeapScan {
    scan: pg_sys::TableScanDesc,
    // Dropped after `scan` ends: declared second.
    pub table: Table,
}

impl HeapScan {
    /// Opens the table under the active snapshot, which leader and workers share.
    pub fn open(table: Oid) -> Result<HeapScan> {
        let table = Table::open(table)?;
        // SAFETY: the relation is open; an active snapshot exists inside a query and in a worker.
        // allow_strat: a large table does not sweep the buffer pool. No sync scan: we choose the blocks.
        let scan = unsafe {
            let snapshot = pg_sys::GetActiveSnapshot();
            pg_sys::table_beginscan_strat(table.relation, snapshot, 0, std::ptr::null_mut(), true, false)
        };
        Ok(HeapScan { scan, table })
    }

    /// Appends a block's visible tuples to the batch, in line pointer order. The batch's arena holds
    /// whole pages only when this is called.
    pub fn read_block(&mut self, block: u32, batch: &mut Batch) -> Result<()> {
        let scan = self.scan.cast::<pg_sys::HeapScanDescData>();
        // SAFETY: the descriptor is a heap scan's; the block lies below the count that the leader took
        // under this snapshot, and heap tables do not shrink under our lock except by tail truncation,
        // which needs a stronger one.
        let (page, visible) = unsafe {
            prepare_page(self.scan, block);
            let count = (*scan).rs_ntuples as usize;
            if count == 0 {
                return Ok(());
            }
            (pg_sys::BufferGetPage((*scan).rs_cbuf), &(&(*scan).rs_vistuples)[..count])
        };
        let start = batch.arena.len();
        batch.arena.reserve(BLOCK_SIZE);
        // SAFETY: the page is pinned and BLOCK_SIZE long; space was reserved; raw pointers because others
        // may set hint bits meanwhile.
        unsafe {
            let target = batch.arena.as_mut_ptr().add(start);
            std::ptr::copy_nonoverlapping(page.cast::<u8>(), target, BLOCK_SIZE);
            batch.arena.set_len(start + BLOCK_SIZE);
        }
        let copy = &batch.arena[start..];
        for &offset in visible {
            let Some((tuple, len)) = line_pointer(copy, offset) else {
                return Err(error(
                    Code::ERRCODE_DATA_CORRUPTED,
                    format!(
                        "invalid line pointer ({block},{offset}) in table {}",
                        self.table.qualified_name()
                    ),
                )
                .set_hint("Check the table with pg_amcheck."));
            };
            batch.tuples.push(TupleRef { pos: (start + tuple as usize) as u32, len });
            batch.tids.push(Tid { block, offset });
        }
        Ok(())
    }
}

impl Drop for HeapScan {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: begun by us, ended once; an abort releases it by itself.
            unsafe { pg_sys::table_endscan(self.scan) }
        }
    }
}

#[cfg(any(feature = "pg15", feature = "pg16"))]
unsafe fn prepare_page(scan: pg_sys::TableScanDesc, block: u32) {
    // SAFETY: see the caller.
    unsafe { pg_sys::heapgetpage(scan, block) }
}

#[cfg(any(feature = "pg17", feature = "pg18"))]
unsafe fn prepare_page(scan: pg_sys::TableScanDesc, block: u32) {
    let heap = scan.cast::<pg_sys::HeapScanDescData>();
    // SAFETY: as heap_fetch_next_buffer does, with a block of our choice instead of the stream's.
    unsafe {
        if (*heap).rs_cbuf != pg_sys::InvalidBuffer as i32 {
            pg_sys::ReleaseBuffer((*heap).rs_cbuf);
            (*heap).rs_cbuf = pg_sys::InvalidBuffer as i32;
        }
        (*heap).rs_cbuf = pg_sys::ReadBufferExtended(
            (*scan).rs_rd,
            pg_sys::ForkNumber::MAIN_FORKNUM,
            block,
            pg_sys::ReadBufferMode::RBM_NORMAL,
            (*heap).rs_strategy,
        );
        (*heap).rs_cblock = block;
        pg_sys::heap_prepare_pagescan(scan);
    }
}
