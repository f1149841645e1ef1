//! What `verify_signature` and `sign` do: keys, digests and signatures as Envoy's BoringSSL takes and makes them.
//!
//! RSA keys sign as PKCS #1 v1.5, keys on P-256, P-384 and P-521 as ECDSA in DER. ECDSA draws no dice here (RFC 6979): the same text has the same
//! signature every time, where Envoy makes another one.

use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use rsa::{
    Pkcs1v15Sign,
    pkcs8::{
        DecodePrivateKey, ObjectIdentifier, PrivateKeyInfoRef, SubjectPublicKeyInfoRef,
        der::{Decode, Reader, SliceReader, pem},
    },
};
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

/// The digests Envoy knows, by the names it knows them by, in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// The digest of this name; else what Envoy says of it.
    pub(crate) fn named(name: &str) -> Result<Hash, String> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "sha1" => Hash::Sha1,
            "sha224" => Hash::Sha224,
            "sha256" => Hash::Sha256,
            "sha384" => Hash::Sha384,
            "sha512" => Hash::Sha512,
            _ => return Err(format!("{name} is not supported.")),
        })
    }

    fn of(self, text: &[u8]) -> Vec<u8> {
        match self {
            Hash::Sha1 => Sha1::digest(text).to_vec(),
            Hash::Sha224 => Sha224::digest(text).to_vec(),
            Hash::Sha256 => Sha256::digest(text).to_vec(),
            Hash::Sha384 => Sha384::digest(text).to_vec(),
            Hash::Sha512 => Sha512::digest(text).to_vec(),
        }
    }

    fn padding(self) -> Pkcs1v15Sign {
        match self {
            Hash::Sha1 => Pkcs1v15Sign::new::<Sha1>(),
            Hash::Sha224 => Pkcs1v15Sign::new::<Sha224>(),
            Hash::Sha256 => Pkcs1v15Sign::new::<Sha256>(),
            Hash::Sha384 => Pkcs1v15Sign::new::<Sha384>(),
            Hash::Sha512 => Pkcs1v15Sign::new::<Sha512>(),
        }
    }
}

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const X25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.110");

/// A key signatures are verified with.
pub(crate) enum PublicKey {
    Rsa(Box<rsa::PublicKey>),
    P256(Box<p256::ecdsa::VerifyingKey>),
    P384(Box<p384::ecdsa::VerifyingKey>),
    P521(Box<p521::ecdsa::VerifyingKey>),
    /// No key, or one that does not go with digests, as Ed25519's.
    Unusable,
}

impl PublicKey {
    /// `SubjectPublicKeyInfo`; what comes after it does not matter.
    pub(crate) fn from_der(der: &[u8]) -> PublicKey {
        PublicKey::read(der).unwrap_or(PublicKey::Unusable)
    }

    fn read(der: &[u8]) -> Option<PublicKey> {
        let info = SubjectPublicKeyInfoRef::decode(&mut SliceReader::new(der).ok()?).ok()?;
        let curve = || info.algorithm.parameters_oid().ok();
        Some(match info.algorithm.oid {
            RSA => PublicKey::Rsa(Box::new(info.try_into().ok()?)),
            EC if curve() == Some(P256) => PublicKey::P256(Box::new(info.try_into().ok()?)),
            EC if curve() == Some(P384) => PublicKey::P384(Box::new(info.try_into().ok()?)),
            EC if curve() == Some(P521) => PublicKey::P521(Box::new(info.try_into().ok()?)),
            _ => return None,
        })
    }

    /// `-----BEGIN PUBLIC KEY-----`
    pub(crate) fn from_pem(text: &str) -> PublicKey {
        match pem::decode_vec(text.as_bytes()) {
            Ok(("PUBLIC KEY", der)) => PublicKey::from_der(&der),
            _ => PublicKey::Unusable,
        }
    }

    /// Is this the text's signature? If not, what Envoy says.
    pub(crate) fn verify(&self, hash: Hash, text: &[u8], signature: &[u8]) -> Result<(), String> {
        let digest = hash.of(text);
        let right = match self {
            PublicKey::Unusable => return Err("Failed to initialize digest verify.".to_owned()),
            PublicKey::Rsa(key) => key.verify(hash.padding(), &digest, signature).is_ok(),
            PublicKey::P256(key) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(&digest, &signature).is_ok()),
            PublicKey::P384(key) => p384::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(&digest, &signature).is_ok()),
            PublicKey::P521(key) => p521::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(&digest, &signature).is_ok()),
        };
        if right { Ok(()) } else { Err("Failed to verify digest. Error code: 0".to_owned()) }
    }
}

