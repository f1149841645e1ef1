//! An origin that answers with what it read: the request line, how the body was framed, the body, its trailers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Serves for as long as the test runs, a connection for each request.
pub(crate) fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || answer(&stream));
        }
    });
    address
}

fn answer(mut stream: &TcpStream) {
    let mut reader = BufReader::new(stream);
    // A request that breaks off is not answered.
    let Some(seen) = read(&mut reader) else { return };
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", seen.len());
    let _ = stream.write_all((head + &seen).as_bytes());
}

fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    Some(line.trim_end().to_owned())
}

fn read(reader: &mut impl BufRead) -> Option<String> {
    let mut seen = line(reader)?;
    let mut length = None;
    loop {
        let line = line(reader)?;
        let Some((name, value)) = line.split_once(": ") else { break };
        if ["content-length", "transfer-encoding", "x-added"].contains(&name) {
            seen += &format!(" {name}={value}");
        }
        length = if name == "content-length" { value.parse().ok() } else { length };
    }
    let mut body = Vec::new();
    if let Some(length) = length {
        reader.take(length).read_to_end(&mut body).ok()?;
    } else if seen.contains("chunked") {
        loop {
            let size = u64::from_str_radix(&line(reader)?, 16).ok()?;
            if size == 0 {
                break;
            }
            reader.take(size).read_to_end(&mut body).ok()?;
            line(reader)?;
        }
        while let Some(trailer) = line(reader).filter(|line| !line.is_empty()) {
            seen += &format!(" {trailer}");
        }
    }
    Some(format!("{seen} [{}]", String::from_utf8_lossy(&body)))
}
