//! From the paths on the command line to the texts of the manifests.

use std::io::Read;
use std::path::{Path, PathBuf};

use istio::Source;

use crate::failure::Failure;

/// Reads files, folders and standard input, in the order given; a folder's files in the order of their names.
///
/// # Errors
/// A path that does not exist or cannot be read, and a folder without a manifest, by name.
pub(crate) fn sources(paths: &[PathBuf]) -> Result<Vec<Source>, Failure> {
    let mut sources = Vec::new();
    for path in paths {
        match path.to_str() {
            Some("-") => sources.push(Source { name: "-".to_owned(), text: standard_input()? }),
            _ if path.is_dir() => {
                let files = files_below(path)?;
                if files.is_empty() {
                    return Err(Failure::World(format!("{}: no *.yaml, *.yml or *.json below it", path.display())));
                }
                for file in files {
                    sources.push(source(&file)?);
                }
            }
            _ => sources.push(source(path)?),
        }
    }
    Ok(sources)
}

/// A file's bytes.
///
/// # Errors
/// The file's name and what the system said.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    if path.as_os_str() == "-" {
        return standard_input().map(String::into_bytes);
    }
    std::fs::read(path).map_err(|error| unreadable(path, &error))
}

fn source(path: &Path) -> Result<Source, Failure> {
    let text = String::from_utf8(bytes(path)?)
        .map_err(|error| Failure::World(format!("{}: not UTF-8: {}", path.display(), error.utf8_error())))?;
    Ok(Source { name: path.display().to_string(), text })
}

fn standard_input() -> Result<String, Failure> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map_err(|error| Failure::World(format!("standard input: {error}")))?;
    Ok(text)
}

/// Files below a folder with one of these ends, in the order of their names; what cannot be read is left out.
pub(crate) fn below(folder: &Path, ends: &[&str]) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(below(&path, ends));
        } else if path.extension().is_some_and(|end| ends.iter().any(|known| end == *known)) {
            files.push(path);
        }
    }
    files
}

fn files_below(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(folder, &error))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(|error| unreadable(folder, &error))?.path());
    }
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else if path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json") {
            files.push(path);
        }
    }
    Ok(files)
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::World(format!("{}: {error}", path.display()))
}
