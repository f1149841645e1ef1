//! A registry's side of OCI's distribution protocol, as far as pulling goes: authorization, manifests, blobs.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use sha2::Digest;
use thiserror::Error;

use super::challenge::{self, Challenge, Unacceptable};
use super::credentials::Credentials;
use super::image::{self, Blob, DOCKER_LIST, DOCKER_MANIFEST, Index, Layer, Manifest, OCI_INDEX, OCI_MANIFEST};
use super::reference::Reference;
use super::web::{self, Answer, Client, NoAnswer, Plain};

/// Manifests and tokens are small.
const SMALL: u64 = 4 * 1024 * 1024;

/// Why an image, or the module in it, did not come.
#[derive(Debug, Error)]
pub(crate) enum NotPulled {
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    #[error("{secure}, and without TLS: {plain}")]
    NeitherWay { secure: NoAnswer, plain: NoAnswer },
    #[error(transparent)]
    Unacceptable(#[from] Unacceptable),
    #[error("{what}: the registry says {status}{hint}{said}")]
    Refused { what: String, status: u16, hint: &'static str, said: String },
    #[error("{what}: {why}")]
    Garbled { what: String, why: String },
    #[error("{what} has digest sha256:{found}")]
    OtherDigest { what: String, found: String },
    #[error("the index has no image for linux/amd64")]
    NoImage,
    #[error("no module is where Istio looks for one: {}", .0.join("; "))]
    NoModule(Vec<String>),
}

/// An image that is known, and a connection to where the rest of it is.
pub(super) struct Image<'a> {
    registry: Registry<'a>,
    manifest: Manifest,
    /// Of its manifest, 64 hexadecimal digits.
    pub(super) digest: String,
}

struct Registry<'a> {
    client: Client,
    image: &'a Reference,
    base: String,
    authorization: Option<String>,
}

impl<'a> Image<'a> {
    /// Asks the registry for an image's manifest.
    ///
    /// # Errors
    /// No registry, no such image, not for these credentials, or something else than a manifest.
    pub(super) fn find(image: &'a Reference, credentials: &Credentials) -> Result<Self, NotPulled> {
        let registry = Registry::connect(image, credentials)?;
        let answer = registry.manifest(&image.version())?;
        let mut bytes = answer.body;
        if [OCI_INDEX, DOCKER_LIST].contains(&answer.content_type.as_str()) {
            let index: Index = read("the index", &bytes)?;
            let child = index.image().ok_or(NotPulled::NoImage)?;
            bytes = registry.manifest(child)?.body;
        }
        Ok(Self { digest: sha256(&bytes), manifest: read("the manifest", &bytes)?, registry })
    }

    /// Fetches the module.
    ///
    /// # Errors
    /// What each place where it could be has instead.
    pub(super) fn module(&self) -> Result<Vec<u8>, NotPulled> {
        let places = image::places(&self.manifest);
        let mut not = places.not;
        for layer in places.layers {
            match layer {
                Layer::Module(blob) => return self.registry.blob(&blob),
                Layer::Archive(blob) => match image::unpack(&self.registry.blob(&blob)?) {
                    Ok(module) => return Ok(module),
                    Err(error) => not.push(format!("its last layer: {error}")),
                },
            }
        }
        Err(NotPulled::NoModule(not))
    }
}

impl<'a> Registry<'a> {
    /// With TLS; a registry on this machine may do without.
    fn connect(image: &'a Reference, credentials: &Credentials) -> Result<Self, NotPulled> {
        let host = image.registry();
        let local = web::is_loopback(host);
        let client = Client::new(host, if local { Plain::Allowed } else { Plain::Refused });
        let greet = |scheme: &str| client.get(&format!("{scheme}://{host}/v2/"), &[], SMALL);
        let (scheme, answer) = match greet("https") {
            Ok(answer) => ("https", answer),
            Err(secure) if local => match greet("http") {
                Ok(answer) => ("http", answer),
                Err(plain) => return Err(NotPulled::NeitherWay { secure, plain }),
            },
            Err(secure) => return Err(secure.into()),
        };
        let base = format!("{scheme}://{host}/v2/{}", image.repository());
        let authorization = match answer.status {
            200 => None,
            401 => authorization(&client, image, credentials, &answer)?,
            _ => return Err(refused(format!("{scheme}://{host}/v2/"), &answer)),
        };
        Ok(Self { client, image, base, authorization })
    }

