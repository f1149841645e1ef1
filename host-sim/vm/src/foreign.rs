//! What Envoy's foreign functions do.

use std::collections::BTreeMap;

use bytes::Bytes;
use miniz_oxide::{deflate, inflate};

use crate::{
    abi::Status,
    context::Target,
    expression, filter_object,
    filter_state::{Declared, Form},
    protobuf::{self, Wire},
    signature::{Hash, PrivateKey, PublicKey},
    state::State,
};

/// A function Envoy 1.40 registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    ClearRouteCache,
    Compress,
    Uncompress,
    DeclareProperty,
    SetEnvoyFilterState,
    VerifySignature,
    Sign,
    ExprCreate,
    ExprEvaluate,
    ExprDelete,
}

impl Function {
    pub(crate) fn named(name: &[u8]) -> Option<Function> {
        Some(match name {
            b"clear_route_cache" => Function::ClearRouteCache,
            b"compress" => Function::Compress,
            b"uncompress" => Function::Uncompress,
            b"declare_property" => Function::DeclareProperty,
            b"set_envoy_filter_state" => Function::SetEnvoyFilterState,
            b"verify_signature" => Function::VerifySignature,
            b"sign" => Function::Sign,
            b"expr_create" => Function::ExprCreate,
            b"expr_evaluate" => Function::ExprEvaluate,
            b"expr_delete" => Function::ExprDelete,
            _ => return None,
        })
    }
}

/// What a packed kilobyte may become: a bomb fails as broken data does.
const MAX_UNCOMPRESSED: usize = 16 << 20;

/// Bytes for the module, or none.
pub(crate) fn call(state: &mut State, function: Function, arguments: &[u8]) -> Result<Option<Bytes>, Status> {
    match function {
        Function::ClearRouteCache => {
            if let Some(stream) = state.stream_mut() {
                stream.route_cleared = true;
            }
            Ok(None)
        }
        Function::Compress => Ok(Some(Bytes::from(deflate::compress_to_vec_zlib(arguments, 6)))),
        Function::Uncompress => {
            let plain = inflate::decompress_to_vec_zlib_with_limit(arguments, MAX_UNCOMPRESSED);
            plain.map(|plain| Some(Bytes::from(plain))).map_err(|_| Status::SerializationFailure)
        }
        Function::DeclareProperty => declare(state, arguments).map(|()| None),
        Function::SetEnvoyFilterState => set_envoy_filter_state(state, arguments).map(|()| None),
        Function::VerifySignature => verify_signature(arguments).map(Some),
        Function::Sign => sign(arguments).map(Some),
        Function::ExprCreate => {
            let token = state.root.expressions.create(arguments)?;
            Ok(Some(Bytes::copy_from_slice(&token.to_le_bytes())))
        }
        Function::ExprEvaluate => {
            let token = token(arguments)?;
            // It sees the context that was called, not the effective one.
            let effective = std::mem::take(&mut state.effective);
            let value = expression::evaluate(state, token);
            state.effective = effective;
            value.map(Some)
        }
        Function::ExprDelete => {
            state.root.expressions.delete(token(arguments)?);
            Ok(None)
        }
    }
}

fn token(arguments: &[u8]) -> Result<u32, Status> {
    arguments.try_into().map(u32::from_le_bytes).map_err(|_| Status::BadArgument)
}

/// Properties the plugin has declared, by their names.
pub(crate) type Declarations = BTreeMap<Vec<u8>, Declared>;

/// Properties one context may declare.
const MAX_DECLARED: usize = 1024;

/// A declared property stays declared. How long its value is to live makes no difference here: it lives as long as the request.
fn declare(state: &mut State, arguments: &[u8]) -> Result<(), Status> {
    let (mut name, mut declared) = (Vec::new(), Declared::default());
    for field in protobuf::fields(arguments).ok_or(Status::BadArgument)? {
        match (field.number, field.value) {
            (1, Wire::Bytes(bytes)) => name = text(bytes)?.as_bytes().to_vec(),
            (2, Wire::Varint(yes)) => declared.read_only = yes != 0,
            (3, Wire::Varint(form)) => declared.form = if form == 1 { Form::Text } else { Form::Bytes },
            _ => {}
        }
    }
    // On the context that was called, not the effective one.
    let known = match state.current {
        Target::Stream(id) => &mut state.streams.get_mut(&id).ok_or(Status::BadArgument)?.declared,
        Target::Vm | Target::Root => &mut state.root.declared,
    };
    if known.contains_key(&name) || known.len() >= MAX_DECLARED {
        return Err(Status::BadArgument);
    }
    known.insert(name, declared);
    Ok(())
}

