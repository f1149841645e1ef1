//! A request's head: what it says, or why Envoy refuses it.

use bytes::Bytes;

use super::fields::{InvalidField, fields, first_line, trim};
use super::target::{self, Target};
use super::{HeadLimits, bytes_allowed, hardened, nominated};
use crate::headers::{self, HeaderList, Side};

/// A request's head as the rest of the gateway sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// Pseudo-headers first (`:authority`, `:path`, `:method`, in Envoy's order), copies of one-value headers joined.
    pub headers: HeaderList,
    /// How the body is framed.
    pub body: BodyKind,
    /// `connection: close`.
    pub close: bool,
    /// `expect: 100-continue`.
    pub expects: bool,
    /// Not HTTP/1.1.
    pub http10: bool,
}

/// How a message's end is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// It ends with its head.
    None,
    /// `content-length`, not zero.
    Length(u64),
    /// `transfer-encoding: chunked`.
    Chunked,
    /// An upgrade or CONNECT: what follows is the other protocol's, until the connection ends.
    Tunnel,
}

/// Envoy answers this head itself and goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: u16,
    /// What the access log says: `http1.codec_error`.
    pub details: &'static str,
    /// What kind of answer.
    pub kind: RefusalKind,
    /// The answer is HTTP/1.0, as the request is.
    pub http10: bool,
}

/// The two shapes of an early answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// The parser's: the reason phrase as body, `connection: close`, flag DPE.
    Protocol,
    /// The connection manager's, with this text: the head was too long in coming. The connection is closed.
    Late(&'static str),
}

impl Refusal {
    const fn protocol(status: u16, details: &'static str) -> Refusal {
        Refusal { status, details, kind: RefusalKind::Protocol, http10: false }
    }

    const fn late(details: &'static str, text: &'static str) -> Refusal {
        Refusal { status: 408, details, kind: RefusalKind::Late(text), http10: false }
    }

    /// The head is too long.
    pub const TOO_LARGE: Refusal = Refusal::protocol(431, "http1.headers_too_large");
    /// `request_headers_timeout`: the head was not complete in time.
    pub const HEAD_LATE: Refusal = Refusal::late("request_header_timeout", "request header timeout");
    /// `request_timeout`: the request was not complete in time.
    pub const REQUEST_LATE: Refusal = Refusal::late("request_overall_timeout", "request timeout");
    /// The parser could make no sense of the bytes.
    pub const CODEC: Refusal = Refusal::protocol(400, "http1.codec_error");

    /// Not HTTP/1.1, where nothing else is taken.
    pub const LOW_VERSION: Refusal = Refusal::protocol(426, "low_version");
    /// A head or trailers with controls in them.
    pub const CHARACTERS: Refusal = Refusal::protocol(400, "http1.invalid_characters");
}

/// Sorted. What Envoy's parser knows; everything else is refused.
const METHODS: [&str; 35] = [
    "ACL",
    "BIND",
    "CHECKOUT",
    "CONNECT",
    "COPY",
    "DELETE",
    "GET",
    "HEAD",
    "LINK",
    "LOCK",
    "MERGE",
    "MKACTIVITY",
    "MKCALENDAR",
    "MKCOL",
    "MOVE",
    "MSEARCH",
    "NOTIFY",
    "OPTIONS",
    "PATCH",
    "POST",
    "PROPFIND",
    "PROPPATCH",
    "PURGE",
    "PUT",
    "QUERY",
    "REBIND",
    "REPORT",
    "SEARCH",
    "SOURCE",
    "SUBSCRIBE",
    "TRACE",
    "UNBIND",
    "UNLINK",
    "UNLOCK",
    "UNSUBSCRIBE",
];

/// Reads a whole head (as [`super::HeadReader`] takes it). `tls`: the connection is encrypted.
///
/// # Errors
/// What Envoy answers instead of handing the request on.
pub fn parse_request(head: &Bytes, limits: HeadLimits, tls: bool) -> Result<RequestHead, Refusal> {
    if limits.hardened && !hardened::accepts(head) {
        return Err(Refusal::CODEC);
    }
    let begins = head.iter().find(|byte| !matches!(byte, b'\r' | b'\n'));
    if begins.is_some_and(|first| is_control(*first)) {
        return Err(Refusal::CODEC);
    }
    // A control anywhere else is what is spoken of, whatever else is wrong; but a head of no version ends with its line.
    read(head, limits, tls).map_err(|refusal| match refusal {
        Refusal::LOW_VERSION => refusal,
        _ if has_controls(head) => Refusal::CHARACTERS,
        _ => refusal,
    })
}