    /// By tag or digest; what was asked for by digest has it.
    fn manifest(&self, version: &str) -> Result<Answer, NotPulled> {
        let accept = [DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX].join(",");
        let what = format!("{}:{version}", self.image.name());
        let answer = self.get(&format!("manifests/{version}"), &[("accept", &accept)], SMALL, &what)?;
        match (version.strip_prefix("sha256:"), sha256(&answer.body)) {
            (Some(asked), found) if asked != found => Err(NotPulled::OtherDigest { what, found }),
            _ => Ok(answer),
        }
    }

    fn blob(&self, blob: &Blob) -> Result<Vec<u8>, NotPulled> {
        let what = format!("layer {}", blob.digest);
        if blob.size > image::LARGEST {
            return Err(NotPulled::Garbled { what, why: format!("{} bytes are too many", blob.size) });
        }
        let bytes = self.get(&format!("blobs/{}", blob.digest), &[], image::LARGEST, &what)?.body;
        let found = sha256(&bytes);
        if blob.digest.strip_prefix("sha256:") != Some(&found) {
            return Err(NotPulled::OtherDigest { what, found });
        }
        Ok(bytes)
    }

    fn get(&self, path: &str, headers: &[(&str, &str)], limit: u64, what: &str) -> Result<Answer, NotPulled> {
        let authorization = self.authorization.as_deref().map(|value| ("authorization", value));
        let headers: Vec<_> = headers.iter().copied().chain(authorization).collect();
        let answer = self.client.get(&format!("{}/{path}", self.base), &headers, limit)?;
        if answer.status == 200 { Ok(answer) } else { Err(refused(what.to_owned(), &answer)) }
    }
}

/// A token service's answer; both names are in use.
#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

/// The header that meets the registry's challenge.
fn authorization(
    client: &Client,
    image: &Reference,
    credentials: &Credentials,
    answer: &Answer,
) -> Result<Option<String>, NotPulled> {
    if let Credentials::Registry(token) = credentials {
        return Ok(Some(format!("Bearer {token}")));
    }
    let basic = match credentials {
        Credentials::Basic(user, password) => {
            Some(format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}"))))
        }
        _ => None,
    };
    let (realm, service) = match challenge::read(&answer.challenges, image.registry())? {
        Challenge::Basic => return Ok(basic),
        Challenge::Bearer { realm, service } => (realm, service),
    };
    let scope = format!("repository:{}:pull", image.repository());
    let answer = if let Credentials::Identity(token) = credentials {
        let form = [
            ("grant_type", "refresh_token"),
            ("service", &service),
            ("client_id", "host-sim"),
            ("scope", &scope),
            ("refresh_token", token),
        ];
        client.post(&realm, &form, SMALL)?
    } else {
        let seam = if realm.contains('?') { '&' } else { '?' };
        let url = format!("{realm}{seam}service={}&scope={}", encoded(&service), encoded(&scope));
        let headers: Vec<_> = basic.iter().map(|value| ("authorization", value.as_str())).collect();
        client.get(&url, &headers, SMALL)?
    };
    if answer.status != 200 {
        return Err(refused(format!("a token of {realm}"), &answer));
    }
    let token: Token = read("the token", &answer.body)?;
    let token = if token.token.is_empty() { token.access_token } else { token.token };
    Ok(Some(format!("Bearer {token}")))
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

fn refused(what: String, answer: &Answer) -> NotPulled {
    let hint = match answer.status {
        401 | 403 => ": not with these credentials",
        404 => ": not there",
        _ => "",
    };
    let text = String::from_utf8_lossy(&answer.body);
    let said = match text.trim().lines().next() {
        Some(line) if !line.is_empty() => format!(" ({})", line.chars().take(200).collect::<String>()),
        _ => String::new(),
    };
    NotPulled::Refused { what, status: answer.status, hint, said }
}

fn read<T: serde::de::DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, NotPulled> {
    serde_json::from_slice(bytes)
        .map_err(|error| NotPulled::Garbled { what: what.to_owned(), why: format!("not as it should be: {error}") })
}

/// 64 hexadecimal digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
