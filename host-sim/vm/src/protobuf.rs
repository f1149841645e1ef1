//! Enough of the protobuf wire format to read and write a message's fields without its schema.

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    pub(crate) value: Wire<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// All fields of a message, or `None` if the bytes are none. (Groups, long deprecated, are not read.)
pub(crate) fn fields(mut message: &[u8]) -> Option<Vec<Field<'_>>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let number = u32::try_from(key >> 3).ok().filter(|number| (1..1 << 29).contains(number))?;
        let value = match key & 7 {
            0 => Wire::Varint(varint(&mut message)?),
            1 => Wire::Fixed64(u64::from_le_bytes(message.split_off(..8)?.try_into().ok()?)),
            2 => {
                let len = usize::try_from(varint(&mut message)?).ok()?;
                Wire::Bytes(message.split_off(..len)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(message.split_off(..4)?.try_into().ok()?)),
            _ => return None,
        };
        fields.push(Field { number, value });
    }
    Some(fields)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let byte = *message.split_off_first()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or_default();
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Appends a varint field.
pub(crate) fn put_varint(out: &mut Vec<u8>, number: u32, value: u64) {
    put_raw_varint(out, u64::from(number) << 3);
    put_raw_varint(out, value);
}

/// Appends a length-delimited field.
pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    put_raw_varint(out, u64::from(number) << 3 | 2);
    put_raw_varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn put_raw_varint(out: &mut Vec<u8>, mut value: u64) {
    loop {
        let [low, ..] = value.to_le_bytes();
        value >>= 7;
        if value == 0 && low < 0x80 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_survive_a_round_trip() {
        let mut message = Vec::new();
        put_varint(&mut message, 1, 300);
        put_bytes(&mut message, 16, b"text");
        assert_eq!(
            fields(&message),
            Some(vec![
                Field { number: 1, value: Wire::Varint(300) },
                Field { number: 16, value: Wire::Bytes(b"text") }
            ])
        );
    }

    #[test]
    fn bytes_that_are_no_message_are_none() {
        for bytes in [
            &b"grpc-cluster"[..],
            b"\x08",
            b"\x0a\x05abc",
            b"\x00\x00",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert_eq!(fields(bytes), None, "{bytes:?}");
        }
    }
}
