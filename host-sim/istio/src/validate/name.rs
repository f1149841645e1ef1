//! Names as DNS, HTTP and Kubernetes allow them.

const LABEL_MAX: usize = 63;
const NAME_MAX: usize = 255;

fn is_dns_label(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || c == b'-';
    let edge = |c: Option<&u8>| c.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= LABEL_MAX && bytes.iter().copied().all(inner) && edge(bytes.first()) && edge(bytes.last())
}

/// `[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?`, 63 characters at most.
pub(crate) fn dns_label(text: &str) -> Result<(), String> {
    if is_dns_label(text) { Ok(()) } else { Err(format!("label {text:?} invalid")) }
}

fn dns_length(name: &str) -> Result<(), String> {
    match name.len() {
        0 => Err("empty domain name not allowed".to_owned()),
        length if length > NAME_MAX => Err(format!("domain name {name:?} too long (max 255)")),
        _ => Ok(()),
    }
}

/// Labels joined by dots; one dot at the end is fine.
pub(crate) fn fqdn(name: &str) -> Result<(), String> {
    dns_length(name)?;
    let mut labels = name.strip_suffix('.').unwrap_or(name).split('.').peekable();
    let last_is_number = labels.clone().last().is_some_and(|label| label.bytes().all(|c| c.is_ascii_digit()));
    let bad = labels.find(|label| !is_dns_label(label));
    match bad {
        Some(label) => Err(format!("domain name {name:?} invalid (label {label:?} invalid)")),
        None if last_is_number => Err(format!("domain name {name:?} invalid (top level domain must not be a number)")),
        None => Ok(()),
    }
}

/// A domain whose first label may be `*` or begin with it.
pub(crate) fn wildcard_domain(name: &str) -> Result<(), String> {
    dns_length(name)?;
    let (first, rest) = name.split_once('.').map_or((name, None), |(first, rest)| (first, Some(rest)));
    let star_free = first.strip_prefix('*');
    let first_ok = match star_free {
        Some("") => true,
        Some(tail) => is_dns_label(tail.strip_prefix('-').unwrap_or(tail)) && first.len() <= LABEL_MAX,
        None => is_dns_label(first),
    };
    match (first_ok, rest) {
        (false, _) => Err(format!("domain name {name:?} invalid (label {first:?} invalid)")),
        (true, Some(rest)) => fqdn(rest).map_err(|_| format!("domain name {name:?} invalid (label {rest:?} invalid)")),
        (true, None) => Ok(()),
    }
}

/// An HTTP token.
pub(crate) fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c))
}

/// A Kubernetes label key: `[prefix/]name`.
pub(crate) fn label_key(key: &str) -> Result<(), String> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let prefix_ok = prefix.is_none_or(|prefix| prefix.len() <= 253 && prefix.split('.').all(is_dns_label));
    if prefix_ok && is_label_word(name) && !name.is_empty() && name.len() <= LABEL_MAX {
        Ok(())
    } else {
        Err(format!("invalid tag key: {key:?}"))
    }
}

/// A Kubernetes label value, which may be empty and, for istiod, of any length.
pub(crate) fn label_value(value: &str) -> Result<(), String> {
    if is_label_word(value) { Ok(()) } else { Err(format!("invalid tag value: {value:?}")) }
}

fn is_label_word(word: &str) -> bool {
    let inner = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    let edge = |c: Option<&u8>| c.is_none_or(u8::is_ascii_alphanumeric);
    word.bytes().all(inner) && edge(word.as_bytes().first()) && edge(word.as_bytes().last())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_stand_only_in_the_first_label() {
        for good in ["a", "a.b.com", "*", "*.com", "*-a.com", "*.a.b", "shop.default.svc.cluster.local"] {
            assert_eq!(wildcard_domain(good), Ok(()), "{good}");
        }
        for bad in ["", "a.*.com", "a_b.com", "-a.com", "*..com", "a/b", ".com"] {
            assert!(wildcard_domain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_label_has_a_short_name_and_a_value_of_any_length() {
        let long = "a".repeat(64);
        for (key, value, good) in
            [("app", "v1", true), ("a.b/c", "", true), ("a", &long, true), (&long, "a", false), ("a/", "a", false)]
        {
            assert_eq!(label_key(key).and(label_value(value)).is_ok(), good, "{key}: {value}");
        }
        assert!(label_value("-a").is_err());
    }

    #[test]
    fn an_address_is_no_domain_name() {
        assert!(fqdn("10.0.0.1").is_err());
        assert_eq!(fqdn("a.example.com."), Ok(()));
    }
}
