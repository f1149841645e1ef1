//! Path templates: `/api/{version}/{rest=**}` as a condition, `/v2/{rest}` as the path made of it.
//!
//! A segment is literal, `*` (any one segment), `{name}` (the same, remembered), or at the end `**` or `{name=**}` (any number of
//! segments, none included). A segment that stands for a name is never empty.

use std::collections::BTreeMap;

/// A template that paths are matched against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    segments: Vec<Segment>,
    tail: Option<Option<String>>,
    literal_prefix: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    One(Option<String>),
}

/// A template that a path is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filling {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Variable(String),
}

/// Why a template was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// `api/{x}`
    #[error("a template starts with \"/\", this one is \"{0}\"")]
    NoSlash(String),
    /// `/a//b`
    #[error("a template has no empty segment; \"{0}\" has one")]
    EmptySegment(String),
    /// `/{rest=**}/b`
    #[error("\"**\" stands for the rest of the path, so it is the last segment; \"{0}\" goes on")]
    TailNotLast(String),
    /// `/a{x}`, `/{}`, `/{a b}`
    #[error(
        "\"{0}\" is not a segment: write a literal, \"*\", \"**\", \"{{name}}\" or \"{{name=**}}\", names of a-z, A-Z, 0-9 and _"
    )]
    BadSegment(String),
    /// `/{a}/{a}`
    #[error("\"{{{0}}}\" stands twice; give the second another name")]
    Twice(String),
    /// A filling names what the match does not have
    #[error("\"{{{name}}}\" is not a name in the match's template, which has {known}")]
    Unknown {
        /// The name used.
        name: String,
        /// The names there are.
        known: String,
    },
}

/// What the names of a template stand for in one path.
pub type Captures<'t, 'p> = BTreeMap<&'t str, &'p [u8]>;

impl Template {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Template, InvalidTemplate> {
        let body = text.strip_prefix('/').ok_or_else(|| InvalidTemplate::NoSlash(text.into()))?;
        let mut template = Template { text: text.into(), segments: Vec::new(), tail: None, literal_prefix: 0 };
        let mut names = Vec::new();
        let trailing_slash = body.ends_with('/');
        let count = body.split('/').count();
        for (n, raw) in body.split('/').enumerate() {
            if template.tail.is_some() {
                return Err(InvalidTemplate::TailNotLast(text.into()));
            }
            let last = n.saturating_add(1) == count;
            if raw.is_empty() && !(last && (trailing_slash || body.is_empty())) {
                return Err(InvalidTemplate::EmptySegment(text.into()));
            }
            let name = template.push(raw)?;
            if let Some(name) = name {
                if names.contains(&name) {
                    return Err(InvalidTemplate::Twice(name));
                }
                names.push(name);
            }
        }
        let literal = template.segments.iter().map_while(|segment| match segment {
            Segment::Literal(text) => Some(text.len().saturating_add(1)),
            Segment::One(_) => None,
        });
        template.literal_prefix = literal.sum::<usize>().min(text.len());
        Ok(template)
    }

