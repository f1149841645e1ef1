//! What decisions may ask of the world; time, memory and secrets are handed in.

/// The world of one plugin in one worker.
pub trait World {
    /// Nanoseconds since some point in the past; never goes back while the process lives, and is the same in every worker.
    fn monotonic(&mut self) -> u64;
}
