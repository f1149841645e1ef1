//! One finding: which rule, how bad, where, what is wrong, a request that shows it, and the fix.

use std::fmt;

use crate::{
    problem::{Position, Problem},
    resource::object::Object,
};

/// How bad; the names and their order are `istioctl analyze`'s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Does not work, or not as written.
    Error,
    /// Works until something happens.
    Warning,
    /// Worth knowing.
    Info,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "Error",
            Self::Warning => "Warning",
            Self::Info => "Info",
        })
    }
}

/// What the files are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// A part of what the cluster holds: a Pod, a Service, a Secret or a Namespace in no file may still exist. What `istioctl analyze
    /// --use-kube=false` says.
    #[default]
    Files,
    /// All there is: what is in no file does not exist. What `istioctl analyze` says with a cluster that holds exactly these.
    WholeCluster,
}

/// A request that shows a finding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Witness {
    /// `GET` unless a rule asks for another.
    pub method: String,
    /// `https` on a server that ends TLS.
    pub scheme: String,
    /// The host, without a port.
    pub host: String,
    /// The Gateway server's port.
    pub port: u32,
    /// Path and query.
    pub path: String,
    /// Further headers, in order.
    pub headers: Vec<(String, String)>,
    /// What becomes of it.
    pub claim: Claim,
}

/// What a witness is claimed to meet. Rules are named by their resource (`VirtualService default/shop`) and position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Claim {
    /// This rule takes it.
    Taken {
        /// The VirtualService the rule is written in.
        resource: String,
        /// `spec.http[rule]`.
        rule: usize,
    },
    /// This rule takes it and the upstream sees this path.
    Rewritten {
        /// The VirtualService the rule is written in.
        resource: String,
        /// `spec.http[rule]`.
        rule: usize,
        /// The path after the rewrite.
        path: String,
    },
    /// This rule does not take it.
    NotTaken {
        /// The VirtualService the rule is written in.
        resource: String,
        /// `spec.http[rule]`.
        rule: usize,
    },
    /// Nothing that routing alone could confirm.
    #[default]
    None,
}

/// The arguments of `host-sim explain` that send it.
impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.method != "GET" {
            write!(f, "-X {} ", self.method)?;
        }
        for (name, value) in &self.headers {
            write!(f, "-H {} ", quoted(&format!("{name}: {value}")))?;
        }
        let port = match (self.scheme.as_str(), self.port) {
            ("http", 80) | ("https", 443) => String::new(),
            (_, port) => format!(":{port}"),
        };
        f.write_str(&quoted(&format!("{}://{}{port}{}", self.scheme, self.host, self.path)))
    }
}

/// As a shell takes it: single quotes where a character means something to it.
fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:=@%+,~".contains(&b);
    if text.bytes().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// `IST0101`, `SLU0103`.
    pub code: &'static str,
    /// How bad.
    pub level: Level,
    /// `VirtualService default/shop`; empty when a document could not be read that far.
    pub resource: String,
    /// The file as it was named.
    pub file: String,
    /// Where in it.
    pub at: Position,
    /// `spec.http[0].match[1].uri`
    pub field: String,
    /// What is wrong; Istio's own words under Istio's codes.
    pub message: String,
    /// A request that shows it.
    pub witness: Option<Witness>,
    /// What would be right.
    pub fix: Option<String>,
}

impl Finding {
    pub(super) fn new<T>(
        code: &'static str,
        level: Level,
        object: &Object<T>,
        field: &str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            code,
            level,
            resource: object.to_string(),
            file: object.origin.file.to_string(),
            at: object.locate(field),
            field: field.to_owned(),
            message: message.into(),
            witness: None,
            fix: None,
        }
    }

    pub(super) fn of_problem(code: &'static str, level: Level, problem: &Problem, message: impl Into<String>) -> Self {
        Self {
            code,
            level,
            resource: problem.resource.clone(),
            file: problem.file.clone(),
            at: problem.at,
            field: problem.field.clone(),
            message: message.into(),
            witness: None,
            fix: problem.cure.clone(),
        }
    }

    pub(super) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

/// By level, code, resource and place, as istioctl prints; what is said twice of one place is said once.
pub(super) fn sort(findings: &mut Vec<Finding>) {
    let key = |finding: &Finding| {
        (
            finding.level,
            finding.code,
            finding.resource.clone(),
            finding.file.clone(),
            finding.at,
            finding.message.clone(),
        )
    };
    findings.sort_by_cached_key(key);
    findings.dedup_by(|a, b| key(a) == key(b));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_is_written_as_explains_arguments() {
        let witness = Witness {
            method: "POST".into(),
            scheme: "http".into(),
            host: "shop.example".into(),
            port: 8080,
            path: "/a?b=c".into(),
            headers: vec![("x-user".into(), "o'neil".into())],
            claim: Claim::None,
        };
        assert_eq!(witness.to_string(), r"-X POST -H 'x-user: o'\''neil' 'http://shop.example:8080/a?b=c'");
        let plain = Witness {
            port: 443,
            scheme: "https".into(),
            method: "GET".into(),
            headers: Vec::new(),
            path: "/".into(),
            ..witness
        };
        assert_eq!(plain.to_string(), "https://shop.example/");
    }
}
