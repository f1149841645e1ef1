//! What `--fidelity hardened` refuses of the heads and chunks that Envoy repairs: each is read differently by some server,
//! and a request that two servers read differently is how one is smuggled past the first.

/// Chunk extensions longer than this are refused.
pub(super) const LONGEST_EXTENSION: usize = 256;

/// Is a whole head written as RFC 9112 has it, and in one way only?
pub(super) fn accepts(head: &[u8]) -> bool {
    let mut lines = head.split_inclusive(|&byte| byte == b'\n');
    let first = lines.next().unwrap_or_default();
    is_line(first) && is_request_line(first) && lines.all(|line| is_line(line) && is_field(line))
}

/// Are these fields (trailers, up to their empty line) written so?
pub(super) fn accepts_fields(block: &[u8]) -> bool {
    block.split_inclusive(|&byte| byte == b'\n').all(|line| is_line(line) && is_field(line))
}

/// CR LF at its end and neither of them anywhere else.
fn is_line(line: &[u8]) -> bool {
    line.strip_suffix(b"\r\n").is_some_and(|text| !text.contains(&b'\r'))
}

/// One space between words, no other white space.
fn is_request_line(line: &[u8]) -> bool {
    let spaces = line.iter().filter(|&&byte| byte == b' ').count();
    spaces == 2 && !line.contains(&b'\t') && !line.windows(2).any(|pair| pair == b"  ") && line.first() != Some(&b' ')
}

fn is_field(line: &[u8]) -> bool {
    let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
    let value = line.get(name.len() + 1..).unwrap_or_default().trim_ascii();
    let continues = matches!(line.first(), Some(b' ' | b'\t'));
    let padded = name.eq_ignore_ascii_case(b"content-length") && value.len() > 1 && value.first() == Some(&b'0');
    !continues && !padded && !name.contains(&b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_read_in_two_ways_is_refused() {
        for (what, head, accepted) in [
            ("a plain head", "GET /a_b HTTP/1.1\r\nhost: a\r\nx: a_b  c\r\n\r\n", true),
            ("a zero", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n", true),
            ("a continuation line", "GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n b\r\n\r\n", false),
            ("a bare CR", "GET / HTTP/1.1\r\nhost: a\r\nx: a\rb: c\r\n\r\n", false),
            ("LF alone", "GET / HTTP/1.1\nhost: a\n\n", false),
            ("LF alone at the end", "GET / HTTP/1.1\r\nhost: a\r\n\n", false),
            ("two spaces", "GET  / HTTP/1.1\r\nhost: a\r\n\r\n", false),
            ("a tab", "GET\t/ HTTP/1.1\r\nhost: a\r\n\r\n", false),
            ("a space at the end of the first line", "GET / HTTP/1.1 \r\nhost: a\r\n\r\n", false),
            ("leading zeros", "POST / HTTP/1.1\r\nhost: a\r\nContent-Length: 003\r\n\r\n", false),
            ("an underscore in a name", "GET / HTTP/1.1\r\nhost: a\r\nx_forwarded_for: b\r\n\r\n", false),
        ] {
            assert_eq!(accepts(head.as_bytes()), accepted, "{what}");
        }
    }
}
