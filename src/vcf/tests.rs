use std::io::BufReader;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;

use super::*;
use crate::encode::ipc::BufferCodec;
use crate::interrupts::STEP_BYTES;
use crate::interrupts::counted::{during, micros};

#[derive(Default)]
struct Collect {
    schema: Option<SchemaRef>,
    batches: Vec<RecordBatch>,
}

impl Sink for Collect {
    fn begin(&mut self, schema: SchemaRef) -> Result<(), ArrowError> {
        self.schema = Some(schema);
        Ok(())
    }

    fn batch(&mut self, batch: &RecordBatch) -> Result<(), ArrowError> {
        self.batches.push(batch.clone());
        Ok(())
    }
}

const FILE: &str = "##fileformat=VCFv4.3
##INFO=<ID=DP,Number=1,Type=Integer,Description=\"Depth\">
##INFO=<ID=AF,Number=A,Type=Float,Description=\"Frequency\">
##INFO=<ID=DB,Number=0,Type=Flag,Description=\"dbSNP\">
##FORMAT=<ID=GT,Number=1,Type=String,Description=\"Genotype\">
##FORMAT=<ID=HQ,Number=2,Type=Integer,Description=\"Quality\">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tone\ttwo
20\t14370\trs1;rs2\tG\tA,T\t29.5\tPASS\tDP=14;AF=0.5,.;DB\tGT:HQ\t0|0:51,.\t./1
X\t0\t.\tT\t.\t.\t.\t.\tGT\t1\t.
";

fn converted(text: &str, samples: Samples, batch_rows: usize) -> Result<Collect, VcfError> {
    converted_bytes(text.as_bytes(), samples, batch_rows)
}

fn converted_bytes(text: &[u8], samples: Samples, batch_rows: usize) -> Result<Collect, VcfError> {
    let mut sink = Collect::default();
    convert(text, samples, batch_rows, &mut sink)?;
    Ok(sink)
}

fn column(found: &Collect, name: &str) -> Vec<String> {
    let show = |batch: &RecordBatch| {
        let array = batch.column_by_name(name).unwrap().clone();
        (0..array.len())
            .map(|row| arrow::util::display::array_value_to_string(&array, row).unwrap())
            .collect::<Vec<_>>()
    };
    found.batches.iter().flat_map(show).collect()
}

#[test]
fn values_have_the_types_of_the_header() {
    let found = converted(FILE, Samples::Rows, 100).unwrap();
    let schema = found.schema.clone().unwrap();
    let kind = |name: &str| schema.field_with_name(name).unwrap().data_type().clone();
    assert_eq!(
        (kind("pos"), kind("info_DP"), kind("info_DB")),
        (DataType::Int64, DataType::Int32, DataType::Boolean)
    );
    assert!(matches!(kind("info_AF"), DataType::List(_)) && matches!(kind("format_HQ"), DataType::List(_)));
    assert_eq!(column(&found, "pos"), ["14370", "14370", "0", "0"]);
    assert_eq!(column(&found, "id"), ["[rs1, rs2]", "[rs1, rs2]", "", ""]);
    assert_eq!(column(&found, "alt"), ["[A, T]", "[A, T]", "", ""]);
    assert_eq!(column(&found, "qual"), ["29.5", "29.5", "", ""]);
    assert_eq!(column(&found, "filter"), ["[PASS]", "[PASS]", "", ""]);
    assert_eq!(column(&found, "info_DP"), ["14", "14", "", ""]);
    assert_eq!(column(&found, "info_AF"), ["[0.5, ]", "[0.5, ]", "", ""]);
    assert_eq!(column(&found, "info_DB"), ["true", "true", "false", "false"]);
    assert_eq!(column(&found, "sample"), ["one", "two", "one", "two"]);
    assert_eq!(column(&found, "format_GT"), ["0|0", "./1", "1", ""]);
    assert_eq!(column(&found, "format_HQ"), ["[51, ]", "", "", ""]);
}

#[test]
fn samples_as_a_column_are_those_of_the_rows() {
    let found = converted(FILE, Samples::Column, 1).unwrap();
    assert_eq!(found.batches.len(), 2);
    assert_eq!(
        column(&found, "samples"),
        [
            "[{sample: one, GT: 0|0, HQ: [51, ]}, {sample: two, GT: ./1, HQ: }]",
            "[{sample: one, GT: 1, HQ: }, {sample: two, GT: , HQ: }]"
        ]
    );
}

