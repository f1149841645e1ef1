//! An HTTP/2 client that speaks in frames, and the ways in which one is a nuisance.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// The stream of the request that comes after the nuisance.
const LAST: u32 = 99_999;
/// A gateway that has not answered by now does not.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a gateway makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The connection is gone.
    Cut,
    /// It goes on: a request after it is answered.
    Goes,
    /// It goes on, but stream 1 was reset.
    Reset,
}

/// What a client sends after the preface.
pub(crate) struct Attack {
    pub(crate) what: &'static str,
    bytes: Vec<u8>,
    pub(crate) verdict: Verdict,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field that no table is used for.
fn field(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| {
        let mut bytes = vec![u8::try_from(text.len().min(127)).unwrap()];
        if let Some(mut more) = text.len().checked_sub(127) {
            while more >= 128 {
                bytes.push(u8::try_from(more % 128 + 128).unwrap());
                more /= 128;
            }
            bytes.push(u8::try_from(more).unwrap());
        }
        bytes.extend(text.as_bytes());
        bytes
    };
    [vec![0], text(name), text(value)].concat()
}

fn head(method: &str, path: &str) -> Vec<u8> {
    [(":method", method), (":scheme", "http"), (":path", path), (":authority", "a.example")]
        .iter()
        .flat_map(|(name, value)| field(name, value))
        .collect()
}

fn get(stream: u32, fields: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &[&head("GET", "/direct"), fields].concat())
}

/// All of them, each at the edge of what Envoy takes, or far beyond it.
pub(crate) fn attacks() -> Vec<Attack> {
    let upload = || frame(HEADERS, END_HEADERS, 1, &head("POST", "/slow"));
    let open = || frame(HEADERS, 0, 1, &head("GET", "/direct"));
    let ping = |times| frame(PING, 0, 0, b"12345678").repeat(times);
    let priority = |times| frame(PRIORITY, 0, 1, &[0; 5]).repeat(times);
    let window = |times| frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()).repeat(times);
    let fields = |count: usize| (0..count).flat_map(|at| field(&format!("x{at}"), "y")).collect::<Vec<_>>();
    let crumbs = |count: usize| field("cookie", "a=b").repeat(count);
    let resets: Vec<u8> = (0..4000_u32)
        .flat_map(|at| [get(2 * at + 1, b""), frame(RST_STREAM, 0, 2 * at + 1, &8_u32.to_be_bytes())].concat())
        .collect();
    let large = frame(CONTINUATION, 0, 1, &field("x", &"y".repeat(100)));
    let attack = |what, bytes, verdict| Attack { what, bytes, verdict };
    vec![
        attack("nothing", Vec::new(), Verdict::Goes),
        attack("rapid reset", resets, Verdict::Cut),
        attack("900 pings", ping(900), Verdict::Goes),
        attack("20,000 pings", ping(20_000), Verdict::Cut),
        attack("20,000 answers to pings", frame(PING, 1, 0, b"12345678").repeat(20_000), Verdict::Goes),
        attack("20,000 settings", frame(SETTINGS, 0, 0, b"").repeat(20_000), Verdict::Cut),
        attack("a head that does not end", [open(), large.repeat(5000)].concat(), Verdict::Cut),
        attack(
            "continuations that say nothing",
            [open(), frame(CONTINUATION, 0, 1, b"").repeat(2)].concat(),
            Verdict::Cut,
        ),
        attack("data that is none", [upload(), frame(DATA, 0, 1, b"")].concat(), Verdict::Goes),
        attack("data that is none, twice", [upload(), frame(DATA, 0, 1, b"").repeat(2)].concat(), Verdict::Cut),
        attack("data of padding", [upload(), frame(DATA, 8, 1, b"\x02\0\0").repeat(2)].concat(), Verdict::Cut),
        attack("data byte by byte", [upload(), frame(DATA, 0, 1, b"x").repeat(5000)].concat(), Verdict::Goes),
        attack("100 priorities", priority(100), Verdict::Goes),
        attack("101 priorities", priority(101), Verdict::Cut),
        attack("5 window updates", window(5), Verdict::Goes),
        attack("6 window updates", window(6), Verdict::Cut),
        attack("frames of no known kind", frame(77, 0, 0, b"x").repeat(20_000), Verdict::Goes),
        attack("100 fields", get(1, &fields(96)), Verdict::Goes),
        attack("101 fields", get(1, &fields(97)), Verdict::Reset),
        attack("96 crumbs of a cookie", get(1, &crumbs(96)), Verdict::Goes),
        attack("97 crumbs of a cookie", get(1, &crumbs(97)), Verdict::Reset),
        attack("a name in upper case", get(1, &field("X", "y")), Verdict::Cut),
        attack("a frame that is too large", frame(DATA, 0, 1, &[0; 16_385]), Verdict::Cut),
    ]
}

/// Sends it, then a request that any gateway answers which is still there.
pub(crate) async fn verdict(to: SocketAddr, attack: &Attack) -> Verdict {
    let mut socket = TcpStream::connect(to).await.unwrap();
    let (mut reading, mut writing) = socket.split();
    let sending = async {
        let last = get(LAST, b"");
        // Who is cut off cannot say all.
        let _ = writing.write_all(&[PREFACE, &attack.bytes, &last].concat()).await;
        std::future::pending::<()>().await;
    };
    let receiving = async {
        let (mut bytes, mut reset) = (Vec::new(), false);
        loop {
            while let Some((kind, stream, length)) = first_frame(&bytes) {
                drop(bytes.drain(..length));
                match (kind, stream) {
                    (HEADERS, LAST) if reset => return Verdict::Reset,
                    (HEADERS, LAST) => return Verdict::Goes,
                    (RST_STREAM, 1) => reset = true,
                    _ => {}
                }
            }
            if !matches!(reading.read_buf(&mut bytes).await, Ok(1..)) {
                return Verdict::Cut;
            }
        }
    };
    tokio::time::timeout(PATIENCE, async {
        tokio::select! { verdict = receiving => verdict, () = sending => Verdict::Cut }
    })
    .await
    .expect("a gateway answers or cuts")
}

/// Kind, stream and length of a whole frame.
fn first_frame(bytes: &[u8]) -> Option<(u8, u32, usize)> {
    let head = bytes.get(..9)?;
    let length = 9 + usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap();
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    (bytes.len() >= length).then_some((head[3], stream, length))
}
