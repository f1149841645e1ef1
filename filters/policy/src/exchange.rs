//! One request on its way through the modules: what it looks like by now, and what has to be done about it.
//!
//! Modules change the exchange, not the proxy. Later modules see what earlier ones did, and at the end the
//! difference to what came in is all that has to be performed.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::dice::Dice;
use crate::header;
use crate::header_ops::{HeaderOps, Op};
use crate::matcher::Request;
use crate::metrics::Counter;
use crate::order::sorted;
use crate::path::split_target;
use crate::strict::strict;

/// Bytes that are the proxy's or ours.
type Bytes<'a> = Cow<'a, [u8]>;

/// A request, as far as it has come.
#[derive(Debug)]
pub struct Exchange<'a> {
    headers: Vec<(Bytes<'a>, Bytes<'a>)>,
    changed: Vec<Vec<u8>>,
    /// Writes happen that leave the route as it is.
    quiet: bool,
    reroute: bool,
    strict: Option<Vec<u8>>,
    client: Option<IpAddr>,
    route: Option<Vec<u8>>,
    /// Where modules draw from.
    pub dice: Dice,
    /// What to do to the response's headers.
    pub response: Vec<Op>,
    /// What to count.
    pub counts: Vec<Counter>,
    /// What to leave for the access log: name and value.
    pub attributes: Vec<(&'static str, Vec<u8>)>,
    /// What to say in the log, once a second at most per cause.
    pub warnings: Vec<Warning>,
}

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// Lines of one cause share a rate.
    pub cause: &'static str,
    /// Never with a value of a header.
    pub text: String,
}

impl<'a> Exchange<'a> {
    /// A request as it came in.
    pub fn new(headers: Vec<(&'a [u8], &'a [u8])>, dice: Dice) -> Exchange<'a> {
        let headers = headers.into_iter().map(|(name, value)| (Cow::Borrowed(name), Cow::Borrowed(value))).collect();
        Exchange {
            headers,
            changed: Vec::new(),
            quiet: false,
            reroute: false,
            strict: None,
            client: None,
            route: None,
            dice,
            response: Vec::new(),
            counts: Vec::new(),
            attributes: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Who connected, and the name of Envoy's route, where a rule asks.
    #[must_use]
    pub fn with_facts(mut self, client: Option<IpAddr>, route: Option<Vec<u8>>) -> Exchange<'a> {
        self.client = client;
        self.route = route;
        self
    }

