//! The JSON path at a place in the text, for the errors of a parser that counts only lines and columns.

enum Frame {
    Object { key: Option<String> },
    Array { position: usize },
}

/// The path of what stands right before the place: a key, a value, or the object that just closed.
///
/// `line` and `column` as `serde_json` counts them: lines from 1, columns in bytes.
pub(super) fn path(text: &[u8], line: usize, column: usize) -> String {
    let before: usize = text.split_inclusive(|&b| b == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum();
    let end = before.saturating_add(column).min(text.len());
    let mut frames: Vec<Frame> = Vec::new();
    let mut bytes = text.iter().copied().take(end);
    while let Some(byte) = bytes.next() {
        match byte {
            b'{' => frames.push(Frame::Object { key: None }),
            b'[' => frames.push(Frame::Array { position: 0 }),
            b'}' | b']' => {
                frames.pop();
            }
            b',' => match frames.last_mut() {
                Some(Frame::Object { key }) => *key = None,
                Some(Frame::Array { position }) => *position = position.saturating_add(1),
                None => {}
            },
            b'"' => {
                let word = string(&mut bytes);
                if let Some(Frame::Object { key: key @ None }) = frames.last_mut() {
                    *key = Some(word);
                }
            }
            _ => {}
        }
    }
    render(&frames)
}

/// The rest of a string; escapes are kept as they are written.
fn string(bytes: &mut impl Iterator<Item = u8>) -> String {
    let mut word = Vec::new();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => break,
            b'\\' => {
                word.push(byte);
                word.extend(bytes.next());
            }
            _ => word.push(byte),
        }
    }
    String::from_utf8_lossy(&word).into_owned()
}

fn render(frames: &[Frame]) -> String {
    let mut path = String::new();
    for frame in frames {
        match frame {
            Frame::Object { key: Some(key) } => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
            }
            Frame::Object { key: None } => {}
            Frame::Array { position } => path.push_str(&format!("[{position}]")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sentences;

    /// `^` stands right behind the place.
    fn check(marked: &str, expected: &str) {
        let (line, column) =
            marked.split('\n').zip(1..).find_map(|(text, line)| text.find('^').map(|column| (line, column))).unwrap();
        assert_eq!(path(marked.replace('^', "").as_bytes(), line, column), expected, "{marked}");
    }

    sentences! {
        fn the_place_is_the_innermost_that_began() {
            check(r#"{"rules": [{"name": "a"}, {"matchh"^: 1}]}"#, "rules[1].matchh");
            check(r#"{"rules": [{"match": [{"uri": "x"^}]}]}"#, "rules[0].match[0].uri");
            check(r#"{"rules": 5^}"#, "rules");
            check("{\n \"a\": {},\n \"b\": [1, 2^]}", "b[1]");
        }

        fn a_closed_object_is_itself_the_place() {
            check(r#"{"rules": [{"match": []}^]}"#, "rules[0]");
        }

        fn strings_may_hold_anything() {
            check(r#"{"a": "}]\"{[,", "b": [true^]}"#, "b[0]");
        }
    }
}
