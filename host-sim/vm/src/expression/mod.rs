//! CEL expressions, for `expr_create`, `expr_evaluate` and `expr_delete`: the language is the `cel` package's, its words are Envoy's attributes.
//!
//! What Envoy's language has and the package has not, or the other way round, is refused when the expression is made, as an unknown function is in Envoy.

mod attribute_tree;
mod budget;
mod functions;

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use cel::{
    Context, Env, Value as Cel,
    common::ast::{EntryExpr, Expr, IdedExpr},
    parser::Expression,
};

use self::{attribute_tree::Chains, budget::Budget};
use crate::{abi::Status, attributes, property::Value, state::State};

/// The expressions of a plugin, by token.
#[derive(Default)]
pub(crate) struct Expressions {
    next: u32,
    made: HashMap<u32, Rc<Made>>,
}

/// One that was parsed.
struct Made {
    expression: Expression,
    chains: Chains,
    regexes: functions::Regexes,
}

/// Expressions a plugin may have at once. Envoy has no bound.
const MAX_EXPRESSIONS: usize = 1024;
/// As in Envoy's parser, in code points.
const MAX_LENGTH: usize = 100_000;
/// As in Envoy's parser.
const MAX_DEPTH: u16 = 32;

static LANGUAGE: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(Env::stdlib().with_optional_support(false)));

impl Expressions {
    /// Parses an expression and keeps it; its token.
    pub(crate) fn create(&mut self, text: &[u8]) -> Result<u32, Status> {
        let text = std::str::from_utf8(text).map_err(|_| Status::BadArgument)?;
        if text.chars().count() > MAX_LENGTH {
            return Err(Status::BadArgument);
        }
        if self.made.len() >= MAX_EXPRESSIONS {
            return Err(Status::InternalFailure);
        }
        let parser = LANGUAGE.parser().max_recursion_depth(MAX_DEPTH);
        let parsed = sheltered(|| parser.parse(text).ok());
        let mut expression = parsed.ok_or(Status::BadArgument)?;
        if depth(&expression) > usize::from(MAX_DEPTH) + 1 || !functions::all_known(&expression) {
            return Err(Status::BadArgument);
        }
        let chains = Chains::of(&expression);
        functions::bind(&mut expression);
        while self.made.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        let token = self.next;
        self.next = self.next.wrapping_add(1);
        self.made.insert(token, Rc::new(Made { expression, chains, regexes: functions::Regexes::default() }));
        Ok(token)
    }

    pub(crate) fn delete(&mut self, token: u32) {
        self.made.remove(&token);
    }
}

/// The value of an expression now, as `proxy_get_property` would hand it out.
pub(crate) fn evaluate(state: &State, token: u32) -> Result<Bytes, Status> {
    let made = state.root.expressions.made.get(&token).cloned().ok_or(Status::NotFound)?;
    // An attribute and nothing else: its own bytes, whatever the language would make of them.
    if let Some(path) = made.chains.alone() {
        let path: Vec<&[u8]> = path.iter().map(String::as_bytes).collect();
        if let Some(value) = attributes::lookup(state, &path) {
            return value.serialize();
        }
    }
    let variables = made.chains.resolve(state);
    let budget = Arc::new(Budget::new(&made.expression, variables.values()));
    let mut context = Context::with_env(Arc::clone(&LANGUAGE));
    functions::add(&mut context, &budget, &made.regexes).map_err(|_| Status::InternalFailure)?;
    for (name, value) in variables {
        context.add_variable_from_value(name, value);
    }
    if !budget.spend(0) {
        return Err(Status::InternalFailure);
    }
    let value = sheltered(|| {
        let value = Cel::resolve_val(&made.expression, &context).ok()?;
        // A type is a value without bytes.
        let is_type = value.get_type().name() == "type";
        let value = Cel::try_from(value.as_ref()).ok().filter(|_| !is_type);
        Some(value.ok_or(Status::SerializationFailure))
    });
    from_cel(value.ok_or(Status::InternalFailure)??)?.serialize()
}

/// What a package does with what a module wrote must not end the worker.
fn sheltered<T>(run: impl FnOnce() -> Option<T>) -> Option<T> {
    catch_unwind(AssertUnwindSafe(run)).ok().flatten()
}

