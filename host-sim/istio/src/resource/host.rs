//! Host names with a wildcard as their first label, and short names made full.

/// `*`, `*.example` or `a.example`. Comparison is by bytes; callers lower-case where Istio does.
pub(crate) fn is_wildcard(host: &str) -> bool {
    host.starts_with('*')
}

/// Istio's `Name.Matches`: the two names have a host in common.
pub(crate) fn matches(a: &str, b: &str) -> bool {
    match (a.strip_prefix('*'), b.strip_prefix('*')) {
        (Some(x), Some(y)) if x.len() < y.len() => y.ends_with(x),
        (Some(x), Some(y)) => x.ends_with(y),
        (Some(x), None) => b.ends_with(x),
        (None, Some(y)) => a.ends_with(y),
        (None, None) => a == b,
    }
}

/// Istio's `Name.SubsetOf`: every host of `inner` is one of `outer`.
pub(crate) fn is_subset(inner: &str, outer: &str) -> bool {
    match (inner.strip_prefix('*'), outer.strip_prefix('*')) {
        (Some(x), Some(y)) => x.len() >= y.len() && x.ends_with(y),
        (Some(_), None) => false,
        (None, Some(y)) => inner.ends_with(y),
        (None, None) => inner == outer,
    }
}

/// The hosts that both lists take, each under its narrower name; Istio's `Names.Intersection`.
pub(crate) fn intersection(server: &[&str], virtual_service: &[String]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for mine in server {
        for other in virtual_service {
            let narrower = if is_subset(mine, other) {
                *mine
            } else if is_subset(other, mine) {
                other
            } else {
                continue;
            };
            if !found.iter().any(|known| known == narrower) {
                found.push(narrower.to_owned());
            }
        }
    }
    found
}

/// A server's hosts that `namespace` may bind to: `ns/host` for its own, `*/host` and plain hosts for all.
pub(crate) fn hosts_for_namespace<'a>(hosts: &'a [String], namespace: &str) -> Vec<&'a str> {
    let select = |host: &'a String| match host.split_once('/') {
        Some((own, name)) => (own == "*" || own == namespace).then_some(name),
        None => Some(host.as_str()),
    };
    hosts.iter().filter_map(select).collect()
}

/// A dotless name is a service of the rule's own namespace; a name with a dot, an address and `*` are taken whole.
pub(crate) fn full_name(host: &str, namespace: &str, domain: &str) -> String {
    if host.is_empty() || host == "*" || host.contains('.') || host.parse::<std::net::IpAddr>().is_ok() {
        return host.to_owned();
    }
    format!("{host}.{namespace}.svc.{domain}")
}

/// `gw` in namespace `ns` is `ns/gw`, as is `./gw`; `gw.ns` and `gw.ns.svc.cluster.local` are old spellings of it.
pub(crate) fn gateway_name(name: &str, namespace: &str) -> String {
    match name.split_once('/') {
        Some((".", rest)) => return format!("{namespace}/{rest}"),
        Some(_) => return name.to_owned(),
        None => {}
    }
    let mut labels = name.split('.');
    let short = labels.next().unwrap_or(name);
    format!("{}/{short}", labels.next().unwrap_or(namespace))
}

/// Istio's order of hosts: names before wildcards, longer before shorter, then by the alphabet.
pub(crate) fn more_specific(a: &str, b: &str) -> std::cmp::Ordering {
    (is_wildcard(a), std::cmp::Reverse(a.len()), a).cmp(&(is_wildcard(b), std::cmp::Reverse(b.len()), b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_never_covers_its_bare_domain() {
        assert!(is_subset("a.foo.com", "*.foo.com"));
        assert!(is_subset("*.a.foo.com", "*.foo.com"));
        assert!(is_subset("*.foo.com", "*"));
        assert!(!is_subset("foo.com", "*.foo.com"));
        assert!(!is_subset("*", "*.foo.com"));
    }

    #[test]
    fn the_narrower_name_of_two_is_bound() {
        let hosts = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(intersection(&["*.foo.com"], &hosts(&["a.foo.com", "b.bar.com"])), ["a.foo.com"]);
        assert_eq!(intersection(&["a.foo.com", "b.foo.com"], &hosts(&["*.foo.com"])), ["a.foo.com", "b.foo.com"]);
        assert_eq!(intersection(&["*"], &hosts(&["*"])), ["*"]);
    }

    #[test]
    fn only_dotless_names_get_the_namespace() {
        assert_eq!(full_name("pay", "prod", "cluster.local"), "pay.prod.svc.cluster.local");
        assert_eq!(full_name("pay.prod", "default", "cluster.local"), "pay.prod");
        assert_eq!(gateway_name("gw", "ns"), "ns/gw");
        assert_eq!(gateway_name("./gw", "ns"), "ns/gw");
        assert_eq!(gateway_name("gw.other.svc.cluster.local", "ns"), "other/gw");
    }
}
