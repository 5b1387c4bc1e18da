//! BYTE_STREAM_SPLIT (Encodings.md): the first bytes of all values, then the second bytes, and so on. The size is
//! that of PLAIN, but signs and exponents lie together, which helps a codec.

/// Writes the bytes of `values` to `out`, which has the same size. `byte` returns a value's byte by its number.
pub fn put_byte_stream_split<T: Copy>(values: &[T], out: &mut [u8], byte: impl Fn(T, usize) -> u8) {
    for (number, stream) in out.chunks_exact_mut(values.len().max(1)).enumerate() {
        stream.iter_mut().zip(values).for_each(|(to, &value)| *to = byte(value, number));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_bytes() {
        let values = [0x0102_0304u32, 0x0506_0708, 0x090a_0b0c];
        let mut out = [0; 12];
        put_byte_stream_split(&values, &mut out, |value, byte| value.to_le_bytes()[byte]);
        assert_eq!(out, [4, 8, 12, 3, 7, 11, 2, 6, 10, 1, 5, 9]);
        put_byte_stream_split(&[0u32; 0], &mut [], |_, _| 0);
    }
}
