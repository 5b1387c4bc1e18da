use super::*;

const INT: Wish =
    Wish { op: Op::Int4, order: Order::Signed, nullable: true, dictionary: true, encoding: encoding::PLAIN };
const LENGTHS: u32 = encoding::DELTA_LENGTH_BYTE_ARRAY;
const TEXT: Wish =
    Wish { op: Op::Bytes, order: Order::Unsigned, nullable: true, dictionary: false, encoding: LENGTHS };

fn chunks() -> Vec<ColumnChunk> {
    let entry = PageEntry { rows: 10, nulls: 2, ordered: 8, stored: 7, ..PageEntry::default() };
    let int = PageEntry { encoding: encoding::RLE_DICTIONARY, min: [0, 3], max: [0, 9], ..entry };
    let text = PageEntry { encoding: encoding::DELTA_LENGTH_BYTE_ARRAY, stored: 1000, ..entry };
    let empty = PageEntry { rows: 5, nulls: 5, ..PageEntry::default() };
    let ends = Some(Ends::new(b"a", &[b'z'; 100]));
    let page = |entry| Page { entry, ends: None };
    vec![
        ColumnChunk {
            dictionary: Some(Dictionary { entries: 2, raw: 8, stored: 8 }),
            pages: vec![page(int), page(PageEntry { encoding: 8, ..empty })],
        },
        ColumnChunk { dictionary: None, pages: vec![Page { entry: text, ends }, page(empty)] },
    ]
}

#[test]
fn requests_come_back() {
    let mut region = vec![0; 100];
    let request = Request { step: MORE, rows: 3, slots: 2, codec: ZSTD, from: 1 << 40, ..Request::default() };
    assert!(write_request(&mut region, request, &[INT, TEXT]));
    let (read, wishes) = read_request(&region).unwrap().unwrap();
    assert_eq!((read.from, read.columns, wishes), (1 << 40, 2, vec![INT, TEXT]));
    assert!(!write_request(&mut region[..70], request, &[INT]));
    region[64] = 99;
    assert!(read_request(&region).unwrap().is_err());
    assert!(read_request(&[0; 64]).is_none());
}

#[test]
fn answers_come_back_and_are_checked() {
    let (mut region, chunks) = (vec![0; 4096], chunks());
    let bodies_at = write_answer(&mut region, 15, ZSTD, &chunks).unwrap();
    let read = |region: &[u8], rows, wishes: &[Wish]| Answer::read(region, rows, ZSTD, wishes);
    let answer = read(&region, 15, &[INT, TEXT]).unwrap();
    assert_eq!((&answer.chunks, answer.bytes, answer.bodies_at), (&chunks, 8 + 7 + 1000, bodies_at));
    let (min, max) = answer.chunks[1].pages[0].ends.as_ref().unwrap().values();
    assert_eq!((min, max), (&b"a"[..], &[b'z'; END_BYTES][..]));
    assert!(read(&region, 14, &[INT, TEXT]).is_err());
    assert!(read(&region, 15, &[INT]).is_err());
    assert!(read(&region, 15, &[INT, Wish { encoding: encoding::PLAIN, ..TEXT }]).is_err());
    assert!(read(&region, 15, &[Wish { nullable: false, ..INT }, TEXT]).is_err());
    assert!(read(&region[..bodies_at - 1], 15, &[INT, TEXT]).is_err());
    assert_eq!(write_answer(&mut region[..bodies_at - 1], 15, ZSTD, &chunks), None);
}

#[test]
fn bodies_come_in_the_codec_or_in_none() {
    let mut region = vec![0; 4096];
    let mut codec = |wanted, done| {
        write_answer(&mut region, 15, done, &chunks()).unwrap();
        Answer::read(&region, 15, wanted, &[INT, TEXT]).map(|answer| answer.codec)
    };
    assert_eq!((codec(ZSTD, ZSTD), codec(ZSTD, PLAIN_BODIES)), (Ok(ZSTD), Ok(PLAIN_BODIES)));
    assert!(codec(PLAIN_BODIES, ZSTD).is_err() && codec(ZSTD, SNAPPY).is_err());
}
