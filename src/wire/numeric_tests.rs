use super::*;
use proptest::prelude::*;

/// A decimal text's parts: the model that the formats are tested against.
#[derive(Clone, Debug)]
struct Model {
    negative: bool,
    /// No leading zeros; empty for none.
    whole: String,
    fraction: String,
}

impl Model {
    fn new(text: &str) -> Model {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        Model { negative, whole: whole.trim_start_matches('0').into(), fraction: fraction.into() }
    }

    fn is_zero(&self) -> bool {
        self.whole.is_empty() && self.fraction.bytes().all(|digit| digit == b'0')
    }

    fn text(&self) -> String {
        let sign = if self.negative && !self.is_zero() { "-" } else { "" };
        let whole = if self.whole.is_empty() { "0" } else { &self.whole };
        let point = if self.fraction.is_empty() { "" } else { "." };
        format!("{sign}{whole}{point}{}", self.fraction)
    }

    /// Weight and digits as PostgreSQL stores them: grouped by four around the point, zero groups
    /// stripped at both ends.
    fn groups(&self) -> (i32, Vec<u16>) {
        let before = (4 - self.whole.len() % 4) % 4;
        let after = (4 - self.fraction.len() % 4) % 4;
        let all = format!("{}{}{}{}", "0".repeat(before), self.whole, self.fraction, "0".repeat(after));
        let mut weight = (self.whole.len() + before) as i32 / 4 - 1;
        let mut groups: Vec<u16> =
            (0..all.len() / 4).map(|i| all[i * 4..i * 4 + 4].parse().unwrap()).collect();
        while groups.first() == Some(&0) {
            groups.remove(0);
            weight -= 1;
        }
        while groups.last() == Some(&0) {
            groups.pop();
        }
        if groups.is_empty() { (0, groups) } else { (weight, groups) }
    }

    fn heap(&self, long: bool) -> Vec<u8> {
        let (weight, groups) = self.groups();
        let (negative, dscale) = (self.negative && !self.is_zero(), self.fraction.len() as u16);
        // NUMERIC_CAN_BE_SHORT.
        let mut out = if !long && dscale <= 63 && (-64..=63).contains(&weight) {
            let sign = if negative { 0x2000 } else { 0 };
            (0x8000 | sign | dscale << 7 | (weight as u16 & 0x7F)).to_le_bytes().to_vec()
        } else {
            let sign = if negative { 0x4000 } else { 0 };
            [(sign | dscale).to_le_bytes(), (weight as i16).to_le_bytes()].concat()
        };
        out.extend(groups.iter().flat_map(|group| group.to_le_bytes()));
        out
    }

    fn wire(&self) -> Vec<u8> {
        let (weight, groups) = self.groups();
        let sign = if self.negative && !self.is_zero() { 0x4000 } else { 0 };
        let head = [groups.len() as u16, weight as u16, sign, self.fraction.len() as u16];
        head.iter().chain(&groups).flat_map(|word| word.to_be_bytes()).collect()
    }

    /// The value times 10^scale, when that is an integer of up to 38 digits.
    fn at(&self, scale: usize) -> Option<i128> {
        let mut fraction = self.fraction.clone();
        while fraction.len() > scale {
            if fraction.pop() != Some('0') {
                return None;
            }
        }
        let digits = format!("{}{fraction}{}", self.whole, "0".repeat(scale - fraction.len()));
        let digits = digits.trim_start_matches('0');
        if digits.len() > 38 {
            return None;
        }
        let value: i128 = if digits.is_empty() { 0 } else { digits.parse().unwrap() };
        Some(if self.negative { -value } else { value })
    }
}

fn text<const WIRE: bool>(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    Numeric::<WIRE>::read(bytes).unwrap().write_text(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn num<const WIRE: bool>(bytes: &[u8]) -> Num<'_, WIRE> {
    Numeric::<WIRE>::read(bytes).unwrap().finite().unwrap()
}

fn sent(payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0xEE; wire_len(payload)];
    write_wire(payload, &mut out).unwrap();
    out
}