#[test]
fn genotypes_are_as_they_are_written() {
    for genotype in ["/0|1", "|0|1", "/0/1", "0|1", "|1", "/.", "0/1|2", "|0/1/2"] {
        let text = FILE.replace("v4.3", "v4.4").replace("0|0:51,.", &format!("{genotype}:51,."));
        let found = converted(&text.replace('\n', "\r\n"), Samples::Rows, 10).unwrap();
        assert_eq!(column(&found, "format_GT"), [genotype, "./1", "1", ""]);
    }
    let last = FILE.replace("\tGT\t1\t.\n", "\tHQ:GT\t.:/1\t7:|.\r\n");
    assert_eq!(
        column(&converted(&last, Samples::Rows, 10).unwrap(), "format_GT"),
        ["0|0", "./1", "/1", "|."]
    );
}

#[test]
fn numbers_of_later_versions_are_lists() {
    let declared: String = [("LAD", "LR"), ("LEC", "LA"), ("LPL", "LG"), ("PSO", "P"), ("MOD", "M")]
        .map(|(id, number)| format!("##FORMAT=<ID={id},Number={number},Type=Integer,Description=\"\">\n"))
        .concat();
    let text = format!(
        "##fileformat=VCFv4.5\n{declared}#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tone\ttwo\n\
        1\t5\t.\tA\tC,G,T\t.\t.\t.\tLAD:LEC:LPL:PSO:MOD\t7,8:1:3,2,1:.:5\t9,.,4:.:0,1,2,3,4,5:1,2:6,7\n"
    );
    let found = converted(&text, Samples::Rows, 10).unwrap();
    let told = [
        ("LAD", ["[7, 8]", "[9, , 4]"]),
        ("LEC", ["[1]", ""]),
        ("LPL", ["[3, 2, 1]", "[0, 1, 2, 3, 4, 5]"]),
        ("PSO", ["", "[1, 2]"]),
        ("MOD", ["[5]", "[6, 7]"]),
    ];
    for (id, values) in told {
        assert_eq!(column(&found, &format!("format_{id}")), values, "{id}");
    }
}

#[test]
fn the_header_declares_and_no_list_of_reserved_names() {
    for version in ["4.2", "4.3", "4.4", "4.5"] {
        let text =
            FILE.replace("4.3", version).replace("ID=HQ,Number=2,Type=Integer", "ID=HQ,Number=.,Type=String");
        let found = converted(&text, Samples::Rows, 10).unwrap();
        assert_eq!(column(&found, "format_HQ"), ["[51, ]", "", "", ""]);
        let schema = found.schema.unwrap();
        let DataType::List(item) = schema.field_with_name("format_HQ").unwrap().data_type() else {
            panic!("a list")
        };
        assert_eq!(item.data_type(), &DataType::Utf8);
    }
}

#[test]
fn what_is_not_vcf_is_an_error_with_its_record() {
    let error =
        |text: &str| converted(text, Samples::Rows, 10).err().map(|error| (error.record, error.to_string()));
    assert_eq!(error(FILE), None);
    assert!(error("").is_some() && error("no header\n").is_some());
    for (from, to) in [
        ("DP=14", "DP=many"),
        ("\t14370\t", "\tfar\t"),
        ("29.5", "high"),
        ("51,.", "x,y"),
        ("AF=0.5", "NN=1"),
        ("GT:HQ", "GT:ZZ"),
    ] {
        let (record, text) = error(&FILE.replace(from, to)).unwrap_or_else(|| panic!("{from} as {to}"));
        assert_eq!(record, Some(1), "{text}");
    }
}

const LONG_FILE: &str = "##fileformat=VCFv4.3
##INFO=<ID=X,Number=1,Type=String,Description=\"\">
##INFO=<ID=XS,Number=.,Type=String,Description=\"\">
##INFO=<ID=IS,Number=.,Type=Integer,Description=\"\">
##INFO=<ID=FS,Number=R,Type=Float,Description=\"\">
##INFO=<ID=PAD,Number=1,Type=String,Description=\"\">
##FORMAT=<ID=GT,Number=1,Type=String,Description=\"\">
##FORMAT=<ID=T,Number=1,Type=String,Description=\"\">
##FORMAT=<ID=IS,Number=.,Type=Integer,Description=\"\">
#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\tone\ttwo
";

