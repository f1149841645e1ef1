//! A registry of a few lines: OCI's distribution protocol for pulling, out of image layouts, with the ways to ask who is there.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::Value;

/// Who may pull.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Guard {
    Anybody,
    /// Name and password with every request.
    Basic,
    /// A token, for name and password, of the registry's own token service.
    Token,
}

/// The one user there is.
pub(crate) const USER: &str = "ann:s3cret";

/// A running registry; it ends with the process.
pub(crate) struct Registry {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    guard: Guard,
    /// Content type and body by path.
    content: Mutex<BTreeMap<String, (String, Vec<u8>)>>,
    asked: Mutex<Vec<String>>,
}

impl Registry {
    /// In plain text.
    pub(crate) fn start(guard: Guard) -> Registry {
        Self::serving(guard, None)
    }

    /// Inside TLS, with a fresh certificate for 127.0.0.1; comes with the certificate.
    pub(crate) fn start_with_tls(guard: Guard) -> (Registry, String) {
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        (Self::serving(guard, Some(Arc::new(config))), own.cert.pem())
    }

    fn serving(guard: Guard, tls: Option<Arc<rustls::ServerConfig>>) -> Registry {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { guard, content: Mutex::default(), asked: Mutex::default() });
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, tls) = (Arc::clone(&serving), tls.clone());
                // A client that tries TLS first says nothing that plain text understands, and the other way round.
                std::thread::spawn(move || match tls {
                    None => shared.serve(stream, address),
                    Some(config) => {
                        let connection = rustls::ServerConnection::new(config).unwrap();
                        shared.serve(rustls::StreamOwned::new(connection, stream), address)
                    }
                });
            }
        });
        Registry { address, shared }
    }

    /// Serves a layout's images in a repository, by digest and tag.
    pub(crate) fn serve(&self, repository: &str, layout: &Path) {
        let read = |path: &Path| std::fs::read(path).unwrap();
        let index: Value = serde_json::from_slice(&read(&layout.join("index.json"))).unwrap();
        for blob in std::fs::read_dir(layout.join("blobs/sha256")).unwrap() {
            let path = blob.unwrap().path();
            let digest = path.file_name().unwrap().to_str().unwrap();
            self.put(&format!("/v2/{repository}/blobs/sha256:{digest}"), "application/octet-stream", read(&path));
        }
        for manifest in index["manifests"].as_array().unwrap() {
            let digest = manifest["digest"].as_str().unwrap();
            let body = read(&layout.join("blobs/sha256").join(digest.strip_prefix("sha256:").unwrap()));
            let tag = manifest["annotations"]["org.opencontainers.image.ref.name"].as_str().unwrap();
            for version in [digest, tag] {
                let path = format!("/v2/{repository}/manifests/{version}");
                self.put(&path, manifest["mediaType"].as_str().unwrap(), body.clone());
            }
        }
    }

    /// Serves anything.
    pub(crate) fn put(&self, path: &str, content_type: &str, body: Vec<u8>) {
        self.shared.content.lock().unwrap().insert(path.to_owned(), (content_type.to_owned(), body));
    }

    /// The paths of what was asked since this was last called, without the greeting.
    pub(crate) fn take_asked(&self) -> Vec<String> {
        let mut asked = std::mem::take(&mut *self.shared.asked.lock().unwrap());
        asked.retain(|path| path != "/v2/");
        asked
    }
}

impl Shared {
    fn serve(&self, stream: impl Read + Write, own: SocketAddr) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let path = line.split_whitespace().nth(1)?.to_owned();
        let mut authorization = String::new();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).ok()?;
            match header.trim_end().split_once(": ") {
                Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                    value.clone_into(&mut authorization)
                }
                Some(_) => {}
                None => break,
            }
        }
        self.asked.lock().unwrap().push(path.clone());
        let (status, challenge, content_type, body) = self.answer(&path, &authorization, own);
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\n{challenge}content-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let stream = reader.get_mut();
        stream.write_all(head.as_bytes()).ok()?;
        stream.write_all(&body).ok()?;
        stream.flush().ok()
    }

    fn answer(&self, path: &str, authorization: &str, own: SocketAddr) -> (&'static str, String, String, Vec<u8>) {
        let basic = format!("Basic {}", BASE64_STANDARD.encode(USER));
        let json = "application/json".to_owned();
        if path.starts_with("/token?service=here&scope=repository%3A") && authorization == basic {
            return ("200 OK", String::new(), json, br#"{"token": "of-ann"}"#.to_vec());
        }
        let (challenge, wanted) = match self.guard {
            Guard::Anybody => (String::new(), authorization.to_owned()),
            Guard::Basic => ("www-authenticate: Basic realm=\"here\"\r\n".to_owned(), basic),
            Guard::Token => {
                let challenge = format!("www-authenticate: Bearer realm=\"http://{own}/token\",service=\"here\"\r\n");
                (challenge, "Bearer of-ann".to_owned())
            }
        };
        if authorization != wanted {
            return ("401 Unauthorized", challenge, json, br#"{"errors": [{"code": "UNAUTHORIZED"}]}"#.to_vec());
        }
        match self.content.lock().unwrap().get(path) {
            Some((content_type, body)) => ("200 OK", String::new(), content_type.clone(), body.clone()),
            None if path == "/v2/" => ("200 OK", String::new(), json, b"{}".to_vec()),
            None => ("404 Not Found", String::new(), json, br#"{"errors": [{"code": "MANIFEST_UNKNOWN"}]}"#.to_vec()),
        }
    }
}