#[test]
fn short_form_by_hand() {
    // 123.45: digits 0123 4500, weight 0, dscale 2. 0x8000 | 2 << 7 = 0x8100; 4500 = 0x1194.
    let payload = [0x00, 0x81, 0x7B, 0x00, 0x94, 0x11];
    assert_eq!(text::<false>(&payload), "123.45");
    assert_eq!(num::<false>(&payload).to_i128_at(2), Some(12345));
    assert_eq!(num::<false>(&payload).to_i128_at(4), Some(1234500));
    assert_eq!(num::<false>(&payload).to_i128_at(1), None, "rescaling never rounds");
    assert_eq!(num::<false>(&payload).shape(), Shape::numeric(3, 2));
    // int16 ndigits 2, weight 0, sign 0, dscale 2, 123, 4500.
    assert_eq!(sent(&payload), [0, 2, 0, 0, 0, 0, 0, 2, 0, 0x7B, 0x11, 0x94]);
}

#[test]
fn negative_weight_by_hand() {
    // -0.00005: the digit 5000 has weight -2, dscale 5. 0x8000 | 0x2000 | 5 << 7 | 0x7E = 0xA2FE.
    let payload = [0xFE, 0xA2, 0x88, 0x13];
    assert_eq!(text::<false>(&payload), "-0.00005");
    assert_eq!(num::<false>(&payload).to_i128_at(5), Some(-5));
    assert_eq!(num::<false>(&payload).to_i128_at(4), None);
    assert_eq!(num::<false>(&payload).shape(), Shape::numeric(0, 5));
    assert_eq!(sent(&payload), [0, 1, 0xFF, 0xFE, 0x40, 0, 0, 5, 0x13, 0x88]);
}

#[test]
fn stripped_groups_by_hand() {
    // 100000000.00: the digit 1 has weight 2 and the zero groups are not stored. 0x8000 | 2 << 7 | 2.
    let payload = [0x02, 0x81, 0x01, 0x00];
    assert_eq!(text::<false>(&payload), "100000000.00");
    assert_eq!(num::<false>(&payload).to_i128_at(2), Some(10_000_000_000));
    assert_eq!(num::<false>(&payload).shape(), Shape::numeric(9, 2));
    // 0.000: no digits, dscale 3.
    let zero = [0x80, 0x81];
    assert_eq!(text::<false>(&zero), "0.000");
    assert_eq!(num::<false>(&zero).to_i128_at(0), Some(0));
    assert_eq!(num::<false>(&zero).shape(), Shape::numeric(0, 3));
}

#[test]
fn long_form_by_hand() {
    // 1e400: weight 100 does not fit 7 bits. n_sign_dscale 0, n_weight 100, digit 1.
    let payload = [0x00, 0x00, 0x64, 0x00, 0x01, 0x00];
    assert_eq!(text::<false>(&payload), format!("1{}", "0".repeat(400)));
    assert_eq!(num::<false>(&payload).shape(), Shape::numeric(401, 0));
    assert_eq!(num::<false>(&payload).to_i128_at(0), None);
}

#[test]
fn special_values() {
    // As PostgreSQL 15 sends them.
    for (header, name, wire) in [
        (0xC000u16, "NaN", [0, 0, 0, 0, 0xC0, 0, 0, 0]),
        (0xD000, "Infinity", [0, 0, 0, 0, 0xD0, 0, 0, 32]),
        (0xF000, "-Infinity", [0, 0, 0, 0, 0xF0, 0, 0, 32]),
    ] {
        let payload = header.to_le_bytes();
        assert_eq!(text::<false>(&payload), name);
        assert_eq!(sent(&payload), wire);
        assert_eq!(text::<true>(&wire), name);
        assert!(Numeric::<true>::read(&wire).unwrap().finite().is_err());
    }
    assert!(Numeric::<false>::read(&0xE000u16.to_le_bytes()).is_err());
}

