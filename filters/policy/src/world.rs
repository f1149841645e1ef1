//! What decisions may ask of the world; time, memory and secrets are handed in.

/// The world of one plugin in one worker.
pub trait World {
    /// Nanoseconds since some point in the past; never goes back while the process lives, and is the same in every
    /// worker: who reads what another wrote, and then this, reads a time that is not before the writing.
    fn monotonic(&mut self) -> u64;

    /// Nanoseconds since 1970, by the wall clock.
    fn wall(&mut self) -> i128;

    /// How many requests this worker holds for a rule.
    fn held(&self, rule: usize) -> usize;

    /// Sixteen bytes nobody can guess.
    fn secret(&mut self) -> [u8; 16];

    /// What seeds the fingerprints of keys: one secret for all workers of the process.
    fn seed(&mut self) -> (u64, u64);

    /// What all workers share under a key.
    fn load(&mut self, key: &str) -> Option<Kept>;

    /// Replaces what was loaded under the number `cas`; refused if somebody wrote meanwhile. 0 is never given.
    fn store(&mut self, key: &str, value: &[u8], cas: u32) -> Stored;
}

/// A value all workers share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// As it was written.
    pub value: Vec<u8>,
    /// Which write it was.
    pub cas: u32,
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is there.
    Done,
    /// Somebody else wrote since; load again.
    Raced,
    /// The proxy keeps nothing.
    Failed,
}