/// Returns a file of one record.
fn record(reference: &str, alt: &str, info: &str, sample: &str) -> String {
    format!("{LONG_FILE}1\t1\t.\t{reference}\t{alt}\t.\t.\t{info}\tGT:T:IS\t0|1:a:5\t{sample}\n")
}

/// Reads a record by the crate alone, and in a line that is so long that its long values are read here.
fn read_both_ways(reference: &str, alt: &str, info: &str, sample: &str) -> [Result<Collect, VcfError>; 2] {
    let pad = "p".repeat(3 << 20);
    [format!("{info};PAD=p"), format!("PAD={pad};{info}")]
        .map(|info| converted(&record(reference, alt, &info, sample), Samples::Rows, 100))
}

#[test]
fn long_values_are_read_as_the_crate_reads_them() {
    let bases = "ACGT".repeat(2000);
    let text = "a%3Bb,é%C3%A9%zz%4".repeat(1000);
    let texts = "%2C,.,é,abc,".repeat(1000);
    let numbers = "-1,.,2147483647,".repeat(1000);
    let floats = "0.1,.,-3e7,nan,".repeat(1000);
    let info = format!("X={text};XS={texts}z;IS={numbers}0;FS={floats}1");
    let sample = format!("1|0:{text}:{numbers}7");
    let [short, long] = read_both_ways(&bases, &format!("{bases},<DEL>,{bases}"), &info, &sample);
    let (short, long) = (short.unwrap(), long.unwrap());
    let names: Vec<_> = short.schema.iter().flat_map(|schema| schema.fields()).collect();
    assert!(names.len() > 12);
    for name in names.iter().map(|field| field.name()).filter(|name| *name != "info_PAD") {
        assert!(column(&short, name) == column(&long, name), "{name}");
        assert!(column(&short, name).len() == 2);
    }
    assert_eq!(column(&long, "info_PAD")[0].len(), 3 << 20);
}

#[test]
fn long_values_are_refused_as_the_crate_refuses_them() {
    let many = |piece: &str| piece.repeat(1000);
    for (info, sample) in [
        (format!("XS={},,a", many("abcdefg,")), "0|1:a:5".to_owned()),
        (format!("IS={}x", many("12345,")), "0|1:a:5".to_owned()),
        (format!("IS={}2147483648", many("12345,")), "0|1:a:5".to_owned()),
        (format!("X={}%ff", many("abcdefg")), "0|1:a:5".to_owned()),
        (format!("X={};X=a", many("abcdefg")), "0|1:a:5".to_owned()),
        (format!("NONE={}", many("abcdefg")), "0|1:a:5".to_owned()),
        ("X=a".to_owned(), format!("0|1:a:5:{}", many("abcdefg"))),
        ("X=a".to_owned(), format!("0|1:a:{}y", many("12345,"))),
        ("X=a".to_owned(), format!("0|1:a:5\t{}", many("abcdefg"))),
    ] {
        for read in read_both_ways("A", "C", &info, &sample) {
            let record = read.err().map(|error| error.record);
            assert_eq!(record, Some(Some(1)), "{}", &info[..20.min(info.len())]);
        }
    }
}

/// Bytes that are no UTF-8 but in what they are decoded to, a FORMAT of no keys, and a carriage return that ends the
/// file.
#[test]
fn odd_long_lines_are_read_as_the_crate_reads_them() {
    let value = "abcdefg".repeat(1000);
    let with_dot = LONG_FILE
        .replace("##FORMAT=<ID=T", "##FORMAT=<ID=.,Number=1,Type=String,Description=\"\">\n##FORMAT=<ID=T");
    for (head, rest, is_read) in [
        (LONG_FILE, [format!("X={value}").as_bytes(), b"\xc3%A9\tT\ta\tb\n"].concat(), false),
        (&with_dot, format!("X=a\t.\t.\t{value}\n").into_bytes(), false),
        (LONG_FILE, format!("X=a\tT\ta\t{value}\r").into_bytes(), true),
        (LONG_FILE, format!("X=a\tT\ta\t{value}\r\n").into_bytes(), true),
    ] {
        let read = |pad: &str| {
            let text = [format!("{head}1\t1\t.\tA\tC\t.\t.\tPAD={pad};").as_bytes(), &rest].concat();
            converted_bytes(&text, Samples::Rows, 100)
        };
        match [read("p"), read(&"p".repeat(3 << 20))] {
            [Ok(short), Ok(long)] if is_read => {
                for field in long.schema.as_ref().unwrap().fields() {
                    let name = field.name();
                    assert!(name == "info_PAD" || column(&short, name) == column(&long, name), "{name}");
                }
            }
            [Err(short), Err(long)] if !is_read => assert_eq!(short.record, long.record),
            _ => panic!("{}", String::from_utf8_lossy(&rest[rest.len() - 20..])),
        }
    }
}