    fn push(&mut self, raw: &str) -> Result<Option<String>, InvalidTemplate> {
        let bad = || InvalidTemplate::BadSegment(raw.into());
        match raw {
            "*" => self.segments.push(Segment::One(None)),
            "**" => self.tail = Some(None),
            _ if raw.contains(['{', '}', '*']) => {
                let inner = raw.strip_prefix('{').and_then(|raw| raw.strip_suffix('}')).ok_or_else(bad)?;
                let (name, kind) = inner.split_once('=').unwrap_or((inner, "*"));
                if !is_name(name) {
                    return Err(bad());
                }
                match kind {
                    "*" => self.segments.push(Segment::One(Some(name.into()))),
                    "**" => self.tail = Some(Some(name.into())),
                    _ => return Err(bad()),
                }
                return Ok(Some(name.into()));
            }
            literal => self.segments.push(Segment::Literal(literal.into())),
        }
        Ok(None)
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn literal_prefix(&self) -> &[u8] {
        self.text.as_bytes().get(..self.literal_prefix).unwrap_or_default()
    }

    /// Does the path fit?
    pub fn matches(&self, path: &[u8]) -> bool {
        self.walk(path, |_, _| {})
    }

    /// What the names stand for, if the path fits.
    pub fn captures<'t, 'p>(&'t self, path: &'p [u8]) -> Option<Captures<'t, 'p>> {
        let mut captures = Captures::new();
        self.walk(path, |name, value| {
            captures.insert(name, value);
        })
        .then_some(captures)
    }

    fn walk<'t, 'p>(&'t self, path: &'p [u8], mut found: impl FnMut(&'t str, &'p [u8])) -> bool {
        let Some(mut rest) = path.strip_prefix(b"/") else { return false };
        let mut more = true;
        for segment in &self.segments {
            if !more {
                return false;
            }
            let end = rest.iter().position(|&b| b == b'/');
            let (value, after) = rest.split_at(end.unwrap_or(rest.len()));
            more = end.is_some();
            rest = after.strip_prefix(b"/").unwrap_or(after);
            match segment {
                Segment::Literal(text) if value != text.as_bytes() => return false,
                Segment::One(_) if value.is_empty() => return false,
                Segment::One(Some(name)) => found(name, value),
                Segment::Literal(_) | Segment::One(None) => {}
            }
        }
        match &self.tail {
            Some(name) if more => {
                if let Some(name) = name {
                    found(name, rest);
                }
                true
            }
            Some(_) => false,
            None => !more,
        }
    }

    fn names(&self) -> Vec<&str> {
        let ones = self.segments.iter().filter_map(|segment| match segment {
            Segment::One(Some(name)) => Some(name.as_str()),
            _ => None,
        });
        ones.chain(self.tail.iter().flatten().map(String::as_str)).collect()
    }
}

impl Filling {
    /// Reads the path to make; its names must be in the `template` matched.
    pub fn parse(text: &str, template: &Template) -> Result<Filling, InvalidTemplate> {
        if !text.starts_with('/') {
            return Err(InvalidTemplate::NoSlash(text.into()));
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((plain, opened)) = rest.split_once('{') {
            let (name, after) = opened.split_once('}').ok_or_else(|| InvalidTemplate::BadSegment(text.into()))?;
            if !template.names().contains(&name) {
                let known = template.names().join(", ");
                let known = if known.is_empty() { "none".into() } else { known };
                return Err(InvalidTemplate::Unknown { name: name.into(), known });
            }
            if !plain.is_empty() {
                parts.push(Part::Text(plain.into()));
            }
            parts.push(Part::Variable(name.into()));
            rest = after;
        }
        if rest.contains('}') {
            return Err(InvalidTemplate::BadSegment(text.into()));
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Filling { parts })
    }

    /// The path, with the names put in.
    pub fn fill(&self, captures: &Captures<'_, '_>) -> Vec<u8> {
        let mut path = Vec::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => path.extend_from_slice(text.as_bytes()),
                Part::Variable(name) => {
                    path.extend_from_slice(captures.get(name.as_str()).copied().unwrap_or_default())
                }
            }
        }
        path
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    fn check(template: &str, yes: &[&str], no: &[&str]) {
        let matcher = Template::parse(template).unwrap();
        for path in yes {
            assert!(matcher.matches(path.as_bytes()), "{template} should match {path}");
        }
        for path in no {
            assert!(!matcher.matches(path.as_bytes()), "{template} should not match {path}");
        }
    }

    fn fill(template: &str, filling: &str, path: &str) -> String {
        let template = Template::parse(template).unwrap();
        let filling = Filling::parse(filling, &template).unwrap();
        String::from_utf8(filling.fill(&template.captures(path.as_bytes()).unwrap())).unwrap()
    }

    sentences! {
        fn a_name_stands_for_one_segment_that_is_not_empty() {
            check("/users/{id}", &["/users/7", "/users/a.b"], &["/users", "/users/", "/users/7/", "/users/7/x", "users/7"]);
        }

        fn a_star_is_a_name_nobody_asks_for() {
            check("/*/x", &["/a/x"], &["//x", "/a/b/x", "/x"]);
        }

        fn two_stars_take_the_rest_and_may_be_empty() {
            check("/api/{rest=**}", &["/api/", "/api/a", "/api/a/b/"], &["/api", "/apis/a"]);
            check("/**", &["/", "/a/b"], &[""]);
        }

        fn a_trailing_slash_is_a_segment_of_its_own() {
            check("/a/", &["/a/"], &["/a", "/a//"]);
            check("/", &["/"], &["/a", ""]);
        }

        fn names_are_put_where_the_filling_says() {
            assert_eq!(fill("/api/{version}/{rest=**}", "/v2/{rest}", "/api/v1/a/b"), "/v2/a/b");
            assert_eq!(fill("/{a}/{b}", "/{b}-{a}", "/x/y"), "/y-x");
            assert_eq!(fill("/api/{rest=**}", "/{rest}", "/api/"), "/");
        }

        fn faults_are_named() {
            let refused = |text: &str| Template::parse(text).unwrap_err().to_string();
            assert_eq!(refused("api"), "a template starts with \"/\", this one is \"api\"");
            assert!(refused("/a//b").contains("no empty segment"));
            assert!(refused("/{rest=**}/b").contains("last segment"));
            assert!(refused("/v{x}").contains("not a segment"));
            assert!(refused("/{}").contains("not a segment"));
            assert!(refused("/{a}/{a}").contains("stands twice"));
        }

        fn a_filling_knows_the_names_there_are() {
            let template = Template::parse("/{a}/{b}").unwrap();
            let refused = Filling::parse("/{c}", &template).unwrap_err();
            assert_eq!(refused.to_string(), "\"{c}\" is not a name in the match's template, which has a, b");
        }
    }
}
