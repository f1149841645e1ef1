//! The functions of Envoy's CEL, and those of them that are counted before they run.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use cel::{
    Context, DeclarationError, ExecutionError, Value as Cel,
    common::{
        ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators},
        types::CelInt,
    },
};
use regex::bytes::{Regex, RegexBuilder};

use super::{Budget, nodes, parts};

/// Names no text can spell.
const SUM: &str = "@sum";
const EACH: &str = "@each";
const MATCHES: &str = "@matches";

/// Called as `f(x)`: name and how many arguments.
const GLOBAL: &[(&str, usize)] = &[
    ("size", 1),
    ("bool", 1),
    ("bytes", 1),
    ("double", 1),
    ("duration", 1),
    ("dyn", 1),
    ("int", 1),
    ("string", 1),
    ("timestamp", 1),
    ("type", 1),
    ("uint", 1),
    ("contains", 2),
    ("endsWith", 2),
    ("matches", 2),
    ("startsWith", 2),
];
/// Called as `x.f(y)`: name and how many arguments, x left out.
const MEMBER: &[(&str, usize)] = &[
    ("size", 0),
    ("contains", 1),
    ("endsWith", 1),
    ("matches", 1),
    ("startsWith", 1),
    ("getDate", 0),
    ("getDate", 1),
    ("getDayOfMonth", 0),
    ("getDayOfMonth", 1),
    ("getDayOfWeek", 0),
    ("getDayOfWeek", 1),
    ("getDayOfYear", 0),
    ("getDayOfYear", 1),
    ("getFullYear", 0),
    ("getFullYear", 1),
    ("getHours", 0),
    ("getHours", 1),
    ("getMilliseconds", 0),
    ("getMilliseconds", 1),
    ("getMinutes", 0),
    ("getMinutes", 1),
    ("getMonth", 0),
    ("getMonth", 1),
    ("getSeconds", 0),
    ("getSeconds", 1),
];

/// Envoy refuses an expression that calls what it does not have when it is made.
pub(super) fn all_known(expression: &IdedExpr) -> bool {
    let known = match &expression.expr {
        Expr::Call(call) if call.func_name.starts_with(|first: char| first.is_ascii_alphabetic()) => {
            let list = if call.target.is_some() { MEMBER } else { GLOBAL };
            list.contains(&(call.func_name.as_str(), call.args.len()))
        }
        Expr::Struct(_) => false,
        _ => true,
    };
    known && parts(expression).into_iter().all(all_known)
}

/// Puts the counted functions where an expression adds, loops and matches.
pub(super) fn bind(expression: &mut IdedExpr) {
    match &mut expression.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {}
        Expr::Call(call) => bind_call(call),
        Expr::Select(select) => bind(&mut select.operand),
        Expr::List(list) => list.elements.iter_mut().for_each(bind),
        Expr::Map(map) => map.entries.iter_mut().for_each(|entry| bind_entry(&mut entry.expr)),
        Expr::Struct(message) => message.entries.iter_mut().for_each(|entry| bind_entry(&mut entry.expr)),
        Expr::Comprehension(all) => {
            let weight = i64::try_from(nodes(&all.loop_step)).unwrap_or(i64::MAX);
            bind(&mut all.iter_range);
            let range = std::mem::take(&mut all.iter_range);
            let id = range.id;
            let weight = IdedExpr { id, expr: Expr::Literal(LiteralValue::Int(CelInt::from(weight))) };
            let each = CallExpr { func_name: EACH.to_owned(), target: None, args: vec![range, weight] };
            all.iter_range = IdedExpr { id, expr: Expr::Call(each) };
            // The step of `map` and `filter` appends to what there is: it grows by what it made, and stays as the package knows it.
            bind_step(&mut all.loop_step, &all.accu_var);
            bind(&mut all.result);
        }
    }
}

fn bind_entry(entry: &mut cel::common::ast::EntryExpr) {
    use cel::common::ast::EntryExpr;
    match entry {
        EntryExpr::StructField(field) => bind(&mut field.value),
        EntryExpr::MapEntry(entry) => {
            bind(&mut entry.key);
            bind(&mut entry.value);
        }
    }
}

