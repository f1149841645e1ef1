//! RE2's grammar and meaning, sentence by sentence.
#![cfg(feature = "regex")]

use super::*;
use crate::sentences;

/// Outside wasm the wasm engine answers too, so every sentence holds for both.
#[cfg(not(target_family = "wasm"))]
fn lazily(pattern: &str, full: bool) -> lazy::Engine {
    use regex_syntax::hir::{Hir, Look};
    let hir = syntax::parse(pattern).unwrap().hir;
    let anchored = || Hir::concat(vec![Hir::look(Look::Start), hir.clone(), Hir::look(Look::End)]);
    lazy::Engine::build(pattern, &if full { anchored() } else { hir.clone() }, full).unwrap()
}

fn full(pattern: &str, yes: &[&[u8]], no: &[&[u8]]) {
    let regex = Regex::full(pattern).unwrap_or_else(|fault| panic!("{pattern}: {fault}"));
    #[cfg(not(target_family = "wasm"))]
    {
        let lazy = lazily(pattern, true);
        assert!(yes.iter().all(|text| lazy.is_match(text)) && !no.iter().any(|text| lazy.is_match(text)), "{pattern}");
    }
    for text in yes {
        assert!(regex.is_match(text), "{pattern} should match {}", text.escape_ascii());
    }
    for text in no {
        assert!(!regex.is_match(text), "{pattern} should not match {}", text.escape_ascii());
    }
}

fn refused(pattern: &str, fault: Fault, fragment: &str) {
    let error = Regex::full(pattern).expect_err(pattern);
    assert_eq!((error.fault(), error.fragment()), (fault, fragment), "{pattern}");
}

fn replaced(pattern: &str, with: &str, text: &str, expected: &str) {
    let regex = Regex::search(pattern).unwrap();
    let with = Substitution::parse(with, &regex).unwrap();
    let out = regex.replace_all(text.as_bytes(), &with);
    #[cfg(not(target_family = "wasm"))]
    assert_eq!(lazily(pattern, false).replace_all(text.as_bytes(), &with), out, "{pattern} in {text}, as in wasm");
    assert_eq!(String::from_utf8_lossy(&out), expected, "{pattern} in {text}");
}

