//! Runs parallel workers through PostgreSQL's ParallelContext: they share the leader's snapshot, its
//! transaction's uncommitted rows, its user and its settings.
//!
//! The leader runs the same body as the workers and needs none of them: work is claimed from counters in the
//! shared words. The context's segment holds only kilobytes of control state; where a small /dev/shm has no
//! room for it, there are fewer workers, or none.

use std::ffi::c_void;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::check_for_interrupts;
use super::error::{Code, Result, error, error_class, internal};
use super::wait_event::Event;
use super::xact;
use crate::memory;

/// A worker's body: takes the job, the shared words and the worker's number from 1; returns the message for the
/// leader.
pub type WorkerBody = fn(&[u8], &[AtomicU64], usize) -> Result<Vec<u8>>;

/// What a worker does.
#[derive(Clone, Copy)]
pub enum Body {
    Export,
    Query,
}

static BODIES: OnceLock<[WorkerBody; 2]> = OnceLock::new();

/// Sets the bodies, in the order of `Body`. Called from `_PG_init`, which a worker runs when it loads the library.
pub fn set_worker_bodies(bodies: [WorkerBody; 2]) {
    let _ = BODIES.set(bodies);
}

/// The first three shared words belong to this module; users of `shared` start after them.
const JOB_BYTES: usize = 0;
const WORDS: usize = 1;
const BODY: usize = 2;
pub const RESERVED_WORDS: usize = 3;

const KEY_JOB: u64 = 1;
const KEY_SHARED: u64 = 2;
const KEY_QUEUES: u64 = 3;
/// Size of a worker's queue. A worker sends one message, at its end; a larger queue is only faster.
const QUEUE_BYTES: usize = 64 << 10;

/// Returns whether this process is a parallel worker.
pub fn is_worker() -> bool {
    // SAFETY: reads process-wide state.
    unsafe { pg_sys::ParallelWorkerNumber >= 0 }
}

pub fn in_parallel_worker() -> bool {
    // SAFETY: reads process-wide state.
    unsafe { pg_sys::ParallelWorkerNumber >= 0 || pg_sys::IsInParallelMode() }
}

pub struct Workers {
    context: *mut pg_sys::ParallelContext,
    queues: Vec<*mut pg_sys::shm_mq_handle>,
    shared: *const AtomicU64,
    words: usize,
}

/// About what PostgreSQL takes of the context's segment for each worker (PARALLEL_ERROR_QUEUE_SIZE in
/// parallel.c).
const WORKER_BYTES: usize = 16 << 10;
/// About what it takes for the leader's settings and snapshots.
const STATE_BYTES: usize = 128 << 10;
/// What a session allocates with its first context and keeps: SESSION_DSA_SIZE in session.c, and that area's
/// next segment (DSA_DEFAULT_INIT_SEGMENT_SIZE in dsa.h).
const SESSION_BYTES: usize = (192 << 10) + (1 << 20);

mod raw {
    // access/session.h, which pgrx does not bind.
    #[repr(C)]
    pub struct Session {
        pub segment: *mut pgrx::pg_sys::dsm_segment,
    }

    unsafe extern "C" {
        pub static mut CurrentSession: *mut Session;
    }
}

fn session_has_segment() -> bool {
    // SAFETY: reads process-wide state; the struct begins like this in all versions.
    unsafe { !raw::CurrentSession.is_null() && !(*raw::CurrentSession).segment.is_null() }
}

/// Returns how many of the workers there is shared memory for. In a statement that is in parallel mode already, where
/// no subtransaction can be started, that is not known.
pub fn with_room(wanted: usize, job: &[u8], words: usize) -> usize {
    // SAFETY: reads process-wide state.
    if unsafe { pg_sys::IsInParallelMode() } {
        return wanted;
    }
    let session = if session_has_segment() { 0 } else { SESSION_BYTES };
    let fixed = session + STATE_BYTES + job.len() + words * size_of::<AtomicU64>();
    let has_room =
        |&workers: &usize| workers == 0 || has_room(fixed + workers * (QUEUE_BYTES + WORKER_BYTES));
    std::iter::successors(Some(wanted), |workers| Some(workers / 2)).find(has_room).unwrap_or(0)
}

/// Returns whether a segment of so many bytes can be allocated: a small /dev/shm may be full.
fn has_room(bytes: usize) -> bool {
    let is_urgent = |code| !is_lack(code);
    // SAFETY: no other process learns of the segment; an error releases it with the subtransaction.
    let made = xact::attempt_unless(is_urgent, || unsafe {
        let segment = pg_sys::dsm_create(bytes, pg_sys::DSM_CREATE_NULL_IF_MAXSEGMENTS as i32);
        // If no segment slot is free, PostgreSQL starts no workers and raises nothing.
        if !segment.is_null() {
            pg_sys::dsm_detach(segment);
        }
    });
    made.is_ok()
}

