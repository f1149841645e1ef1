//! Who is asking a registry: credentials from a docker configuration, this machine's or an imagePullSecret's.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Deserialize;
use thiserror::Error;

use super::reference::Reference;

/// What is shown to a registry.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Credentials {
    Anonymous,
    /// A user's name and password.
    Basic(String, String),
    /// A token that is exchanged for one to work with.
    Identity(String),
    /// A token to work with.
    Registry(String),
}

/// A docker configuration, as far as it is about credentials. Fields of docker's own are of no interest here.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct DockerConfig {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Entry {
    username: String,
    password: String,
    auth: String,
    identitytoken: String,
    registrytoken: String,
}

/// Why credentials are not known.
#[derive(Debug, Error)]
pub(crate) enum NoCredentials {
    #[error("no docker configuration: {0}")]
    Config(#[from] serde_json::Error),
    #[error("{0}: {1}")]
    Unreadable(PathBuf, std::io::Error),
    #[error("the credentials of {0} are not USER:PASSWORD in base64")]
    Garbled(String),
    #[error("docker-credential-{0}: {1}")]
    Helper(String, String),
}

impl DockerConfig {
    /// From the text of a `.dockerconfigjson`.
    pub(super) fn parse(text: &str) -> Result<Self, NoCredentials> {
        Ok(serde_json::from_str(text)?)
    }

    /// This machine's: `$DOCKER_CONFIG/config.json`, else `~/.docker/config.json`; an empty one when there is none.
    pub(super) fn of_this_machine() -> Result<Self, NoCredentials> {
        let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let Some(folder) = folder("DOCKER_CONFIG").or_else(|| folder("HOME").map(|home| home.join(".docker"))) else {
            return Ok(Self::default());
        };
        let file = folder.join("config.json");
        match std::fs::read_to_string(&file) {
            Ok(text) => Self::parse(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(NoCredentials::Unreadable(file, error)),
        }
    }

    /// What the configuration itself says for this image's registry: nothing is executed.
    pub(super) fn written(&self, image: &Reference) -> Result<Credentials, NoCredentials> {
        let key = image.credentials_key();
        let by_host = || self.auths.iter().find(|(name, _)| host_of(name) == key).map(|(_, entry)| entry);
        match self.auths.get(&image.name()).or_else(|| self.auths.get(key)).or_else(by_host) {
            Some(entry) => entry.credentials(key),
            None => Ok(Credentials::Anonymous),
        }
    }

    /// The same, or what the credential helper says that the configuration names for it.
    pub(super) fn asked(&self, image: &Reference) -> Result<Credentials, NoCredentials> {
        let key = image.credentials_key();
        let helper = self.cred_helpers.get(key).unwrap_or(&self.creds_store);
        if helper.is_empty() { self.written(image) } else { ask(helper, key) }
    }
}

impl Entry {
    fn credentials(&self, key: &str) -> Result<Credentials, NoCredentials> {
        if !self.registrytoken.is_empty() {
            return Ok(Credentials::Registry(self.registrytoken.clone()));
        }
        if !self.identitytoken.is_empty() {
            return Ok(Credentials::Identity(self.identitytoken.clone()));
        }
        if self.auth.is_empty() {
            return Ok(basic(&self.username, &self.password));
        }
        let garbled = || NoCredentials::Garbled(key.to_owned());
        let decoded = BASE64_STANDARD.decode(&self.auth).map_err(|_| garbled())?;
        let decoded = String::from_utf8(decoded).map_err(|_| garbled())?;
        let (user, password) = decoded.split_once(':').ok_or_else(garbled)?;
        Ok(basic(user, password.trim_matches('\0')))
    }
}

fn basic(user: &str, password: &str) -> Credentials {
    match (user, password) {
        ("", "") => Credentials::Anonymous,
        ("<token>", token) => Credentials::Identity(token.to_owned()),
        _ => Credentials::Basic(user.to_owned(), password.to_owned()),
    }
}

/// `https://host/v1/` -> `host`.
fn host_of(name: &str) -> &str {
    let bare = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    bare.split('/').next().unwrap_or(bare)
}

/// What a credential helper prints.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    username: String,
    secret: String,
}

/// Docker's protocol with its helpers: the key on standard input, JSON on standard output.
fn ask(helper: &str, key: &str) -> Result<Credentials, NoCredentials> {
    let failed = |why: String| NoCredentials::Helper(helper.to_owned(), why);
    let spawned = Command::new(format!("docker-credential-{helper}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn();
    let mut child = spawned.map_err(|error| failed(error.to_string()))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(key.as_bytes()).map_err(|error| failed(error.to_string()))?;
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    let said = String::from_utf8_lossy(&output.stdout);
    match (output.status.success(), serde_json::from_slice::<Told>(&output.stdout)) {
        (true, Ok(told)) => Ok(basic(&told.username, &told.secret)),
        (false, _) if said.contains("credentials not found") => Ok(Credentials::Anonymous),
        (true, Err(error)) => Err(failed(error.to_string())),
        (false, _) => Err(failed(said.trim().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(config: &str, image: &str) -> Result<Credentials, NoCredentials> {
        DockerConfig::parse(config).unwrap().written(&Reference::parse(image).unwrap())
    }

    #[test]
    fn credentials_are_found_by_registry_and_by_repository() {
        let ann = Credentials::Basic("ann".to_owned(), "s:ecret".to_owned());
        let auth = BASE64_STANDARD.encode("ann:s:ecret");
        for (auths, image) in [
            (format!(r#""quay.io": {{"auth": "{auth}"}}"#), "quay.io/team/suite"),
            (format!(r#""https://quay.io/v2/": {{"auth": "{auth}"}}"#), "quay.io/team/suite"),
            (r#""quay.io": {"username": "ann", "password": "s:ecret"}"#.to_owned(), "quay.io/team/suite"),
            (
                format!(r#""quay.io": {{"auth": "eDp5"}}, "quay.io/team/suite": {{"auth": "{auth}"}}"#),
                "quay.io/team/suite",
            ),
            (format!(r#""https://index.docker.io/v1/": {{"auth": "{auth}"}}"#), "team/suite"),
        ] {
            let config = format!(r#"{{"auths": {{{auths}}}, "HttpHeaders": {{}}}}"#);
            assert!(found(&config, image).unwrap() == ann, "{config}");
        }
    }

    #[test]
    fn who_is_not_known_is_anonymous() {
        for config in ["{}", r#"{"auths": {"other.io": {"auth": "eDp5"}}}"#, r#"{"auths": {"quay.io": {}}}"#] {
            assert!(found(config, "quay.io/suite").unwrap() == Credentials::Anonymous, "{config}");
        }
    }

    #[test]
    fn tokens_go_before_passwords() {
        let config = |field: &str| format!(r#"{{"auths": {{"quay.io": {{"auth": "eDp5", "{field}": "t"}}}}}}"#);
        assert!(found(&config("identitytoken"), "quay.io/s").unwrap() == Credentials::Identity("t".to_owned()));
        assert!(found(&config("registrytoken"), "quay.io/s").unwrap() == Credentials::Registry("t".to_owned()));
    }

    #[test]
    fn garbled_credentials_are_an_error_and_not_nobody() {
        for auth in ["x", "eHg="] {
            let config = format!(r#"{{"auths": {{"quay.io": {{"auth": "{auth}"}}}}}}"#);
            assert!(matches!(found(&config, "quay.io/s"), Err(NoCredentials::Garbled(_))), "{auth}");
        }
        assert!(matches!(DockerConfig::parse("null"), Err(NoCredentials::Config(_))));
    }
}
