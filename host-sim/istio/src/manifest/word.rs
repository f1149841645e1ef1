//! What a plain word of a manifest means: what it means to Go's `sigs.k8s.io/yaml` (YAML 1.1 with its truth values and octals), which kubectl and istioctl read with.

use super::node::Value;

/// The meaning of a word without quotes and tag; none for what is no finite number, which JSON cannot say and kubectl refuses.
pub(super) fn meaning(word: &str) -> Option<Value> {
    Some(match word {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => Value::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => Value::Bool(false),
        _ if is_no_finite_number(word) => return None,
        _ if word.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first)) => {
            number(&word.replace('_', "")).unwrap_or_else(|| Value::Text(word.to_owned()))
        }
        _ => Value::Text(word.to_owned()),
    })
}

fn is_no_finite_number(word: &str) -> bool {
    let unsigned = word.strip_prefix(['+', '-']).unwrap_or(word);
    [".inf", ".Inf", ".INF"].contains(&unsigned) || [".nan", ".NaN", ".NAN"].contains(&word)
}

fn number(word: &str) -> Option<Value> {
    let (negative, digits) = match word.strip_prefix(['+', '-']) {
        Some(digits) => (word.starts_with('-'), digits),
        None => (false, word),
    };
    integer(digits, negative).map(Value::Integer).or_else(|| float(word, digits).map(Value::Float))
}

/// As a constant of Go: `0x`, `0o`, `0b`, and a zero before octal digits.
fn integer(digits: &str, negative: bool) -> Option<i64> {
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, digits.get(2..)?),
        [b'0', b'o' | b'O', ..] => (8, digits.get(2..)?),
        [b'0', b'b' | b'B', ..] => (2, digits.get(2..)?),
        [b'0', _, ..] => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    // The parser would take another sign.
    let digits = digits.starts_with(|first: char| first.is_ascii_alphanumeric()).then_some(digits)?;
    let value = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -value } else { value }).ok()
}

fn float(word: &str, digits: &str) -> Option<f64> {
    let plain = |c: char| c.is_ascii_digit() || ".eE+-".contains(c);
    let begins = digits.strip_prefix('.').unwrap_or(digits).starts_with(|first: char| first.is_ascii_digit());
    (begins && digits.chars().all(plain)).then(|| word.parse().ok()).flatten().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::super::node::Node;
    use super::*;

    /// `sigs.k8s.io/yaml` 1.6.0 says so; nothing where it refuses.
    const MEANINGS: &[(&str, &str)] = &[
        ("yes", "true"),
        ("y", "true"),
        ("Y", "true"),
        ("on", "true"),
        ("On", "true"),
        ("oN", "\"oN\""),
        ("off", "false"),
        ("n", "false"),
        ("No", "false"),
        ("TRUE", "true"),
        ("tRue", "\"tRue\""),
        ("1", "1"),
        ("01", "1"),
        ("012", "10"),
        ("08", "8.0"),
        ("09", "9.0"),
        ("0o12", "10"),
        ("0x1F", "31"),
        ("0b11", "3"),
        ("1_000", "1000"),
        ("1__0", "10"),
        ("0_", "0"),
        ("0x_1", "1"),
        ("_1", "\"_1\""),
        ("+1", "1"),
        ("-1", "-1"),
        ("-0", "0"),
        ("1.0", "1.0"),
        ("1.", "1.0"),
        (".5", "0.5"),
        ("+.5", "0.5"),
        ("1e3", "1000.0"),
        ("1E3", "1000.0"),
        ("1e400", "\"1e400\""),
        ("100000000000000000000", "1e+20"),
        (".inf", ""),
        ("-.inf", ""),
        (".nan", ""),
        ("", "null"),
        ("~", "null"),
        ("Null", "null"),
        ("nULL", "\"nULL\""),
        ("2001-01-01", "\"2001-01-01\""),
        ("2001-01-01T00:00:00Z", "\"2001-01-01T00:00:00Z\""),
        ("12:30", "\"12:30\""),
        ("0x", "\"0x\""),
        ("1.2.3", "\"1.2.3\""),
        ("1,000", "\"1,000\""),
        ("NaN", "\"NaN\""),
        ("Inf", "\"Inf\""),
        ("=", "\"=\""),
        ("-", "\"-\""),
        (".", "\".\""),
        ("+-1", "\"+-1\""),
        ("v1", "\"v1\""),
        ("1s", "\"1s\""),
        ("1e", "\"1e\""),
    ];

    #[test]
    fn words_mean_what_they_mean_to_kubectl() {
        for (word, means) in MEANINGS {
            let meant = meaning(word).map(|value| Node { value, ..Node::default() }.json().to_string());
            assert_eq!(meant.as_deref().unwrap_or_default(), *means, "{word}");
        }
    }
}