/// Returns whether a SQLSTATE is of class 53, insufficient resources.
fn is_lack(code: Code) -> bool {
    matches!(error_class(code), [b'5', b'3'])
}

impl Workers {
    /// Prepares up to `wanted` workers for the job. Fewer, or none, may start. If an error is raised later, the
    /// transaction's abort stops them and leaves parallel mode.
    pub fn launch(body: Body, wanted: usize, job: &[u8], words: usize) -> Workers {
        let shared_bytes = words * size_of::<AtomicU64>();
        let queue_bytes = wanted * QUEUE_BYTES;
        // SAFETY: the documented call sequence of README.parallel, on the main thread.
        unsafe {
            pg_sys::EnterParallelMode();
            let context = pg_sys::CreateParallelContext(
                c"pg_strata".as_ptr(),
                c"pg_strata_worker_main".as_ptr(),
                wanted as i32,
            );
            for bytes in [job.len(), shared_bytes, queue_bytes] {
                (*context).estimator.space_for_chunks += bytes.next_multiple_of(64);
            }
            (*context).estimator.number_of_keys += 3;
            pg_sys::InitializeParallelDSM(context);

            let toc = (*context).toc;
            let job_at = pg_sys::shm_toc_allocate(toc, job.len()).cast::<u8>();
            std::ptr::copy_nonoverlapping(job.as_ptr(), job_at, job.len());
            pg_sys::shm_toc_insert(toc, KEY_JOB, job_at.cast());
            let shared = pg_sys::shm_toc_allocate(toc, shared_bytes).cast::<AtomicU64>();
            for word in 0..words {
                shared.add(word).write(AtomicU64::new(0));
            }
            (*shared.add(JOB_BYTES)).store(job.len() as u64, Ordering::Release);
            (*shared.add(WORDS)).store(words as u64, Ordering::Release);
            (*shared.add(BODY)).store(body as u64, Ordering::Release);
            pg_sys::shm_toc_insert(toc, KEY_SHARED, shared.cast());
            let queues_at = pg_sys::shm_toc_allocate(toc, queue_bytes).cast::<u8>();
            pg_sys::shm_toc_insert(toc, KEY_QUEUES, queues_at.cast());
            let mut workers = Workers { context, queues: Vec::new(), shared, words };
            workers.create_queues(queues_at);
            workers
        }
    }

    /// Creates and attaches a queue for each worker.
    ///
    /// # Safety
    /// `at` has room for QUEUE_BYTES for each worker of the context.
    unsafe fn create_queues(&mut self, at: *mut u8) {
        // SAFETY: the caller passes room for a queue for each worker of the context.
        unsafe {
            for index in 0..(*self.context).nworkers as usize {
                let queue = pg_sys::shm_mq_create(at.add(index * QUEUE_BYTES).cast(), QUEUE_BYTES);
                pg_sys::shm_mq_set_receiver(queue, pg_sys::MyProc);
                self.queues.push(pg_sys::shm_mq_attach(queue, (*self.context).seg, std::ptr::null_mut()));
            }
        }
    }

    /// Lets the workers run; `shared` must be filled before. Returns how many started.
    pub fn start(&mut self) -> usize {
        // SAFETY: the context is initialised; every launched worker has a queue.
        unsafe {
            pg_sys::LaunchParallelWorkers(self.context);
            let launched = (*self.context).nworkers_launched as usize;
            for (index, queue) in self.queues.iter().enumerate().take(launched) {
                let worker = (*self.context).worker.add(index);
                pg_sys::shm_mq_set_handle(*queue, (*worker).bgwhandle);
            }
            launched
        }
    }

    pub fn shared(&self) -> &[AtomicU64] {
        // SAFETY: allocated and initialised in `launch`; it lives until `finish`.
        unsafe { std::slice::from_raw_parts(self.shared, self.words) }
    }