/// Are there bytes in it that no head may have?
pub(super) fn has_controls(head: &[u8]) -> bool {
    head.iter().copied().any(is_control)
}

fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && !matches!(byte, b'\t' | b'\r' | b'\n')
}

fn read(head: &Bytes, limits: HeadLimits, tls: bool) -> Result<RequestHead, Refusal> {
    let (line, rest) = first_line(head);
    let line = ParsedLine::parse(&line)?;
    // Without a version the first line is all.
    let rest = if line.has_version { rest } else { Bytes::new() };
    let mut lines = HeaderList::with_capacity(32);
    fields(&rest, &mut lines).map_err(|invalid| match invalid {
        InvalidField::Name => Refusal::CODEC,
        InvalidField::Value => Refusal::CHARACTERS,
    })?;
    if !limits.underscores.pass(&mut lines) {
        return Err(Refusal::protocol(400, "http1.unexpected_underscore"));
    }
    let http10 = limits.http10 && !line.is_1_1;
    understood(lines, line, limits, tls).map_err(|refusal| match refusal {
        Refusal::CODEC => refusal, // what the parser itself cannot read has no version yet
        _ => Refusal { http10, ..refusal },
    })
}

/// What the lines mean, once the version is known.
fn understood(lines: HeaderList, line: ParsedLine, limits: HeadLimits, tls: bool) -> Result<RequestHead, Refusal> {
    let framing = framing(&lines, line.method.as_ref() == b"CONNECT");
    if framing == Err(Refusal::CODEC) {
        return Err(Refusal::CODEC);
    }
    let line = line.resolved(limits.absolute_targets);
    let list = with_pseudo_headers(lines, &line, tls).map(|mut list| {
        headers::join_slots(&mut list, Side::Request);
        list
    });
    let counts = |(name, _): &&(Bytes, Bytes)| !matches!(name.as_ref(), b":path" | b":method" | b":scheme");
    // Fields are counted as they come, before anybody asks what they say of the body.
    if list.as_ref().is_ok_and(|list| list.iter().filter(counts).count() > limits.count) {
        return Err(Refusal::protocol(431, "http1.too_many_headers"));
    }
    let framing = framing?;
    finish(list?, framing, &line, limits.http10)
}

/// What Envoy says to a head that is not complete: bytes no request begins with, and a first line that is none, are answered at once.
pub fn early_refusal(buffer: &[u8]) -> Option<Refusal> {
    let begins_method = |first: &u8| METHODS.iter().any(|method| method.as_bytes().first() == Some(first));
    if buffer.first().is_some_and(|first| !begins_method(first)) {
        return Some(Refusal::CODEC);
    }
    let line = buffer.get(..buffer.iter().position(|&byte| byte == b'\n')?)?;
    ParsedLine::parse(&Bytes::copy_from_slice(line)).err()
}

/// A first line that the parser accepts. What its target means is asked once the head's framing is known.
struct ParsedLine {
    method: Bytes,
    target: Bytes,
    has_version: bool,
    is_1_1: bool,
}

struct RequestLine {
    method: Bytes,
    /// A path that stands for what it is if it is `refused`, which is found when the fields have been looked at.
    target: Target,
    refused: Option<Refusal>,
    /// HTTP/1.1, and not another number.
    is_1_1: bool,
}

impl ParsedLine {
    fn parse(line: &Bytes) -> Result<ParsedLine, Refusal> {
        let white = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
        // What a line begins with is a word, if an empty one; white space at its end is none.
        let mut words = line.split(white).enumerate().filter(|(at, word)| *at == 0 || !word.is_empty());
        let mut word = || words.next().map(|(_, word)| word).unwrap_or_default();
        let (method, target, version, more) = (word(), line.slice_ref(word()), word(), word());
        let known = METHODS.binary_search_by(|known| known.as_bytes().cmp(method));
        let method = known.ok().and_then(|at| METHODS.get(at)).filter(|_| more.is_empty()).ok_or(Refusal::CODEC)?;
        let method = Bytes::from_static(method.as_bytes());
        let is_1_1 = match version {
            b"HTTP/1.1" => true,
            [] => false,
            [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
                false
            }
            _ => return Err(Refusal::CODEC),
        };
        if !target::is_parsed(&target, &method) {
            return Err(Refusal::CODEC);
        }
        Ok(ParsedLine { method, target, has_version: !version.is_empty(), is_1_1 })
    }