sentences! {
    fn a_match_is_a_full_match() {
        full("a|ab", &[b"a", b"ab"], &[b"abc", b"ba", b""]);
        full("/api.*", &[b"/api", b"/api/v1"], &[b"x/api"]);
        full("", &[b""], &[b"a"]);
    }

    fn anchors_cannot_be_climbed_out_of() {
        refused("a)|(?:b", Fault::UnexpectedParen, "a)|(?:b");
    }

    fn classes_are_ascii() {
        full(r"\d+", &[b"123"], &["١".as_bytes(), b""]);
        full(r"\w", &[b"a", b"_", b"0"], &["é".as_bytes(), b"-"]);
        full(r"\s", &[b" ", b"\t", b"\n", b"\x0c"], &[b"\x0b", "\u{a0}".as_bytes()]);
        full(r"\D\W\S", &[b"a-b"], &[b"1-b"]);
        full("[[:alpha:]_]+", &[b"aZ_"], &[b"a1"]);
        full("[[:^digit:]]", &[b"a", b"\xe9"], &[b"1", "é".as_bytes()]);
        full("[[:word:]]", &[b"_"], &[b"-"]);
    }

    fn a_dot_is_one_byte_whatever_text_the_bytes_make() {
        full("caf.", &[b"caf\xe9", b"cafe"], &["café".as_bytes(), b"caf", b"caf\n"]);
        full(".*", &[b"", b"\xff", "é".as_bytes()], &[b"\n"]);
        full("(?s)a.b", &[b"a\nb"], &[]);
        full("[^/]+", &["é\n".as_bytes(), b"\xff"], &[b"a/"]);
        full(r"\C", &[b"\xff", b"a"], &["é".as_bytes()]);
        full("é", &["é".as_bytes()], &[b"\xe9"]);
        full(r"\xe9\x{e9}\351", &[b"\xe9\xe9\xe9"], &["ééé".as_bytes()]);
        full(r"\x{100}|a", &[b"a"], &["\u{100}".as_bytes()]);
    }

    fn case_folds_in_ascii() {
        full("(?i)Kids", &[b"kids", b"KIDS"], &[b"kid", "\u{212a}ids".as_bytes(), "kid\u{17f}".as_bytes()]);
        full("a(?i)b(?-i)c", &[b"aBc", b"abc"], &[b"Abc", b"abC"]);
        full("(?i:a)b", &[b"Ab"], &[b"AB"]);
        full("(?i)[a-c]x[^d]", &[b"BXe"], &[b"BXD"]);
        refused("(?i)é", Fault::Unicode, "(?i)é");
    }

    fn repeats_count() {
        full("a{2}", &[b"aa"], &[b"a", b"aaa"]);
        full("a{2,}", &[b"aa", b"aaaa"], &[b"a"]);
        full("a{1,2}?", &[b"a", b"aa"], &[b"aaa"]);
        full("(ab)*c+d?", &[b"c", b"ababcd"], &[b"ab"]);
        full("(?U)a+", &[b"aaa"], &[]);
    }

    fn a_brace_that_counts_nothing_is_a_brace() {
        full("a{,3}", &[b"a{,3}"], &[b"aa"]);
        full("a{", &[b"a{"], &[]);
        full("{a}", &[b"{a}"], &[]);
        full("a{01}", &[b"a{01}"], &[b"a"]);
        full("x{2,1x}", &[b"x{2,1x}"], &[]);
    }

    fn repeats_have_bounds() {
        full("a{1000}", &[&[b'a'; 1000]], &[&[b'a'; 999]]);
        refused("a{1001}", Fault::RepeatSize, "{1001}");
        refused("a{99999999999}", Fault::RepeatSize, "{99999999999}");
        refused("a{3,2}", Fault::RepeatSize, "{3,2}");
        refused("(?:a{100}){11}", Fault::RepeatSize, "{11}");
        refused("((a{10}){10}b){11}", Fault::RepeatSize, "{11}");
    }

    fn repeats_need_something_and_do_not_pile_up() {
        refused("*", Fault::MissingRepeatArgument, "*");
        refused("a|*", Fault::MissingRepeatArgument, "*");
        refused("(+)", Fault::MissingRepeatArgument, "+");
        refused("{2}", Fault::MissingRepeatArgument, "{2}");
        refused("a**", Fault::NestedRepeat, "**");
        refused("a*?+", Fault::NestedRepeat, "*?+");
        refused("a{2}{3}", Fault::NestedRepeat, "{2}{3}");
        full("(?:a*)*", &[b"aaa", b""], &[b"b"]);
    }

    fn brackets_read_as_re2_reads_them() {
        full("[]a]", &[b"]", b"a"], &[b"b"]);
        full("[^]a]", &[b"b"], &[b"]"]);
        full("[a-]", &[b"-", b"a"], &[b"b"]);
        full("[-a]", &[b"-"], &[]);
        full("[[a]", &[b"[", b"a"], &[b"]"]);
        full("[a&&b]", &[b"&", b"a", b"b"], &[b"c"]);
        full(r"[\]\-\\\d]", &[b"]", b"-", b"\\", b"7"], &[b"a"]);
        full(r"[\x00-\x{10FFFF}]", &[b"\xff", b"a"], &["é".as_bytes()]);
        full(r"[^\x00-\x{10FFFF}]", &[], &[b"a", b""]);
        refused("[a", Fault::MissingBracket, "[a");
        refused("x[", Fault::MissingBracket, "[");
        refused("[z-a]", Fault::ClassRange, "z-a");
        refused("[[:nope:]]", Fault::ClassRange, "[:nope:]");
    }

    fn escapes_are_re2s() {
        full(r"\.\/\-\_\<", &[b"./-_<"], &[]);
        full(r"\t\n\r\f\v\a", &[b"\t\n\r\x0c\x0b\x07"], &[]);
        full(r"\012\x41", &[b"\nA"], &[]);
        full(r"\Qa.b*\E+", &[b"a.b*", b"a.b**"], &[b"axb"]);
        full(r"\Q.", &[b"."], &[b"a"]);
        full(r"\Q\Ea", &[b"a"], &[]);
        refused(r"(a)\1", Fault::Escape, r"\1");
        refused(r"\y", Fault::Escape, r"\y");
        refused(r"\Z", Fault::Escape, r"\Z");
        refused(r"a\", Fault::TrailingBackslash, r"\");
        refused(r"\xg0", Fault::Escape, r"\xg0");
        refused(r"\x{110000}", Fault::Escape, r"\x{110000}");
        refused(r"\p{Greek}", Fault::Unicode, r"\p{");
    }

    fn perl_groups_are_refused_by_name() {
        refused("(?=a)", Fault::Perl, "(?=");
        refused("(?!a)", Fault::Perl, "(?!");
        refused("(?<=a)b", Fault::Perl, "(?<");
        refused("(?>a)", Fault::Perl, "(?>");
        refused("(?x)a", Fault::Perl, "(?x");
        refused("(?)", Fault::Perl, "(?)");
    }

    fn groups_may_have_names() {
        full("(?P<user>a)(?<id>b)", &[b"ab"], &[]);
        refused("(?P<n>a)(?P<n>b)", Fault::DuplicateName, "n");
        refused("(?P<n", Fault::NamedCapture, "(?P<n");
        refused("(?P<>a)", Fault::NamedCapture, "(?P<>");
        refused("(?P<a-b>a)", Fault::NamedCapture, "(?P<a-b>");
    }

    fn parentheses_pair() {
        refused("(a", Fault::MissingParen, "(a");
        refused("(?i", Fault::MissingParen, "(?i");
        refused("a)", Fault::UnexpectedParen, "a)");
        full("()", &[b""], &[b"a"]);
        full("(|a)", &[b"", b"a"], &[]);
    }

    fn anchors_mean_the_text_and_lines_only_when_asked() {
        full("^a$", &[b"a"], &[b"a\n"]);
        full(r"\Aa\z", &[b"a"], &[]);
        full("(?m)a$\n^b", &[b"a\nb"], &[]);
        full(r"\bfoo\b.*", &[b"foo bar"], &[b"foobar"]);
    }

    fn hostile_patterns_stay_small_and_quick() {
        refused("(?:a{1000}){1000}", Fault::RepeatSize, "{1000}");
        let deep = "(".repeat(5000);
        refused(&deep, Fault::Nesting, &deep);
        let evil = vec![b'a'; 1 << 16];
        full("(a|aa)+$b", &[], &[&evil]);
        full("(a*)*c", &[], &[&evil]);
        let large = format!("({})", vec![r"[^x]{900}"; 40].join("|"));
        refused(&large, Fault::TooLarge, &large);
    }

    fn the_cure_is_told() {
        let said = |pattern: &str| Regex::full(pattern).unwrap_err().to_string();
        assert_eq!(said("*"), "missing argument to repetition operator: `*`; write `.*` for \"anything\"");
        assert!(said("(?=a)").contains("no look-around"));
    }

    fn every_match_is_replaced() {
        replaced("a", "b", "banana", "bbnbnb");
        replaced("x", "y", "banana", "banana");
        replaced("^/a", "/b", "/a/a", "/b/a");
        replaced("(/[a-z]+)(/[a-z]+)", r"\2\1", "/a/b/c/d/e", "/b/a/d/c/e");
        replaced("b+?", "x", "bbb", "xxx");
        replaced("(a)|(b)", r"[\1\2]", "abc", "[a][b]c");
        replaced("a", r"\\\0", "a", r"\a");
        replaced(".*", "x", "abc", "x");
        replaced("$", "!", "abc", "abc!");
    }

    fn empty_matches_are_replaced_once_and_not_behind_another() {
        replaced("", "-", "ab", "-a-b-");
        replaced("b*", "-", "abc", "-a-c-");
    }

    fn substitutions_are_checked() {
        let regex = Regex::search("(a)").unwrap();
        let refused = |text: &str| Substitution::parse(text, &regex).unwrap_err().fault();
        assert_eq!(refused(r"\2"), Fault::NoSuchGroup);
        assert_eq!(refused(r"\"), Fault::Substitution);
        assert_eq!(refused(r"\n"), Fault::Substitution);
        assert!(Substitution::parse("$1", &regex).is_ok());
    }
}