    /// Waits for the workers, raises the first of their errors, and returns their messages and the last state
    /// of the shared words.
    pub fn finish(self) -> Result<(Vec<Vec<u8>>, Vec<AtomicU64>)> {
        let mut messages = Vec::new();
        let words;
        // SAFETY: the context is initialised, and every launched worker has a queue; each message is copied
        // before the next receive.
        unsafe {
            let launched = (*self.context).nworkers_launched as usize;
            for queue in self.queues.iter().take(launched) {
                let (mut length, mut data): (usize, *mut c_void) = (0, std::ptr::null_mut());
                if pg_sys::shm_mq_receive(*queue, &mut length, &mut data, false)
                    == pg_sys::shm_mq_result::SHM_MQ_SUCCESS
                {
                    messages.push(memory::copy(std::slice::from_raw_parts(data.cast::<u8>(), length))?);
                }
            }
            pg_sys::WaitForParallelWorkersToFinish(self.context);
            words = self.shared().iter().map(|word| AtomicU64::new(word.load(Ordering::Acquire))).collect();
            pg_sys::DestroyParallelContext(self.context);
            pg_sys::ExitParallelMode();
            if messages.len() != launched {
                return Err(error(
                    Code::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                    "a parallel worker ended without a result",
                )
                .set_hint("See the server log; run the statement again."));
            }
        }
        Ok((messages, words))
    }
}

/// Waits for what other processes of the statement do, of which a shared word tells; returns false if `is_stopped` does
/// before. A worker that ends too early raises an error in the leader, which ends the others.
pub fn wait_until(is_done: impl Fn() -> bool, is_stopped: impl Fn() -> bool) -> bool {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    while !is_done() {
        if is_stopped() {
            return false;
        }
        // SAFETY: the process's own latch, on its main thread.
        unsafe {
            pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, 1, Event::Groups.number());
            pg_sys::ResetLatch(pg_sys::MyLatch);
        }
        check_for_interrupts();
    }
    true
}

/// Runs the body in a parallel worker.
///
/// # Safety
/// Called by PostgreSQL in a parallel worker, inside a transaction, with the leader's segment.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn pg_strata_worker_main(
    segment: *mut pg_sys::dsm_segment,
    toc: *mut pg_sys::shm_toc,
) {
    // SAFETY: the leader inserted the three keys before it launched this worker, and they live as long as the
    // worker. The job's length is in the first shared word.
    let (job, shared, queue, number) = unsafe {
        let number = pg_sys::ParallelWorkerNumber as usize;
        let shared = pg_sys::shm_toc_lookup(toc, KEY_SHARED, false).cast::<AtomicU64>();
        let load = |word: usize| (*shared.add(word)).load(Ordering::Acquire) as usize;
        let (job_bytes, words) = (load(JOB_BYTES), load(WORDS));
        let job = pg_sys::shm_toc_lookup(toc, KEY_JOB, false).cast::<u8>();
        let queues = pg_sys::shm_toc_lookup(toc, KEY_QUEUES, false).cast::<u8>();
        let queue = queues.add(number * QUEUE_BYTES).cast::<pg_sys::shm_mq>();
        pg_sys::shm_mq_set_sender(queue, pg_sys::MyProc);
        let handle = pg_sys::shm_mq_attach(queue, segment, std::ptr::null_mut());
        (
            std::slice::from_raw_parts(job, job_bytes),
            std::slice::from_raw_parts(shared, words),
            handle,
            number + 1,
        )
    };
    let body = BODIES.get().and_then(|bodies| bodies.get(shared[BODY].load(Ordering::Acquire) as usize));
    let outcome = match body {
        Some(body) => body(job, shared, number),
        None => Err(internal("the worker's library is not initialised")),
    };
    match outcome {
        // SAFETY: the queue is attached; a leader that is gone detaches it, and the send then returns.
        Ok(message) => unsafe {
            pg_sys::shm_mq_send(queue, message.len(), message.as_ptr().cast(), false, true);
        },
        Err(report) => report.report(PgLogLevel::ERROR),
    }
}

/// Returns the number of workers that the planner would take for a sequential scan of `blocks`
/// (compute_parallel_worker in allpaths.c): one more for each tripling past min_parallel_table_scan_size.
pub fn workers_for(blocks: u64, option: Option<i32>) -> usize {
    // SAFETY: reads process-wide settings.
    let (threshold, limit) = unsafe {
        (
            pg_sys::min_parallel_table_scan_size.max(1) as u64,
            pg_sys::max_parallel_workers_per_gather.max(0) as usize,
        )
    };
    let wanted = match option {
        Some(workers) => workers as usize,
        None if blocks < threshold => 0,
        None => {
            let mut workers = 1;
            let mut step = threshold;
            while blocks >= step.saturating_mul(3) {
                workers += 1;
                step = step.saturating_mul(3);
            }
            workers
        }
    };
    wanted.min(limit)
}

/// Returns the most workers that an explicit request can have.
pub fn max_workers() -> usize {
    // SAFETY: reads a process-wide setting.
    unsafe { pg_sys::max_parallel_workers.max(0) as usize }
}
