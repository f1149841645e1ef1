//! Makes a talk small: leaves out pieces and bytes as long as the same difference stays.

use super::judge::{Different, Judge};
use super::talk::{Talk, Way};

/// How many smaller talks are had before the present one is small enough.
const TALKS: usize = 240;
/// Pieces longer than this are cut into so many parts at most.
const PARTS: usize = 64;

/// Something that may be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cut {
    /// All pauses.
    Pauses,
    /// The last of the origin's answers.
    Answer,
    /// A piece of the client's (list 0) or of one of the origin's answers.
    Piece { list: usize, piece: usize },
    /// Bytes of a piece.
    Bytes { list: usize, piece: usize, at: usize, size: usize },
}

/// A smaller talk with the same kind of difference.
pub async fn shrink(judge: &Judge, different: Different) -> Different {
    let mut search = Search { judge, kind: different.kind(), found: different, left: TALKS };
    while search.round(whole).await {}
    while search.round(pieces).await {}
    for parts in [2, 8, PARTS] {
        while search.round(|talk| bytes(talk, parts)).await {}
    }
    while search.round(pieces).await {}
    search.found
}

struct Search<'j> {
    judge: &'j Judge,
    kind: String,
    found: Different,
    left: usize,
}

impl Search<'_> {
    /// Tries each of these cuts, then all that were good at once. Whether the talk is smaller now.
    async fn round(&mut self, cuts: impl Fn(&Talk) -> Vec<Cut>) -> bool {
        let cuts = cuts(&self.found.talk);
        let talks: Vec<Talk> = cuts.iter().map(|cut| without(&self.found.talk, &[*cut])).collect();
        if talks.is_empty() || self.left < talks.len() {
            return false;
        }
        let still = self.still(&talks).await;
        let good: Vec<Cut> = cuts
            .iter()
            .zip(&talks)
            .filter(|(_, talk)| still.iter().any(|one| one.talk == **talk))
            .map(|(cut, _)| *cut)
            .collect();
        let all = without(&self.found.talk, &good);
        let smaller = match self.still(&[all]).await.into_iter().next() {
            Some(smaller) if good.len() > 1 => Some(smaller),
            _ => still.into_iter().next(),
        };
        let Some(smaller) = smaller.filter(|smaller| smaller.talk != self.found.talk) else { return false };
        self.found = smaller;
        true
    }

    /// Those that differ in the same way.
    async fn still(&mut self, talks: &[Talk]) -> Vec<Different> {
        self.left = self.left.saturating_sub(talks.len());
        let different = self.judge.confirm(talks, 1).await.unwrap_or_default();
        different.into_iter().filter(|different| different.kind() == self.kind).collect()
    }
}

fn whole(talk: &Talk) -> Vec<Cut> {
    let slowly = talk.slowly || talk.answers.iter().any(|answer| answer.slowly);
    let pauses = slowly.then_some(Cut::Pauses);
    pauses.into_iter().chain((talk.answers.len() > 1).then_some(Cut::Answer)).collect()
}

fn lists(talk: &Talk) -> impl Iterator<Item = (usize, &Vec<Vec<u8>>)> {
    std::iter::once(&talk.said).chain(talk.answers.iter().map(|answer| &answer.pieces)).enumerate()
}

fn pieces(talk: &Talk) -> Vec<Cut> {
    lists(talk).flat_map(|(list, pieces)| (0..pieces.len()).map(move |piece| Cut::Piece { list, piece })).collect()
}

/// Each piece in this many parts, without its line's end; what a client says in frames stays whole.
fn bytes(talk: &Talk, parts: usize) -> Vec<Cut> {
    let mut cuts = Vec::new();
    for (list, pieces) in lists(talk).filter(|(list, _)| *list > 0 || talk.way != Way::Http2) {
        for (number, piece) in pieces.iter().enumerate() {
            let end = piece.len().saturating_sub(2);
            let size = end.div_ceil(parts).max(1);
            cuts.extend((0..end).step_by(size).map(|at| Cut::Bytes {
                list,
                piece: number,
                at,
                size: size.min(end - at),
            }));
        }
    }
    cuts
}

/// The talk without all of these; the last come off first, so that the places of the others stay.
fn without(talk: &Talk, cuts: &[Cut]) -> Talk {
    let mut talk = talk.clone();
    let mut cuts = cuts.to_vec();
    cuts.sort();
    for cut in cuts.into_iter().rev() {
        match cut {
            Cut::Pauses => {
                talk.slowly = false;
                talk.answers.iter_mut().for_each(|answer| answer.slowly = false);
            }
            Cut::Answer => drop(talk.answers.pop()),
            Cut::Piece { list, piece } => {
                if let Some(pieces) = list_of(&mut talk, list).filter(|pieces| piece < pieces.len()) {
                    drop(pieces.remove(piece));
                }
            }
            Cut::Bytes { list, piece, at, size } => {
                if let Some(piece) = list_of(&mut talk, list).and_then(|pieces| pieces.get_mut(piece)) {
                    drop(piece.drain(at.min(piece.len())..(at + size).min(piece.len())));
                }
            }
        }
    }
    talk
}

fn list_of(talk: &mut Talk, list: usize) -> Option<&mut Vec<Vec<u8>>> {
    match list.checked_sub(1) {
        None => Some(&mut talk.said),
        Some(number) => talk.answers.get_mut(number).map(|answer| &mut answer.pieces),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn talk(said: &[&str]) -> Talk {
        let said = said.iter().map(|piece| piece.as_bytes().to_vec()).collect();
        Talk { way: Way::Heads, listener: 0, said, slowly: true, answers: Vec::new(), alone: false }
    }

    #[test]
    fn several_cuts_are_made_at_once() {
        let before = talk(&["abcd\r\n", "x", "efgh\r\n"]);
        let cuts = [
            Cut::Pauses,
            Cut::Bytes { list: 0, piece: 0, at: 0, size: 2 },
            Cut::Bytes { list: 0, piece: 0, at: 3, size: 1 },
            Cut::Bytes { list: 0, piece: 2, at: 1, size: 1 },
        ];
        let after = Talk { slowly: false, ..talk(&["c\r\n", "x", "egh\r\n"]) };
        assert_eq!(without(&before, &cuts), after);
        let pieces = [Cut::Piece { list: 0, piece: 0 }, Cut::Piece { list: 0, piece: 2 }];
        assert_eq!(without(&before, &pieces), talk(&["x"]));
    }

    #[test]
    fn a_piece_is_cut_into_parts_and_keeps_its_end() {
        let sizes = |parts| bytes(&talk(&["abcde\r\n"]), parts).len();
        assert_eq!([2, 4, 16].map(sizes), [2, 3, 5]);
    }
}