    /// The request as conditions see it now. With `strict_view`, the strict path is worked out; else it is the path.
    pub fn request(&mut self, strict_view: bool) -> Request<'_, Bytes<'a>, Bytes<'a>> {
        if strict_view && self.strict.is_none() {
            let (path, _) = split_target(header::first(&self.headers, ":path").unwrap_or_default());
            self.strict = Some(strict(path));
        }
        let mut request = Request::new(&self.headers);
        if let (true, Some(strict)) = (strict_view, &self.strict) {
            request.strict_path = strict;
        }
        request.client = self.client;
        request.route = self.route.as_deref();
        request
    }

    /// Both at once: the request for the conditions, the dice for their shares.
    pub(crate) fn ask<T>(
        &mut self,
        strict_view: bool,
        question: impl FnOnce(&Request<'_, Bytes<'a>, Bytes<'a>>, &mut Dice) -> T,
    ) -> T {
        let mut dice = self.dice.clone();
        let answer = question(&self.request(strict_view), &mut dice);
        self.dice = dice;
        answer
    }

    /// The first copy of a header.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(key, _)| **key == *name.as_bytes()).map(|(_, value)| &**value)
    }

    /// One copy of a header, this one.
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        let value: Bytes<'a> = Cow::Owned(value.into());
        let mut copies = 0usize;
        let mut first = None;
        for (at, (key, _)) in self.headers.iter().enumerate() {
            if **key == *name.as_bytes() {
                copies = copies.saturating_add(1);
                first = first.or(Some(at));
            }
        }
        match first.and_then(|at| self.headers.get_mut(at)) {
            Some((_, old)) if copies == 1 => {
                if *old == value {
                    return;
                }
                *old = value;
            }
            _ => {
                self.headers.retain(|(key, _)| **key != *name.as_bytes());
                self.headers.push((Cow::Owned(name.as_bytes().to_vec()), value));
            }
        }
        self.touch(name.as_bytes());
    }

    /// One more copy of a header.
    pub fn add(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.headers.push((Cow::Owned(name.as_bytes().to_vec()), Cow::Owned(value.into())));
        self.touch(name.as_bytes());
    }

    /// No copy of a header.
    pub fn remove(&mut self, name: &str) {
        let before = self.headers.len();
        self.headers.retain(|(key, _)| **key != *name.as_bytes());
        if self.headers.len() != before {
            self.touch(name.as_bytes());
        }
    }

    /// Performs operations on the request's headers.
    pub fn apply(&mut self, ops: &HeaderOps) {
        for op in ops.iter() {
            match op {
                Op::Remove(name) => self.remove(name),
                Op::Set(name, value) => self.set(name, value.as_slice()),
                Op::Add(name, value) => self.add(name, value.as_slice()),
            }
        }
    }

    /// Takes away what a client sent under names that only modules may use.
    pub fn strip(&mut self, signals: &Signals) {
        if signals.names.is_empty() {
            return;
        }
        let posing: Vec<Vec<u8>> =
            self.headers.iter().filter(|(name, _)| signals.covers(name)).map(|(name, _)| name.to_vec()).collect();
        for name in posing {
            self.headers.retain(|(key, _)| **key != *name);
            self.touch(&name);
        }
    }

    /// Counts one.
    pub fn count(&mut self, counter: Counter) {
        self.counts.push(counter);
    }

    /// Leaves something for the access log; what is said twice stands side by side.
    pub fn attribute(&mut self, name: &'static str, value: &[u8]) {
        match self.attributes.iter_mut().find(|(other, _)| *other == name) {
            Some((_, all)) => {
                all.push(b',');
                all.extend_from_slice(value);
            }
            None => self.attributes.push((name, value.to_vec())),
        }
    }

    /// Performs changes that are no reason to choose the route again.
    pub fn quietly(&mut self, changes: impl FnOnce(&mut Exchange<'a>)) {
        let before = std::mem::replace(&mut self.quiet, true);
        changes(self);
        self.quiet = before;
    }

    /// Was anything changed that a route may hang on?
    pub fn reroutes(&self) -> bool {
        self.reroute
    }

    /// Says something in the log, once a second at most per cause.
    pub fn warn(&mut self, cause: &'static str, text: String) {
        self.warnings.push(Warning { cause, text });
    }

    fn touch(&mut self, name: &[u8]) {
        self.reroute |= !self.quiet;
        if name == b":path" {
            self.strict = None;
        }
        if !self.changed.iter().any(|changed| changed == name) {
            self.changed.push(name.to_vec());
        }
    }

    /// The difference to what came in, as the fewest operations: per changed header a removal, or a write, or a write and additions.
    pub fn changes(&self) -> Vec<Change<'_>> {
        let mut changes = Vec::new();
        for name in &self.changed {
            let mut copies = self.headers.iter().filter(|(key, _)| **key == **name).map(|(_, value)| &**value);
            match copies.next() {
                None => changes.push(Change::Remove(name)),
                Some(first) => changes.push(Change::Set(name, first)),
            }
            changes.extend(copies.map(|value| Change::Add(name, value)));
        }
        changes
    }
}

/// One operation on the proxy's copy of the headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'e> {
    /// Every copy goes.
    Remove(&'e [u8]),
    /// This one copy takes the place of all there are.
    Set(&'e [u8], &'e [u8]),
    /// One more copy.
    Add(&'e [u8], &'e [u8]),
}

