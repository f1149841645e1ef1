//! Proxy-Wasm's serialised maps: a count, the sizes, then every name and value with a NUL behind it.

/// The pairs, borrowed from the buffer; none if the buffer is not well formed.
pub fn read(buffer: &[u8]) -> Vec<(&[u8], &[u8])> {
    read_all(buffer).unwrap_or_default()
}

fn read_all(buffer: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let (count, rest) = number(buffer)?;
    let (mut sizes, mut bytes) = rest.split_at_checked(count.checked_mul(8)?)?;
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count {
        let (name_size, after) = number(sizes)?;
        let (value_size, after) = number(after)?;
        sizes = after;
        let (name, after) = bytes.split_at_checked(name_size)?;
        let (value, after) = after.get(1..)?.split_at_checked(value_size)?;
        bytes = after.get(1..)?;
        pairs.push((name, value));
    }
    Some(pairs)
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (word, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*word)).ok()?, rest))
}

/// The same the other way.
pub fn write(pairs: &[(String, Vec<u8>)]) -> Vec<u8> {
    let word = |size: usize| u32::try_from(size).unwrap_or_default().to_le_bytes();
    let mut out = word(pairs.len()).to_vec();
    for (name, value) in pairs {
        out.extend_from_slice(&word(name.len()));
        out.extend_from_slice(&word(value.len()));
    }
    for (name, value) in pairs {
        for part in [name.as_bytes(), value] {
            out.extend_from_slice(part);
            out.push(0);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    sentences! {
    fn what_is_written_is_read() {
        let pairs =
            vec![("a".to_owned(), b"1".to_vec()), ("bc".to_owned(), vec![0xff, 0]), (String::new(), Vec::new())];
        let buffer = write(&pairs);
        let expected: Vec<_> = pairs.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect();
        assert_eq!(read(&buffer), expected);
        assert_eq!(write(&[]), [0; 4]);
    }

    fn a_broken_buffer_is_no_pairs() {
        let good = write(&[("a".to_owned(), b"1".to_vec())]);
        for cut in 0..good.len() {
            assert_eq!(read(&good[..cut]), vec![], "{cut}");
        }
        assert_eq!(read(&[0xff; 64]), vec![]);
        assert_eq!(read(&[]), vec![]);
    }
    }
}
