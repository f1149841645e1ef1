//! Which filter chain takes a connection, by what its client asked for before anything else: Envoy's `filter_chain_match`.
//!
//! Names come first: the exact name, then the longest wildcard suffix, then chains without names. Among the chains of that name, and no others, the
//! transport protocol decides, then the application protocols the client offers.

use std::collections::BTreeMap;

/// What is known of a connection when its chain is picked.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The name in the ClientHello.
    pub server_name: Option<&'a str>,
    /// Whether there was a ClientHello.
    pub tls: bool,
    /// The protocols offered, best first.
    pub alpn: &'a [Vec<u8>],
}

/// The filter chains of one listener, by number.
#[derive(Debug, Clone, Default)]
pub struct FilterChains {
    /// By exact name; by suffix with its leading dot (`.example`); by "" for chains without names.
    names: BTreeMap<String, ByTransport>,
    default: Option<usize>,
}

/// Transport protocol ("" for any) to application protocol ("" for any) to the chain.
type ByTransport = BTreeMap<String, BTreeMap<String, usize>>;

/// A listener Envoy refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AmbiguousFilterChains {
    /// Two chains match alike.
    #[error("filter chain {second:?} has the same matching rules defined as {first:?}")]
    Duplicate {
        /// The chain that was there before.
        first: String,
        /// The chain that changes nothing.
        second: String,
    },
    /// A name such as `a*.example`.
    #[error("partial wildcards are not supported in server_names: {0:?}")]
    PartialWildcard(String),
}

impl FilterChains {
    /// The chains in a listener's order; `default` is the number of its `default_filter_chain`.
    ///
    /// # Errors
    /// Two chains with equal rules, a wildcard that is no whole label.
    pub fn new(chains: &[xds::FilterChain], default: Option<usize>) -> Result<Self, AmbiguousFilterChains> {
        let mut built = Self { names: BTreeMap::new(), default };
        let any = xds::FilterChainMatch::default();
        for (number, chain) in chains.iter().enumerate() {
            let rule = chain.filter_chain_match.as_ref().unwrap_or(&any);
            for name in or_any(&rule.server_names) {
                for protocol in or_any(&rule.application_protocols) {
                    let transports = built.names.entry(key(name)?).or_default();
                    let protocols = transports.entry(rule.transport_protocol.clone()).or_default();
                    if let Some(before) = protocols.insert(protocol.to_owned(), number) {
                        let name_of = |at: usize| chains.get(at).map(|chain| chain.name.clone()).unwrap_or_default();
                        return Err(AmbiguousFilterChains::Duplicate {
                            first: name_of(before),
                            second: chain.name.clone(),
                        });
                    }
                }
            }
        }
        Ok(built)
    }

    /// The chain for a connection; none: it is closed, and counted as `no_filter_chain_match`.
    pub fn pick(&self, asked: Asked<'_>) -> Option<usize> {
        let transports = self.by_name(asked.server_name.unwrap_or_default());
        transports.and_then(|transports| by_transport(transports, asked)).or(self.default)
    }

    /// Whether a chain can only be picked after reading what the client asks for.
    pub fn need_client_hello(&self) -> bool {
        self.names.keys().any(|name| !name.is_empty())
            || self.names.values().any(|transports| {
                transports.len() > 1
                    || !transports.contains_key("")
                    || transports.values().any(|p| p.len() > 1 || !p.contains_key(""))
            })
    }

    fn by_name(&self, name: &str) -> Option<&ByTransport> {
        let name = name.to_ascii_lowercase();
        let exact = if name.starts_with('.') { None } else { self.names.get(&name) };
        // Dots from the left: the longest suffix first. A suffix of a single dot is none.
        let mut suffixes = name
            .match_indices('.')
            .filter(|(at, _)| *at > 0)
            .filter_map(|(at, _)| name.get(at..))
            .filter(|suffix| suffix.len() > 1);
        exact.or_else(|| suffixes.find_map(|suffix| self.names.get(suffix))).or_else(|| self.names.get(""))
    }
}

fn by_transport(transports: &ByTransport, asked: Asked<'_>) -> Option<usize> {
    let transport = if asked.tls { "tls" } else { "raw_buffer" };
    let protocols = transports.get(transport).or_else(|| transports.get(""))?;
    let offered = asked.alpn.iter().filter_map(|protocol| std::str::from_utf8(protocol).ok());
    let by_protocol = offered.filter(|protocol| !protocol.is_empty()).find_map(|protocol| protocols.get(protocol));
    by_protocol.or_else(|| protocols.get("")).copied()
}

fn or_any(list: &[String]) -> Vec<&str> {
    if list.is_empty() { vec![""] } else { list.iter().map(String::as_str).collect() }
}

