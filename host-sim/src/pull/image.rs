//! What Istio's puller takes for a module in an image: which layer, and what is unpacked from it.
//!
//! Source: `extractDockerImage`, `extractOCIStandardImage`, `extractOCIArtifactImage` and `unboxIfPossible` in Istio's `pkg/wasm`.

use std::io::Read;

use serde::Deserialize;
use thiserror::Error;

/// No module may be larger, nor what it is unpacked from: Istio's own bound.
pub(super) const LARGEST: u64 = 256 * 1024 * 1024;

pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(super) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const WASM_LAYER: &str = "application/vnd.module.wasm.content.layer.v1+wasm";
/// The file in an archive that is the module.
const FILE: &str = "plugin.wasm";

/// An image's manifest, as far as a puller looks.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    layers: Vec<Blob>,
}

/// Something with a digest in a registry.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Blob {
    #[serde(default)]
    media_type: String,
    /// `sha256:…`
    pub(super) digest: String,
    pub(super) size: u64,
}

/// An index: one image for each platform.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Index {
    #[serde(default)]
    manifests: Vec<Child>,
}

#[derive(Debug, Clone, Deserialize)]
struct Child {
    digest: String,
    platform: Option<Platform>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    architecture: String,
    os: String,
}

impl Index {
    /// The digest of the image that is pulled from an index: the first for linux/amd64, which an image that names no platform
    /// is taken to be for.
    pub(super) fn image(&self) -> Option<&str> {
        let ours = |child: &&Child| {
            child.platform.as_ref().is_none_or(|platform| platform.os == "linux" && platform.architecture == "amd64")
        };
        self.manifests.iter().find(ours).map(|child| child.digest.as_str())
    }
}

/// A layer, and how the module is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Layer {
    /// A gzipped tar with a `plugin.wasm`.
    Archive(Blob),
    /// The module as it is.
    Module(Blob),
}

/// Where in an image a module may be, in the order in which it is looked for, and why nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    pub(super) layers: Vec<Layer>,
    pub(super) not: Vec<String>,
}

/// Where a module may be in this image.
pub(super) fn places(manifest: &Manifest) -> Places {
    let mut places = Places { layers: Vec::new(), not: Vec::new() };
    let archive = |media_type: &str| match manifest.layers.last() {
        Some(last) if last.media_type == media_type => Ok(Layer::Archive(last.clone())),
        Some(last) => Err(format!("its last layer is {:?}, not {media_type}", last.media_type)),
        None => Err("it has no layers".to_owned()),
    };
    let mut look = |place: Result<Layer, String>| match place {
        Ok(layer) => places.layers.push(layer),
        Err(why) => places.not.push(why),
    };
    if manifest.media_type == DOCKER_MANIFEST {
        look(archive(DOCKER_LAYER).map_err(|why| format!("as a Docker image: {why}")));
        return places;
    }
    look(archive(OCI_LAYER).map_err(|why| format!("as an OCI image (compat): {why}")));
    let module = match manifest.layers.as_slice() {
        [one, other] => [one, other]
            .into_iter()
            .find(|layer| layer.media_type == WASM_LAYER)
            .map(|layer| Layer::Module(layer.clone()))
            .ok_or_else(|| format!("neither layer is {WASM_LAYER}")),
        layers => Err(format!("it has {} layers, not 2", layers.len())),
    };
    look(module.map_err(|why| format!("as a Wasm artifact: {why}")));
    places
}

/// Why no module came out of a layer.
#[derive(Debug, Error)]
pub(super) enum Unpacking {
    #[error("not a gzipped tar: {0}")]
    Archive(#[from] std::io::Error),
    #[error("no {FILE} in the archive")]
    NoModule,
}

/// The `plugin.wasm` of a gzipped tar, in whatever folder.
pub(super) fn unpack(archive: &[u8]) -> Result<Vec<u8>, Unpacking> {
    let plain = flate2::read::GzDecoder::new(archive).take(LARGEST);
    for entry in tar::Archive::new(plain).entries()? {
        let mut entry = entry?;
        if entry.path()?.file_name().is_some_and(|name| name == FILE) {
            let mut module = Vec::new();
            entry.read_to_end(&mut module)?;
            return Ok(module);
        }
    }
    Err(Unpacking::NoModule)
}

/// A download as a module: out of gzip, and the first file of a tar, as often as it takes. What is none stays as it is.
pub(super) fn unbox(download: Vec<u8>) -> Vec<u8> {
    let mut inner = download.clone();
    loop {
        let next = match inner.as_slice() {
            bytes if is_module(bytes) => return inner,
            [0x1f, 0x8b, _, ..] => inflate(&inner),
            bytes if bytes.get(257..262) == Some(b"ustar") => first_file(bytes),
            _ => None,
        };
        match next {
            Some(next) => inner = next,
            None => return download,
        }
    }
}

/// Eight bytes at least, and the right ones first.
pub(super) fn is_module(bytes: &[u8]) -> bool {
    bytes.len() >= 8 && bytes.starts_with(b"\0asm")
}

fn inflate(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes).take(LARGEST).read_to_end(&mut plain).ok()?;
    Some(plain)
}