/// A key texts are signed with.
pub(crate) enum PrivateKey {
    Rsa(Box<rsa::PrivateKey>),
    P256(Box<p256::ecdsa::SigningKey>),
    P384(Box<p384::ecdsa::SigningKey>),
    P521(Box<p521::ecdsa::SigningKey>),
    /// A key that does not go with digests: Ed25519 signs texts, X25519 nothing.
    WithoutDigest,
    None,
}

impl PrivateKey {
    /// PKCS #8; what comes after it does not matter.
    pub(crate) fn from_der(der: &[u8]) -> PrivateKey {
        PrivateKey::read(der).unwrap_or(PrivateKey::None)
    }

    fn read(der: &[u8]) -> Option<PrivateKey> {
        let mut reader = SliceReader::new(der).ok()?;
        let info = PrivateKeyInfoRef::decode(&mut reader).ok()?;
        let der = der.get(..usize::try_from(u32::from(reader.position())).ok()?)?;
        let curve = || info.algorithm.parameters_oid().ok();
        Some(match info.algorithm.oid {
            RSA => PrivateKey::Rsa(Box::new(rsa::PrivateKey::from_pkcs8_der(der).ok()?)),
            EC if curve() == Some(P256) => {
                PrivateKey::P256(Box::new(p256::SecretKey::from_pkcs8_der(der).ok()?.into()))
            }
            EC if curve() == Some(P384) => {
                PrivateKey::P384(Box::new(p384::SecretKey::from_pkcs8_der(der).ok()?.into()))
            }
            EC if curve() == Some(P521) => {
                PrivateKey::P521(Box::new(p521::SecretKey::from_pkcs8_der(der).ok()?.into()))
            }
            ED25519 | X25519 => PrivateKey::WithoutDigest,
            _ => return None,
        })
    }

    /// `-----BEGIN PRIVATE KEY-----`, and the older forms of each kind.
    pub(crate) fn from_pem(text: &str) -> PrivateKey {
        PrivateKey::read_pem(text).unwrap_or(PrivateKey::None)
    }

    fn read_pem(text: &str) -> Option<PrivateKey> {
        use rsa::pkcs1::DecodeRsaPrivateKey;
        let (label, der) = pem::decode_vec(text.as_bytes()).ok()?;
        match label {
            "PRIVATE KEY" => PrivateKey::read(&der),
            "RSA PRIVATE KEY" => Some(PrivateKey::Rsa(Box::new(rsa::PrivateKey::from_pkcs1_der(&der).ok()?))),
            "EC PRIVATE KEY" => p256::SecretKey::from_sec1_der(&der)
                .map(|key| PrivateKey::P256(Box::new(key.into())))
                .or_else(|_| p384::SecretKey::from_sec1_der(&der).map(|key| PrivateKey::P384(Box::new(key.into()))))
                .or_else(|_| p521::SecretKey::from_sec1_der(&der).map(|key| PrivateKey::P521(Box::new(key.into()))))
                .ok(),
            _ => None,
        }
    }

    /// The text's signature, or what Envoy says.
    pub(crate) fn sign(&self, hash: Hash, text: &[u8]) -> Result<Vec<u8>, String> {
        let digest = hash.of(text);
        let signature = match self {
            PrivateKey::None => {
                return Err("Invalid key type: private key required for signing operation.".to_owned());
            }
            PrivateKey::WithoutDigest => {
                return Err("Invalid private key: key data is corrupted or malformed.".to_owned());
            }
            PrivateKey::Rsa(key) => key.sign(hash.padding(), &digest).ok(),
            PrivateKey::P256(key) => {
                let signature: Option<p256::ecdsa::Signature> = key.sign_prehash(&digest).ok();
                signature.map(|signature| signature.to_der().as_bytes().to_vec())
            }
            PrivateKey::P384(key) => {
                let signature: Option<p384::ecdsa::Signature> = key.sign_prehash(&digest).ok();
                signature.map(|signature| signature.to_der().as_bytes().to_vec())
            }
            PrivateKey::P521(key) => {
                let signature: Option<p521::ecdsa::Signature> = key.sign_prehash(&digest).ok();
                signature.map(|signature| signature.to_der().as_bytes().to_vec())
            }
        };
        signature.ok_or_else(|| "Failed to create signature.".to_owned())
    }
}
