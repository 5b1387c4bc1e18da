//! Child processes of the service, in which the driver runs, so that its crash does not reach the server.
//!
//! A child first gives up the server's shared memory. It ends when its parent ends, however that happens, and reports in
//! lines through a pipe, whose end says that the child has ended.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use crate::pg::bgworker;
use crate::{interrupts, memory};

/// The time that a child has to end when it is asked to.
const GRACE: Duration = Duration::from_secs(3);

pub struct Child {
    pub pid: i32,
    pipe: File,
    unread: Vec<u8>,
    ended: Option<i32>,
    closed: bool,
}

impl Child {
    /// Forks. `body` gets the pipe and returns the exit status. Of the descriptors only `keep` stay open in the child.
    pub fn fork(title: &CStr, keep: &[i32], body: impl FnOnce(File) -> i32) -> io::Result<Child> {
        let (reader, writer) = pipe()?;
        let parent = std::process::id() as i32;
        let before = block_signals();
        // SAFETY: the service has one thread, so that the child's copy of everything is in order.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            settle_in(parent, title, keep, writer.as_raw_fd());
            let run = AssertUnwindSafe(|| body(writer));
            let status = std::panic::catch_unwind(run).unwrap_or(libc::EXIT_FAILURE);
            // SAFETY: ends at once: what PostgreSQL has registered for its own end must not run here.
            unsafe { libc::_exit(status) }
        }
        let failed = (pid < 0).then(io::Error::last_os_error);
        set_signals(&before);
        match failed {
            Some(cause) => Err(cause),
            None => Ok(Child { pid, pipe: reader, unread: Vec::new(), ended: None, closed: false }),
        }
    }

    /// Returns the descriptor that becomes readable when there is something to read, or nothing more.
    pub fn descriptor(&self) -> i32 {
        self.pipe.as_raw_fd()
    }

    /// Returns the whole lines that have come.
    pub fn lines(&mut self) -> Vec<String> {
        let mut piece = [0; 4096];
        loop {
            match self.pipe.read(&mut piece) {
                Ok(0) => self.closed = true,
                Ok(length) => {
                    self.unread.extend_from_slice(&piece[..length]);
                    continue;
                }
                Err(_) => {}
            }
            break;
        }
        let Some(end) = self.unread.iter().rposition(|&byte| byte == b'\n') else { return Vec::new() };
        let rest = self.unread.split_off(end + 1);
        let whole = std::mem::replace(&mut self.unread, rest);
        let text = String::from_utf8_lossy(&whole);
        text.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    /// Whether the child writes no more.
    pub fn has_closed(&self) -> bool {
        self.closed
    }

    /// Returns the status of `waitpid` once the child has ended.
    pub fn ended(&mut self) -> Option<i32> {
        let mut status = 0;
        // SAFETY: a child of this process that nobody else waits for.
        if self.ended.is_none() && unsafe { libc::waitpid(self.pid, &mut status, libc::WNOHANG) } == self.pid
        {
            self.ended = Some(status);
        }
        self.ended
    }

    /// Asks the child to end, then kills it. A process that waits in the driver may outlast even that, and is left behind.
    pub fn stop(&mut self) {
        let began = Instant::now();
        self.signal(libc::SIGTERM);
        while self.ended().is_none() && began.elapsed() < 2 * GRACE {
            if began.elapsed() > GRACE {
                self.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn kill(&self) {
        self.signal(libc::SIGKILL);
    }

    fn signal(&self, signal: i32) {
        if self.ended.is_none() {
            // SAFETY: a child that has not been waited for: the id is still its own.
            unsafe { libc::kill(self.pid, signal) };
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Describes a status of `waitpid`.
pub fn describe(status: i32) -> String {
    match libc::WIFSIGNALED(status) {
        true => format!("it was ended by signal {}", libc::WTERMSIG(status)),
        false => format!("it ended with status {}", libc::WEXITSTATUS(status)),
    }
}

/// Writes a line for the parent, which may not read it.
pub fn tell(mut pipe: &File, line: &str) {
    let _ = pipe.write_all(format!("{}\n", line.replace('\n', " ")).as_bytes());
}

/// Makes a pipe whose reading end does not block.
fn pipe() -> io::Result<(File, File)> {
    let mut ends = [0; 2];
    // SAFETY: the array has room for both; the descriptors are then owned by the files alone.
    unsafe {
        if libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) != 0 {
            return Err(io::Error::last_os_error());
        }
        libc::fcntl(ends[0], libc::F_SETFL, libc::O_NONBLOCK);
        Ok((File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1])))
    }
}

/// Blocks all signals and returns the previous mask. No handler of the server may run in the child until it has its own.
fn block_signals() -> libc::sigset_t {
    // SAFETY: both sets outlive the call, which fills the second.
    unsafe {
        let mut all = std::mem::zeroed();
        let mut before = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &all, &mut before);
        before
    }
}

fn set_signals(mask: &libc::sigset_t) {
    // SAFETY: `block_signals` has filled the set.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, mask, std::ptr::null_mut()) };
}

/// Separates a new child from the server.
fn settle_in(parent: i32, title: &CStr, keep: &[i32], pipe: i32) {
    // SAFETY: system calls on this process alone, which has one thread.
    unsafe {
        for signal in 1..libc::SIGRTMIN() {
            libc::signal(signal, libc::SIG_DFL);
        }
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        // The parent may have died before that.
        if libc::getppid() != parent {
            libc::_exit(libc::EXIT_FAILURE);
        }
        // The server signals the service's process group; the service itself stops the child.
        libc::setpgid(0, 0);
        // A pipe whose reader has gone is no reason to be killed.
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        libc::prctl(libc::PR_SET_NAME, c"pg_strata gpu".as_ptr());
    }
    // This is no process of the server: its end by SIGABRT, like a driver's crash, harms nobody, and its slots are decoded
    // on the CPU.
    memory::disarm();
    interrupts::remove_check();
    bgworker::leave_server(title);
    close_others(keep, pipe);
    // SAFETY: sigemptyset fills the set.
    let none = unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        none
    };
    set_signals(&none);
}

/// Closes the descriptors that the server opened, above all the service file's: its lock has to end with the service.
fn close_others(keep: &[i32], pipe: i32) {
    let Ok(open) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<i32> =
        open.flatten().filter_map(|entry| entry.file_name().to_string_lossy().parse().ok()).collect();
    for descriptor in open {
        if descriptor > 2 && descriptor != pipe && !keep.contains(&descriptor) {
            // SAFETY: nothing in this process uses it any more.
            unsafe { libc::close(descriptor) };
        }
    }
}
