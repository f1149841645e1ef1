//! Where a stream hears from its modules: a paused filter goes on, or a module answers, outside the stream's own callbacks.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use vm::{Direction, LocalReply, Released};

/// What a module decided about a stream while something else was running.
pub(crate) enum Word {
    /// The filter lets go what it held.
    Resume(Direction, Released),
    /// The filter answers.
    Reply(LocalReply, Released),
    /// The filter resets the stream.
    Reset,
    /// The filter's VM died under the paused stream.
    Fail(Released),
}

/// One stream's.
#[derive(Default)]
pub(crate) struct Mailbox {
    words: RefCell<VecDeque<(usize, Word)>>,
    waker: RefCell<Option<Waker>>,
    /// Some plugin knows this mailbox and may write to it.
    pub(crate) known: Cell<bool>,
}

impl Mailbox {
    /// Puts a word of the filter at `place` in.
    pub(crate) fn post(&self, place: usize, word: Word) {
        self.words.borrow_mut().push_back((place, word));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// The next word of the filter at `place`.
    pub(crate) fn poll_take(&self, place: usize, cx: &mut Context<'_>) -> Poll<Word> {
        self.poll_find(cx, |(from, _)| *from == place).map(|(_, word)| word)
    }

    /// The next word that ends the stream, whichever filter says it.
    pub(crate) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<(usize, Word)> {
        self.poll_find(cx, |(_, word)| !matches!(word, Word::Resume(..)))
    }

    /// What the filter at `place` has let go meanwhile, without waiting.
    pub(crate) fn resumed(&self, place: usize, direction: Direction) -> Option<Released> {
        let mut words = self.words.borrow_mut();
        let at = words
            .iter()
            .position(|(from, word)| *from == place && matches!(word, Word::Resume(way, _) if *way == direction))?;
        match words.remove(at) {
            Some((_, Word::Resume(_, released))) => Some(released),
            _ => None,
        }
    }

    fn poll_find(&self, cx: &mut Context<'_>, wanted: impl Fn(&(usize, Word)) -> bool) -> Poll<(usize, Word)> {
        let mut words = self.words.borrow_mut();
        let found = words.iter().position(wanted).and_then(|at| words.remove(at));
        match found {
            Some(word) => Poll::Ready(word),
            None => {
                self.waker.replace(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}
