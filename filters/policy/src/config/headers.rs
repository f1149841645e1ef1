//! Header operations: `{request: {set, add, remove}, response: {set, add, remove}}`, as in a VirtualService.

use super::matching::header_name;
use super::pairs::Pairs;
use super::wire::wire;
use super::{InPlace, Invalid};
use crate::header_ops::{HeaderOps, Op};
use crate::order::sorted;

wire! {
    /// What is done to the request and to its response.
    #[derive(Debug, Clone, Default)]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub struct Headers {
        /// On the way to the origin.
        pub request: Operations = "request",
        /// On the way back.
        pub response: Operations = "response",
    }
}

wire! {
    /// First `remove`, then `set` and `add`.
    #[derive(Debug, Clone, Default)]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub struct Operations {
        /// Replaces every copy.
        pub set: Pairs<String> = "set",
        /// One more copy.
        pub add: Pairs<String> = "add",
        /// Every copy goes.
        pub remove: Vec<String> = "remove",
    }
}

/// The two sides of `headers`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BothWays {
    /// On the way to the origin.
    pub request: HeaderOps,
    /// On the way back.
    pub response: HeaderOps,
}

impl Headers {
    pub(crate) fn compile(&self) -> Result<BothWays, Invalid> {
        Ok(BothWays {
            request: self.request.compile().in_field("request")?,
            response: self.response.compile().in_field("response")?,
        })
    }
}

impl Operations {
    fn compile(&self) -> Result<HeaderOps, Invalid> {
        let mut ops = Vec::new();
        for (n, name) in self.remove.iter().enumerate() {
            let name = writable(name).in_item(n).in_field("remove")?;
            if name == ":authority" {
                return Err(Invalid::new("a request cannot go without its authority").item(n).field("remove"));
            }
            ops.push(Op::Remove(name));
        }
        let (set, add) = (collect(&self.set, "set")?, collect(&self.add, "add")?);
        ops.extend(sorted(set, &mut Ord::cmp).into_iter().map(|(name, value)| Op::Set(name, value)));
        ops.extend(sorted(add, &mut Ord::cmp).into_iter().map(|(name, value)| Op::Add(name, value)));
        Ok(HeaderOps::new(ops))
    }
}

fn collect(pairs: &Pairs<String>, field: &str) -> Result<Vec<(String, Vec<u8>)>, Invalid> {
    let one = |(name, text): (&str, &String)| {
        let pair = writable(name).and_then(|name| Ok((name, value(text)?)));
        pair.in_field(name).in_field(field)
    };
    pairs.iter().map(one).collect()
}

/// `{name: value}`, for answers the module writes itself.
pub(crate) fn plain(pairs: &Pairs<String>) -> Result<Vec<(String, Vec<u8>)>, Invalid> {
    collect(pairs, "headers")
}

/// A header a filter may write: not one that frames the message, not a pseudo-header. `host` is the authority.
pub(crate) fn writable(name: &str) -> Result<String, Invalid> {
    let lower = name.to_ascii_lowercase();
    if matches!(lower.as_str(), "host" | ":authority") {
        return Ok(":authority".into());
    }
    header_name(name)?;
    let framing = [
        "content-length",
        "transfer-encoding",
        "connection",
        "upgrade",
        "keep-alive",
        "te",
        "trailer",
        "proxy-connection",
    ];
    if lower.starts_with(':') {
        return Err(Invalid::new(format!(
            "\"{name}\" is not a header a filter may write; to change the path, use uri-rewrite"
        )));
    }
    if framing.contains(&lower.as_str()) {
        return Err(Invalid::new(format!("\"{name}\" frames the message, so only the proxy writes it")));
    }
    Ok(lower)
}

/// A value as Envoy reads one: `%%` is a percent sign, a single `%` would begin a variable, which filters do not have.
pub(crate) fn value(text: &str) -> Result<Vec<u8>, Invalid> {
    if let Some(bad) = text.chars().find(|&c| c.is_ascii_control() && c != '\t') {
        return Err(Invalid::new(format!("'{}' may not stand in a header", bad.escape_default())));
    }
    if text.replace("%%", "").contains('%') {
        return Err(Invalid::new(format!(
            "\"{text}\" holds a %, which begins a variable in a VirtualService; filters have none, write %% for a percent sign"
        )));
    }
    Ok(text.replace("%%", "%").into_bytes())
}
