//! The wire form of header maps: a count, the lengths, then each name and value with a NUL behind it; little-endian.

use std::ops::Range;

/// A pairs buffer larger than this is not read (cpp-host `limits.h`).
const MAX_BYTES: usize = 1 << 20;
/// A pairs buffer with more pairs than this is not read.
const MAX_PAIRS: u32 = 1024;

/// The size of [`encode`]'s output.
pub(crate) fn encoded_len<K: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: &[(K, V)]) -> usize {
    4 + pairs.iter().map(|(key, value)| 8 + key.as_ref().len() + 1 + value.as_ref().len() + 1).sum::<usize>()
}

/// Writes the pairs piece by piece, so that they can go straight into guest memory.
pub(crate) fn encode<K: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: &[(K, V)], put: &mut impl FnMut(&[u8])) {
    put(&length(pairs.len()));
    for (key, value) in pairs {
        put(&length(key.as_ref().len()));
        put(&length(value.as_ref().len()));
    }
    for (key, value) in pairs {
        put(key.as_ref());
        put(&[0]);
        put(value.as_ref());
        put(&[0]);
    }
}

/// A guest's memory is 4 GiB at most, so a length that fits in it fits in 32 bits.
fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes()
}

/// The buffer is not the wire form of pairs, or is beyond the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Where a name and its value are in a buffer.
pub(crate) type Found = (Range<usize>, Range<usize>);

/// Finds the pairs in a buffer, as ranges of it. Every length, every NUL and the end are checked.
pub(crate) fn decode(buffer: &[u8]) -> Result<Vec<Found>, Malformed> {
    if buffer.len() > MAX_BYTES {
        return Err(Malformed);
    }
    let count = word(buffer, 0)?;
    if count > MAX_PAIRS {
        return Err(Malformed);
    }
    let count = usize::try_from(count).map_err(|_| Malformed)?;
    let mut position = 4 + 8 * count;
    let mut pairs = Vec::with_capacity(count);
    for index in 0..count {
        let key = text(buffer, position, word(buffer, 4 + 8 * index)?)?;
        position = key.end + 1;
        let value = text(buffer, position, word(buffer, 8 + 8 * index)?)?;
        position = value.end + 1;
        pairs.push((key, value));
    }
    if position == buffer.len() { Ok(pairs) } else { Err(Malformed) }
}

fn word(buffer: &[u8], at: usize) -> Result<u32, Malformed> {
    let bytes = buffer.get(at..at + 4).ok_or(Malformed)?;
    Ok(u32::from_le_bytes(bytes.try_into().map_err(|_| Malformed)?))
}

/// `len` bytes at `start` with a NUL behind them.
fn text(buffer: &[u8], start: usize, len: u32) -> Result<Range<usize>, Malformed> {
    let end = start + usize::try_from(len).map_err(|_| Malformed)?;
    if buffer.get(end) == Some(&0) { Ok(start..end) } else { Err(Malformed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(pairs, &mut |piece| out.extend_from_slice(piece));
        assert_eq!(out.len(), encoded_len(pairs));
        out
    }

    type Owned = (Vec<u8>, Vec<u8>);

    fn decoded(buffer: &[u8]) -> Result<Vec<Owned>, Malformed> {
        Ok(decode(buffer)?.into_iter().map(|(key, value)| (buffer[key].to_vec(), buffer[value].to_vec())).collect())
    }

    #[test]
    fn pairs_survive_a_round_trip() {
        for pairs in [vec![], vec![("", "")], vec![(":path", "/"), ("a", "b"), ("a", "")]] {
            let expected: Vec<_> =
                pairs.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect();
            assert_eq!(decoded(&encoded(&pairs)), Ok(expected), "{pairs:?}");
        }
    }

    #[test]
    fn whatever_is_not_exactly_pairs_is_malformed() {
        let good = encoded(&[("a", "b")]);
        let mut no_nul = good.clone();
        no_nul[13] = b'x';
        let mut long = good.clone();
        long.push(0);
        let mut huge = good.clone();
        huge[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        let mut wide = good.clone();
        wide[4..8].copy_from_slice(&(1u32 << 31).to_le_bytes());
        for (what, buffer) in [
            ("empty", &[][..]),
            ("two bytes", &[1, 0]),
            ("NUL missing", &no_nul),
            ("byte too many", &long),
            ("count", &huge),
            ("length", &wide),
            ("cut", &good[..good.len() - 1]),
        ] {
            assert_eq!(decoded(buffer), Err(Malformed), "{what}");
        }
    }
}
