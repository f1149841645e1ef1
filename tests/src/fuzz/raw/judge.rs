//! Lets both gateways have a seed's talks and says where they differ, for certain.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::allowances;
use super::doors::{self, Doors};
use super::fields::{replaced, with_port};
use super::heard;
use super::http2;
use super::origin::{self, Script};
use super::talk::{Answer, KEY, Talk, Then, Way};
use crate::bootstrap;
use crate::gateway::Gateway;
use crate::latin1;

/// Talks at a time.
const AT_ONCE: usize = 48;
/// Talks at a time when they are had again.
const AT_ONCE_AGAIN: usize = 12;
/// How long a gateway may be silent before it is taken to wait for more: longer than any timeout of a route.
const PATIENCE: Duration = Duration::from_millis(1300);
const PATIENCE_AGAIN: Duration = Duration::from_millis(2000);
/// How often a talk that differed is had again.
const AGAIN: usize = 3;
/// Access logs are written out with a delay.
const SETTLE: Duration = Duration::from_millis(120);
/// A breath behind a client's first head.
const BREATH: Duration = Duration::from_millis(15);
/// Behind every HTTP/1 talk: answered where the connection goes on.
const SENTINEL: &[u8] = b"GET /sentinel HTTP/1.1\r\nhost: s.example\r\n\r\n";

/// How a connection was when the talk was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The request behind the talk was answered.
    Open,
    /// The gateway closed it.
    Closed,
    /// Neither: the gateway waits for more, or for somebody else.
    Waits,
}

/// What a talk came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How the connection was.
    pub end: End,
    /// What the client was told, by lines.
    pub told: Vec<String>,
    /// What the origin was asked, by lines.
    pub asked: Vec<String>,
    /// The access log.
    pub log: Vec<String>,
}

/// A talk that came to something else, each time it was had.
#[derive(Debug, Clone)]
pub struct Different {
    /// The talk.
    pub talk: Talk,
    /// In Envoy.
    pub envoy: Outcome,
    /// In host-sim.
    pub host_sim: Outcome,
}

/// The two gateways of a seed.
pub struct Judge {
    doors: Doors,
    envoy: Gateway,
    host_sim: Gateway,
    script: Script,
    number: Cell<usize>,
    /// Nobody listens here, and nobody else will.
    _nobody: std::net::TcpListener,
}

impl Judge {
    /// Starts both on the bootstrap of a seed; nothing on a machine without Envoy.
    ///
    /// # Errors
    /// Either refuses the bootstrap.
    pub async fn start(seed: u64) -> Result<Option<Judge>> {
        let doors = Doors::of_seed(seed);
        let script = Script::default();
        let origin = origin::start(script.clone()).await?;
        let (nobody, nowhere) = nobody()?;
        let gateways = bootstrap::run(&doors.bootstrap(origin, nowhere)).await?;
        let mut gateways: BTreeMap<_, _> = gateways.into_iter().collect();
        let Some(envoy) = gateways.remove("Envoy") else { return Ok(None) };
        let host_sim = gateways.remove("host-sim").context("host-sim")?;
        Ok(Some(Judge { doors, envoy, host_sim, script, number: Cell::new(0), _nobody: nobody }))
    }

    /// What of a listener's settings a talk may have met, for people.
    #[must_use]
    pub fn door(&self, talk: &Talk) -> String {
        self.doors.shown(talk)
    }

    /// The talks that came to something else, every time.
    ///
    /// # Errors
    /// The machine, not the gateways.
    pub async fn judge(&self, talks: &[Talk]) -> Result<Vec<Different>> {
        let first = self.both(talks, PATIENCE, AT_ONCE).await?;
        let suspects = talks.iter().zip(first).filter(|(_, (envoy, host_sim))| envoy != host_sim);
        let suspects: Vec<Talk> = suspects.map(|(talk, _)| talk.clone()).collect();
        self.confirm(&suspects, AGAIN).await
    }

