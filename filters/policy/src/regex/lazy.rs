//! Runs a parsed pattern in wasm: a lazy DFA answers yes or no, and only a rewrite that will happen asks for groups.
//!
//! These are two of the `regex` package's own engines, without the others: a third of its size.

use regex_automata::hybrid::dfa::{Cache, Config, DFA};
use regex_automata::nfa::thompson::pikevm::{self, PikeVM};
use regex_automata::nfa::thompson::{self, NFA};
use regex_automata::util::pool::Pool;
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Anchored, Input};
use regex_syntax::hir::Hir;

use super::replace::{self, Groups};
use super::{COMPILED_LIMIT, Fault, InvalidRegex, Substitution};

/// What the lazy DFA may remember before it starts over.
const CACHE_LIMIT: usize = 1 << 18;

type Make = Box<dyn Fn() -> Cache + Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>;

/// A compiled pattern and its scratch memory.
pub(super) struct Engine {
    anchored: Anchored,
    dfa: DFA,
    caches: Pool<Cache, Make>,
}

impl Engine {
    pub(super) fn build(pattern: &str, hir: &Hir, anchored: bool) -> Result<Engine, InvalidRegex> {
        let too_large = || InvalidRegex::new(Fault::TooLarge, pattern);
        let nfa = thompson::Compiler::new()
            .configure(thompson::Config::new().utf8(false).nfa_size_limit(Some(COMPILED_LIMIT)))
            .build_from_hir(hir)
            .map_err(|_| too_large())?;
        let dfa = DFA::builder()
            .configure(Config::new().cache_capacity(CACHE_LIMIT).skip_cache_capacity_check(true))
            .build_from_nfa(nfa)
            .map_err(|_| too_large())?;
        let for_cache = dfa.clone();
        let make: Make = Box::new(move || for_cache.create_cache());
        let anchored = if anchored { Anchored::Yes } else { Anchored::No };
        Ok(Engine { anchored, dfa, caches: Pool::new(make) })
    }

    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        let input = Input::new(text).anchored(self.anchored).earliest(true);
        let mut cache = self.caches.get();
        // The DFA is built never to give up and has no quit bytes; the slow engine stands by all the same.
        self.dfa.try_search_fwd(&mut cache, &input).map_or_else(|_| self.slowly(text), |found| found.is_some())
    }

    fn slowly(&self, text: &[u8]) -> bool {
        self.group_engine().is_some_and(|vm| vm.is_match(&mut vm.create_cache(), text))
    }

    fn group_engine(&self) -> Option<PikeVM> {
        pikevm::Builder::new().build_from_nfa(NFA::clone(self.dfa.get_nfa())).ok()
    }

    pub(super) fn replace_all(&self, text: &[u8], with: &Substitution) -> Vec<u8> {
        if !self.is_match(text) {
            return text.to_vec();
        }
        let Some(vm) = self.group_engine() else { return text.to_vec() };
        let mut cache = vm.create_cache();
        let groups = vm.get_nfa().group_info().group_len(regex_automata::PatternID::ZERO);
        let mut slots: Vec<Option<NonMaxUsize>> = vec![None; groups.saturating_mul(2)];
        replace::all(text, with, |at| {
            let input = Input::new(text).range(at..).anchored(self.anchored);
            slots.fill(None);
            vm.search_slots(&mut cache, &input, &mut slots)?;
            let (bounds, _) = slots.as_chunks::<2>();
            Some(
                bounds
                    .iter()
                    .map(|[start, end]| Some((start.as_ref()?.get(), end.as_ref()?.get())))
                    .collect::<Groups>(),
            )
        })
    }
}
