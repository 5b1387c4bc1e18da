//! What `gpu_devices()` and `gpu_status()` read from a pool: the devices that work for it, and a ring of log lines.
//!
//! Any process that has the pool mapped writes lines and reads both; the engine writes devices. All of it consists of
//! atomic words, and every entry has a version that is odd while it is written. A reader that meets a writer reads again
//! or leaves the entry out; it waits for nobody.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use serde::{Deserialize, Serialize};

/// A device's description, for `gpu_devices()`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceInfo {
    pub ordinal: u32,
    pub name: String,
    pub memory: u64,
    /// Compute capability, major and minor.
    pub capability: (u32, u32),
    /// "0000:18:00.0", say.
    pub pci_bus_id: String,
    /// "gen5 x16", say; empty if it is unknown.
    pub pci_link: String,
    pub numa_node: Option<u32>,
    /// Bytes a second from host to device and back, measured at start with the pool itself.
    pub h2d: u64,
    pub d2h: u64,
}

pub const DEVICES: usize = 32;
pub const LINES: u64 = 512;
/// Bytes of a line's text and of its source, and of a device's record.
const LINE: usize = 224;
const SOURCE: usize = 16;
const RECORD: usize = 480;

/// Text in shared memory: its length, and bytes in words.
#[repr(C)]
struct Text<const WORDS: usize>([AtomicU64; WORDS]);

impl<const WORDS: usize> Text<WORDS> {
    fn write(&self, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(8 * (WORDS - 1))];
        self.0[0].store(bytes.len() as u64, Ordering::Relaxed);
        for (word, chunk) in self.0[1..].iter().zip(bytes.chunks(8)) {
            let mut value = [0; 8];
            value[..chunk.len()].copy_from_slice(chunk);
            word.store(u64::from_le_bytes(value), Ordering::Relaxed);
        }
    }

    fn read(&self) -> Vec<u8> {
        let len = (self.0[0].load(Ordering::Relaxed) as usize).min(8 * (WORDS - 1));
        let words = self.0[1..].iter().take(len.div_ceil(8));
        let mut bytes: Vec<u8> = words.flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
        bytes.truncate(len);
        bytes
    }
}

/// The message of a slot that failed.
#[repr(C)]
pub(super) struct Message(Text<24>);

impl Message {
    pub(super) fn write(&self, text: &str) {
        self.0.write(text.as_bytes());
    }

    pub(super) fn read(&self) -> String {
        String::from_utf8_lossy(&self.0.read()).trim_end_matches('\u{FFFD}').to_owned()
    }
}

/// A line. Line `n` of all that were ever written has version 2 n + 1 while it is written, and 2 n + 2 afterwards.
#[repr(C, align(64))]
struct Line {
    version: AtomicU64,
    micros: AtomicU64,
    source: Text<{ SOURCE / 8 + 1 }>,
    text: Text<{ LINE / 8 + 1 }>,
}

#[repr(C, align(64))]
struct Device {
    /// Slots that were assigned to it and have not come back.
    queued: AtomicU32,
    finished: AtomicU64,
    info: Text<{ RECORD / 8 + 1 }>,
}

/// A device and what it has done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeviceRecord {
    pub info: DeviceInfo,
    /// Slots that were assigned to it and have not come back.
    pub queued: usize,
    /// Slots that it has decoded.
    pub finished: u64,
}

/// A log line.
#[derive(Clone, Debug, PartialEq)]
pub struct LogLine {
    /// Microseconds since 1970.
    pub micros: i64,
    pub source: String,
    pub message: String,
}

/// The devices and the lines. Zeros are none of either.
#[repr(C, align(64))]
pub(super) struct Monitoring {
    /// Lines ever begun.
    next: AtomicU64,
    /// Odd while the engine lists its devices.
    version: AtomicU64,
    devices: AtomicU32,
    lines: [Line; LINES as usize],
    records: [Device; DEVICES],
}

