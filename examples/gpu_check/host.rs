//! The kernels as a program on the host (kernels/host/decode.cpp) in a device's place: the comparison can
//! then be tried where there is no GPU.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use pg_strata::gpu::{Device, DeviceInfo, Fault};
use pg_strata::slot::input::Input;
use pg_strata::slot::layout::{Header, WANT_COLUMNS, columns_start, get};

pub struct Host {
    program: Mutex<Child>,
    output_bytes: usize,
    /// The submitted regions by ticket; `None` once collected.
    submitted: Mutex<Vec<Option<Vec<u8>>>>,
}

impl Host {
    pub fn start(program: &Path, output_bytes: usize) -> std::io::Result<Host> {
        let program = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        Ok(Host { program: Mutex::new(program), output_bytes, submitted: Mutex::default() })
    }

    fn decode(&self, input: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut program = self.program.lock().expect("one thread");
        let request = [input.len() as u32, self.output_bytes as u32, 49_152, input.len() as u32];
        let words: Vec<u8> = request.iter().flat_map(|word| word.to_le_bytes()).collect();
        let to = program.stdin.as_mut().expect("piped");
        to.write_all(&words)?;
        to.write_all(input)?;
        to.flush()?;
        let from = program.stdout.as_mut().expect("piped");
        let mut size = [0; 4];
        from.read_exact(&mut size)?;
        let mut region = vec![0; u32::from_le_bytes(size) as usize];
        from.read_exact(&mut region)?;
        Ok(region)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let program = self.program.get_mut().expect("one thread");
        drop(program.stdin.take());
        let _ = program.wait();
    }
}

fn refused(message: String) -> Fault {
    Fault { message, sticky: false }
}

impl Device for Host {
    fn info(&self) -> DeviceInfo {
        DeviceInfo { name: "the kernels on the host".into(), ..DeviceInfo::default() }
    }

    fn depth(&self) -> usize {
        2
    }

    fn submit(&self, _group: u64, region: &[u8]) -> Result<usize, Fault> {
        let input = Input::new(region).map_err(refused)?;
        let region = region[..input.used()].to_vec();
        let mut submitted = self.submitted.lock().expect("one thread");
        submitted.push(Some(region));
        Ok(submitted.len() - 1)
    }

    fn collect(&self, ticket: usize, output: &mut [u8]) -> Result<(), Fault> {
        let region = self.submitted.lock().expect("one thread")[ticket].take().unwrap_or_default();
        let header: Header = get(&region, 0).unwrap_or_default();
        let found = self.decode(&region).map_err(|error| refused(format!("the program: {error}")))?;
        let wanted = header.flags & WANT_COLUMNS != 0;
        let bytes = if wanted { found.len() } else { columns_start(header.columns as usize) };
        output[..bytes].copy_from_slice(&found[..bytes]);
        Ok(())
    }
}
