//! What decisions may ask of the world; time, memory and secrets are handed in.

/// The world of one plugin in one worker.
pub trait World {
    /// Nanoseconds since some point in the past; never goes back while the process lives, and is the same in every worker.
    fn monotonic(&mut self) -> u64;

    /// Nanoseconds since 1970, by the wall clock.
    fn wall(&mut self) -> i128;

    /// How many requests this worker holds for a rule.
    fn held(&self, rule: usize) -> usize;

    /// Sixteen bytes nobody can guess.
    fn secret(&mut self) -> [u8; 16];
}