/// A batch ends by the size of its rows, in which the columns before the samples are repeated.
#[test]
fn batches_end_by_the_size_of_their_rows() {
    let names: Vec<String> = (0..20).map(|at| format!("s{at}")).collect();
    let header = FILE.lines().take(6).collect::<Vec<_>>().join("\n");
    let line = |long: &str| format!("1\t5\t.\t{long}\tC\t.\t.\t.\tGT{}\n", "\t1".repeat(20));
    let text = |long: &str| {
        let columns = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT";
        format!("{header}\n{columns}\t{}\n{}", names.join("\t"), line(long).repeat(8))
    };
    let found = converted(&text(&"A".repeat(2 << 20)), Samples::Rows, usize::MAX).unwrap();
    assert_eq!(found.batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [40; 4]);
    let found = converted(&text("A"), Samples::Rows, usize::MAX).unwrap();
    assert_eq!(found.batches.len(), 1);
}

#[test]
fn long_comments_are_not_parsed() {
    let long = format!("##comment={}\n##INFO=<ID=DP", "a".repeat(2 << 20));
    let found = converted(&FILE.replacen("##INFO=<ID=DP", &long, 1), Samples::Rows, 100).unwrap();
    assert_eq!(column(&found, "info_DP"), column(&converted(FILE, Samples::Rows, 100).unwrap(), "info_DP"));
    // The parser would refuse it.
    let invalid = format!("##contig=<{}\n##INFO=<ID=DP", "a".repeat(2 << 20));
    assert!(converted(&FILE.replacen("##INFO=<ID=DP", &invalid, 1), Samples::Rows, 100).is_ok());
    let needed = format!("##INFO=<{}\n##INFO=<ID=DP", "a".repeat(2 << 20));
    assert!(converted(&FILE.replacen("##INFO=<ID=DP", &needed, 1), Samples::Rows, 100).is_err());
}

#[test]
fn a_long_value_is_read_and_written_in_steps() {
    let bytes = 6 * STEP_BYTES;
    let mut sink = FileSink::new(std::io::sink(), BufferCodec::None);
    let text = record("A", "C", &format!("X={}", "a".repeat(bytes)), "0|1:a:5");
    let (checks, _) = during(|| _ = convert(text.as_bytes(), Samples::Column, 100, &mut sink).unwrap());
    // There are steps to find the end of the line, of columns and of fields, to check the value and to write it.
    assert!(checks > 5 * bytes / STEP_BYTES, "{checks} checks");
}

/// `cargo test --release vcf::tests::bench -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
fn bench_long_values() {
    const BYTES: usize = 200 << 20;
    let of = |piece: &str| piece.repeat(BYTES / 8);
    let list = |piece: &str| of(piece)[1..BYTES - 1].to_owned();
    let info = |value: String| record("A", "C", &value, "0|1:a:5");
    let cases = [
        ("INFO text", info(format!("X={}", of("abcdefgh")))),
        ("INFO encoded text", info(format!("X={}", of("abcd%3Bf")))),
        ("INFO texts", info(format!("XS={}", list("abcdefg,")))),
        ("INFO integers", info(format!("IS={}", list("1234567,")))),
        ("REF", record(&of("ACGTACGT"), "C", ".", "0|1:a:5")),
        ("ALT", record("A", &of("ACGTACGT"), ".", "0|1:a:5")),
        ("FORMAT text", record("A", "C", ".", &format!("0|1:{}", of("abcdefgh")))),
    ];
    for (name, text) in cases {
        for codec in ["none", "lz4"] {
            let began = micros();
            let (checks, longest) = during(|| {
                let out = std::fs::File::create(std::env::temp_dir().join("bench.arrow")).unwrap();
                let mut sink = FileSink::new(out, BufferCodec::parse(codec).unwrap());
                let lines = BufReader::with_capacity(64 << 10, text.as_bytes());
                convert(lines, Samples::Column, 100, &mut sink).unwrap();
                sink.finish().unwrap();
            });
            let whole = (micros() - began) / 1000;
            let longest = longest / 1000;
            println!("{name:<20} {codec:<5} {whole} ms, {checks} checks, longest without one {longest} ms");
        }
    }
}
