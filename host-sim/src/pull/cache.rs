//! Modules that were pulled, on disk: by where they came from and their digest, and which digest each url had last.

use std::path::{Path, PathBuf};

use super::image::is_module;
use super::registry::sha256;

/// A folder of modules.
pub(super) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// A cache there; the folder comes into being with the first module.
    pub(super) fn in_folder(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// The module of that name and digest.
    pub(super) fn find(&self, name: &str, digest: &str) -> Option<PathBuf> {
        let file = self.file(name, digest);
        // A file cut short, by a disk that was full, is none.
        is_module(&std::fs::read(&file).ok()?).then_some(file)
    }

    /// Keeps a module.
    pub(super) fn keep(&self, name: &str, digest: &str, module: &[u8]) -> std::io::Result<PathBuf> {
        let file = self.file(name, digest);
        write(&file, module)?;
        Ok(file)
    }

    /// The digest a url had when it was last pulled.
    pub(super) fn last(&self, url: &str) -> Option<String> {
        let digest = std::fs::read_to_string(self.tag(url)).ok()?;
        let digits = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        digits.then_some(digest)
    }

    /// Remembers the digest of a url.
    pub(super) fn remember(&self, url: &str, digest: &str) -> std::io::Result<()> {
        write(&self.tag(url), digest.as_bytes())
    }

    fn file(&self, name: &str, digest: &str) -> PathBuf {
        self.folder.join(sha256(name.as_bytes())).join(format!("{digest}.wasm"))
    }

    fn tag(&self, url: &str) -> PathBuf {
        self.folder.join("urls").join(sha256(url.as_bytes()))
    }
}

/// Whole or not at all, whoever else writes the same.
fn write(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let partial = file.with_extension(format!("{}.partial", std::process::id()));
    std::fs::write(&partial, bytes)?;
    std::fs::rename(&partial, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &[u8] = b"\0asm\x01\0\0\0";

    #[test]
    fn a_module_is_found_by_name_and_digest_alone() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::in_folder(folder.path().join("pulled"));
        let digest = sha256(MODULE);
        assert_eq!(cache.find("oci://a/b", &digest), None);
        let kept = cache.keep("oci://a/b", &digest, MODULE).unwrap();
        assert_eq!(cache.find("oci://a/b", &digest), Some(kept));
        assert_eq!((cache.find("oci://a/c", &digest), cache.find("oci://a/b", &sha256(b""))), (None, None));
    }

    #[test]
    fn half_a_module_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::in_folder(folder.path().to_owned());
        cache.keep("oci://a/b", "00", &MODULE[..5]).unwrap();
        assert_eq!(cache.find("oci://a/b", "00"), None);
    }

    #[test]
    fn a_url_s_last_digest_is_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::in_folder(folder.path().to_owned());
        let url = "oci://registry.example/suite:1";
        assert_eq!(cache.last(url), None);
        for digest in [sha256(b"one"), sha256(b"two")] {
            cache.remember(url, &digest).unwrap();
            assert_eq!(cache.last(url), Some(digest));
        }
        cache.remember(url, "../../etc/passwd").unwrap();
        assert_eq!(cache.last(url), None);
    }
}