fn bind_step(step: &mut IdedExpr, accumulator: &str) {
    let appends = |expr: &IdedExpr| matches!(&expr.expr, Expr::Ident(name) if name == accumulator);
    match &mut step.expr {
        Expr::Call(call) if call.func_name == operators::CONDITIONAL => {
            call.args.iter_mut().for_each(|part| bind_step(part, accumulator));
        }
        Expr::Call(call) if call.func_name == operators::ADD && call.args.first().is_some_and(appends) => {
            call.args.iter_mut().for_each(bind);
        }
        _ => bind(step),
    }
}

fn bind_call(call: &mut CallExpr) {
    if let Some(target) = &mut call.target {
        bind(target);
    }
    call.args.iter_mut().for_each(bind);
    match (call.func_name.as_str(), call.target.take()) {
        (operators::ADD, None) => call.func_name = SUM.to_owned(),
        ("matches", target) => {
            call.args.splice(0..0, target.map(|target| *target));
            call.func_name = MATCHES.to_owned();
        }
        // The package has these as members alone.
        ("contains" | "startsWith" | "endsWith", None) if call.args.len() == 2 => {
            call.target = Some(Box::new(call.args.remove(0)));
        }
        (_, target) => call.target = target,
    }
}

/// The patterns an expression has been evaluated with. They are matched with bytes: `\w` and its kin are ASCII, as RE2 has them.
pub(super) type Regexes = Arc<Mutex<HashMap<String, Regex>>>;

const MAX_REGEXES: usize = 16;
/// Bytes of a compiled pattern.
const MAX_REGEX: usize = 256 << 10;

fn regex(known: &Regexes, pattern: &str) -> Option<Regex> {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = known.get(pattern) {
        return Some(regex.clone());
    }
    if repeats_too_often(pattern) {
        return None;
    }
    let regex = RegexBuilder::new(pattern).unicode(false).size_limit(MAX_REGEX).build().ok()?;
    if known.len() < MAX_REGEXES {
        known.insert(pattern.to_owned(), regex.clone());
    }
    Some(regex)
}

/// RE2 repeats nothing more than a thousand times.
fn repeats_too_often(pattern: &str) -> bool {
    let counts =
        pattern.split('{').skip(1).filter_map(|rest| rest.split_once('}')).flat_map(|(counts, _)| counts.split(','));
    counts.filter_map(|count| count.parse::<u32>().ok()).any(|count| count > 1000)
}

/// Gives a context the counted functions.
pub(super) fn add(
    context: &mut Context<'_, '_>,
    budget: &Arc<Budget>,
    regexes: &Regexes,
) -> Result<(), DeclarationError> {
    let (sums, loops, regexes) = (Arc::clone(budget), Arc::clone(budget), Arc::clone(regexes));
    context.add_function(SUM, move |one: Cel, other: Cel| -> Result<Cel, ExecutionError> {
        let sum = match (one, other) {
            (Cel::Bytes(one), Cel::Bytes(other)) => Cel::Bytes([&one[..], &other[..]].concat().into()),
            (one, other) => (one + other)?,
        };
        if sums.made(&sum) { Ok(sum) } else { Err(too_much()) }
    })?;
    context.add_function(EACH, move |range: Cel, parts: i64| -> Result<Cel, ExecutionError> {
        let turns = match &range {
            Cel::List(list) => list.len(),
            Cel::Map(map) => map.map.len(),
            _ => 0,
        };
        let parts = usize::try_from(parts).unwrap_or(usize::MAX);
        if loops.turns(turns, parts) { Ok(range) } else { Err(too_much()) }
    })?;
    context.add_function(MATCHES, move |text: Arc<String>, pattern: Arc<String>| -> Result<bool, ExecutionError> {
        let regex = regex(&regexes, &pattern);
        regex.map(|regex| regex.is_match(text.as_bytes())).ok_or_else(|| error("matches", "not a pattern"))
    })
}

fn too_much() -> ExecutionError {
    error("evaluate", "it costs too much")
}

fn error(function: &str, message: &str) -> ExecutionError {
    ExecutionError::FunctionError { function: function.to_owned(), message: message.to_owned() }
}
