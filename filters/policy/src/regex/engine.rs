//! Runs a parsed pattern: a lazy DFA answers yes or no, and only a rewrite that will happen asks for groups.

use regex_automata::hybrid::dfa::{Cache, Config, DFA};
use regex_automata::nfa::thompson::pikevm::{self, PikeVM};
use regex_automata::nfa::thompson::{self, NFA};
use regex_automata::util::pool::Pool;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::{Hir, HirKind, Look};

use super::syntax::{self, Parsed};
use super::{Fault, InvalidRegex, Part, Substitution};

/// What a pattern may grow to when compiled. RE2's own budget inside Envoy is of this order.
const NFA_LIMIT: usize = 1 << 20;
/// What the lazy DFA may remember per thread before it starts over.
const CACHE_LIMIT: usize = 1 << 18;

type CachePool = Pool<Cache, Box<dyn Fn() -> Cache + Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>>;

/// A compiled pattern and its scratch memory.
pub(super) struct Engine {
    anchored: Anchored,
    dfa: DFA,
    caches: CachePool,
    groups: usize,
    literal: (Vec<u8>, bool),
}

impl Engine {
    pub(super) fn full(pattern: &str) -> Result<Engine, InvalidRegex> {
        let Parsed { hir, groups } = syntax::parse(pattern)?;
        let literal = literal_prefix(&hir);
        let whole = Hir::concat(vec![Hir::look(Look::Start), hir, Hir::look(Look::End)]);
        Engine::build(pattern, &whole, Anchored::Yes, groups, literal)
    }

    pub(super) fn search(pattern: &str) -> Result<Engine, InvalidRegex> {
        let Parsed { hir, groups } = syntax::parse(pattern)?;
        Engine::build(pattern, &hir, Anchored::No, groups, (Vec::new(), false))
    }

    fn build(
        pattern: &str,
        hir: &Hir,
        anchored: Anchored,
        groups: usize,
        literal: (Vec<u8>, bool),
    ) -> Result<Engine, InvalidRegex> {
        let too_large = || InvalidRegex::new(Fault::TooLarge, pattern);
        let nfa = thompson::Compiler::new()
            .configure(thompson::Config::new().utf8(false).nfa_size_limit(Some(NFA_LIMIT)))
            .build_from_hir(hir)
            .map_err(|_| too_large())?;
        let dfa = DFA::builder()
            .configure(Config::new().cache_capacity(CACHE_LIMIT).skip_cache_capacity_check(true))
            .build_from_nfa(nfa)
            .map_err(|_| too_large())?;
        let for_cache = dfa.clone();
        let caches: CachePool = Pool::new(Box::new(move || for_cache.create_cache()));
        Ok(Engine { anchored, dfa, caches, groups, literal })
    }

    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        let input = Input::new(text).anchored(self.anchored).earliest(true);
        let mut cache = self.caches.get();
        // The DFA is built never to give up and has no quit bytes; the slow engine stands by all the same.
        self.dfa.try_search_fwd(&mut cache, &input).map_or_else(|_| self.slowly(text), |found| found.is_some())
    }

    fn slowly(&self, text: &[u8]) -> bool {
        self.captures_engine().is_some_and(|vm| vm.is_match(&mut vm.create_cache(), text))
    }

    fn captures_engine(&self) -> Option<PikeVM> {
        pikevm::Builder::new().build_from_nfa(NFA::clone(self.dfa.get_nfa())).ok()
    }

    pub(super) fn replace_all(&self, text: &[u8], with: &Substitution) -> Vec<u8> {
        if !self.is_match(text) {
            return text.to_vec();
        }
        let Some(vm) = self.captures_engine() else { return text.to_vec() };
        let mut cache = vm.create_cache();
        let mut slots = vec![None; self.groups.saturating_add(1).saturating_mul(2)];
        let mut out = Vec::with_capacity(text.len());
        let mut at = 0;
        let mut last_end = None;
        while at <= text.len() {
            let input = Input::new(text).range(at..).anchored(self.anchored);
            slots.fill(None);
            if vm.search_slots(&mut cache, &input, &mut slots).is_none() {
                break;
            }
            let Some((start, end)) = span(&slots, 0) else { break };
            out.extend_from_slice(text.get(at..start).unwrap_or_default());
            if start == end && last_end == Some(start) {
                let step = one_character(text, start);
                out.extend_from_slice(step);
                // Past the end there is nothing left to step over.
                at = start.saturating_add(step.len().max(1));
                continue;
            }
            for part in with.parts() {
                match part {
                    Part::Text(plain) => out.extend_from_slice(plain),
                    Part::Group(n) => {
                        let (from, to) = span(&slots, *n).unwrap_or_default();
                        out.extend_from_slice(text.get(from..to).unwrap_or_default());
                    }
                }
            }
            at = end;
            last_end = Some(end);
        }
        out.extend_from_slice(text.get(at..).unwrap_or_default());
        out
    }

    pub(super) fn literal_prefix(&self) -> (&[u8], bool) {
        (&self.literal.0, self.literal.1)
    }

    pub(super) fn groups(&self) -> usize {
        self.groups
    }
}

fn span(slots: &[Option<NonMaxUsize>], group: usize) -> Option<(usize, usize)> {
    let first = group.checked_mul(2)?;
    let start = slots.get(first).copied().flatten()?;
    let end = slots.get(first.checked_add(1)?).copied().flatten()?;
    Some((start.get(), end.get()))
}

/// The UTF-8 character at `at`, or one byte where there is none.
fn one_character(text: &[u8], at: usize) -> &[u8] {
    let rest = text.get(at..).unwrap_or_default();
    let length = rest.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next()).map_or(1, char::len_utf8);
    rest.get(..length).unwrap_or(rest)
}

/// The literal bytes a match starts with; `true` if the pattern is nothing else.
fn literal_prefix(hir: &Hir) -> (Vec<u8>, bool) {
    let mut prefix = Vec::new();
    let whole = extend_prefix(hir, &mut prefix);
    (prefix, whole)
}

fn extend_prefix(hir: &Hir, prefix: &mut Vec<u8>) -> bool {
    match hir.kind() {
        HirKind::Empty => true,
        HirKind::Literal(literal) => {
            prefix.extend_from_slice(&literal.0);
            true
        }
        HirKind::Capture(group) => extend_prefix(&group.sub, prefix),
        HirKind::Concat(parts) => parts.iter().all(|part| extend_prefix(part, prefix)),
        // `^/api` is common: at the very start the anchor holds by itself.
        HirKind::Look(Look::Start) => prefix.is_empty(),
        _ => false,
    }
}