fn first_file(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut archive = tar::Archive::new(bytes);
    let mut entry = archive.entries().ok()?.next()?.ok()?;
    let mut content = Vec::new();
    entry.read_to_end(&mut content).ok()?;
    Some(content)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const MODULE: &[u8] = b"\0asm\x01\0\0\0";

    fn blob(media_type: &str) -> Blob {
        Blob { media_type: media_type.to_owned(), digest: format!("sha256:{media_type}"), size: 1 }
    }

    fn image(media_type: &str, layers: &[&str]) -> Manifest {
        Manifest { media_type: media_type.to_owned(), layers: layers.iter().map(|layer| blob(layer)).collect() }
    }

    fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, content) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, name, *content).unwrap();
        }
        gzip(&tar.into_inner().unwrap())
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_module_is_looked_for_where_istio_looks() {
        let archive = |media_type: &str| Layer::Archive(blob(media_type));
        let module = || Layer::Module(blob(WASM_LAYER));
        for (manifest, layers) in [
            (image(DOCKER_MANIFEST, &["x", DOCKER_LAYER]), vec![archive(DOCKER_LAYER)]),
            (image(DOCKER_MANIFEST, &[OCI_LAYER]), vec![]),
            (image(OCI_MANIFEST, &["x", "y", OCI_LAYER]), vec![archive(OCI_LAYER)]),
            (image("", &["config", WASM_LAYER]), vec![module()]),
            (image("", &[WASM_LAYER, "config"]), vec![module()]),
            (image("", &[WASM_LAYER, OCI_LAYER]), vec![archive(OCI_LAYER), module()]),
            (image(OCI_MANIFEST, &[WASM_LAYER]), vec![]),
            (image(OCI_MANIFEST, &["a", WASM_LAYER, "b"]), vec![]),
            (image(OCI_MANIFEST, &["application/wasm"]), vec![]),
            (image(OCI_MANIFEST, &[]), vec![]),
        ] {
            let places = places(&manifest);
            assert_eq!(places.layers, layers, "{manifest:?}");
            assert!(!places.layers.is_empty() || !places.not.is_empty(), "{manifest:?}");
        }
    }

    #[test]
    fn an_index_gives_the_image_for_linux_on_amd64() {
        let child = |digest: &str, os: &str, architecture: &str| Child {
            digest: digest.to_owned(),
            platform: Some(Platform { os: os.to_owned(), architecture: architecture.to_owned() }),
        };
        let anywhere = Child { digest: "c".to_owned(), platform: None };
        let two = vec![child("a", "linux", "arm64"), child("b", "linux", "amd64")];
        for (manifests, image) in [
            (two, Some("b")),
            (vec![child("a", "wasip1", "wasm"), anywhere], Some("c")),
            (vec![child("a", "unknown", "unknown")], None),
            (vec![], None),
        ] {
            assert_eq!(Index { manifests }.image(), image);
        }
    }

    #[test]
    fn plugin_wasm_is_found_in_whatever_folder() {
        for files in [&[("plugin.wasm", MODULE)][..], &[("README.md", b"x".as_slice()), ("./a/plugin.wasm", MODULE)]] {
            assert_eq!(unpack(&archive(files)).unwrap(), MODULE);
        }
        assert!(matches!(unpack(&archive(&[("suite.wasm", MODULE)])), Err(Unpacking::NoModule)));
        assert!(matches!(unpack(b"no archive"), Err(Unpacking::Archive(_))));
    }

    #[test]
    fn a_download_is_taken_out_of_its_boxes() {
        let boxed = archive(&[("anything", MODULE)]);
        for download in [MODULE.to_vec(), gzip(MODULE), boxed.clone(), gzip(&boxed)] {
            assert_eq!(unbox(download), MODULE);
        }
        for none in [b"hello".to_vec(), gzip(b"hello"), vec![0x1f, 0x8b, 8, 0]] {
            assert_eq!(unbox(none.clone()), none);
        }
    }
}