/// Header names that mean something behind the gateway, so no client may use them, in any spelling (`X_Group` for `x-group`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signals {
    /// Lower case, `-` for `_`, sorted.
    names: Vec<Vec<u8>>,
    /// Bit N: some name is N bytes long (the last bit: or longer).
    lengths: u64,
}

impl Signals {
    /// The set of these names.
    pub fn new<'n>(names: impl IntoIterator<Item = &'n str>) -> Signals {
        let mut names: Vec<Vec<u8>> =
            sorted(names.into_iter().map(|name| spelled(name.as_bytes())).collect(), &mut Ord::cmp);
        names.dedup();
        let lengths = names.iter().fold(0, |lengths, name| lengths | length_bit(name));
        Signals { names, lengths }
    }

    fn covers(&self, name: &[u8]) -> bool {
        self.lengths & length_bit(name) != 0
            && self.names.binary_search_by(|ours| ours.iter().copied().cmp(name.iter().map(|&b| plain(b)))).is_ok()
    }
}

fn length_bit(name: &[u8]) -> u64 {
    1u64.wrapping_shl(u32::try_from(name.len()).unwrap_or(u32::MAX).min(63))
}

fn spelled(name: &[u8]) -> Vec<u8> {
    name.iter().map(|&b| plain(b)).collect()
}

/// What spellings have in common.
fn plain(b: u8) -> u8 {
    if b == b'_' { b'-' } else { b.to_ascii_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    fn exchange() -> Exchange<'static> {
        let headers: Vec<(&[u8], &[u8])> =
            vec![(b":path", b"/a/../b"), (b"x", b"1"), (b"x", b"2"), (b"x_group", b"me")];
        Exchange::new(headers, Dice::new(1))
    }

    fn check(act: impl FnOnce(&mut Exchange<'_>), expected: &[&str]) {
        let mut exchange = exchange();
        act(&mut exchange);
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let said: Vec<_> = exchange
            .changes()
            .into_iter()
            .map(|change| match change {
                Change::Remove(name) => format!("-{}", text(name)),
                Change::Set(name, value) => format!("{}={}", text(name), text(value)),
                Change::Add(name, value) => format!("{}+{}", text(name), text(value)),
            })
            .collect();
        assert_eq!(said, expected);
    }

    sentences! {
        fn nothing_done_is_nothing_to_do() {
            check(|_| {}, &[]);
            check(|exchange| exchange.remove("y"), &[]);
            check(|exchange| exchange.set(":path", &b"/a/../b"[..]), &[]);
        }

        fn a_set_header_has_one_copy() {
            check(|exchange| exchange.set("x", &b"3"[..]), &["x=3"]);
        }

        fn additions_follow_what_is_there() {
            check(|exchange| exchange.add("x", &b"3"[..]), &["x=1", "x+2", "x+3"]);
            check(|exchange| exchange.add("y", &b"1"[..]), &["y=1"]);
        }

        fn the_last_word_counts_once() {
            check(|exchange| { exchange.set("y", &b"1"[..]); exchange.set("y", &b"2"[..]); }, &["y=2"]);
            check(|exchange| { exchange.set("x", &b"1"[..]); exchange.remove("x"); }, &["-x"]);
        }

        fn signals_are_stripped_in_every_spelling() {
            check(|exchange| exchange.strip(&Signals::new(["X-Group"])), &["-x_group"]);
            check(|exchange| exchange.strip(&Signals::new(["x-groups", "x"])), &["-x"]);
            check(|exchange| exchange.strip(&Signals::default()), &[]);
        }

        fn the_strict_path_follows_the_path() {
            let mut exchange = exchange();
            assert_eq!(exchange.request(true).strict_path, b"/b");
            assert_eq!(exchange.request(false).strict_path, b"/a/../b");
            exchange.set(":path", &b"/c//d?x"[..]);
            assert_eq!(exchange.request(true).strict_path, b"/c/d");
        }
    }
}
