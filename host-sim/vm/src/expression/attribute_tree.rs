//! The attributes an expression names, and their values as the language's.
//!
//! Envoy's attributes are looked up as they are asked for, and some of them are messages nobody can list. So an expression is read for the paths it names,
//! `request.headers["x-user"]`, and these alone are asked for.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use cel::{
    Value as Cel,
    common::ast::{Expr, IdedExpr, LiteralValue, operators},
    objects::{Key, Map},
};

use crate::{
    attributes,
    filter_state::{FilterState, Form},
    property::Value,
    state::State,
};

/// What an expression names, by root.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Chains {
    roots: BTreeMap<String, Node>,
    alone: Option<Vec<String>>,
}

/// A name, and what is named below it.
#[derive(Debug, Default, PartialEq)]
struct Node {
    /// All of it is wanted: something is done with it besides selecting from it by a name that is known.
    whole: bool,
    below: BTreeMap<String, Node>,
}

impl Chains {
    pub(super) fn of(expression: &IdedExpr) -> Chains {
        let mut chains = Chains { alone: path_of(expression), ..Chains::default() };
        chains.collect(expression);
        chains
    }

    /// The path, when the expression is one and nothing else.
    pub(super) fn alone(&self) -> Option<&[String]> {
        self.alone.as_deref()
    }

    fn collect(&mut self, expression: &IdedExpr) {
        if let Some(path) = path_of(expression) {
            return self.insert(path, true);
        }
        if let Expr::Select(select) = &expression.expr
            && select.test
            && let Some(mut path) = path_of(&select.operand)
        {
            path.push(select.field.clone());
            return self.insert(path, true);
        }
        super::parts(expression).into_iter().for_each(|part| self.collect(part));
    }

    fn insert(&mut self, path: Vec<String>, whole: bool) {
        let mut path = path.into_iter();
        let Some(root) = path.next() else { return };
        let mut node = self.roots.entry(root).or_default();
        for name in path {
            node = node.below.entry(name).or_default();
        }
        node.whole |= whole;
    }

    /// The values of everything named, by root. What is not there is left out: the language then says that it is unknown.
    pub(super) fn resolve(&self, state: &State) -> HashMap<String, Cel> {
        let mut values = HashMap::new();
        for (root, node) in &self.roots {
            let value = resolve(state, &mut vec![root.as_bytes()], node);
            values.extend(value.map(|value| (root.clone(), value)));
        }
        values
    }
}

/// What a module has set is bytes to an expression, unless it was declared to be text.
fn module_value(found: &FilterState) -> Cel {
    match found.declared.form {
        Form::Text => text(&found.value),
        Form::Bytes => Cel::Bytes(found.value.to_vec().into()),
    }
}

fn resolve<'n>(state: &State, path: &mut Vec<&'n [u8]>, node: &'n Node) -> Option<Cel> {
    if let Some(found) = attributes::set_by_module(state, path) {
        return Some(module_value(&found));
    }
    let here = attributes::lookup(state, path);
    let mut entries: HashMap<Key, Cel> = match &here {
        Some(Value::Map(all)) if node.whole => all.iter().map(|(key, value)| (key_of(key), to_cel(value))).collect(),
        Some(Value::Map(_) | Value::Opaque | Value::Message(_)) | None => HashMap::new(),
        Some(scalar) => return Some(to_cel(scalar)),
    };
    for (name, below) in &node.below {
        path.push(name.as_bytes());
        let value = resolve(state, path, below);
        path.pop();
        entries.extend(value.map(|value| (Key::from(name.as_str()), value)));
    }
    if here.is_none() && entries.is_empty() {
        return None;
    }
    Some(Cel::Map(Map { map: entries.into() }))
}

fn key_of(key: &Bytes) -> Key {
    Key::from(String::from_utf8_lossy(key).into_owned())
}

/// The language's strings are Unicode, Envoy's are bytes: what is no text loses the bytes that are not.
fn text(bytes: &Bytes) -> Cel {
    Cel::from(String::from_utf8_lossy(bytes).into_owned())
}

fn to_cel(value: &Value) -> Cel {
    match value {
        Value::Bytes(bytes) => text(bytes),
        Value::Int(number) => Cel::Int(*number),
        Value::Uint(number) => Cel::UInt(*number),
        Value::Double(number) => Cel::Float(*number),
        Value::Bool(yes) => Cel::Bool(*yes),
        Value::Duration(nanos) => Cel::Duration(chrono::Duration::nanoseconds(*nanos)),
        Value::Timestamp(nanos) => Cel::Timestamp(chrono::DateTime::from_timestamp_nanos(*nanos).fixed_offset()),
        Value::Map(entries) => {
            let entries = entries.iter().map(|(key, value)| (key_of(key), to_cel(value)));
            Cel::Map(Map { map: entries.collect::<HashMap<_, _>>().into() })
        }
        Value::List(elements) => Cel::from(elements.iter().map(to_cel).collect::<Vec<_>>()),
        Value::Message(bytes) => Cel::Bytes(bytes.to_vec().into()),
        Value::Opaque => Cel::Null,
    }
}

/// The path an expression is: a name, and selections by names and constant keys.
fn path_of(expression: &IdedExpr) -> Option<Vec<String>> {
    match &expression.expr {
        Expr::Ident(name) => Some(vec![name.trim_start_matches('.').to_owned()]),
        Expr::Select(select) if !select.test => {
            let mut path = path_of(&select.operand)?;
            path.push(select.field.clone());
            Some(path)
        }
        Expr::Call(call) if call.func_name == operators::INDEX => {
            let [of, key] = call.args.as_slice() else { return None };
            let Expr::Literal(LiteralValue::String(key)) = &key.expr else { return None };
            let mut path = path_of(of)?;
            path.push(key.inner().to_owned());
            Some(path)
        }
        _ => None,
    }
}
