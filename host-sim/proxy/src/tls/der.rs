//! The least of DER: taking an element off the front of some bytes.

/// One element: its tag, its whole encoding and its content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) whole: &'a [u8],
    pub(super) content: &'a [u8],
}

pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const BIT_STRING: u8 = 0x03;

/// The first element of `bytes` and what follows it; none when the bytes end too early.
pub(super) fn take(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first.checked_sub(0x80) {
        None => (usize::from(*first), rest),
        Some(octets @ 1..=4) => {
            let (octets, rest) = rest.split_at_checked(usize::from(octets))?;
            (octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet)), rest)
        }
        Some(_) => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    let (whole, _) = bytes.split_at_checked(bytes.len() - after.len())?;
    Some((Element { tag: *tag, whole, content }, after))
}

/// As [`take`], of that tag.
pub(super) fn take_of(tag: u8, bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    take(bytes).filter(|(element, _)| element.tag == tag)
}

/// The octets of a BIT STRING without unused bits.
pub(super) fn bits<'a>(element: Element<'a>) -> Option<&'a [u8]> {
    element.content.split_first().filter(|(unused, _)| **unused == 0).map(|(_, octets)| octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_taken_off_the_front() {
        let (element, rest) = take(&[0x30, 2, 1, 2, 9]).unwrap();
        assert_eq!(
            (element.tag, element.whole, element.content, rest),
            (0x30, &[0x30, 2, 1, 2][..], &[1, 2][..], &[9][..])
        );
        let mut long = vec![0x04, 0x82, 1, 0];
        long.extend([7; 256]);
        assert_eq!(take(&long).unwrap().0.content.len(), 256);
    }

    #[test]
    fn bytes_that_end_too_early_are_none() {
        for short in
            [&[][..], &[0x30], &[0x30, 2, 1], &[0x30, 0x82, 1], &[0x30, 0x80, 0, 0], &[0x30, 0x85, 0, 0, 0, 0, 1]]
        {
            assert!(take(short).is_none(), "{short:?}");
        }
    }
}