impl Monitoring {
    pub(super) fn log(&self, source: &str, message: &str) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let line = &self.lines[(number % LINES) as usize];
        let before = line.version.load(Ordering::Relaxed);
        // A writer of the previous lap that has not finished has either died or is overtaken by 511 lines.
        let stuck = before % 2 == 1 && before / 2 + LINES >= number;
        if stuck || before > 2 * number {
            return;
        }
        let taken =
            line.version.compare_exchange(before, 2 * number + 1, Ordering::Acquire, Ordering::Relaxed);
        if taken.is_err() {
            return;
        }
        fence(Ordering::Release);
        line.micros.store(now_micros() as u64, Ordering::Relaxed);
        line.source.write(source.as_bytes());
        line.text.write(message.as_bytes());
        line.version.store(2 * number + 2, Ordering::Release);
    }

    /// Returns the lines, oldest first.
    pub(super) fn lines(&self) -> Vec<LogLine> {
        let end = self.next.load(Ordering::Relaxed);
        (end.saturating_sub(LINES)..end).filter_map(|number| self.line(number)).collect()
    }

    fn line(&self, number: u64) -> Option<LogLine> {
        let line = &self.lines[(number % LINES) as usize];
        if line.version.load(Ordering::Acquire) != 2 * number + 2 {
            return None;
        }
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim_end_matches('\u{FFFD}').to_owned();
        let found = LogLine {
            micros: line.micros.load(Ordering::Relaxed) as i64,
            source: text(line.source.read()),
            message: text(line.text.read()),
        };
        fence(Ordering::Acquire);
        (line.version.load(Ordering::Relaxed) == 2 * number + 2).then_some(found)
    }

    /// Lists the devices. Called by one engine at a time.
    pub(super) fn set_devices(&self, devices: &[DeviceInfo]) {
        let version = self.version.load(Ordering::Relaxed) | 1;
        self.version.store(version, Ordering::Relaxed);
        fence(Ordering::Release);
        let count = devices.len().min(DEVICES);
        for (info, record) in devices.iter().zip(&self.records) {
            record.info.write(&described(info));
            record.queued.store(0, Ordering::Relaxed);
            record.finished.store(0, Ordering::Relaxed);
        }
        self.devices.store(count as u32, Ordering::Relaxed);
        self.version.store(version + 1, Ordering::Release);
    }

    /// Sets the slots queued for the device at `place` of the list, and adds `more` to those that it has finished. Called by
    /// the engine.
    pub(super) fn set_load(&self, place: usize, queued: usize, more: u64) {
        if let Some(record) = self.records.get(place) {
            record.queued.store(queued as u32, Ordering::Relaxed);
            record.finished.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// Returns the devices; none while the engine lists them.
    pub(super) fn devices(&self) -> Vec<DeviceRecord> {
        let version = self.version.load(Ordering::Acquire);
        let count = (self.devices.load(Ordering::Relaxed) as usize).min(DEVICES);
        let read = |record: &Device| {
            Some(DeviceRecord {
                info: serde_json::from_slice(&record.info.read()).ok()?,
                queued: record.queued.load(Ordering::Relaxed) as usize,
                finished: record.finished.load(Ordering::Relaxed),
            })
        };
        let found = self.records[..count].iter().filter_map(read).collect();
        fence(Ordering::Acquire);
        match version.is_multiple_of(2) && self.version.load(Ordering::Relaxed) == version {
            true => found,
            false => Vec::new(),
        }
    }
}

/// Returns the record's text, with names cut to the room that there is.
fn described(info: &DeviceInfo) -> Vec<u8> {
    let mut info = info.clone();
    for text in [&mut info.name, &mut info.pci_bus_id, &mut info.pci_link] {
        *text = text.chars().filter(char::is_ascii).take(64).collect();
    }
    serde_json::to_vec(&info).unwrap_or_default()
}

fn now_micros() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitoring() -> Box<Monitoring> {
        // SAFETY: atomic integers, for which zeros are values.
        unsafe { Box::new_zeroed().assume_init() }
    }

    #[test]
    fn the_last_lines_are_kept() {
        let monitoring = monitoring();
        assert_eq!(monitoring.lines(), []);
        let long = "ä".repeat(LINE);
        for number in 0..LINES + 10 {
            monitoring.log("engine", &format!("line {number}"));
        }
        monitoring.log("a source that is too long", &long);
        let lines = monitoring.lines();
        assert_eq!(lines.len(), LINES as usize);
        assert_eq!((lines[0].message.as_str(), lines[0].source.as_str()), ("line 11", "engine"));
        let last = lines.last().unwrap();
        assert_eq!((last.message.len(), last.source.len()), (LINE, SOURCE));
        assert!(last.micros > 1_600_000_000_000_000);
    }

    #[test]
    fn lines_written_at_once_are_whole() {
        let monitoring = monitoring();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let monitoring = &monitoring;
                scope.spawn(move || {
                    (0..5000).for_each(|n| monitoring.log("w", &format!("{writer} {}", "x".repeat(n % 100))));
                });
            }
            for _ in 0..200 {
                for line in monitoring.lines() {
                    let (writer, text) = line.message.split_once(' ').unwrap();
                    assert!(writer.len() == 1 && text.bytes().all(|byte| byte == b'x'), "{line:?}");
                }
            }
        });
        assert!(monitoring.lines().len() > LINES as usize / 2);
    }

    #[test]
    fn a_writer_that_died_holds_its_line_for_one_lap() {
        let monitoring = monitoring();
        monitoring.lines[3].version.store(2 * 3 + 1, Ordering::Relaxed);
        let has_third = || monitoring.lines().iter().any(|line| line.message.starts_with('3'));
        for number in 0..LINES {
            monitoring.log("", if number == 3 { "3" } else { "other" });
        }
        assert!(!has_third());
        (0..LINES).for_each(|_| monitoring.log("", "3"));
        assert_eq!(monitoring.lines().len(), LINES as usize - 1);
        (0..LINES).for_each(|_| monitoring.log("", "3"));
        assert_eq!(monitoring.lines().len(), LINES as usize);
    }

    #[test]
    fn devices_come_back() {
        let monitoring = monitoring();
        let info = |ordinal| DeviceInfo {
            ordinal,
            name: "a device".repeat(20),
            numa_node: Some(1),
            pci_link: "gen5 x16".into(),
            memory: u64::MAX,
            h2d: 1 << 40,
            ..DeviceInfo::default()
        };
        monitoring.set_devices(&[info(0), info(3)]);
        monitoring.set_load(1, 5, 2);
        monitoring.set_load(1, 4, 1);
        let found = monitoring.devices();
        assert_eq!((found[0].queued, found[0].finished, found[0].info.ordinal), (0, 0, 0));
        assert_eq!((found[1].queued, found[1].finished, found[1].info.ordinal), (4, 3, 3));
        assert_eq!(found[1].info.name, "a device".repeat(8));
        assert_eq!((found[1].info.memory, found[1].info.numa_node), (u64::MAX, Some(1)));
        monitoring.set_devices(&vec![info(1); 40]);
        assert_eq!((monitoring.devices().len(), monitoring.devices()[1].finished), (DEVICES, 0));
    }
}
