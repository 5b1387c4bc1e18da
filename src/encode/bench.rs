//! Nanoseconds per value: `cargo test --release encode::bench -- --ignored --nocapture`.

use std::time::Instant;

use super::tests::{Rows, field, random, rows, strings};
use super::*;
use crate::types::{Kind, Lane, Shapes, Values};

const ROWS: usize = 1_000_000;
/// The rows of a batch, about as many as a scan passes at a time.
const BATCH: usize = 8192;
/// The number of repetitions, of which the fastest counts: it is the least disturbed by other work.
const REPEATS: usize = 20;

fn cases() -> Vec<(&'static str, Kind, Rows)> {
    let n = ROWS as u64;
    let comment = |i: u64| {
        let words = ["carefully ", "final ", "deposits ", "sleep ", "furiously ", "ironic ", "beans "];
        let mut text: String = (0..6).map(|w| words[random(i * 8 + w) as usize % 7]).collect();
        text.truncate(20 + (random(i) % 15) as usize);
        text
    };
    let i64s = |f: &dyn Fn(u64) -> i64| rows(Values::I64((0..n).map(f).collect()));
    let i32s = |f: &dyn Fn(u64) -> i32| rows(Values::I32((0..n).map(f).collect()));
    vec![
        ("i64, 50 distinct", Kind::Int8, i64s(&|i| (random(i) % 50) as i64)),
        ("i64, 2,500 distinct", Kind::Int8, i64s(&|i| (random(i) % 2500) as i64)),
        ("i32, 11 distinct", Kind::Int4, i32s(&|i| (random(i) % 11) as i32)),
        (
            "i32, 11 distinct, 10 % NULL",
            Kind::Int4,
            i32s(&|i| (random(i) % 11) as i32).with_nulls(|i| random(i as u64).is_multiple_of(10)),
        ),
        ("i64, random 24 bits", Kind::Int8, i64s(&|i| (random(i) & 0xff_ffff) as i64)),
        ("i64, key of 4 rows", Kind::Int8, i64s(&|i| (i / 4) as i64)),
        ("i64, serial", Kind::Int8, i64s(&|i| i as i64)),
        ("f64, random", Kind::Float8, rows(Values::F64((0..n).map(|i| random(i) as f64).collect()))),
        (
            "decimal(38), random",
            Kind::Decimal { precision: 38, scale: 2 },
            rows(Values::Fixed16((0..n).map(|i| i128::from(random(i) % 1_000_000).to_be_bytes()).collect())),
        ),
        (
            "text, 5 distinct",
            Kind::Text,
            strings(
                (0..n).map(|i| {
                    ["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECI", "5-LOW"][random(i) as usize % 5]
                }),
            ),
        ),
        ("text, 1,000 distinct", Kind::Text, strings((0..n).map(|i| format!("MFGR#{}", random(i) % 1000)))),
        ("text, 27 bytes", Kind::Text, strings((0..n).map(comment))),
    ]
}

#[test]
#[ignore = "a measurement"]
fn bench_lanes() {
    println!("{:<28} {:>8} {:>8} {:>8}   bytes/value, ", "ns/value", "none", "snappy", "zstd:1");
    for (name, kind, rows) in cases() {
        let nullable = !rows.lane.valid.is_empty();
        let fields = [field("c", kind, nullable)];
        let batches: Vec<Lane> =
            (0..ROWS).step_by(BATCH).map(|at| rows.slice(at, BATCH.min(ROWS - at))).collect();
        let (mut times, mut sizes, mut encodings) = (Vec::new(), Vec::new(), String::new());
        for codec in [Codec::None, Codec::Snappy, Codec::Zstd(1)] {
            let schema = FileSchema::new(&fields, &Shapes::default()).unwrap();
            let options = Options { codec, ..Options::default() };
            let mut writer = RowGroupWriter::new(&schema, &fields, &Shapes::default(), &options).unwrap();
            let mut best = f64::INFINITY;
            let mut size = 0;
            for _ in 0..REPEATS {
                let start = Instant::now();
                for lane in &batches {
                    writer.append(0, lane, &rows.arena).unwrap();
                }
                let encoded = writer.finish().unwrap();
                best = best.min(start.elapsed().as_nanos() as f64 / ROWS as f64);
                size = encoded.len();
                let meta = footer::RowGroupMeta::decode(&encoded.metadata_at(4).unwrap()).unwrap();
                encodings = meta.encodings(0);
                writer.recycle(encoded);
            }
            times.push(format!("{best:8.2}"));
            sizes.push(format!("{:6.2}", size as f64 / ROWS as f64));
        }
        println!("{name:<28} {} | {} | {encodings}", times.join(" "), sizes.join(" "));
    }
}