    /// Of these talks, those that never come to the same. Neither gateway's answers may be found among the other's.
    ///
    /// # Errors
    /// As for [`Judge::judge`].
    pub async fn confirm(&self, suspects: &[Talk], times: usize) -> Result<Vec<Different>> {
        let mut rounds: Vec<(Vec<Outcome>, Vec<Outcome>)> = vec![(Vec::new(), Vec::new()); suspects.len()];
        for _ in 0..times {
            let round = self.both(suspects, PATIENCE_AGAIN, AT_ONCE_AGAIN).await?;
            for ((envoys, ours), (envoy, host_sim)) in rounds.iter_mut().zip(round) {
                envoys.push(envoy);
                ours.push(host_sim);
            }
        }
        let different = suspects.iter().zip(rounds).filter_map(|(talk, (envoys, ours))| {
            if envoys.iter().any(|envoy| ours.contains(envoy)) {
                return None;
            }
            let (envoy, host_sim) = (envoys.first()?.clone(), ours.first()?.clone());
            Some(Different { talk: talk.clone(), envoy, host_sim })
        });
        Ok(different.collect())
    }

    async fn both(&self, talks: &[Talk], patience: Duration, at_once: usize) -> Result<Vec<(Outcome, Outcome)>> {
        let (envoy, host_sim) = tokio::try_join!(
            self.have(&self.envoy, talks, patience, at_once),
            self.have(&self.host_sim, talks, patience, at_once)
        )?;
        Ok(envoy.into_iter().zip(host_sim).collect())
    }

    fn key(&self) -> String {
        self.number.set(self.number.get() + 1);
        format!("k{:07}", self.number.get())
    }

    /// Has all talks with a gateway: most side by side, those that must be alone one after another.
    async fn have(
        &self,
        gateway: &Gateway,
        talks: &[Talk],
        patience: Duration,
        at_once: usize,
    ) -> Result<Vec<Outcome>> {
        let logged = gateway.process.lines_from(0).len();
        let turns = Arc::new(Semaphore::new(at_once));
        let mut talking = JoinSet::new();
        let mut held = Vec::new();
        for (number, talk) in talks.iter().enumerate().filter(|(_, talk)| !talk.alone) {
            let (key, to) = (self.key(), self.at(gateway, talk)?);
            self.script.write(&key, &talk.answers);
            let (talk, turns) = (talk.clone(), Arc::clone(&turns));
            talking.spawn(async move {
                let _turn = turns.acquire().await;
                let heard = listen(to, &talk, &key, patience).await;
                (number, key, heard)
            });
        }
        while let Some(heard) = talking.join_next().await {
            held.push(heard?);
        }
        for (number, talk) in talks.iter().enumerate().filter(|(_, talk)| talk.alone) {
            let (key, to) = (self.key(), self.at(gateway, talk)?);
            self.script.write(&key, &[parting()]);
            listen(to, &empties_the_pool(talk), &key, patience).await?;
            self.script.write(&key, &talk.answers);
            held.push((number, key.clone(), listen(to, talk, &key, patience).await));
        }
        tokio::time::sleep(SETTLE).await; // the log's end is not announced
        let logs = logs(gateway.process.lines_from(logged));
        held.sort_by_key(|(number, ..)| *number);
        held.into_iter()
            .zip(talks)
            .map(|((_, key, heard), talk)| {
                let heard = heard?;
                let port = self.at(gateway, talk)?.port();
                let mask = |lines: Vec<String>| lines.iter().map(|line| heard::masked(line, port, &key)).collect();
                // What the origin says of its own accord is said after a retry, too.
                let told = if talk.answers.is_empty() {
                    heard.told
                } else {
                    heard.told.iter().map(without_patience).collect()
                };
                let asked = self.script.take(&key).iter().enumerate().flat_map(requests).collect();
                let log = logs.get(&heard.port).cloned().unwrap_or_default();
                Ok(Outcome { end: heard.end, told: mask(told), asked: mask(asked), log: mask(log) })
            })
            .collect()
    }

