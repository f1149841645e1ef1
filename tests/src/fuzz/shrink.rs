//! Makes a case small: takes away resources, rules, fields and headers as long as the same difference stays.

use serde_json::Value;

use super::case::Case;
use super::judge::{Finding, Judge};
use crate::case::{Send, Version};

/// How often a smaller case is tried before the present one is small enough.
const TRIES: usize = 260;

/// A smaller case with the same kind of difference.
pub async fn shrink(judge: &Judge, case: Case, kind: &str) -> Case {
    let mut search = Search { judge, kind, left: TRIES };
    let case = search.resources(case).await;
    let case = search.request(case).await;
    let case = search.fields(case).await;
    search.request(case).await
}

struct Search<'j> {
    judge: &'j Judge,
    kind: &'j str,
    left: usize,
}

impl Search<'_> {
    async fn still(&mut self, case: &Case) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        match self.judge.judge(case).await {
            Ok(Finding::Asked(_, different)) => different.iter().any(|different| different.kind() == self.kind),
            Ok(Finding::Start(words)) => self.kind == "start" && !words.is_empty(),
            _ => false,
        }
    }

    /// Halves, quarters, single resources.
    async fn resources(&mut self, mut case: Case) -> Case {
        let mut size = case.resources.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < case.resources.len() {
                let mut smaller = case.clone();
                let end = (at + size).min(smaller.resources.len());
                smaller.resources.drain(at..end);
                if self.still(&smaller).await {
                    case = smaller;
                } else {
                    at += size;
                }
            }
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
        case
    }

    async fn request(&mut self, mut case: Case) -> Case {
        let [send] = case.requests.as_slice() else { return case };
        let mut send = send.clone();
        let mut at = 0;
        while at < send.headers.len() {
            let mut smaller = send.clone();
            smaller.headers.remove(at);
            if self.asks(&mut case, &smaller).await { send = smaller } else { at += 1 }
        }
        for simpler in simpler(&send) {
            let mut smaller = send.clone();
            simpler(&mut smaller);
            if self.asks(&mut case, &smaller).await {
                send = smaller;
            }
        }
        case
    }

    /// Whether the case with this request still differs; then it has it from now on.
    async fn asks(&mut self, case: &mut Case, send: &Send) -> bool {
        let mut smaller = case.clone();
        smaller.requests = vec![send.clone()];
        let still = self.still(&smaller).await;
        if still {
            *case = smaller;
        }
        still
    }

    /// Fields and elements of what is left, outermost first.
    async fn fields(&mut self, mut case: Case) -> Case {
        let mut number = 0;
        while number < case.resources.len() {
            let mut at = 0;
            loop {
                let mut smaller = case.clone();
                let Some(resource) = smaller.resources.get_mut(number) else { break };
                let Some(spec) = resource.get_mut("spec") else { break };
                let mut countdown = at;
                if !remove_nth(spec, &mut countdown) {
                    break;
                }
                if self.still(&smaller).await {
                    case = smaller;
                } else {
                    at += 1;
                }
                if self.left == 0 {
                    return case;
                }
            }
            number += 1;
        }
        case
    }
}

fn simpler(send: &Send) -> Vec<fn(&mut Send)> {
    let mut ways: Vec<fn(&mut Send)> = Vec::new();
    if !send.body.is_empty() {
        ways.push(|send| {
            send.body.clear();
            send.headers.retain(|(name, _)| name != "transfer-encoding");
        });
    }
    if send.method != "GET" {
        ways.push(|send| send.method = "GET".into());
    }
    if send.version != Version::Http11 {
        ways.push(|send| send.version = Version::Http11);
    }
    if send.path != "/" {
        ways.push(|send| send.path = "/".into());
        ways.push(|send| send.path = send.path.split('?').next().unwrap_or_default().into());
    }
    ways
}

/// Removes the n-th removable thing in preorder: an element of a list, a field of a message.
fn remove_nth(value: &mut Value, left: &mut usize) -> bool {
    match value {
        Value::Array(items) => {
            for at in 0..items.len() {
                if *left == 0 {
                    items.remove(at);
                    return true;
                }
                *left -= 1;
                if items.get_mut(at).is_some_and(|item| remove_nth(item, left)) {
                    return true;
                }
            }
            false
        }
        Value::Object(fields) => {
            let names: Vec<String> = fields.keys().cloned().collect();
            for name in names {
                if *left == 0 {
                    fields.remove(&name);
                    return true;
                }
                *left -= 1;
                if fields.get_mut(&name).is_some_and(|field| remove_nth(field, left)) {
                    return true;
                }
            }
            false
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_can_be_removed_outermost_first() {
        let value = serde_json::json!({"a": [1, {"b": 2}], "c": 3});
        let without = |n: usize| {
            let (mut value, mut left) = (value.clone(), n);
            remove_nth(&mut value, &mut left).then(|| value.to_string())
        };
        let all: Vec<_> = (0..7).map(without).collect();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            all,
            [
                text(r#"{"c":3}"#),
                text(r#"{"a":[{"b":2}],"c":3}"#),
                text(r#"{"a":[1],"c":3}"#),
                text(r#"{"a":[1,{}],"c":3}"#),
                text(r#"{"a":[1,{"b":2}]}"#),
                None,
                None,
            ]
        );
    }
}
