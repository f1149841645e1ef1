//! An origin that answers with the bytes it was given for a talk, and all else with what it was asked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::heard;
use super::talk::{Answer, Then};
use crate::latin1;

/// A breath between two pieces.
const BREATH: Duration = Duration::from_millis(15);

/// What it is to say, and what it has seen, by talk.
#[derive(Clone, Default)]
pub(super) struct Script(Arc<Mutex<HashMap<String, Entry>>>);

#[derive(Default)]
struct Entry {
    answers: std::collections::VecDeque<Answer>,
    seen: Vec<String>,
}

impl Script {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers for a talk that is about to begin.
    pub(super) fn write(&self, key: &str, answers: &[Answer]) {
        self.lock().insert(key.to_owned(), Entry { answers: answers.iter().cloned().collect(), seen: Vec::new() });
    }

    /// What was seen of a talk that is over.
    pub(super) fn take(&self, key: &str) -> Vec<String> {
        self.lock().remove(key).map(|entry| entry.seen).unwrap_or_default()
    }

    fn next(&self, key: &str) -> Option<Answer> {
        self.lock().get_mut(key)?.answers.pop_front()
    }

    /// It had something to say about an earlier request of the talk.
    fn has_answered(&self, key: &str) -> bool {
        self.lock().get(key).is_some_and(|entry| !entry.seen.is_empty())
    }

    fn note(&self, key: &str, request: String) {
        if let Some(entry) = self.lock().get_mut(key) {
            entry.seen.push(request);
        }
    }
}

/// Begins to serve.
///
/// # Errors
/// No socket.
pub(super) async fn start(script: Script) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let at = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let script = script.clone();
            tokio::spawn(async move {
                let _ = serve(socket, &script).await; // a gateway that breaks off is a gateway that breaks off
            });
        }
    });
    Ok(at)
}

async fn serve(mut socket: TcpStream, script: &Script) -> Result<()> {
    socket.set_nodelay(true)?;
    let mut bytes = Vec::new();
    loop {
        let Some(length) = heard::head_length(&bytes) else {
            if socket.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
            continue;
        };
        let head = latin1::decode(bytes.get(..length).unwrap_or_default());
        let key = head.split("\r\n").find_map(|line| line.strip_prefix("x-key: ")).unwrap_or_default().to_owned();
        let answer = script.next(&key);
        if let Some(answer) = answer.as_ref().filter(|answer| answer.early) {
            script.note(&key, head.clone());
            if !say(&mut socket, answer).await? {
                return Ok(());
            }
        }
        let whole = loop {
            if let Some(whole) = heard::message(&bytes, heard::Side::Request) {
                break whole;
            }
            if socket.read_buf(&mut bytes).await? == 0 {
                script.note(&key, format!("{head}(the rest does not come)"));
                return Ok(());
            }
        };
        drop(bytes.drain(..whole.length));
        match answer {
            Some(answer) if answer.early => {}
            Some(answer) => {
                script.note(&key, whole.text);
                if !say(&mut socket, &answer).await? {
                    return Ok(());
                }
            }
            None => {
                let text = if script.has_answered(&key) { without_patience(&whole.text) } else { whole.text };
                let mut reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.chars().count());
                if !text.starts_with("HEAD ") {
                    reply.push_str(&text);
                }
                socket.write_all(&latin1::encode(&reply)?).await?;
            }
        }
    }
}

/// A retry says how much time is left, in more or fewer digits.
fn without_patience(request: &str) -> String {
    let told = |line: &&str| !line.starts_with("x-envoy-expected-rq-timeout-ms: ");
    request.split("\r\n").filter(told).collect::<Vec<_>>().join("\r\n")
}

/// Whether the connection goes on.
async fn say(socket: &mut TcpStream, answer: &Answer) -> Result<bool> {
    if answer.slowly {
        for piece in &answer.pieces {
            socket.write_all(piece).await?;
            tokio::time::sleep(BREATH).await; // that the gateway reads what there is
        }
    } else {
        socket.write_all(&answer.pieces.concat()).await?;
    }
    match answer.then {
        Then::Keeps => return Ok(true),
        Then::Closes => {
            socket.shutdown().await?;
            // Nothing unread is left behind, or the end would be a reset.
            let mut rest = Vec::new();
            let _ = tokio::time::timeout(BREATH, socket.read_to_end(&mut rest)).await;
        }
        Then::Resets => {
            if !answer.pieces.is_empty() {
                tokio::time::sleep(BREATH).await; // a reset takes with it what was not read
            }
            socket.set_zero_linger()?;
        }
    }
    Ok(false)
}
