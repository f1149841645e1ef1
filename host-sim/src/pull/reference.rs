//! An image's reference, `registry/repository:tag@digest`, read as Istio's puller reads it.

use thiserror::Error;

/// Docker Hub, where a reference without a registry leads.
const DOCKER_HUB: &str = "index.docker.io";
/// The key of Docker Hub's credentials in a docker configuration.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// Which image: its registry, its repository there, and its tag or digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    registry: String,
    repository: String,
    version: Version,
}

/// Which of a repository's images.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Version {
    Tag(String),
    /// 64 hexadecimal digits.
    Digest(String),
}

/// Why a text is no reference.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum InvalidReference {
    #[error("{0:?} names no image: expected REGISTRY/REPOSITORY:TAG")]
    NoRepository(String),
    #[error("a repository has lower-case letters, digits and _-./, this one is {0:?}")]
    Repository(String),
    #[error("a tag has at most 128 letters, digits and _-., this one is {0:?}")]
    Tag(String),
    #[error("a digest is sha256: and 64 hexadecimal digits, this one is {0:?}")]
    Digest(String),
}

impl Reference {
    /// Reads `registry/repository`, with `:tag` or `@sha256:…` or neither (`latest`). A digest wins over a tag.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidReference> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (text, None),
        };
        // A colon before the last slash is a port.
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (name, "latest"),
        };
        let version = match digest {
            Some(digest) => Version::Digest(hexadecimal(digest)?.to_owned()),
            None => Version::Tag(valid_tag(tag)?.to_owned()),
        };
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
            _ => (DOCKER_HUB, name),
        };
        let registry = if registry == "docker.io" { DOCKER_HUB } else { registry };
        if repository.is_empty() {
            return Err(InvalidReference::NoRepository(text.to_owned()));
        }
        let of_a_repository = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-./".contains(c);
        if !repository.chars().all(of_a_repository) || repository.split('/').any(|part| matches!(part, "" | "." | ".."))
        {
            return Err(InvalidReference::Repository(repository.to_owned()));
        }
        let official = registry == DOCKER_HUB && !repository.contains('/');
        let repository = if official { format!("library/{repository}") } else { repository.to_owned() };
        Ok(Self { registry: registry.to_owned(), repository, version })
    }

    /// `host` or `host:port`.
    pub(super) fn registry(&self) -> &str {
        &self.registry
    }

    /// The registry's key in a docker configuration.
    pub(super) fn credentials_key(&self) -> &str {
        if self.registry == DOCKER_HUB { DOCKER_HUB_KEY } else { &self.registry }
    }

    /// The repository in its registry.
    pub(super) fn repository(&self) -> &str {
        &self.repository
    }

    /// Registry and repository, without a version: what modules are cached under.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// What the registry is asked for: the tag, or `sha256:…`.
    pub(super) fn version(&self) -> String {
        match &self.version {
            Version::Tag(tag) => tag.clone(),
            Version::Digest(digest) => format!("sha256:{digest}"),
        }
    }

    /// The digest the reference asks for, 64 hexadecimal digits.
    pub(super) fn digest(&self) -> Option<&str> {
        match &self.version {
            Version::Tag(_) => None,
            Version::Digest(digest) => Some(digest),
        }
    }
}

/// The digits of `sha256:…`.
fn hexadecimal(digest: &str) -> Result<&str, InvalidReference> {
    let digits = digest.strip_prefix("sha256:").filter(|digits| {
        digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    });
    digits.ok_or_else(|| InvalidReference::Digest(digest.to_owned()))
}

fn valid_tag(tag: &str) -> Result<&str, InvalidReference> {
    let fits = (1..=128).contains(&tag.len()) && tag.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    if fits { Ok(tag) } else { Err(InvalidReference::Tag(tag.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_read_as_docker_reads_it() {
        for (text, registry, repository, version) in [
            ("registry.example/team/suite:1.2", "registry.example", "team/suite", "1.2"),
            ("registry.example:5000/suite", "registry.example:5000", "suite", "latest"),
            ("localhost/suite:a", "localhost", "suite", "a"),
            ("suite", "index.docker.io", "library/suite", "latest"),
            ("team/suite:b", "index.docker.io", "team/suite", "b"),
            ("docker.io/team/suite", "index.docker.io", "team/suite", "latest"),
        ] {
            let found = Reference::parse(text).unwrap();
            assert_eq!(
                (found.registry(), found.repository(), found.version().as_str()),
                (registry, repository, version)
            );
            assert_eq!(found.digest(), None, "{text}");
        }
    }

    #[test]
    fn a_digest_wins_over_a_tag() {
        let digest = "0f".repeat(32);
        let found = Reference::parse(&format!("ghcr.io/team/suite:1.0@sha256:{digest}")).unwrap();
        assert_eq!((found.digest(), found.name().as_str()), (Some(digest.as_str()), "ghcr.io/team/suite"));
        assert_eq!(found.version(), format!("sha256:{digest}"));
    }

    #[test]
    fn what_names_no_image_is_refused() {
        for text in [
            "",
            "registry.example/",
            "registry.example/Suite",
            "registry.example/a//b",
            "registry.example/../b",
            "registry.example/suite:",
            "registry.example/suite:a b",
            "registry.example/suite@sha256:00",
            "registry.example/suite@md5:00",
        ] {
            assert!(Reference::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn docker_hub_s_credentials_stand_under_a_name_of_their_own() {
        for (text, key) in [("suite", DOCKER_HUB_KEY), ("quay.io/suite", "quay.io")] {
            assert_eq!(Reference::parse(text).unwrap().credentials_key(), key);
        }
    }
}
