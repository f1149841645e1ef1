//! Which bytes Envoy accepts where, measured on Envoy 1.40 with every byte in every place.

/// A set of byte values.
pub(super) struct ByteSet([bool; 256]);

impl ByteSet {
    const fn new(ranges: &[(u8, u8)]) -> ByteSet {
        let mut set = [false; 256];
        let mut at = 0;
        #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler, which refuses what is out of bounds")]
        while at < ranges.len() {
            let mut byte = ranges[at].0 as usize;
            while byte <= ranges[at].1 as usize {
                set[byte] = true;
                byte += 1;
            }
            at += 1;
        }
        ByteSet(set)
    }

    /// Are all of these in the set?
    pub(super) fn all(&self, bytes: &[u8]) -> bool {
        bytes.iter().all(|&byte| self.has(byte))
    }

    /// Is this one in the set?
    pub(super) fn has(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte)).copied().unwrap_or_default()
    }
}

/// A header's name: RFC 9110's token.
pub(super) static NAME: ByteSet = ByteSet::new(&[
    (b'!', b'!'),
    (b'#', b'\''),
    (b'*', b'+'),
    (b'-', b'.'),
    (b'0', b'9'),
    (b'A', b'Z'),
    (b'^', b'z'),
    (b'|', b'|'),
    (b'~', b'~'),
]);
/// A header's value, after CR and LF were taken out: no other control but the tab; obs-text passes.
pub(super) static VALUE: ByteSet = ByteSet::new(&[(b'\t', b'\t'), (b' ', b'~'), (0x80, 0xff)]);
/// Path and query of a target.
pub(super) static TARGET: ByteSet = ByteSet::new(&[(b'!', b'~')]);
/// A `host` header.
pub(super) static HOST: ByteSet = ByteSet::new(&[
    (b'!', b'!'),
    (b'$', b'.'),
    (b'0', b';'),
    (b'=', b'='),
    (b'@', b'['),
    (b']', b']'),
    (b'_', b'_'),
    (b'a', b'z'),
    (b'~', b'~'),
]);
/// What stands before the `@` of an absolute target.
pub(super) static USER: ByteSet = ByteSet::new(&[
    (b'!', b'!'),
    (b'$', b'.'),
    (b'0', b';'),
    (b'=', b'='),
    (b'A', b'Z'),
    (b'_', b'_'),
    (b'a', b'z'),
    (b'~', b'~'),
]);
/// What stands between the brackets of an absolute target's host.
pub(super) static BRACKETED_HOST: ByteSet = ByteSet::new(&[(b'.', b'.'), (b'0', b':'), (b'A', b'F'), (b'a', b'f')]);
/// The host name of an absolute target.
pub(super) static ABSOLUTE_HOST: ByteSet = ByteSet::new(&[(b'-', b'.'), (b'0', b'9'), (b'A', b'Z'), (b'a', b'z')]);
