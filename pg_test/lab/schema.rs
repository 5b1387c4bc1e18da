//! `schema SECTION`: the SQL of the functions that a library has, of a copy of its section `.pgrxsc`. It is what
//! `cargo pgrx schema` does, for which all of cargo-pgrx would have to be built.

use std::{env, error::Error, fs, io};

use pgrx::pgrx_sql_entity_graph::{ControlFile, PgrxSql, SqlGraphEntity, section::decode_entities};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let file = env::args().nth(1).ok_or("usage: schema SECTION")?;
    let section = fs::read(file)?;
    let control = concat!(env!("CARGO_MANIFEST_DIR"), "/pg_strata.control");
    let control = ControlFile::from_path_with_cargo_version(control, env!("CARGO_PKG_VERSION"))?;
    let entities = decode_entities(&section)?;
    let root = SqlGraphEntity::ExtensionRoot(control);
    let sql = PgrxSql::build([root].into_iter().chain(entities), env!("CARGO_PKG_NAME").into(), false)?;
    Ok(sql.write(&mut io::stdout())?)
}
