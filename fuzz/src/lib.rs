//! Programs that fuzz the functions of `pg_strata::fuzzing`.

pub use libfuzzer_sys;

/// Silences panics that are caught, as readers of files do. libfuzzer's own hook would end the process at once. A
/// panic that is not caught still ends it, when it reaches libfuzzer.
pub fn let_panics_be_caught() {
    std::panic::set_hook(Box::new(|panic| {
        if std::env::var_os("SHOW_PANICS").is_some() {
            eprintln!("{panic}");
        }
    }));
}

/// Runs the target, and reports where it failed.
pub fn run(target: fn(&[u8]), data: &[u8]) {
    if std::panic::catch_unwind(|| target(data)).is_err() {
        // Run it again, with the message.
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
