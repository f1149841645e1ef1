//! `--pull`: modules from registries and web servers, as Istio's agent fetches them for a gateway.
//!
//! What is accepted, when something old is good enough, and what `sha256` is the digest of (the image's manifest for
//! `oci://`, the module itself for `http(s)://`) follow `pkg/wasm` of Istio. Three things are stricter or kinder: plain HTTP
//! only from registries on this machine; a Secret that is not among the manifests is stood in for by this machine's docker
//! configuration; and what was pulled is kept on disk, for the next run.

mod cache;
mod challenge;
mod credentials;
mod image;
mod reference;
mod registry;
mod web;

use std::path::PathBuf;

use thiserror::Error;

use self::cache::Cache;
use self::credentials::{Credentials, DockerConfig, NoCredentials};
use self::image::LARGEST;
use self::reference::{InvalidReference, Reference};
use self::registry::{Image, NotPulled};
use self::web::{Client, NoAnswer, Plain};

/// A module, as its plugin's manifest asks for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) url: &'a str,
    /// 64 hexadecimal digits.
    pub(crate) sha256: Option<&'a str>,
    pub(crate) policy: Policy,
    /// The Secret with the registry's credentials.
    pub(crate) secret: Option<&'a istio::PullSecret>,
}

/// `imagePullPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Policy {
    /// `IfNotPresent`, but `Always` for an image whose tag is written out as `latest`.
    #[default]
    Unspecified,
    IfNotPresent,
    Always,
}

/// A module that is here now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pulled {
    pub(crate) file: PathBuf,
    /// What was done for it, for a person.
    pub(crate) how: String,
}