/// `*.example` is kept as `.example`.
fn key(name: &str) -> Result<String, AmbiguousFilterChains> {
    let suffix = name.strip_prefix('*').filter(|suffix| suffix.starts_with('.'));
    let key = suffix.unwrap_or(name);
    if key.contains('*') {
        return Err(AmbiguousFilterChains::PartialWildcard(name.to_owned()));
    }
    Ok(key.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(names: &[&str], transport: &str, alpn: &[&str]) -> xds::FilterChain {
        let owned = |list: &[&str]| list.iter().map(|item| (*item).to_owned()).collect();
        xds::FilterChain {
            name: names.join(","),
            filter_chain_match: Some(xds::FilterChainMatch {
                server_names: owned(names),
                transport_protocol: transport.to_owned(),
                application_protocols: owned(alpn),
                ..xds::FilterChainMatch::default()
            }),
            ..xds::FilterChain::default()
        }
    }

    fn picks(chains: &[xds::FilterChain], rows: &[(&str, Option<usize>)]) {
        let chains = FilterChains::new(chains, None).unwrap();
        for (name, expected) in rows {
            let server_name = Some(*name).filter(|name| !name.is_empty());
            assert_eq!(chains.pick(Asked { server_name, tls: true, alpn: &[] }), *expected, "{name:?}");
        }
    }

    #[test]
    fn the_exact_name_wins_then_the_longest_suffix_then_no_name() {
        let chains = [
            chain(&["a.example"], "", &[]),
            chain(&["*.example", "other.test"], "", &[]),
            chain(&["*.b.example"], "", &[]),
            chain(&[], "", &[]),
        ];
        picks(
            &chains,
            &[
                ("a.example", Some(0)),
                ("A.EXAMPLE", Some(0)),
                ("x.example", Some(1)),
                ("x.y.example", Some(1)),
                ("other.test", Some(1)),
                ("x.b.example", Some(2)),
                ("b.example", Some(1)),
                ("example", Some(3)),
                (".example", Some(3)),
                ("", Some(3)),
                ("x.test", Some(3)),
            ],
        );
    }

    #[test]
    fn without_a_chain_for_everybody_a_stranger_finds_none() {
        picks(&[chain(&["a.example"], "", &[])], &[("a.example", Some(0)), ("b.example", None), ("", None)]);
    }

    #[test]
    fn a_name_that_matched_is_not_looked_for_again() {
        let chains = FilterChains::new(&[chain(&["a.example"], "tls", &[]), chain(&[], "", &[])], None).unwrap();
        let asked = |tls| Asked { server_name: Some("a.example"), tls, alpn: &[] };
        assert_eq!(chains.pick(asked(true)), Some(0));
        assert_eq!(chains.pick(asked(false)), None);
    }

    #[test]
    fn transport_and_application_protocols_decide_within_a_name() {
        let chains = [chain(&[], "raw_buffer", &[]), chain(&[], "tls", &["h2"]), chain(&[], "tls", &[])];
        let chains = FilterChains::new(&chains, None).unwrap();
        let pick = |tls, alpn: &[&str]| {
            let alpn: Vec<Vec<u8>> = alpn.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
            chains.pick(Asked { server_name: None, tls, alpn: &alpn })
        };
        assert_eq!(pick(false, &[]), Some(0));
        assert_eq!(pick(true, &["http/1.1", "h2"]), Some(1));
        assert_eq!(pick(true, &["http/1.1"]), Some(2));
        assert!(chains.need_client_hello());
    }

    #[test]
    fn the_default_chain_takes_the_rest() {
        let chains = FilterChains::new(&[chain(&["a.example"], "", &[])], Some(1)).unwrap();
        assert_eq!(chains.pick(Asked { server_name: Some("b.example"), tls: true, alpn: &[] }), Some(1));
    }

    #[test]
    fn what_envoy_refuses_is_refused() {
        let refused = |chains: &[xds::FilterChain]| FilterChains::new(chains, None).unwrap_err().to_string();
        let twice = refused(&[chain(&["a.example", "b.example"], "", &[]), chain(&["b.example"], "", &[])]);
        assert_eq!(twice, r#"filter chain "b.example" has the same matching rules defined as "a.example,b.example""#);
        assert_eq!(
            refused(&[chain(&["a*.example"], "", &[])]),
            r#"partial wildcards are not supported in server_names: "a*.example""#
        );
    }

    #[test]
    fn one_chain_without_rules_needs_no_look() {
        assert!(!FilterChains::new(&[xds::FilterChain::default()], None).unwrap().need_client_hello());
        assert!(FilterChains::new(&[chain(&["a.example"], "", &[])], None).unwrap().need_client_hello());
    }
}
