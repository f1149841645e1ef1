//! Rules in declared order, found through the index.

use crate::dice::Dice;
use crate::exchange::Signals;
use crate::hash::sip;
use crate::index::Index;
use crate::key::{Key, Source};
use crate::matcher::{PathView, Request, RequestMatcher};
use crate::order::sorted;

/// One of the alternatives under which a rule applies.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) matcher: RequestMatcher,
    pub(crate) share: Option<Share>,
    /// Whose alternative it is.
    pub(crate) rule: usize,
}

/// A part of the requests, in millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share(u32);

impl Share {
    /// Everything.
    pub const ALL: Share = Share(Share::WHOLE);
    const WHOLE: u32 = 1_000_000;

    /// 0 to 100; what is finer than 0.0001 is cut off, as Istio cuts it.
    pub fn percent(value: f64) -> Option<Share> {
        // Not a number fails both comparisons.
        let fits = (0.0..=100.0).contains(&value);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 1,000,000, checked above")]
        fits.then_some(Share((value * 10_000.0) as u32))
    }

    /// Is this request in the share? By `key` where there is one, else as the dice fall.
    pub fn takes(self, salt: &[u8], key: Option<&[u8]>, dice: &mut Dice) -> bool {
        match self.0 {
            0 => return false,
            Share::WHOLE => return true,
            _ => {}
        }
        let point = match key {
            Some(key) => {
                sip((sip((1, 0), salt), sip((1, 1), salt)), key).checked_rem(Share::WHOLE.into()).unwrap_or_default()
            }
            None => dice.below(Share::WHOLE.into()),
        };
        point < self.0.into()
    }
}

/// What every rule has; what it does is the module's.
#[derive(Debug, Clone)]
pub struct Rule<T> {
    /// Unique in its module.
    pub name: String,
    /// Whose request it is, for stickiness.
    pub key: Option<Key>,
    /// What the module does.
    pub action: T,
}

/// A rule that matches, and by which of its alternatives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) rule: usize,
    entry: usize,
}

/// A module's rules.
#[derive(Debug, Clone)]
pub struct Rules<T> {
    entries: Vec<Entry>,
    index: Index,
    rules: Vec<Rule<T>>,
    strict: bool,
    asks: Asks,
}

/// What rules look at beyond the headers; each costs a call to the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asks {
    /// The headers themselves: false if there is no rule at all.
    pub headers: bool,
    /// The client's address.
    pub client: bool,
    /// The name of Envoy's route.
    pub route: bool,
}

impl Asks {
    /// Everything either asks.
    #[must_use]
    pub fn or(self, other: Asks) -> Asks {
        Asks {
            headers: self.headers || other.headers,
            client: self.client || other.client,
            route: self.route || other.route,
        }
    }
}

impl<T> Rules<T> {
    /// Files the rules under their entries.
    pub(crate) fn new(entries: Vec<Entry>, rules: Vec<Rule<T>>) -> Rules<T> {
        let index = Index::new(&entries.iter().map(|entry| &entry.matcher).collect::<Vec<_>>());
        let keyed =
            |asks: fn(&Source) -> bool| rules.iter().any(|rule| rule.key.as_ref().is_some_and(|key| key.uses(asks)));
        let strict = keyed(|source| *source == Source::Path)
            || entries.iter().any(|entry| entry.matcher.view == PathView::Strict);
        let asks = Asks {
            headers: !rules.is_empty(),
            client: keyed(|source| matches!(source, Source::Client { .. }))
                || entries.iter().any(|entry| !entry.matcher.clients.is_empty()),
            route: keyed(|source| *source == Source::Route),
        };
        Rules { entries, index, rules, strict, asks }
    }

    /// Is there nothing to ask?
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What has to be known of a request.
    pub fn asks(&self) -> Asks {
        self.asks
    }

    /// Does any rule look at the strict path?
    pub(crate) fn strict(&self) -> bool {
        self.strict
    }

    /// A rule by its place.
    pub(crate) fn get(&self, place: usize) -> Option<&Rule<T>> {
        self.rules.get(place)
    }

    /// The names that only this module may write: what a client sends under them is taken away before anything is asked.
    ///
    /// A name that conditions or keys look at is the client's to send; the configuration says so.
    pub(crate) fn signals<'n>(&self, written: impl IntoIterator<Item = &'n str>) -> Signals {
        let mut written = sorted(written.into_iter().collect(), &mut Ord::cmp);
        written.dedup();
        Signals::new(written.into_iter().filter(|name| !self.looks_at(name)))
    }

    /// In declared order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule<T>> {
        self.rules.iter()
    }

    /// Does any condition look at this header?
    fn looks_at(&self, name: &str) -> bool {
        let entry = |entry: &Entry| entry.matcher.headers.iter().any(|header| header.name() == name);
        let key = |rule: &Rule<T>| {
            rule.key
                .as_ref()
                .is_some_and(|key| key.uses(|source| matches!(source, Source::Header(header) if header == name)))
        };
        self.entries.iter().any(entry) || self.rules.iter().any(key)
    }

    /// The alternative under which a rule matched.
    pub(crate) fn matcher(&self, hit: Hit) -> Option<&RequestMatcher> {
        self.entries.get(hit.entry).map(|entry| &entry.matcher)
    }

    /// The rules that match, in declared order.
    pub(crate) fn matching<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        request: &Request<'_, K, V>,
        dice: &mut Dice,
    ) -> impl Iterator<Item = Hit> {
        let mut last = None;
        self.index.candidates(request).filter_map(move |place| {
            let entry = self.entries.get(place).filter(|entry| last != Some(entry.rule))?;
            let rule = self.rules.get(entry.rule)?;
            if !entry.matcher.matches(request) {
                return None;
            }
            if let Some(share) = entry.share {
                let key = rule.key.as_ref().and_then(|key| key.of(request));
                if !share.takes(rule.name.as_bytes(), key.as_deref(), dice) {
                    return None;
                }
            }
            last = Some(entry.rule);
            Some(Hit { rule: entry.rule, entry: place })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    fn taken(share: Share, keyed: bool) -> usize {
        let mut dice = Dice::new(7);
        let key = |n: u32| n.to_string().into_bytes();
        (0..100_000).filter(|&n| share.takes(b"salt", keyed.then(|| key(n)).as_deref(), &mut dice)).count()
    }

    sentences! {
        fn a_share_is_taken_at_random_or_by_key() {
            let share = Share::percent(12.5).unwrap();
            for keyed in [false, true] {
                let n = taken(share, keyed);
                assert!((12_000..13_000).contains(&n), "{n}");
            }
        }

        fn nothing_and_everything_are_exact() {
            assert_eq!(taken(Share::percent(0.0).unwrap(), true), 0);
            assert_eq!(taken(Share::percent(0.00001).unwrap(), true), 0);
            assert_eq!(taken(Share::percent(100.0).unwrap(), false), 100_000);
        }

        fn a_key_stays_where_it_is_while_the_share_grows() {
            let mut dice = Dice::new(1);
            for n in 0..1000u32 {
                let key = n.to_string();
                let mut takes = |percent| Share::percent(percent).unwrap().takes(b"s", Some(key.as_bytes()), &mut dice);
                assert!(!takes(10.0) || takes(20.0));
                assert_eq!(takes(10.0), takes(10.0));
            }
        }

        fn what_is_no_share_is_refused() {
            for value in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
                assert_eq!(Share::percent(value), None);
            }
        }
    }
}