#[test]
fn refuses_what_numeric_never_writes() {
    for bytes in [&[][..], &[0x00], &[0x00, 0x80, 0x01], &[0x00, 0x00, 0x01]] {
        assert!(HeapNumeric::read(bytes).is_err(), "{bytes:?}");
    }
    assert!(WireNumeric::read(&[0, 1, 0, 0, 0, 0, 0, 0]).is_err(), "one digit short");
    assert!(WireNumeric::read(&[0, 0, 0, 0, 0x12, 0x34, 0, 0]).is_err(), "sign");
    // A digit of 10000.
    let digit = [0x00, 0x80, 0x10, 0x27];
    assert!(num::<false>(&digit).check().is_err());
    assert_eq!(num::<false>(&digit).to_i128_at(0), None);
}

#[test]
fn integer_boundaries() {
    for value in [i64::MAX, i64::MIN, 0, 1, -1, 9999, 10_000, 99_999_999, 999_999_999_999_999_999] {
        let model = Model::new(&value.to_string());
        assert_eq!(num::<false>(&model.heap(false)).to_i128_at(0), Some(value.into()));
    }
    let nines = "9".repeat(38);
    let model = Model::new(&nines);
    assert_eq!(num::<false>(&model.heap(false)).to_i128_at(0), nines.parse().ok());
    assert_eq!(num::<false>(&model.heap(false)).to_i128_at(1), None, "39 digits");
}

/// Texts of corner cases: no whole part, runs of zeros on either side, more than 38 digits.
fn models() -> impl Strategy<Value = Model> {
    let digits = |max: usize| {
        prop_oneof![
            proptest::collection::vec(0u8..10, 0..max),
            (0..max / 2, proptest::collection::vec(0u8..10, 0..max / 2), 0..max / 2)
                .prop_map(|(left, middle, right)| { [vec![0; left], middle, vec![0; right]].concat() }),
        ]
        .prop_map(|digits| digits.iter().map(|digit| char::from(b'0' + digit)).collect::<String>())
    };
    prop_oneof![
        (any::<bool>(), digits(50), digits(50)),
        (any::<bool>(), digits(12), digits(8)),
        (any::<bool>(), digits(300), digits(100)),
    ]
    .prop_map(|(negative, whole, fraction)| Model {
        negative,
        whole: whole.trim_start_matches('0').into(),
        fraction,
    })
}

proptest! {
    #[test]
    fn agrees_with_decimal_texts(model in models(), long: bool, scale in 0usize..45) {
        let (heap, wire) = (model.heap(long), model.wire());
        prop_assert_eq!(sent(&heap), wire.clone());
        prop_assert_eq!(text::<false>(&heap), model.text());
        prop_assert_eq!(text::<true>(&wire), model.text());

        let (heap, wire) = (num::<false>(&heap), num::<true>(&wire));
        let shape = Shape::numeric(model.whole.len() as u16, model.fraction.len() as u16);
        prop_assert_eq!(heap.shape(), shape);
        prop_assert_eq!(wire.shape(), shape);

        let exact = model.at(scale);
        prop_assert_eq!(heap.to_i128_at(scale as u8), exact);
        prop_assert_eq!(wire.to_i128_at(scale as u8), exact);
    }

    #[test]
    fn survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..40), scale: u8) {
        let written = write_wire(&bytes, &mut vec![0; wire_len(&bytes)]);
        prop_assert_eq!(written.is_ok(), HeapNumeric::read(&bytes).is_ok());
        if let Ok(Numeric::Finite(num)) = HeapNumeric::read(&bytes) {
            let _ = (num.shape(), num.to_i128_at(scale), num.write_text(&mut Vec::new()));
        }
        if let Ok(Numeric::Finite(num)) = WireNumeric::read(&bytes) {
            let _ = (num.shape(), num.to_i128_at(scale), num.write_text(&mut Vec::new()));
        }
    }

    /// A value that fits no shape would restart an export forever.
    #[test]
    fn a_shape_holds_its_own_value(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
        if let Ok(Numeric::Finite(num)) = HeapNumeric::read(&bytes)
            && num.check().is_ok()
            && let Some((precision, scale)) = num.shape().decimal()
        {
            let value = num.to_i128_at(scale);
            prop_assert!(value.is_some_and(|value| value.abs() < pow10(precision.into()).unwrap()));
            prop_assert!(num.dscale() <= scale.into());
        }
    }
}
