//! Encode kernels on the device: the bodies that they make, and how fast.

use pg_strata::gpu::encode::{LIMITS, Limits, Order, Shape, encoding, page_rows};
use pg_strata::gpu::testing::bench::encode::Encode;
use pg_strata::gpu::testing::specimens::Random;
use pg_strata::gpu::testing::specimens::columns::{Columns, GOLDEN_BODIES, GOLDEN_ROWS, Wish, golden};
use pg_strata::gpu::testing::specimens::pages::digest;

/// Rows of a column: what a slot of lineorder in 8 MiB holds.
const ROWS: usize = 57_000;

/// Encodes the golden columns, and compares with the host's build, which the parquet crate reads.
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
    let wish = |shape, order, nulls, longest| Wish {
        shape,
        order,
        nullable: true,
        rows: ROWS,
        nulls,
        longest,
        alike: 0,
        distinct: 0,
        continues: false,
        encoding: encoding::PLAIN,
    };
    let ints = wish(Shape::Fixed4, Order::Signed, 0, 0);
    let doubles = wish(Shape::Fixed8, Order::Floating, 0, 0);
    let longs = wish(Shape::Fixed8, Order::Signed, 0, 0);
    let text = wish(Shape::Strings, Order::None, 0, 20);
    let few = |wish, distinct| Wish { distinct, ..wish };
    let mut lineorder = vec![ints; 2];
    lineorder.extend([few(ints, 2500); 2]);
    lineorder.extend([longs; 4]);
    lineorder.extend([few(longs, 50), few(longs, 11), few(longs, 2000), few(longs, 20_000)]);
    lineorder.extend([text, few(text, 5), few(text, 7), few(text, 1000), few(text, 25)]);
    let cases = [
        ("a table's: 4 int32, 8 int64, 5 text", lineorder),
        ("int32, 2,500 distinct", vec![few(ints, 2500)]),
        ("int64, 11 distinct", vec![few(longs, 11)]),
        ("int64, 20,000 distinct", vec![few(longs, 20_000)]),
        ("text, 5 distinct", vec![few(text, 5)]),
        ("text, 1,000 distinct", vec![few(text, 1000)]),
        ("int32", vec![ints]),
        ("int64", vec![longs]),
        ("int64, sorted, 2,000 distinct", vec![Wish { alike: 200, ..few(longs, 2000) }]),
        ("int64, 10 % NULL", vec![Wish { nulls: 10, ..longs }]),
        ("double", vec![doubles]),
        ("double, split", vec![Wish { encoding: encoding::BYTE_STREAM_SPLIT, ..doubles }]),
        (
            "double, split, 10 % NULL",
            vec![Wish { encoding: encoding::BYTE_STREAM_SPLIT, nulls: 10, ..doubles }],
        ),
        ("16 bytes", vec![wish(Shape::Fixed16, Order::Signed, 0, 0)]),
        ("16 bytes, 10 % NULL", vec![wish(Shape::Fixed16, Order::Signed, 10, 0)]),
        ("boolean, 10 % NULL", vec![wish(Shape::Bits, Order::Unsigned, 10, 0)]),
        ("text of 10 bytes", vec![text]),
        ("text of 100 bytes, 10 % NULL", vec![wish(Shape::Strings, Order::None, 10, 200)]),
    ];
    let plain = Limits { entries: 0, ..LIMITS };
    let mut lines = Vec::new();
    for (name, wishes) in cases {
        let (mut made, mut random) = (Columns::default(), Random::new(5));
        wishes.into_iter().for_each(|wish| made.add(wish, &mut random));
        let copies = bytes.div_ceil(made.input.len());
        let raw = copies * made.input.len();
        for (how, limits) in [("PLAIN", plain), ("dictionaries tried", LIMITS)] {
            let (times, bodies, used) =
                device.time(&made.input, &made.columns, copies, limits, page_rows, repeats)?;
            let phases: Vec<String> = times
                .phases
                .iter()
                .map(|(name, seconds)| format!("{name} {:.0} us", seconds * 1e6))
                .collect();
            let note = format!(
                "{:.0} MB to {:.0} MB of bodies with bounds, {used} dictionaries: {}",
                raw as f64 / 1e6,
                bodies as f64 / 1e6,
                phases.join(", ")
            );
            let what = format!("encode kernels alone, {how}, {name}");
            lines.push((what, raw as f64 / times.total / 1e9, note));
        }
    }
    Ok(lines)
}