/// A field of type `string`: protobuf takes no other than UTF-8.
fn text(bytes: &[u8]) -> Result<&str, Status> {
    std::str::from_utf8(bytes).map_err(|_| Status::BadArgument)
}

/// The arguments of `verify_signature` and of `sign`, which number them differently.
#[derive(Default)]
struct Signing<'a> {
    hash: &'a str,
    der: &'a [u8],
    pem: &'a str,
    text: &'a [u8],
    signature: &'a [u8],
}

impl<'a> Signing<'a> {
    fn read(arguments: &'a [u8], [pem, text_at, signature]: [u32; 3]) -> Result<Signing<'a>, Status> {
        let mut read = Signing::default();
        for field in protobuf::fields(arguments).ok_or(Status::BadArgument)? {
            match (field.number, field.value) {
                (1, Wire::Bytes(bytes)) => read.hash = text(bytes)?,
                (2, Wire::Bytes(bytes)) => read.der = bytes,
                (number, Wire::Bytes(bytes)) if number == pem => read.pem = text(bytes)?,
                (number, Wire::Bytes(bytes)) if number == text_at => read.text = bytes,
                (number, Wire::Bytes(bytes)) if number == signature => read.signature = bytes,
                _ => {}
            }
        }
        Ok(read)
    }

    /// The key: in one form, not in both, not in none. What is no key is one that nothing can be done with.
    fn key<K>(&self, from_der: fn(&[u8]) -> K, from_pem: fn(&str) -> K) -> Result<K, Status> {
        match (self.der, self.pem) {
            (der, "") if !der.is_empty() => Ok(from_der(der)),
            ([], pem) if !pem.is_empty() => Ok(from_pem(pem)),
            _ => Err(Status::BadArgument),
        }
    }
}

fn verify_signature(arguments: &[u8]) -> Result<Bytes, Status> {
    let asked = Signing::read(arguments, [5, 4, 3])?;
    let key = asked.key(PublicKey::from_der, PublicKey::from_pem)?;
    let verified = Hash::named(asked.hash).and_then(|hash| key.verify(hash, asked.text, asked.signature));
    let mut answer = Vec::new();
    match verified {
        Ok(()) => protobuf::put_varint(&mut answer, 1, 1),
        Err(error) => protobuf::put_bytes(&mut answer, 2, error.as_bytes()),
    }
    Ok(Bytes::from(answer))
}

fn sign(arguments: &[u8]) -> Result<Bytes, Status> {
    const NOWHERE: u32 = 0;
    let asked = Signing::read(arguments, [4, 3, NOWHERE])?;
    let key = asked.key(PrivateKey::from_der, PrivateKey::from_pem)?;
    let signed = Hash::named(asked.hash).and_then(|hash| key.sign(hash, asked.text));
    let mut answer = Vec::new();
    match signed {
        Ok(signature) => {
            protobuf::put_varint(&mut answer, 1, 1);
            protobuf::put_bytes(&mut answer, 2, &signature);
        }
        Err(error) => protobuf::put_bytes(&mut answer, 3, error.as_bytes()),
    }
    Ok(Bytes::from(answer))
}

fn set_envoy_filter_state(state: &State, arguments: &[u8]) -> Result<(), Status> {
    let (mut path, mut value) = ("", "");
    for field in protobuf::fields(arguments).ok_or(Status::BadArgument)? {
        match (field.number, field.value) {
            (1, Wire::Bytes(bytes)) => path = text(bytes)?,
            (2, Wire::Bytes(bytes)) => value = text(bytes)?,
            _ => {}
        }
    }
    let object = filter_object::named(path.as_bytes()).ok_or(Status::NotFound)?;
    let value = object.parse(value).ok_or(Status::BadArgument)?;
    let stream = state.stream().ok_or(Status::NotFound)?;
    stream.info.set_filter_state(path.as_bytes(), Bytes::from(value));
    Ok(())
}
