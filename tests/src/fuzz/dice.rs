//! Dice with a seed: the same seed throws the same world.

use serde_json::{Map, Value};

/// SplitMix64.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice that throw what they threw for this seed the last time.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`; 0 when there is none.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    /// Yes, in `percent` of all throws.
    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of the list.
    ///
    /// # Panics
    /// On an empty list, which only a mistake in a table makes.
    #[expect(clippy::expect_used, reason = "the lists are constants of this folder")]
    pub fn pick<'a, T: ?Sized>(&mut self, list: &[&'a T]) -> &'a T {
        let at = self.below(list.len());
        list.get(at).copied().expect("a list with something in it")
    }

    /// One of the list, if there is any.
    pub fn any<'a, T>(&mut self, list: &'a [T]) -> Option<&'a T> {
        let at = self.below(list.len());
        list.get(at)
    }

    /// Between `least` and `most` of them, each once, in their order.
    pub fn some<'a, T: ?Sized>(&mut self, list: &[&'a T], least: usize, most: usize) -> Vec<&'a T> {
        let wanted = least + self.below(most + 1 - least);
        let mut left = list.len();
        let mut taken = Vec::new();
        for item in list {
            let missing = wanted.saturating_sub(taken.len());
            if self.below(left) < missing {
                taken.push(*item);
            }
            left -= 1;
        }
        taken
    }

    /// The value in `percent` of all throws.
    pub fn maybe<T>(&mut self, percent: usize, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.chance(percent).then(|| make(self))
    }
}

/// A message in the making: fields that are there by chance.
#[derive(Debug, Default)]
pub struct Message(Map<String, Value>);

impl Message {
    /// Sets a field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// Sets a field, if there is something to set.
    #[must_use]
    pub fn perhaps(self, name: &str, value: Option<impl Into<Value>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Whether anything was set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Message> for Value {
    fn from(message: Message) -> Self {
        Self::Object(message.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_throws_the_same_again_and_another_seed_something_else() {
        let throws = |seed| {
            let mut dice = Dice::new(seed);
            (0..20).map(|_| dice.below(1000)).collect::<Vec<_>>()
        };
        assert_eq!(throws(1), throws(1));
        assert_ne!(throws(1), throws(2));
    }

    #[test]
    fn some_are_within_the_bounds_and_in_order() {
        let mut dice = Dice::new(7);
        for _ in 0..200 {
            let some = dice.some(&["a", "b", "c", "d"], 1, 3);
            assert!((1..=3).contains(&some.len()) && some.is_sorted(), "{some:?}");
        }
    }
}