    /// `absolute`: targets with a scheme and a host are taken apart; else they are paths, of which no route knows any.
    fn resolved(self, absolute: bool) -> RequestLine {
        let ParsedLine { method, target, has_version, is_1_1 } = self;
        let connect = method.as_ref() == b"CONNECT";
        let parsed =
            if absolute || connect { target::parse(&target, &method) } else { Some(Target::Path(target.clone())) };
        // Two words, of which the second is no path: it was to be the version.
        let lacks_target = !has_version
            && connect
            && matches!(&parsed, Some(Target::Path(path)) if !path.starts_with(b"/") && !path.starts_with(b"*"));
        let refused = match &parsed {
            None => Some(invalid_target(&target)),
            Some(Target::Path(_)) if connect => Some(Refusal::protocol(400, "http1.invalid_url")),
            Some(_) if lacks_target => Some(Refusal::protocol(400, "http1.invalid_url")),
            Some(_) => None,
        };
        RequestLine { method, target: parsed.unwrap_or(Target::Path(target)), refused, is_1_1 }
    }
}

/// The parser takes any scheme and any host; that the gateway does not is found a step later.
fn invalid_target(target: &Bytes) -> Refusal {
    let unspoken = target::names_a_host_by_another_scheme(target);
    Refusal::protocol(400, if unspoken { "http1.invalid_scheme" } else { "http1.invalid_url" })
}

/// What `content-length` and `transfer-encoding` say, as they came: a second copy is never the same as one.
fn framing(lines: &[(Bytes, Bytes)], connect: bool) -> Result<BodyKind, Refusal> {
    let mut length = None;
    let mut encoding = None;
    for (name, value) in lines {
        match name.as_ref() {
            b"content-length" if length.is_some() => return Err(Refusal::CODEC),
            b"content-length" => length = Some(parse_length(value).ok_or(Refusal::CODEC)?),
            b"transfer-encoding" => encoding = Some(encoding.is_none() && value.eq_ignore_ascii_case(b"chunked")),
            _ => {}
        }
    }
    match (encoding, length) {
        (_, Some(length)) if length > 0 && connect => Err(Refusal::protocol(400, "http1.body_disallowed")),
        // No length of nothing is a length.
        (Some(_), _) if connect => Err(Refusal::protocol(501, "http1.invalid_transfer_encoding")),
        (Some(_), Some(_)) => Err(Refusal::protocol(400, "http1.content_length_and_chunked_not_allowed")),
        (Some(false), None) => Err(Refusal::protocol(501, "http1.invalid_transfer_encoding")),
        (Some(true), None) => Ok(BodyKind::Chunked),
        (None, Some(length)) if length > 0 => Ok(BodyKind::Length(length)),
        (None, _) => Ok(BodyKind::None),
    }
}

/// Digits alone; leading zeros are fine.
pub(super) fn parse_length(value: &Bytes) -> Option<u64> {
    let digits = trim(value, |byte| byte == b' ' || byte == b'\t');
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    all_digits.then(|| std::str::from_utf8(&digits).ok()?.parse().ok()).flatten()
}

/// `host` becomes `:authority`; path and method follow it.
fn with_pseudo_headers(lines: HeaderList, line: &RequestLine, tls: bool) -> Result<HeaderList, Refusal> {
    let is_host = |name: &[u8]| name == b"host";
    if let Target::Path(path) = &line.target
        && let Some(place) = only(&lines, is_host)
    {
        return Ok(in_place(lines, place, path, &line.method));
    }
    let mut list = HeaderList::with_capacity(lines.len() + 12);
    if !matches!(line.target, Target::Path(_)) {
        let (authority, path, scheme) = match &line.target {
            Target::Absolute { https: true, .. } if !tls => {
                return Err(Refusal::protocol(403, "http1.https_url_on_plaintext_connection"));
            }
            Target::Absolute { authority, path, https } => (authority, Some(path), Some(*https)),
            Target::Authority(authority) => (authority, None, None),
            Target::Path(path) => (path, None, None),
        };
        list.push((Bytes::from_static(b":authority"), authority.clone()));
        // What the target says stands, whatever the connection is.
        let scheme = scheme.map(|https| if https { &b"https"[..] } else { b"http" });
        list.extend(scheme.map(|scheme| (Bytes::from_static(b":scheme"), Bytes::from_static(scheme))));
        list.extend(path.map(|path| (Bytes::from_static(b":path"), path.clone())));
    } else {
        let hosts = lines.iter().filter(|(name, _)| is_host(name));
        list.extend(hosts.map(|(_, value)| (Bytes::from_static(b":authority"), value.clone())));
    }
    if let Target::Path(path) = &line.target {
        list.push((Bytes::from_static(b":path"), path.clone()));
    }
    list.push((Bytes::from_static(b":method"), line.method.clone()));
    list.extend(lines.into_iter().filter(|(name, _)| !is_host(name)));
    Ok(list)
}

