//! Randomness that is handed in: one seed, and every draw after it is decided.

/// SplitMix64. Good enough to share traffic out; nothing secret may come of it.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that will fall as the seed says.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// The next draw, uniform over all of `u64`.
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z.wrapping_shr(30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z.wrapping_shr(27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z.wrapping_shr(31)
    }

    /// Other dice, which leave these at their next draw.
    #[must_use]
    pub fn fork(&mut self) -> Dice {
        Dice(self.roll())
    }

    /// The next draw in `0..below`; 0 when there is nothing below.
    ///
    /// The high half of a product, so the bias is under `below / 2^64`.
    pub fn below(&mut self, below: u64) -> u64 {
        let product = u128::from(self.roll()).wrapping_mul(below.into());
        u64::try_from(product.wrapping_shr(64)).unwrap_or_default()
    }
}
