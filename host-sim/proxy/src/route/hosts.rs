//! Which virtual host an authority belongs to.
//!
//! Source: Envoy's `RouteMatcher::findVirtualHost`: the exact domain, then the longest `*suffix`, then the longest `prefix*`, then `*`.
//! Domains and hosts are compared in lower case; a star stands for at least one character.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

type Domains = HashMap<Vec<u8>, usize, RandomState>;

/// The domains of a route configuration and the index of the virtual host each leads to.
#[derive(Debug, Clone, Default)]
pub(super) struct Hosts {
    exact: Domains,
    /// By the length of what follows the star.
    suffixes: BTreeMap<usize, Domains>,
    /// By the length of what precedes the star.
    prefixes: BTreeMap<usize, Domains>,
    any: Option<usize>,
}

/// Two virtual hosts claim one domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is claimed by two virtual hosts")]
pub(super) struct Claimed(pub(super) String);

impl Hosts {
    /// Adds a domain of the virtual host at `index`.
    pub(super) fn add(&mut self, domain: &str, index: usize) -> Result<(), Claimed> {
        let lower = domain.to_ascii_lowercase();
        let taken = if lower == "*" {
            self.any.replace(index)
        } else if let Some(suffix) = lower.strip_prefix('*') {
            self.suffixes.entry(suffix.len()).or_default().insert(suffix.into(), index)
        } else if let Some(prefix) = lower.strip_suffix('*') {
            self.prefixes.entry(prefix.len()).or_default().insert(prefix.into(), index)
        } else {
            self.exact.insert(lower.into(), index)
        };
        taken.map_or(Ok(()), |_| Err(Claimed(domain.to_owned())))
    }

    /// The virtual host of a request without any host: there is only one to think of, or none.
    pub(super) fn only(&self) -> Option<usize> {
        let others = !self.exact.is_empty() || !self.suffixes.is_empty() || !self.prefixes.is_empty();
        self.any.filter(|_| !others)
    }

    /// The virtual host of a host.
    pub(super) fn find(&self, host: &[u8]) -> Option<usize> {
        let host: Cow<'_, [u8]> =
            if host.iter().any(u8::is_ascii_uppercase) { host.to_ascii_lowercase().into() } else { host.into() };
        if let Some(index) = self.exact.get(host.as_ref()) {
            return Some(*index);
        }
        let ending = |length: usize| host.len().checked_sub(length).and_then(|at| host.get(at..));
        let suffix = || longest(&self.suffixes, host.len(), ending);
        let prefix = || longest(&self.prefixes, host.len(), |length| host.get(..length));
        suffix().or_else(prefix).or(self.any)
    }
}

/// Looks part after part of the host up, the longest first; the star needs one byte.
fn longest<'h>(
    tables: &BTreeMap<usize, Domains>,
    host: usize,
    part: impl Fn(usize) -> Option<&'h [u8]>,
) -> Option<usize> {
    tables.range(..host).rev().find_map(|(length, domains)| domains.get(part(*length)?).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(domains: &[&str], rows: &[(&str, Option<&str>)]) {
        let mut hosts = Hosts::default();
        for (n, domain) in domains.iter().enumerate() {
            hosts.add(domain, n).unwrap();
        }
        for (host, want) in rows {
            assert_eq!(hosts.find(host.as_bytes()).map(|n| domains[n]), *want, "{host}");
        }
    }

    #[test]
    fn without_a_host_there_is_one_virtual_host_at_most() {
        let hosts = |domains: &[&str]| {
            let mut hosts = Hosts::default();
            domains.iter().enumerate().for_each(|(n, domain)| hosts.add(domain, n).unwrap());
            hosts.only()
        };
        for (domains, expected) in [(&["*"][..], Some(0)), (&["*", "a"], None), (&["*", "a.*"], None), (&["*.a"], None)]
        {
            assert_eq!(hosts(domains), expected, "{domains:?}");
        }
    }

    #[test]
    fn exact_then_suffix_then_prefix_then_any() {
        check(
            &["*", "foo.*", "*.foo.com", "*-bar.foo.com", "www.foo.com", "foo.c*"],
            &[
                ("www.foo.com", Some("www.foo.com")),
                ("WWW.Foo.com", Some("www.foo.com")),
                ("a-bar.foo.com", Some("*-bar.foo.com")),
                ("a.foo.com", Some("*.foo.com")),
                ("foo.com", Some("foo.c*")),
                ("foo.org", Some("foo.*")),
                ("other", Some("*")),
                ("", Some("*")),
            ],
        );
    }

    #[test]
    fn a_star_stands_for_at_least_one_character() {
        check(
            &["*.foo.com", "foo.*"],
            &[(".foo.com", None), ("foo.", None), ("x.foo.com", Some("*.foo.com")), ("foo.x", Some("foo.*"))],
        );
    }

    #[test]
    fn a_domain_has_one_virtual_host() {
        let mut hosts = Hosts::default();
        hosts.add("a.com", 0).unwrap();
        assert_eq!(hosts.add("A.com", 1), Err(Claimed("A.com".into())));
    }
}
