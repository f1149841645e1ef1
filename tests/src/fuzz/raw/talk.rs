//! What one client says over a connection of its own, and what the origin answers.

use std::fmt::{self, Write as _};

use super::{answers, doors, heads, http2, tries};
use crate::fuzz::dice::Dice;
use crate::latin1;

/// Stands in what a client says for the listener's own port, whose number each gateway has from the kernel.
pub(super) const PORT: &str = "@PORT@";
/// Stands for what tells one talk from the others.
pub(super) const KEY: &str = "@KEY@";

/// In which way gateways are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Way {
    /// HTTP/1 requests.
    Heads,
    /// HTTP/1 answers of an origin.
    Answers,
    /// What is asked of tries and timeouts, before an origin that fails.
    Tries,
    /// HTTP/2 requests, as frames.
    Http2,
}

impl Way {
    /// All of them.
    pub const ALL: [Way; 4] = [Way::Heads, Way::Answers, Way::Tries, Way::Http2];
}

/// One connection's worth. What is said and what is answered are in pieces, each of which might be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Talk {
    /// How it was made.
    pub way: Way,
    /// The listener's number.
    pub listener: u16,
    /// HTTP/1: the bytes. HTTP/2: a field in each piece, its name before the first line break, its value behind; `!data` is for a body.
    pub said: Vec<Vec<u8>>,
    /// A pause behind the first head.
    pub slowly: bool,
    /// What the origin does, request by request of this talk; it answers all others with what it was asked.
    pub answers: Vec<Answer>,
    /// Connections to the origin are kept for the next talk, so that one talk goes on at a time.
    pub alone: bool,
}

/// What the origin does about one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// It does not wait for the request's body.
    pub early: bool,
    /// Its bytes; it takes a breath between pieces if it goes `slowly`.
    pub pieces: Vec<Vec<u8>>,
    /// It takes a breath between pieces.
    pub slowly: bool,
    /// What becomes of the connection.
    pub then: Then,
}

/// What becomes of an origin's connection when it has answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It waits for the next request.
    Keeps,
    /// It ends.
    Closes,
    /// It ends without manners.
    Resets,
}

impl Talk {
    /// The talks of a seed; only those of one way, if that is said.
    #[must_use]
    pub fn of_seed(seed: u64, count: usize, only: Option<Way>) -> Vec<Talk> {
        let mut dice = Dice::new(seed ^ 0x7a1c);
        let talks = (0..count).map(|_| Talk::random(&mut dice)).collect::<Vec<_>>();
        talks.into_iter().filter(|talk| only.is_none_or(|only| talk.way == only)).collect()
    }

    fn random(dice: &mut Dice) -> Talk {
        let listener = u16::try_from(dice.below(doors::LISTENERS)).unwrap_or_default();
        match dice.below(10) {
            0..4 => heads::talk(dice, listener),
            4..7 => answers::talk(dice, listener),
            7..9 => tries::talk(dice, listener),
            _ => http2::talk(dice, listener),
        }
    }
}

impl fmt::Display for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let slowly = if self.slowly { ", slowly" } else { "" };
        writeln!(text, "  {:?} on l_{}{slowly}", self.way, self.listener)?;
        for piece in &self.said {
            writeln!(text, "    > {}", shown(piece))?;
        }
        for answer in &self.answers {
            let early = if answer.early { "at once" } else { "then" };
            let slowly = if answer.slowly { ", slowly" } else { "" };
            writeln!(text, "    {early} the origin says{slowly}")?;
            for piece in &answer.pieces {
                writeln!(text, "    < {}", shown(piece))?;
            }
            writeln!(text, "    and {:?}", answer.then)?;
        }
        f.write_str(&text)
    }
}

/// Bytes on one line, a long run of them cut.
pub(super) fn shown(bytes: &[u8]) -> String {
    let text = format!("{:?}", latin1::decode(bytes.get(..400).unwrap_or(bytes)));
    if bytes.len() > 400 { format!("{text}… ({} bytes)", bytes.len()) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_always_the_same_talks() {
        let text = |seed| Talk::of_seed(seed, 60, None).iter().map(ToString::to_string).collect::<String>();
        assert_eq!(text(3), text(3));
        assert_ne!(text(3), text(4));
    }

    #[test]
    fn every_way_has_its_turn() {
        for way in Way::ALL {
            assert!(!Talk::of_seed(1, 100, Some(way)).is_empty(), "{way:?}");
        }
    }
}
