//! Compiled code on disk, keyed by the module's digest.

use std::{
    fmt,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

/// SHA-256 of a module's bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{self}")
    }
}

/// A folder of compiled modules. Every failure to read or write it means compiling again, never an error.
pub(crate) struct DiskCache {
    folder: PathBuf,
    /// Compiler, settings and processor: code made otherwise has another name.
    build: String,
}

impl DiskCache {
    pub(crate) fn new(folder: PathBuf, engine: &wasmtime::Engine) -> DiskCache {
        let mut hasher = Fingerprint(Sha256::new());
        std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut hasher);
        let build = Digest(hasher.0.finalize().into()).to_string();
        DiskCache { folder, build: build.get(..16).unwrap_or_default().to_owned() }
    }

    /// The compiled module, if a file of this user holds it whole.
    pub(crate) fn read(&self, engine: &wasmtime::Engine, digest: Digest) -> Option<wasmtime::Module> {
        let code = self.read_code(digest).ok()?;
        deserialize(engine, &code)
    }

    /// Keeps a compiled module. A reader sees all of it or nothing.
    pub(crate) fn write(&self, digest: Digest, module: &wasmtime::Module) {
        if let Ok(code) = module.serialize()
            && let Err(error) = self.write_code(digest, &code)
        {
            log::debug!("compiled code not kept in {}: {error}", self.folder.display());
        }
    }

    fn path(&self, digest: Digest) -> PathBuf {
        self.folder.join(format!("{digest}-{}.cwasm", self.build))
    }

    fn read_code(&self, digest: Digest) -> io::Result<Vec<u8>> {
        ours_alone(&self.folder)?;
        let path = self.path(digest);
        ours_alone(&path)?;
        let mut file = fs::File::open(path)?;
        let mut sum = [0; 32];
        file.read_exact(&mut sum)?;
        let mut code = Vec::new();
        file.read_to_end(&mut code)?;
        if Digest::of(&code) == Digest(sum) { Ok(code) } else { Err(io::Error::from(io::ErrorKind::InvalidData)) }
    }

    fn write_code(&self, digest: Digest, code: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        ours_alone(&self.folder)?;
        let path = self.path(digest);
        let partial = path.with_extension(format!("{}.partial", std::process::id()));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(&Digest::of(code).0)?;
        file.write_all(code)?;
        drop(file);
        fs::rename(partial, path)
    }
}

/// A path that this user owns and nobody else may write.
fn ours_alone(path: &Path) -> io::Result<()> {
    let us = fs::metadata("/proc/self")?.uid();
    let metadata = fs::symlink_metadata(path)?;
    if metadata.uid() == us && metadata.mode() & 0o022 == 0 && !metadata.is_symlink() {
        Ok(())
    } else {
        Err(io::Error::from(io::ErrorKind::PermissionDenied))
    }
}

#[allow(
    unsafe_code,
    reason = "wasmtime asks for it: compiled code is trusted. It comes from a folder only this user can write, named and summed by us"
)]
fn deserialize(engine: &wasmtime::Engine, code: &[u8]) -> Option<wasmtime::Module> {
    // SAFETY: `read_code` has checked that nobody but this user could have written these bytes, and that they are the ones `write_code` wrote.
    unsafe { wasmtime::Module::deserialize(engine, code) }.ok()
}

struct Fingerprint(Sha256);

impl std::hash::Hasher for Fingerprint {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }
}
