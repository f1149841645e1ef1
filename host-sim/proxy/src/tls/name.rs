//! Distinguished names as Envoy prints them: RFC 2253, OpenSSL's short names, the last part first, and so within a part of several.

use std::fmt::Write as _;

use x509_parser::x509::{AttributeTypeAndValue, RelativeDistinguishedName, X509Name};

/// Object identifiers that have a short name in BoringSSL; others are printed as numbers, their values as hex.
const SHORT_NAMES: [(&str, &str); 24] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.15", "businessCategory"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.41", "name"),
    ("2.5.4.42", "GN"),
    ("2.5.4.43", "initials"),
    ("2.5.4.44", "generationQualifier"),
    ("2.5.4.45", "x500UniqueIdentifier"),
    ("2.5.4.46", "dnQualifier"),
    ("2.5.4.65", "pseudonym"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
    ("1.2.840.113549.1.9.2", "unstructuredName"),
];

/// `emailAddress=x@y.z,CN=a\, b,O=Acme`
pub(super) fn rfc2253(name: &X509Name<'_>) -> String {
    let reversed = |rdn: &RelativeDistinguishedName<'_>| {
        let mut attributes: Vec<String> = rdn.iter().map(attribute).collect();
        attributes.reverse();
        attributes.join("+")
    };
    let mut parts: Vec<String> = name.iter_rdn().map(reversed).collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    match SHORT_NAMES.iter().find(|(known, _)| *known == oid) {
        Some((_, name)) => format!("{name}={}", escaped(&text(attribute))),
        None => format!("{oid}=#{}", hex_of(attribute)),
    }
}

/// The value in UTF-8.
fn text(attribute: &AttributeTypeAndValue<'_>) -> Vec<u8> {
    let value = attribute.attr_value();
    let tag = value.tag().0;
    match (tag, value.data) {
        // BMPString and UniversalString are UTF-16 and UTF-32; T61String is read as Latin-1, as BoringSSL does.
        (30, data) => {
            let units = data.as_chunks::<2>().0.iter().map(|unit| u16::from_be_bytes(*unit));
            char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect::<String>().into_bytes()
        }
        (20, data) => data.iter().map(|octet| char::from(*octet)).collect::<String>().into_bytes(),
        (_, data) => data.to_vec(),
    }
}

fn hex_of(attribute: &AttributeTypeAndValue<'_>) -> String {
    let value = attribute.attr_value();
    let mut encoded = vec![u8::try_from(value.tag().0).unwrap_or_default()];
    encoded.extend(u8::try_from(value.data.len()).ok());
    encoded.extend(value.data);
    super::hex(&encoded).to_uppercase()
}

/// Escapes what RFC 2253 escapes, and every byte that is no printable ASCII.
fn escaped(value: &[u8]) -> String {
    let mut printed = String::new();
    let last = value.len().saturating_sub(1);
    for (at, byte) in value.iter().enumerate() {
        match byte {
            b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => printed.extend(['\\', char::from(*byte)]),
            b'#' if at == 0 => printed.push_str("\\#"),
            b' ' if at == 0 || at == last => printed.push_str("\\ "),
            0x20..=0x7e => printed.push(char::from(*byte)),
            // Writing to a String does not fail.
            other => drop(write!(printed, "\\{other:02X}")),
        }
    }
    printed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_escaped_as_envoy_escapes_it() {
        let rows: [(&str, &str); 6] = [
            ("full <name>#\\", "full \\<name\\>#\\\\"),
            ("M\"unchen", "M\\\"unchen"),
            ("Bay, ern", "Bay\\, ern"),
            (" lead ", "\\ lead\\ "),
            ("Jörg", "J\\C3\\B6rg"),
            ("#a+b;", "\\#a\\+b\\;"),
        ];
        for (value, printed) in rows {
            assert_eq!(escaped(value.as_bytes()), printed);
        }
    }
}
