//! Encode kernels on the device: the bodies that they make, and how fast.

use pg_strata::gpu::cuda::encode_bench::Encode;
use pg_strata::gpu::encode::{Order, Shape, page_rows};
use pg_strata::gpu::specimens::Random;
use pg_strata::gpu::specimens::columns::{Columns, GOLDEN_BODIES, GOLDEN_ROWS, Wish, golden};
use pg_strata::gpu::specimens::pages::digest;

/// Rows of a column: what a slot of lineorder in 8 MiB holds.
const ROWS: usize = 57_000;

/// What becomes of the golden columns is what the host's build makes, which the parquet crate reads.
pub fn check(device: &Encode) -> Result<String, String> {
    let Columns { input, columns, .. } = golden();
    let bodies = device.encode(&input, &columns, |_| GOLDEN_ROWS)?;
    if digest(bodies.iter().map(|body| &body[..])) != GOLDEN_BODIES {
        return Err("the bodies are not those of the kernels on the host".into());
    }
    Ok(format!("{} columns, {} pages, {} bytes of input", columns.len(), bodies.len(), input.len()))
}

/// A line for each kind of column, and one for those of a table: what, GB/s of input, more.
pub fn rates(device: &Encode, bytes: usize, repeats: usize) -> Result<Vec<(String, f64, String)>, String> {
    let wish =
        |shape, order, nulls, longest| Wish { shape, order, nullable: true, rows: ROWS, nulls, longest };
    let ints = wish(Shape::Fixed4, Order::Signed, 0, 0);
    let longs = wish(Shape::Fixed8, Order::Signed, 0, 0);
    let text = wish(Shape::Strings, Order::None, 0, 20);
    let mut lineorder = vec![ints; 4];
    lineorder.extend([longs; 8]);
    lineorder.extend([text; 5]);
    let cases = [
        ("a table's: 4 int32, 8 int64, 5 text", lineorder),
        ("int32", vec![ints]),
        ("int64", vec![longs]),
        ("int64, 10 % NULL", vec![Wish { nulls: 10, ..longs }]),
        ("double", vec![wish(Shape::Fixed8, Order::Floating, 0, 0)]),
        ("16 bytes", vec![wish(Shape::Fixed16, Order::Signed, 0, 0)]),
        ("16 bytes, 10 % NULL", vec![wish(Shape::Fixed16, Order::Signed, 10, 0)]),
        ("boolean, 10 % NULL", vec![wish(Shape::Bits, Order::Unsigned, 10, 0)]),
        ("text of 10 bytes", vec![text]),
        ("text of 100 bytes, 10 % NULL", vec![wish(Shape::Strings, Order::None, 10, 200)]),
    ];
    cases
        .into_iter()
        .map(|(name, wishes)| {
            let (mut made, mut random) = (Columns::default(), Random::new(5));
            wishes.into_iter().for_each(|wish| made.add(wish, &mut random));
            let copies = bytes.div_ceil(made.input.len());
            let (times, bodies) = device.time(&made.input, &made.columns, copies, page_rows, repeats)?;
            let raw = copies * made.input.len();
            let note = format!(
                "{:.0} MB to {:.0} MB of bodies with bounds, {:.0} us",
                raw as f64 / 1e6,
                bodies as f64 / 1e6,
                times.total * 1e6
            );
            Ok((format!("encode kernels alone, PLAIN, {name}"), raw as f64 / times.total / 1e9, note))
        })
        .collect()
}