    fn at(&self, gateway: &Gateway, talk: &Talk) -> Result<SocketAddr> {
        gateway.ports.get(&talk.listener).copied().context("a listener")
    }
}

/// Where connections are refused: the port's number is held at one address, so that nobody gets it at another.
fn nobody() -> Result<(std::net::TcpListener, SocketAddr)> {
    let held = std::net::TcpListener::bind("127.0.0.2:0")?;
    let nowhere = SocketAddr::from(([127, 0, 0, 3], held.local_addr()?.port()));
    Ok((held, nowhere))
}

/// The lines of a request that the origin saw; a retry says what is left of its time.
fn requests((number, text): (usize, &String)) -> Vec<String> {
    let line = |line: &str| if number > 0 { without_patience(line) } else { line.to_owned() };
    std::iter::once(format!("({number})")).chain(text.split("\r\n").map(line)).collect()
}

/// A line without how much time is left.
fn without_patience(line: impl AsRef<str>) -> String {
    const LEFT: &str = "x-envoy-expected-rq-timeout-ms: ";
    if line.as_ref().starts_with(LEFT) { format!("{LEFT}(what is left)") } else { line.as_ref().to_owned() }
}

/// The access log by the clients' ports.
fn logs(lines: Vec<String>) -> BTreeMap<u16, Vec<String>> {
    let mut logs: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for line in lines {
        let Some((port, line)) = line.strip_prefix(doors::LOGGED).and_then(|line| line.split_once('|')) else {
            continue;
        };
        if let Ok(port) = port.parse() {
            logs.entry(port).or_default().push(line.to_owned());
        }
    }
    logs
}

fn parting() -> Answer {
    let pieces = vec![b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec()];
    Answer { early: false, pieces, slowly: false, then: Then::Closes }
}

/// A request that takes a kept connection with it.
fn empties_the_pool(talk: &Talk) -> Talk {
    let head = format!("GET {} HTTP/1.1\r\nhost: a.example\r\nx-key: {KEY}\r\n\r\n", doors::KEPT);
    Talk { said: vec![head.into_bytes()], way: Way::Answers, ..talk.clone() }
}

struct Heard {
    told: Vec<String>,
    end: End,
    /// The client's own port.
    port: u16,
}

/// Has a talk, with a request behind it.
async fn listen(to: SocketAddr, talk: &Talk, key: &str, patience: Duration) -> Result<Heard> {
    let framed = talk.way == Way::Http2;
    let (head, rest) = if framed {
        let (head, body) = http2::frames(&talk.said.iter().map(|piece| filled(piece, to, key)).collect::<Vec<_>>());
        (head, [body, http2::last_request()].concat())
    } else {
        let mut bytes = filled(&talk.said.concat(), to, key);
        let rest = bytes.split_off(heard::head_length(&bytes).unwrap_or(bytes.len()));
        (bytes, [rest, SENTINEL.to_vec()].concat())
    };
    let mut socket = TcpStream::connect(to).await?;
    socket.set_nodelay(true)?;
    let port = socket.local_addr()?.port();
    let (mut reading, mut writing) = socket.split();
    let sending = async {
        // A gateway that has heard enough may close before it has heard all.
        if talk.slowly {
            let _ = writing.write_all(&head).await;
            tokio::time::sleep(BREATH).await; // that the gateway reads what there is
            let _ = writing.write_all(&rest).await;
        } else {
            let _ = writing.write_all(&[head, rest].concat()).await;
        }
    };
    let mut bytes = Vec::new();
    let receiving = async {
        loop {
            match tokio::time::timeout(patience, reading.read_buf(&mut bytes)).await {
                Err(_) => return End::Waits,
                Ok(Ok(0) | Err(_)) => return End::Closed,
                Ok(Ok(_)) if framed && http2::read(&bytes).both() => return End::Open,
                Ok(Ok(_)) if !framed && bytes.ends_with(doors::LAST_WORD.as_bytes()) => return End::Open,
                Ok(Ok(_)) => {}
            }
        }
    };
    let ((), end) = tokio::join!(sending, receiving);
    let told = if framed {
        let frames = http2::read(&bytes);
        let data = latin1::decode(&frames.data);
        frames.lines.into_iter().chain(data.split("\r\n").map(str::to_owned)).collect()
    } else {
        heard::told(&bytes)
    };
    Ok(Heard { told, end, port })
}

