//! As much of Protocol Buffers as one question and its answer need.

/// Appends a field of bytes, or of a message already written.
pub fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field.wrapping_shl(3) | 2);
    put_varint(out, u64::try_from(bytes.len()).unwrap_or_default());
    out.extend_from_slice(bytes);
}

/// Appends a field of a whole number.
pub fn put_number(out: &mut Vec<u8>, field: u64, number: u64) {
    put_varint(out, field.wrapping_shl(3));
    put_varint(out, number);
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number = number.wrapping_shr(7);
        if number == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field<'m> {
    /// Whole numbers of every width.
    Number(u64),
    /// Bytes, text, messages.
    Bytes(&'m [u8]),
}

/// The fields of a message, in order; `None` if it is not one.
pub fn fields(mut message: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let (tag, rest) = varint(message)?;
        let (field, rest) = match tag & 7 {
            0 => varint(rest).map(|(number, rest)| (Field::Number(number), rest))?,
            1 => rest.split_first_chunk().map(|(word, rest)| (Field::Number(u64::from_le_bytes(*word)), rest))?,
            2 => {
                let (length, rest) = varint(rest)?;
                let (bytes, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                (Field::Bytes(bytes), rest)
            }
            5 => {
                rest.split_first_chunk().map(|(word, rest)| (Field::Number(u32::from_le_bytes(*word).into()), rest))?
            }
            _ => return None,
        };
        fields.push((tag.wrapping_shr(3), field));
        message = rest;
    }
    Some(fields)
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0u64;
    let mut rest = bytes;
    for shift in (0u32..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        number |= u64::from(byte & 0x7f).wrapping_shl(shift);
        if byte < 0x80 {
            return Some((number, rest));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    sentences! {
        fn what_is_written_is_read() {
            let mut message = Vec::new();
            put_number(&mut message, 1, 300);
            put_bytes(&mut message, 2, b"hello");
            put_number(&mut message, 16, u64::MAX);
            assert_eq!(message.get(..3), Some(&[0x08, 0xac, 0x02][..]));
            let read = fields(&message).unwrap();
            assert_eq!(read, [(1, Field::Number(300)), (2, Field::Bytes(b"hello")), (16, Field::Number(u64::MAX))]);
        }

        fn fixed_widths_are_read() {
            assert_eq!(fields(&[0x09, 1, 0, 0, 0, 0, 0, 0, 0, 0x15, 2, 0, 0, 0]).unwrap(), [(1, Field::Number(1)), (2, Field::Number(2))]);
        }

        fn what_is_no_message_is_none() {
            for bytes in [&[0x08][..], &[0x0a, 5, 1], &[0xff; 11], &[0x0b], &[0x09, 1]] {
                assert_eq!(fields(bytes), None, "{bytes:?}");
            }
            assert_eq!(fields(&[]), Some(vec![]));
        }
    }
}
