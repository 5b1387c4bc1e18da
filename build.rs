//! Binds the library's own symbols within it: PostgreSQL's server has some of the same names (of zstd and lz4) as its libraries.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-Bsymbolic");
}