fn from_cel(value: Cel) -> Result<Value, Status> {
    let nanos = |nanos: Option<i64>| nanos.ok_or(Status::SerializationFailure);
    Ok(match value {
        Cel::Int(number) => Value::Int(number),
        Cel::UInt(number) => Value::Uint(number),
        Cel::Float(number) => Value::Double(number),
        Cel::String(text) => Value::Bytes(Bytes::copy_from_slice(text.as_bytes())),
        Cel::Bytes(bytes) => Value::Bytes(Bytes::copy_from_slice(&bytes)),
        Cel::Bool(yes) => Value::Bool(yes),
        Cel::Duration(duration) => Value::Duration(nanos(duration.num_nanoseconds())?),
        Cel::Timestamp(time) => Value::Timestamp(nanos(time.timestamp_nanos_opt())?),
        Cel::List(list) => Value::List(list.iter().cloned().map(from_cel).collect::<Result<_, _>>()?),
        Cel::Map(map) => {
            let mut entries = Vec::new();
            for (key, value) in map.map.iter() {
                entries.push((from_cel(Cel::from(key))?.serialize()?, from_cel(value.clone())?));
            }
            // Envoy has them as they were written, or hashed: in an order nobody may count on.
            entries.sort_by(|(one, _), (other, _)| one.cmp(other));
            Value::Map(entries)
        }
        _ => return Err(Status::SerializationFailure),
    })
}

/// The expressions right below one.
fn parts(expression: &IdedExpr) -> Vec<&IdedExpr> {
    match &expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => Vec::new(),
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(|entry| entry_parts(&entry.expr)).collect(),
        Expr::Struct(message) => message.entries.iter().flat_map(|entry| entry_parts(&entry.expr)).collect(),
        Expr::Comprehension(all) => {
            vec![&all.iter_range, &all.accu_init, &all.loop_cond, &all.loop_step, &all.result]
        }
    }
}

fn entry_parts(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

/// How deep expressions are in one another: Envoy's parser counts what is added up, too.
fn depth(expression: &IdedExpr) -> usize {
    1 + parts(expression).into_iter().map(depth).max().unwrap_or_default()
}

/// How many expressions one is made of.
fn nodes(expression: &IdedExpr) -> usize {
    1 + parts(expression).into_iter().map(nodes).sum::<usize>()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail")]
    use super::*;

    #[track_caller]
    fn makes(text: &str, made: Result<(), Status>) {
        assert_eq!(Expressions::default().create(text.as_bytes()).map(drop), made, "{text}");
    }

    #[test]
    fn an_expression_is_refused_for_its_grammar_its_size_and_what_it_calls() {
        makes("request.path == '/'", Ok(()));
        makes("contains('text', 'ex')", Ok(()));
        makes("1 +", Err(Status::BadArgument));
        makes("'a'.lowerAscii()", Err(Status::BadArgument));
        makes("{'a': 1}.?a", Err(Status::BadArgument));
        makes(&format!("1{}", " ".repeat(MAX_LENGTH)), Err(Status::BadArgument));
        makes(&format!("{}1{}", "(".repeat(300), ")".repeat(300)), Err(Status::BadArgument));
    }

    #[test]
    fn tokens_count_from_none_and_there_are_so_many() {
        let mut all = Expressions::default();
        assert_eq!(all.create(b"1"), Ok(0));
        assert_eq!(all.create(b"1"), Ok(1));
        all.delete(0);
        assert_eq!(all.create(b"1"), Ok(2));
        for _ in 0..MAX_EXPRESSIONS - 2 {
            all.create(b"1").unwrap();
        }
        assert_eq!(all.create(b"1"), Err(Status::InternalFailure));
    }

    #[test]
    fn no_bytes_are_the_end_of_the_host() {
        let pieces = [
            "a", ".", "[", "]", "(", ")", "'", "{", "}", ":", "1", "+", "?", "in", " ", "map", "has", ",", "\\", "u",
            "b'", "-",
        ];
        let mut seed = 0x5109_ce00_u64;
        for _ in 0..2000 {
            let mut text = String::new();
            for _ in 0..12 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text += pieces[usize::try_from(seed >> 33).unwrap() % pieces.len()];
            }
            let _ = Expressions::default().create(text.as_bytes());
        }
    }
}
