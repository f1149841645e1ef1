//! `x-forwarded-client-cert`: what the upstream learns of the client's certificate.

use bytes::Bytes;

use super::config::{CertDetails, ClientCert};
use super::connection::TlsInfo;
use crate::headers::{self, HeaderList};

const XFCC: &str = "x-forwarded-client-cert";

/// Removes, keeps, extends or replaces the header, as configured.
pub(super) fn apply(request: &mut HeaderList, rule: ClientCert, tls: Option<&TlsInfo>) {
    if rule == ClientCert::AlwaysForwardOnly {
        return;
    }
    let mutual = tls.filter(|tls| tls.peer.is_some());
    match (rule, mutual) {
        (ClientCert::AppendForward(details), Some(tls)) => {
            let element = Bytes::from(element(details, tls));
            let value =
                headers::get(request, XFCC).map_or_else(|| element.clone(), |old| headers::joined(old, &element));
            headers::set_slot(request, XFCC, value);
        }
        (ClientCert::SanitizeSet(details), Some(tls)) => {
            headers::set_slot(request, XFCC, Bytes::from(element(details, tls)));
        }
        (ClientCert::ForwardOnly, Some(_)) => {}
        _ => {
            headers::remove(request, XFCC.as_bytes());
        }
    }
}

/// `By=…;Hash=…;Cert="…";Chain="…";Subject="…";URI=…;DNS=…`
fn element(details: CertDetails, tls: &TlsInfo) -> String {
    let Some(peer) = tls.peer.as_ref() else { return String::new() };
    let mut parts: Vec<String> = tls.local_uri_sans.iter().map(|uri| format!("By={uri}")).collect();
    if !peer.sha256.is_empty() {
        parts.push(format!("Hash={}", peer.sha256));
    }
    if details.cert && !peer.url_encoded_pem.is_empty() {
        parts.push(format!("Cert=\"{}\"", peer.url_encoded_pem));
    }
    if details.chain && !peer.url_encoded_chain.is_empty() {
        parts.push(format!("Chain=\"{}\"", peer.url_encoded_chain));
    }
    if details.subject {
        parts.push(format!("Subject=\"{}\"", peer.subject));
    }
    if details.uri {
        // The key stands even without a value.
        parts.push(match peer.uri_sans.as_slice() {
            [] => "URI=".to_owned(),
            uris => uris.iter().map(|uri| format!("URI={uri}")).collect::<Vec<_>>().join(";"),
        });
    }
    if details.dns {
        parts.extend(peer.dns_sans.iter().map(|dns| format!("DNS={dns}")));
    }
    parts.join(";")
}
