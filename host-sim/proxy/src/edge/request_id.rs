//! `x-request-id`: a random UUID.

use bytes::Bytes;

/// A version 4 UUID of these bits. Its fourteenth character says that the request is not traced, as Envoy's UUID extension has it.
pub fn uuid(random: u128) -> Bytes {
    let bits = (random & !(0xf << 76) & !(0b11 << 62)) | (0x4 << 76) | (0b10 << 62);
    let digit = |half: u8| if half < 10 { b'0' + half } else { b'a' - 10 + half };
    let mut out = Vec::with_capacity(36);
    for (at, byte) in bits.to_be_bytes().into_iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend_from_slice(&[digit(byte >> 4), digit(byte & 0xf)]);
    }
    Bytes::from(out)
}

/// Where a UUID says why it is traced; `4` is not at all.
const REASON: usize = 14;

/// The id without its reason to be traced; `None` where it gives none.
pub(super) fn untraced(id: &Bytes) -> Option<Bytes> {
    if id.len() != 36 || id.get(REASON) == Some(&b'4') {
        return None;
    }
    let (before, behind) = (id.get(..REASON)?, id.get(REASON + 1..)?);
    Some(Bytes::from([before, b"4", behind].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_a_version_4_uuid() {
        assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn a_reason_to_be_traced_is_taken_away() {
        for (id, without) in [
            ("01234567-89ab-9def-8123-456789abcdef", Some("01234567-89ab-4def-8123-456789abcdef")),
            ("01234567-89ab-4def-8123-456789abcdef", None),
            ("mine", None),
        ] {
            assert_eq!(untraced(&Bytes::from_static(id.as_bytes())).as_deref(), without.map(str::as_bytes), "{id}");
        }
    }
}