/// Why a module did not come.
#[derive(Debug, Error)]
pub(crate) enum PullError {
    #[error("modules are pulled from oci://, https:// and http://, not from {0:?}")]
    Scheme(String),
    #[error("sha256 is 64 hexadecimal digits, this one is {0:?}")]
    Checksum(String),
    #[error(transparent)]
    Reference(#[from] InvalidReference),
    #[error(transparent)]
    Credentials(#[from] NoCredentials),
    #[error(transparent)]
    Registry(#[from] NotPulled),
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    #[error("the server says {0}")]
    Status(u16),
    #[error("{of} has sha256 {found}, the manifest asks for {asked}")]
    OtherDigest { of: &'static str, found: String, asked: String },
    #[error("what came is no wasm module")]
    NoModule,
    #[error("{0}: {1}")]
    Disk(PathBuf, std::io::Error),
    #[error("there is no folder to keep modules in: set XDG_CACHE_HOME or HOME")]
    NoCache,
}

/// Fetches modules, and keeps them.
pub(crate) struct Puller {
    cache: Cache,
    folder: PathBuf,
}

/// Where a url leads.
enum Source {
    Image(Reference),
    Download(Plain),
}

impl Source {
    fn parse(url: &str) -> Result<Self, PullError> {
        match url.split_once("://") {
            Some(("oci", reference)) => Ok(Self::Image(Reference::parse(reference)?)),
            Some(("https", _)) => Ok(Self::Download(Plain::Refused)),
            Some(("http", _)) => Ok(Self::Download(Plain::Allowed)),
            _ => Err(PullError::Scheme(url.to_owned())),
        }
    }

    /// What its modules are kept under: whatever the version is.
    fn name(&self, url: &str) -> String {
        match self {
            Self::Image(reference) => format!("oci://{}", reference.name()),
            Self::Download(_) => url.to_owned(),
        }
    }

    fn digest(&self) -> Option<&str> {
        match self {
            Self::Image(reference) => reference.digest(),
            Self::Download(_) => None,
        }
    }
}

impl Policy {
    /// Whether what this url gave last time is good enough. A tag that is not written is `latest`, and still good enough:
    /// Istio looks at the text.
    fn is_content_with_the_last(self, url: &str) -> bool {
        match self {
            Self::Always => false,
            Self::IfNotPresent => true,
            Self::Unspecified => !(url.starts_with("oci://") && url.ends_with(":latest")),
        }
    }
}

impl Puller {
    /// Keeps modules in a folder `pulled` below this one.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn new(cache: Option<PathBuf>) -> Result<Self, PullError> {
        let folder = cache.ok_or(PullError::NoCache)?.join("pulled");
        Ok(Self { cache: Cache::in_folder(folder.clone()), folder })
    }

    /// Brings a module here, unless it is already.
    ///
    /// # Errors
    /// Why it did not come.
    pub(crate) fn pull(&self, wanted: Wanted<'_>) -> Result<Pulled, PullError> {
        let source = Source::parse(wanted.url)?;
        let asked = wanted.sha256.map(checksum).transpose()?.or_else(|| source.digest());
        let name = source.name(wanted.url);
        let last = || self.cache.last(wanted.url).filter(|_| wanted.policy.is_content_with_the_last(wanted.url));
        if let Some(digest) = asked.map(str::to_owned).or_else(last)
            && let Some(file) = self.cache.find(&name, &digest)
        {
            return Ok(Pulled { file, how: format!("{} is here already, sha256:{digest}", wanted.url) });
        }
        match &source {
            Source::Image(reference) => self.image(reference, &name, asked, wanted),
            Source::Download(plain) => self.download(*plain, &name, asked, wanted),
        }
    }

    fn image(
        &self,
        reference: &Reference,
        name: &str,
        asked: Option<&str>,
        wanted: Wanted<'_>,
    ) -> Result<Pulled, PullError> {
        let (credentials, whose) = credentials(reference, wanted.secret)?;
        let image = Image::find(reference, &credentials)?;
        agrees("the image", &image.digest, asked)?;
        if let Some(file) = self.cache.find(name, &image.digest) {
            self.remember(reference.digest().is_none(), wanted.url, &image.digest)?;
            return Ok(Pulled { file, how: format!("{} is still sha256:{}{whose}", wanted.url, image.digest) });
        }
        let module = image.module()?;
        let file = self.keep(name, &image.digest, &module)?;
        self.remember(reference.digest().is_none(), wanted.url, &image.digest)?;
        let how = format!("pulled {}, sha256:{}, {} bytes{whose}", wanted.url, image.digest, module.len());
        Ok(Pulled { file, how })
    }

    fn download(&self, plain: Plain, name: &str, asked: Option<&str>, wanted: Wanted<'_>) -> Result<Pulled, PullError> {
        let host = wanted.url.split('/').nth(2).unwrap_or_default();
        let answer = Client::new(host, plain).get(wanted.url, &[], LARGEST)?;
        if answer.status != 200 {
            return Err(PullError::Status(answer.status));
        }
        let module = image::unbox(answer.body);
        let digest = registry::sha256(&module);
        agrees("the module", &digest, asked)?;
        let file = self.keep(name, &digest, &module)?;
        self.remember(true, wanted.url, &digest)?;
        Ok(Pulled { file, how: format!("pulled {}, sha256:{digest}, {} bytes", wanted.url, module.len()) })
    }

    fn keep(&self, name: &str, digest: &str, module: &[u8]) -> Result<PathBuf, PullError> {
        if !image::is_module(module) {
            return Err(PullError::NoModule);
        }
        self.cache.keep(name, digest, module).map_err(|error| self.disk(error))
    }

    /// A url with a digest has no other.
    fn remember(&self, may_change: bool, url: &str, digest: &str) -> Result<(), PullError> {
        if !may_change {
            return Ok(());
        }
        self.cache.remember(url, digest).map_err(|error| self.disk(error))
    }

    fn disk(&self, error: std::io::Error) -> PullError {
        PullError::Disk(self.folder.clone(), error)
    }
}

/// 64 hexadecimal digits.
fn checksum(text: &str) -> Result<&str, PullError> {
    let fits = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if fits { Ok(text) } else { Err(PullError::Checksum(text.to_owned())) }
}

fn agrees(of: &'static str, found: &str, asked: Option<&str>) -> Result<(), PullError> {
    match asked {
        Some(asked) if asked != found => {
            Err(PullError::OtherDigest { of, found: found.to_owned(), asked: asked.to_owned() })
        }
        _ => Ok(()),
    }
}

/// Credentials, and a word about whose they are where that may surprise.
fn credentials(image: &Reference, secret: Option<&istio::PullSecret>) -> Result<(Credentials, String), NoCredentials> {
    match secret {
        Some(istio::PullSecret { docker_config: Some(text), .. }) => {
            Ok((DockerConfig::parse(text)?.written(image)?, String::new()))
        }
        Some(istio::PullSecret { name, docker_config: None }) => {
            let whose = format!(
                " (with this machine's credentials: no Secret {name} of type kubernetes.io/dockerconfigjson is among the manifests)"
            );
            Ok((DockerConfig::of_this_machine()?.asked(image)?, whose))
        }
        None => Ok((DockerConfig::of_this_machine()?.asked(image)?, String::new())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_read_as_istio_s_agent_reads_it() {
        use Policy::{Always, IfNotPresent, Unspecified};
        for (policy, url, content) in [
            (Unspecified, "oci://r.io/a:1", true),
            (Unspecified, "oci://r.io/a", true),
            (Unspecified, "oci://r.io/a:latest", false),
            (Unspecified, "https://r.io/a:latest", true),
            (IfNotPresent, "oci://r.io/a:latest", true),
            (Always, "oci://r.io/a:1", false),
            (Always, "https://r.io/a.wasm", false),
        ] {
            assert_eq!(policy.is_content_with_the_last(url), content, "{policy:?} {url}");
        }
    }

    #[test]
    fn other_schemes_and_half_digests_are_refused_before_anything_is_asked() {
        let folder = tempfile::tempdir().unwrap();
        let puller = Puller::new(Some(folder.path().to_owned())).unwrap();
        let wanted = |url, sha256| Wanted { url, sha256, policy: Policy::default(), secret: None };
        assert!(matches!(puller.pull(wanted("ftp://a/b", None)), Err(PullError::Scheme(_))));
        assert!(matches!(puller.pull(wanted("oci://a.io/b", Some("../x"))), Err(PullError::Checksum(_))));
        assert!(matches!(puller.pull(wanted("oci://a.io/B", None)), Err(PullError::Reference(_))));
        assert!(matches!(Puller::new(None), Err(PullError::NoCache)));
    }

    #[test]
    fn a_module_that_is_here_is_not_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let puller = Puller::new(Some(folder.path().to_owned())).unwrap();
        let digest = "ab".repeat(32);
        // Nobody listens on port 1.
        let kept = puller.keep("oci://127.0.0.1:1/suite", &digest, b"\0asm\x01\0\0\0").unwrap();
        let by_digest = format!("oci://127.0.0.1:1/suite@sha256:{digest}");
        let wanted = |url, policy| Wanted { url, sha256: None, policy, secret: None };
        assert_eq!(puller.pull(wanted(&by_digest, Policy::Always)).unwrap().file, kept);
        let tagged = "oci://127.0.0.1:1/suite:1";
        assert!(matches!(puller.pull(wanted(tagged, Policy::IfNotPresent)), Err(PullError::Registry(_))));
        puller.remember(true, tagged, &digest).unwrap();
        assert_eq!(puller.pull(wanted(tagged, Policy::IfNotPresent)).unwrap().file, kept);
        assert!(matches!(puller.pull(wanted(tagged, Policy::Always)), Err(PullError::Registry(_))));
    }
}