/// The place of the only such line.
fn only(lines: &[(Bytes, Bytes)], is: impl Fn(&[u8]) -> bool) -> Option<usize> {
    let mut found = lines.iter().enumerate().filter(|(_, (name, _))| is(name)).map(|(at, _)| at);
    found.next().filter(|_| found.next().is_none())
}

/// The usual request: the lines after the first three are where they belong already.
fn in_place(mut lines: HeaderList, host: usize, path: &Bytes, method: &Bytes) -> HeaderList {
    let (_, authority) = lines.remove(host);
    let pseudo = [(":authority", authority), (":path", path.clone()), (":method", method.clone())];
    lines.splice(..0, pseudo.map(|(name, value)| (Bytes::from_static(name.as_bytes()), value)));
    lines
}

fn finish(
    mut list: HeaderList,
    mut body: BodyKind,
    line: &RequestLine,
    takes_http10: bool,
) -> Result<RequestHead, Refusal> {
    let connect = line.method.as_ref() == b"CONNECT";
    if connect {
        body = BodyKind::Tunnel;
        headers::remove(&mut list, b"content-length");
    }
    match upgrade(&list) {
        Some(Upgrade::H2c) => forget_h2c(&mut list),
        Some(Upgrade::Other) => body = BodyKind::Tunnel,
        None => {}
    }
    let http10 = !line.is_1_1;
    let close = if http10 { !keeping_is_asked(&list) } else { close_is_asked(&list) };
    // A host that the target names is not the hop's, whatever is said of headers.
    let taken = body == BodyKind::Tunnel || nominated::remove(&mut list);
    if let Target::Absolute { authority, .. } = &line.target
        && !headers::has(&list, ":authority")
    {
        list.insert(0, (Bytes::from_static(b":authority"), authority.clone()));
    }
    if !taken {
        return Err(Refusal::protocol(400, "http1.connection_header_rejected"));
    }
    if let Some(refused) = line.refused {
        return Err(refused);
    }
    if http10 && !takes_http10 {
        return Err(Refusal::LOW_VERSION);
    }
    let expects = headers::expects_continue(&list);
    let host = headers::get(&list, ":authority");
    if host.is_some_and(|host| !bytes_allowed::HOST.all(host)) {
        return Err(Refusal::protocol(400, "http.invalid_authority"));
    }
    Ok(RequestHead { headers: list, body, close, expects, http10 })
}

enum Upgrade {
    H2c,
    Other,
}

fn upgrade(list: &[(Bytes, Bytes)]) -> Option<Upgrade> {
    let protocol = headers::get(list, "upgrade")?;
    has_token(headers::get(list, "connection")?, b"upgrade")
        .then(|| if protocol.eq_ignore_ascii_case(b"h2c") { Upgrade::H2c } else { Upgrade::Other })
}

/// An upgrade to h2c is not offered: the request goes on as if it had not been asked.
fn forget_h2c(list: &mut HeaderList) {
    headers::remove(list, b"upgrade");
    headers::remove(list, b"http2-settings");
    let Some(connection) = headers::get(list, "connection").cloned() else { return };
    let kept: Vec<&[u8]> = tokens(&connection)
        .filter(|token| !token.eq_ignore_ascii_case(b"upgrade") && !token.eq_ignore_ascii_case(b"http2-settings"))
        .collect();
    if kept.is_empty() {
        headers::remove(list, b"connection");
    } else {
        headers::set_slot(list, "connection", Bytes::from(kept.join(&b',')));
    }
}

fn close_is_asked(list: &[(Bytes, Bytes)]) -> bool {
    let closes = |name| headers::get(list, name).is_some_and(|value| has_token(value, b"close"));
    closes("connection") || closes("proxy-connection")
}

/// Before HTTP/1.1 connections end unless this is said, whatever else is.
fn keeping_is_asked(list: &[(Bytes, Bytes)]) -> bool {
    headers::get(list, "connection").is_some_and(|value| has_token(value, b"keep-alive"))
}

pub(super) fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|token| !token.is_empty())
}

pub(super) fn has_token(value: &[u8], token: &[u8]) -> bool {
    tokens(value).any(|each| each.eq_ignore_ascii_case(token))
}
