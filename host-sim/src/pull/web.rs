//! The client that fetches: TLS by this machine's roots, plain HTTP only where it is asked for, bounded, patient with a busy
//! server, and blind to addresses no module ever comes from.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use ureq::config::Config;
use ureq::http::{Request, Response, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body};

/// Istio's bound for a module.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a server that answers 5xx is asked.
const ATTEMPTS: u32 = 3;
const PAUSE: Duration = Duration::from_millis(200);

/// What of a server's answer a puller looks at.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: String,
    /// All of `www-authenticate`.
    pub(super) challenges: Vec<String>,
    pub(super) body: Vec<u8>,
}

/// No answer.
#[derive(Debug, Error)]
#[error("{url}: {why}")]
pub(crate) struct NoAnswer {
    url: String,
    why: String,
}

/// Whether anything may be fetched without TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plain {
    Allowed,
    Refused,
}

/// A client for one place.
pub(super) struct Client {
    agent: Agent,
}

impl Client {
    /// A client for this host; nothing on this machine is reached through a proxy.
    pub(super) fn new(host: &str, plain: Plain) -> Self {
        let mut config = Config::builder()
            .tls_config(tls())
            .https_only(plain == Plain::Refused)
            .http_status_as_error(false)
            .user_agent(concat!("host-sim/", env!("CARGO_PKG_VERSION")))
            .timeout_global(Some(PATIENCE));
        if is_loopback(host) {
            config = config.proxy(None);
        }
        Self { agent: Agent::with_parts(config.build(), DefaultConnector::default(), Guarded::default()) }
    }

    /// A GET with these headers, again while the server fails in a way that passes; the body is at most `limit` bytes.
    pub(super) fn get(&self, url: &str, headers: &[(&str, &str)], limit: u64) -> Result<Answer, NoAnswer> {
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS {
            let answer = self.once(url, headers, limit).map_err(|error| no_answer(url, &error))?;
            if !is_worth_another_try(answer.status) {
                return Ok(answer);
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
        self.once(url, headers, limit).map_err(|error| no_answer(url, &error))
    }

    /// A form that is posted, once.
    pub(super) fn post(&self, url: &str, form: &[(&str, &str)], limit: u64) -> Result<Answer, NoAnswer> {
        let response = self.agent.post(url).send_form(form.iter().copied());
        response.and_then(|response| read(response, limit)).map_err(|error| no_answer(url, &error))
    }

    fn once(&self, url: &str, headers: &[(&str, &str)], limit: u64) -> Result<Answer, ureq::Error> {
        let mut request = Request::get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        read(self.agent.run(request.body(())?)?, limit)
    }
}

fn no_answer(url: &str, error: &ureq::Error) -> NoAnswer {
    NoAnswer { url: url.to_owned(), why: error.to_string() }
}

fn read(mut response: Response<Body>, limit: u64) -> Result<Answer, ureq::Error> {
    let headers = response.headers();
    let text = |value: &ureq::http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let content_type = headers.get("content-type").map(text).unwrap_or_default();
    let challenges = headers.get_all("www-authenticate").iter().map(text).collect();
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(limit).read_to_vec()?;
    Ok(Answer { status, content_type, challenges, body })
}

/// A server's own failures, those apart that would not pass.
fn is_worth_another_try(status: u16) -> bool {
    status >= 500 && !matches!(status, 501 | 505 | 511)
}

/// This machine's roots, `SSL_CERT_FILE` and `SSL_CERT_DIR` included.
fn tls() -> TlsConfig {
    let found = rustls_native_certs::load_native_certs();
    let roots: Vec<Certificate<'static>> =
        found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    TlsConfig::builder()
        .root_certs(RootCerts::new_with_certs(&roots))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build()
}

/// Whether a host, with or without a port, is this machine by its very name.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.ends_with(".localhost") || bare.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
}

/// Finds addresses, but none that a cloud keeps its secrets behind: link-local ones, and the metadata services beside them.
#[derive(Debug, Default)]
struct Guarded(DefaultResolver);

impl Resolver for Guarded {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.0.resolve(uri, config, timeout)?;
        match found.iter().map(SocketAddr::ip).find(|ip| is_forbidden(*ip)) {
            Some(ip) => Err(std::io::Error::other(format!("{ip} is link-local or a metadata service")).into()),
            None => Ok(found),
        }
    }
}

fn is_forbidden(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_link_local() || ip.octets() == [100, 100, 100, 200],
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_and_addresses_of_this_machine_are_loopback() {
        for (host, is) in [
            ("localhost", true),
            ("localhost:5000", true),
            ("a.localhost:1", true),
            ("127.0.0.1:5000", true),
            ("127.9.9.9", true),
            ("[::1]:5000", true),
            ("[::1]", true),
            ("registry.example", false),
            ("10.0.0.1:5000", false),
            ("localhost.example", false),
            ("127.0.0.1.example:80", false),
        ] {
            assert_eq!(is_loopback(host), is, "{host}");
        }
    }

    #[test]
    fn metadata_services_are_out_of_reach() {
        for (ip, forbidden) in [
            ("169.254.169.254", true),
            ("fe80::1", true),
            ("::ffff:169.254.1.1", true),
            ("100.100.100.200", true),
            ("fd00:ec2::254", true),
            ("10.0.0.1", false),
            ("127.0.0.1", false),
            ("::1", false),
        ] {
            assert_eq!(is_forbidden(ip.parse().unwrap()), forbidden, "{ip}");
        }
    }

    #[test]
    fn a_server_s_passing_failures_are_worth_another_try() {
        for (status, worth) in
            [(200, false), (404, false), (429, false), (500, true), (503, true), (501, false), (511, false)]
        {
            assert_eq!(is_worth_another_try(status), worth, "{status}");
        }
    }
}
