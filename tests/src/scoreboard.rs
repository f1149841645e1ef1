//! How many answers are the recorded ones, area by area, and how many have to be.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display, Formatter};
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::case::Case;

/// One exchange (or one refusal), judged.
#[derive(Debug, Clone)]
pub struct Scored {
    /// The area it counts under.
    pub area: String,
    /// The case's name.
    pub case: String,
    /// The request, in a few words.
    pub request: String,
    /// The first difference, if there is one.
    pub difference: Option<String>,
}

impl Scored {
    /// A judgement on one exchange of a case.
    #[must_use]
    pub fn new(case: &Case, request: &str, difference: Option<String>) -> Self {
        Self { area: case.scored_as().into(), case: case.name.clone(), request: request.into(), difference }
    }
}

impl Display for Scored {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let what = self.difference.as_deref().unwrap_or("equal");
        write!(f, "{} | {} | {}: {}", self.area, self.case, self.request, what)
    }
}

/// Equal answers and all answers of one area.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Score {
    /// Answers equal to the recorded ones.
    pub equal: u32,
    /// All answers.
    pub all: u32,
}

/// The scores of a replay by area.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scoreboard(pub BTreeMap<String, Score>);

impl Scoreboard {
    /// Counts.
    #[must_use]
    pub fn of(scored: &[Scored]) -> Self {
        let mut areas: BTreeMap<String, Score> = BTreeMap::new();
        for one in scored {
            let score = areas.entry(one.area.clone()).or_default();
            score.all += 1;
            score.equal += u32::from(one.difference.is_none());
        }
        Self(areas)
    }

    /// Everything together.
    #[must_use]
    pub fn total(&self) -> Score {
        self.0.values().fold(Score::default(), |sum, s| Score { equal: sum.equal + s.equal, all: sum.all + s.all })
    }
}

fn percent(score: Score) -> f64 {
    100.0 * f64::from(score.equal) / f64::from(score.all.max(1))
}

impl Display for Scoreboard {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut row = |name: &str, score: Score| {
            writeln!(f, "{name:<14}{:>5} /{:>5}  {:>6.2} %", score.equal, score.all, percent(score))
        };
        for (area, score) in &self.0 {
            row(area, *score)?;
        }
        row("all", self.total())
    }
}

/// What has to be equal: `tests/corpus/floors.yaml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floors {
    /// Areas in which every answer must be the recorded one.
    complete: BTreeSet<String>,
    /// How many answers of each other area are equal today.
    reached: BTreeMap<String, u32>,
}

impl Floors {
    /// Reads the file.
    ///
    /// # Errors
    /// An unreadable file, or one of another form.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        serde_saphyr::from_str(&text).with_context(|| path.display().to_string())
    }

    /// What is worse than it has to be, one sentence each. An area nobody has given a floor is one of them, and so is a floor of an area that was
    /// not judged.
    #[must_use]
    pub fn broken(&self, board: &Scoreboard) -> Vec<String> {
        let named = || self.complete.iter().chain(self.reached.keys());
        let unjudged = named()
            .filter(|area| !board.0.contains_key(*area))
            .map(|area| format!("{area}: has a floor, but nothing was judged"));
        let below = board.0.iter().filter_map(|(area, score)| {
            if self.complete.contains(area) {
                return (score.equal < score.all).then(|| {
                    format!("{area}: {} of {} differ, and this area is complete", score.all - score.equal, score.all)
                });
            }
            match self.reached.get(area) {
                None => Some(format!("{area}: has no floor in floors.yaml")),
                Some(floor) => (score.equal < *floor).then(|| format!("{area}: {} equal, it was {floor}", score.equal)),
            }
        });
        unjudged.chain(below).collect()
    }

    /// Floors that can be raised, one sentence each.
    #[must_use]
    pub fn outgrown(&self, board: &Scoreboard) -> Vec<String> {
        let reached = board.0.iter().filter_map(|(area, score)| Some((area, score, self.reached.get(area)?)));
        reached
            .filter(|(_, score, floor)| score.equal > **floor)
            .map(|(area, score, floor)| format!("{area}: {} equal, floor {floor}", score.equal))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(areas: &[(&str, u32, u32)]) -> Scoreboard {
        Scoreboard(
            areas.iter().map(|(area, equal, all)| ((*area).to_owned(), Score { equal: *equal, all: *all })).collect(),
        )
    }

    fn floors() -> Floors {
        Floors { complete: BTreeSet::from(["match".to_owned()]), reached: BTreeMap::from([("retry".to_owned(), 5)]) }
    }

    #[test]
    fn a_floor_holds_or_is_named() {
        type Row = (&'static [(&'static str, u32, u32)], &'static [&'static str]);
        let rows: [Row; 6] = [
            (&[("match", 3, 3), ("retry", 5, 9)], &[]),
            (&[("match", 3, 3), ("retry", 6, 9)], &[]),
            (&[("match", 2, 3), ("retry", 5, 9)], &["match: 1 of 3 differ, and this area is complete"]),
            (&[("match", 3, 3), ("retry", 4, 9)], &["retry: 4 equal, it was 5"]),
            (&[("match", 3, 3)], &["retry: has a floor, but nothing was judged"]),
            (&[("match", 3, 3), ("retry", 5, 9), ("tls", 1, 1)], &["tls: has no floor in floors.yaml"]),
        ];
        for (areas, sentences) in rows {
            assert_eq!(floors().broken(&board(areas)), sentences, "{areas:?}");
        }
    }

    #[test]
    fn a_floor_that_is_too_low_is_named() {
        assert_eq!(floors().outgrown(&board(&[("match", 3, 3), ("retry", 6, 9)])), ["retry: 6 equal, floor 5"]);
        assert!(floors().outgrown(&board(&[("match", 3, 3), ("retry", 5, 9)])).is_empty());
    }
}
