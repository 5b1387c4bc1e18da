//! A fuzzer's program around each function of `pg_strata::fuzzing`.

pub use libfuzzer_sys;

/// Makes panics quiet where they are caught, as readers of files do. libfuzzer's own hook would end the process at
/// once; a panic that nothing catches still ends it, once it comes back to libfuzzer.
pub fn let_panics_be_caught() {
    std::panic::set_hook(Box::new(|panic| {
        if std::env::var_os("SHOW_PANICS").is_some() {
            eprintln!("{panic}");
        }
    }));
}

/// Runs the target; says where it failed if it did.
pub fn run(target: fn(&[u8]), data: &[u8]) {
    if std::panic::catch_unwind(|| target(data)).is_err() {
        // Once more, now to be heard.
        std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
        target(data);
    }
}

#[macro_export]
macro_rules! target {
    ($target:path) => {
        $crate::libfuzzer_sys::fuzz_target!(
            init: $crate::let_panics_be_caught(),
            |data: &[u8]| $crate::run($target, data)
        );
    };
}
