//! Programs that run kernels on the host with sanitizers: kernels/host/*.cpp, for tests.
//!
//! A C++ compiler is needed ($CXX, else `c++`). What is built lies beside the test's own executable and is
//! built again when a kernel source changes.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Result, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

const FLAGS: [&str; 10] = [
    "-std=c++17",
    "-O1",
    "-g",
    "-DHOST_BUILD",
    "-fno-strict-aliasing",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("kernels/") {
        let path = entry.expect("kernels/").path();
        if path.is_dir() { sources(&path, found) } else { found.push(path) }
    }
}

/// The program of kernels/host/`name`.cpp, built when no earlier run has. It includes the generated text, if there is one.
fn program(name: &str, generated: Option<&str>) -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _building = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    let kernels = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let mut files = Vec::new();
    sources(&kernels, &mut files);
    files.sort();
    let mut hash = DefaultHasher::new();
    FLAGS.hash(&mut hash);
    generated.hash(&mut hash);
    files.iter().for_each(|file| std::fs::read(file).expect("a kernel source").hash(&mut hash));
    let here = std::env::current_exe().expect("a test has an executable");
    let built = here.with_file_name(format!("host_{name}-{:016x}", hash.finish()));
    if !built.exists() {
        build(&kernels, name, generated, &built);
    }
    built
}

fn build(kernels: &Path, name: &str, generated: Option<&str>, built: &Path) {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let part = built.with_extension(std::process::id().to_string());
    let source = kernels.join("host").join(name).with_extension("cpp");
    let mut command = Command::new(&compiler);
    command.args(FLAGS).arg("-I").arg(kernels);
    if let Some(text) = generated {
        let file = built.with_extension("inc");
        std::fs::write(&file, text).expect("a place for the generated text");
        command.arg(format!("-DGENERATED=\"{}\"", file.display()));
    }
    let made = command.arg(source).arg("-o").arg(&part).output();
    let made = made.unwrap_or_else(|error| {
        panic!("the kernels' tests need a C++ compiler with sanitizers: {compiler}: {error}")
    });
    assert!(made.status.success(), "{compiler}: {}", String::from_utf8_lossy(&made.stderr));
    std::fs::rename(&part, built).expect("a place for the program");
}

/// The program, running; it ends when its standard input does.
pub struct HostProgram(Child);

impl HostProgram {
    pub fn start(name: &str) -> HostProgram {
        HostProgram::run(program(name, None))
    }

    /// Starts a program that includes a generated text.
    pub fn with_text(name: &str, generated: &str) -> HostProgram {
        HostProgram::run(program(name, Some(generated)))
    }

    fn run(program: PathBuf) -> HostProgram {
        let mut command = Command::new(program);
        HostProgram(
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the kernels' program"),
        )
    }

    pub fn ask(&mut self, request: &[u8]) -> Result<()> {
        let input = self.0.stdin.as_mut().expect("piped above");
        input.write_all(request)?;
        input.flush()
    }

    pub fn answer(&mut self, bytes: usize) -> Result<Vec<u8>> {
        let mut answer = vec![0; bytes];
        self.0.stdout.as_mut().expect("piped above").read_exact(&mut answer)?;
        Ok(answer)
    }

    pub fn answer_words(&mut self, count: usize) -> Result<Vec<u32>> {
        Ok(words(&self.answer(4 * count)?))
    }
}

pub fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect()
}

impl Drop for HostProgram {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let status = self.0.wait().expect("a child of this process");
        if !std::thread::panicking() {
            assert!(status.success(), "{status}");
        }
    }
}
