//! An answer written in the configuration: status, body, headers.

use super::pairs::Pairs;
use super::wire::wire;
use super::{InPlace, Invalid};
use crate::reply::Reply;

wire! {
    /// The body. At most one field.
    #[derive(Debug, Clone, Default)]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub struct Body {
        /// As it is.
        pub string: Option<String> = "string",
        /// In base64.
        pub bytes: Option<String> = "bytes",
    }
}

wire! {
    /// An answer.
    #[derive(Debug, Clone, Default)]
    pub struct Response {
        /// 200 to 599.
        #[cfg_attr(feature = "schema", schemars(range(min = 200, max = 599)))]
        pub status: u16 = "status" required,
        /// Empty if absent.
        #[cfg_attr(feature = "schema", schemars(default))]
        pub body: Body = "body",
        /// `{name: value}`. A body without a `content-type` is `text/plain`.
        #[cfg_attr(feature = "schema", schemars(default))]
        pub headers: Pairs<String> = "headers",
    }
}

impl Response {
    pub(crate) fn compile(&self, details: &'static str) -> Result<Reply, Invalid> {
        let status = status(self.status).in_field("status")?;
        let headers = super::headers::plain(&self.headers)?;
        Ok(Reply { status, headers, body: self.body.compile().in_field("body")?, details, grpc_status: None })
    }
}

/// A final status that may stand in an answer.
pub(crate) fn status(status: u16) -> Result<u16, Invalid> {
    if (200..=599).contains(&status) {
        Ok(status)
    } else {
        Err(Invalid::new(format!("a status is 200 to 599, this one is {status}")))
    }
}

impl Body {
    pub(crate) fn compile(&self) -> Result<Vec<u8>, Invalid> {
        match (&self.string, &self.bytes) {
            (Some(_), Some(_)) => Err(Invalid::new("only one of string and bytes can be said at a time")),
            (Some(text), None) => Ok(text.clone().into_bytes()),
            (None, Some(text)) => decode_base64(text).ok_or_else(|| Invalid::new("this is not base64").field("bytes")),
            (None, None) => Ok(Vec::new()),
        }
    }
}

/// Standard alphabet; padding may be left out.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let bare = text.trim_end_matches('=');
    if text.len().saturating_sub(bare.len()) > 2 || bare.len().checked_rem(4) == Some(1) {
        return None;
    }
    let mut out = Vec::with_capacity(bare.len());
    let mut bits: u32 = 0;
    let mut held: u32 = 0;
    for byte in bare.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte.checked_sub(b'A')?,
            b'a'..=b'z' => byte.checked_sub(b'a')?.checked_add(26)?,
            b'0'..=b'9' => byte.checked_sub(b'0')?.checked_add(52)?,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits.wrapping_shl(6) | u32::from(value)) & 0xffff;
        held = held.saturating_add(6);
        if held >= 8 {
            held = held.saturating_sub(8);
            out.push(u8::try_from(bits.wrapping_shr(held) & 0xff).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    sentences! {
        fn base64_is_read_with_and_without_padding() {
            assert_eq!(decode_base64("aGVsbG8=").as_deref(), Some(&b"hello"[..]));
            assert_eq!(decode_base64("aGVsbG8").as_deref(), Some(&b"hello"[..]));
            assert_eq!(decode_base64("//8A").as_deref(), Some(&[0xff, 0xff, 0][..]));
            assert_eq!(decode_base64("").as_deref(), Some(&b""[..]));
            for text in ["a", "a===", "aGVs bG8", "é", "a-_b"] {
                assert_eq!(decode_base64(text), None, "{text}");
            }
        }
    }
}
