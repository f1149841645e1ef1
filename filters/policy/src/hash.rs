//! Hashes: xxHash64 where Envoy uses it, SipHash where a client chooses the input, FNV where only the operator does.

/// xxHash64, the hash of Envoy's ring and Maglev tables.
pub fn xx64(bytes: &[u8], seed: u64) -> u64 {
    xxhash_rust::xxh64::xxh64(bytes, seed)
}

/// SipHash-2-4 under a 128-bit key: nobody who does not know the key can aim at a value.
pub fn sip(key: (u64, u64), bytes: &[u8]) -> u64 {
    let mut state = Sip {
        v0: key.0 ^ 0x736f_6d65_7073_6575,
        v1: key.1 ^ 0x646f_7261_6e64_6f6d,
        v2: key.0 ^ 0x6c79_6765_6e65_7261,
        v3: key.1 ^ 0x7465_6462_7974_6573,
    };
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        state.absorb(u64::from_le_bytes(*word));
    }
    let mut last = [0; 8];
    for (slot, byte) in last.iter_mut().zip(tail) {
        *slot = *byte;
    }
    let length = u64::try_from(bytes.len()).unwrap_or_default() & 0xff;
    state.absorb(u64::from_le_bytes(last) | length.wrapping_shl(56));
    state.finish()
}

struct Sip {
    v0: u64,
    v1: u64,
    v2: u64,
    v3: u64,
}

impl Sip {
    fn absorb(&mut self, word: u64) {
        self.v3 ^= word;
        self.round();
        self.round();
        self.v0 ^= word;
    }

    fn round(&mut self) {
        self.v0 = self.v0.wrapping_add(self.v1);
        self.v2 = self.v2.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(13) ^ self.v0;
        self.v3 = self.v3.rotate_left(16) ^ self.v2;
        self.v0 = self.v0.rotate_left(32);
        self.v2 = self.v2.wrapping_add(self.v1);
        self.v0 = self.v0.wrapping_add(self.v3);
        self.v1 = self.v1.rotate_left(17) ^ self.v2;
        self.v3 = self.v3.rotate_left(21) ^ self.v0;
        self.v2 = self.v2.rotate_left(32);
    }

    fn finish(mut self) -> u64 {
        self.v2 ^= 0xff;
        for _ in 0..4 {
            self.round();
        }
        self.v0 ^ self.v1 ^ self.v2 ^ self.v3
    }
}

/// FNV-1a, one byte at a time, so that every prefix of a path is hashed on the way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fnv(u64);

impl Fnv {
    pub(crate) const START: Fnv = Fnv(0xcbf2_9ce4_8422_2325);

    pub(crate) fn push(self, byte: u8) -> Fnv {
        Fnv((self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    }

    pub(crate) fn of(bytes: &[u8]) -> Fnv {
        bytes.iter().fold(Fnv::START, |hash, &byte| hash.push(byte))
    }

    /// FNV's low bits are weak; this spreads the high ones over them.
    pub(crate) fn finish(self) -> u64 {
        (self.0 ^ self.0.wrapping_shr(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    sentences! {
        fn siphash_gives_the_published_vectors() {
            let key = (0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
            let input: Vec<u8> = (0..15).collect();
            assert_eq!(sip(key, &input), 0xa129_ca61_49be_45e5);
            assert_eq!(sip(key, b""), 0x726f_db47_dd0e_0e31);
        }

        fn xxhash_gives_the_published_vectors() {
            assert_eq!(xx64(b"", 0), 0xef46_db37_51d8_e999);
            assert_eq!(xx64(b"foo", 0), 0x33bf_00a8_59c4_ba3f);
        }
    }
}