fn filled(bytes: &[u8], to: SocketAddr, key: &str) -> Vec<u8> {
    replaced(&with_port(bytes, to.port()), KEY.as_bytes(), key.as_bytes())
}

impl Different {
    /// In what: the first thing that is not the same, and how it is in either.
    #[must_use]
    pub fn kind(&self) -> String {
        let lists = [
            ("the client is told", &self.envoy.told, &self.host_sim.told),
            ("the origin is asked", &self.envoy.asked, &self.host_sim.asked),
        ];
        for (what, envoy, host_sim) in lists {
            if let Some((a, b)) = first_difference(envoy, host_sim) {
                return format!("{what} {} / {}", brief(a), brief(b));
            }
        }
        if self.envoy.end != self.host_sim.end {
            return format!("the connection: {:?} / {:?}", self.envoy.end, self.host_sim.end);
        }
        match first_difference(&self.envoy.log, &self.host_sim.log) {
            Some((a, b)) => {
                let fields = a.split('|').zip(b.split('|')).filter(|(a, b)| a != b);
                let fields: Vec<String> = fields.map(|(a, b)| format!("{} / {}", brief(a), brief(b))).collect();
                format!("the log: {}", fields.join(", "))
            }
            None => "nothing".to_owned(),
        }
    }

    /// Why this difference is known and stays; the reader counts how often.
    #[must_use]
    pub fn allowance(&self) -> Option<&'static str> {
        allowances::of(&self.talk, &self.envoy, &self.host_sim)
    }

    /// All that differs, for people.
    #[must_use]
    pub fn words(&self) -> String {
        let mut words = Vec::new();
        if self.envoy.end != self.host_sim.end {
            words.push(format!("    Envoy    {:?}\n    host-sim {:?}", self.envoy.end, self.host_sim.end));
        }
        let (envoy, host_sim) = (&self.envoy, &self.host_sim);
        for (what, envoy, host_sim) in [
            ("told", &envoy.told, &host_sim.told),
            ("asked", &envoy.asked, &host_sim.asked),
            ("log", &envoy.log, &host_sim.log),
        ] {
            let before = envoy.iter().zip(host_sim).take_while(|(a, b)| a == b).count();
            let behind = envoy.iter().rev().zip(host_sim.iter().rev()).take_while(|(a, b)| a == b).count();
            let shown = |lines: &[String]| {
                let end = lines.len().saturating_sub(behind).max(before);
                let lines = lines.get(before..end).unwrap_or_default().iter();
                lines.map(|line| super::talk::shown(line.as_bytes())).collect::<Vec<_>>().join("\n             ")
            };
            if envoy != host_sim {
                let context = before.checked_sub(1).and_then(|at| envoy.get(at)).map_or("", String::as_str);
                words.push(format!("    {what}, behind {context:?}"));
                words.push(format!("    Envoy    {}\n    host-sim {}", shown(envoy), shown(host_sim)));
            }
        }
        words.join("\n")
    }
}

/// The first lines that are not the same; one that is missing is empty.
fn first_difference<'a>(a: &'a [String], b: &'a [String]) -> Option<(&'a str, &'a str)> {
    let line = |lines: &'a [String], at: usize| lines.get(at).map_or("", String::as_str);
    (0..a.len().max(b.len())).map(|at| (line(a, at), line(b, at))).find(|(a, b)| a != b)
}

/// A status line, a field's name, the beginning of anything else: what cases of one kind have in common.
fn brief(line: &str) -> String {
    if line.starts_with("HTTP/") {
        return line.to_owned();
    }
    let name = line.split([':', '?', '=']).next().unwrap_or_default();
    name.chars().filter(|c| !c.is_ascii_digit()).take(40).collect()
}
