//! The request as it was typed: a URL and curl's flags.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use proxy::explain::Question;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::command_line::ExplainArgs;
use crate::failure::Failure;
use crate::inputs;
use crate::stage::Stage;

/// A request somebody wants to know about.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) tls: bool,
    /// As in the URL, without its port.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) client: IpAddr,
    /// What the client shows to a server that asks, its own certificate first.
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    pub(crate) body: Vec<u8>,
}

/// An address that is nobody's (RFC 5737): a client somewhere outside.
pub(crate) const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

impl Asked {
    pub(crate) fn new(args: &ExplainArgs) -> Result<Self, Failure> {
        let mut asked = Self::of_url(&args.url).map_err(Failure::Usage)?;
        asked.method = match (&args.method, &args.data) {
            (Some(method), _) => method.clone(),
            (None, Some(_)) => "POST".to_owned(),
            (None, None) => "GET".to_owned(),
        };
        asked.headers =
            args.header.iter().map(|line| header(line)).collect::<Result<_, _>>().map_err(Failure::Usage)?;
        asked.client = args.client_ip.unwrap_or(CLIENT);
        if let Some(file) = &args.cert {
            asked.certificates = certificates(file)?;
        }
        asked.body = args.data.clone().unwrap_or_default().into_bytes();
        Ok(asked)
    }

    /// A GET of a URL; without a scheme it is http.
    pub(crate) fn of_url(url: &str) -> Result<Self, String> {
        let (tls, rest) = match url.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some((scheme, _)) => return Err(format!("{url}: {scheme} is neither http nor https")),
            None => (false, url),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (host, port) = split_port(authority).ok_or_else(|| format!("{url}: {authority} has no port number"))?;
        if host.is_empty() {
            return Err(format!("{url}: a URL names a host, such as http://shop.example.com/products"));
        }
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        let method = "GET".to_owned();
        Ok(Self {
            method,
            tls,
            host: host.to_owned(),
            port,
            target,
            headers: Vec::new(),
            client: CLIENT,
            certificates: Vec::new(),
            body: Vec::new(),
        })
    }

    /// The URL again.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority(), self.target)
    }

    /// What the host header says where nobody set one: the port is left out where it is the scheme's.
    fn authority(&self) -> String {
        match (self.tls, self.port) {
            (false, 80) | (true, 443) => self.host.clone(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }

    /// The host a gateway sees, without a port.
    pub(crate) fn seen_host(&self) -> String {
        let named = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let authority = named.map_or(&self.host, |(_, value)| value);
        split_port(authority).map_or_else(|| authority.clone(), |(host, _)| host.to_owned())
    }

    /// For the gateway in memory.
    pub(crate) fn question(&self, stage: &Stage) -> Question {
        let own = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host"));
        let host = (!own).then(|| ("host".to_owned(), self.authority()));
        let is_address = self.host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        Question {
            listener: stage.listener(self.port).unwrap_or_default().to_owned(),
            tls: self.tls,
            server_name: (self.tls && !is_address).then(|| self.host.to_ascii_lowercase()),
            certificates: self.certificates.clone(),
            client: self.client,
            method: self.method.clone(),
            target: self.target.clone(),
            headers: host.into_iter().chain(self.headers.iter().cloned()).collect(),
            body: self.body.clone().into(),
        }
    }
}

/// The certificates of a PEM file.
///
/// # Errors
/// Exit 5 for a file that cannot be read or holds none.
pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let pem = inputs::bytes(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|error| Failure::World(format!("{}: {error}", file.display())))?;
    match found.is_empty() {
        true => Err(Failure::World(format!("{}: no certificate in it (PEM)", file.display()))),
        false => Ok(found),
    }
}

/// `k: v`, as curl takes it.
pub(crate) fn header(line: &str) -> Result<(String, String), String> {
    match line.split_once(':') {
        Some((name, value)) if !name.is_empty() && !line.contains(['\r', '\n']) => {
            Ok((name.to_owned(), value.trim().to_owned()))
        }
        _ => Err(format!("{line:?} is no header; expected 'name: value'")),
    }
}

/// Host and port; `None` when what follows the colon is no port.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let colon = authority.rfind(':').filter(|at| authority.rfind(']').is_none_or(|bracket| bracket < *at));
    match colon {
        None => Some((authority, None)),
        Some(at) => {
            let port = authority.get(at + 1..)?.parse().ok()?;
            Some((authority.get(..at)?, Some(port)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_to_and_what_for() {
        for (url, tls, host, port, target) in [
            ("http://a.example", false, "a.example", 80, "/"),
            ("https://a.example/x?y=1", true, "a.example", 443, "/x?y=1"),
            ("a.example:8080/x", false, "a.example", 8080, "/x"),
            ("http://[::1]:81/", false, "[::1]", 81, "/"),
            ("http://a.example?q", false, "a.example", 80, "/?q"),
            ("http://a.example//x/../y#f", false, "a.example", 80, "//x/../y#f"),
        ] {
            let asked = Asked::of_url(url).unwrap();
            assert_eq!(
                (asked.tls, asked.host.as_str(), asked.port, asked.target.as_str()),
                (tls, host, port, target),
                "{url}"
            );
        }
    }

    #[test]
    fn what_is_no_url_is_refused_with_a_reason() {
        for (url, word) in [("ftp://a/", "neither"), ("http:///x", "names a host"), ("http://a:b/", "port number")] {
            assert!(Asked::of_url(url).unwrap_err().contains(word), "{url}");
        }
    }

    #[test]
    fn a_header_is_a_name_and_a_value() {
        assert_eq!(header("x-a: b: c"), Ok(("x-a".to_owned(), "b: c".to_owned())));
        assert_eq!(header("x-a:"), Ok(("x-a".to_owned(), String::new())));
        for line in ["x-a", ": b", "a: b\r\nc: d"] {
            assert!(header(line).is_err(), "{line:?}");
        }
    }
}
