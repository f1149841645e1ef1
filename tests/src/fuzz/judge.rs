//! Runs a case through both gateways and says where they differ, for certain.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use super::case::Case;
use crate::case::{Answer, Outcome, Send};
use crate::certs::Certificates;
use crate::client;
use crate::compare;
use crate::gateway::Gateway;
use crate::istiod::{Istiod, Translated};
use crate::origins::Origins;
use crate::pair::Setup;
use crate::replay::{self, Bodies, LABELS};
use crate::{envoy, host_sim, record};

/// A mirror, or a request nobody waits for, may still be on its way when the last answer has come.
const SETTLE: Duration = Duration::from_millis(60);
/// No world asks for anything that takes as long.
const PATIENCE: Duration = Duration::from_secs(2);
/// No world asks for a pause as long: an answer that took longer waited for something else.
const NOTABLE_MS: u64 = 600;
/// How often a request that differed is sent again to each gateway.
const AGAIN: usize = 24;

/// The two gateways' surroundings, for many cases.
pub struct Judge {
    envoy: PathBuf,
    host_sim: PathBuf,
    origins: Origins,
    /// The first three numbers of the origins' addresses.
    pub net: String,
    certificates: Certificates,
    istiod: Option<Istiod>,
}

/// What came of a case.
#[derive(Debug, Clone)]
pub enum Finding {
    /// Both refuse the manifests: `host-sim`'s words.
    Refused(String),
    /// One gateway starts and the other does not.
    Start(String),
    /// Requests sent, and those that were answered differently.
    Asked(usize, Vec<Different>),
}

/// A request that was answered differently.
#[derive(Debug, Clone)]
pub struct Different {
    /// The request.
    pub send: Send,
    /// In what.
    pub words: String,
}

impl Different {
    /// What kind of difference it is: the words without values.
    #[must_use]
    pub fn kind(&self) -> String {
        self.words.split(['"', '[', '{', '(']).next().unwrap_or_default().to_owned()
    }
}

impl Judge {
    /// Starts the origins; nothing on a machine without Envoy.
    ///
    /// # Errors
    /// No `host-sim`, or no addresses for the origins.
    pub fn new() -> Result<Option<Self>> {
        let Some(envoy) = envoy::binary()? else { return Ok(None) };
        let (origins, net) = Origins::on_a_net()?;
        let certificates = Certificates::fresh()?;
        Ok(Some(Self { envoy, host_sim: host_sim::binary()?, origins, net, certificates, istiod: None }))
    }

    /// Envoy gets istiod's translation instead of `host-sim envoy`'s.
    ///
    /// # Errors
    /// The program is not built.
    pub fn with_istiod(self) -> Result<Self> {
        Ok(Self { istiod: Some(Istiod::start()?), ..self })
    }

    /// Runs a case.
    ///
    /// # Errors
    /// The machine, not the gateways.
    pub async fn judge(&self, case: &Case) -> Result<Finding> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("manifests.yaml");
        std::fs::write(&file, case.manifests(&self.certificates)?)?;
        let setup = Setup {
            manifests: vec![file],
            flags: ["--no-echo", "--labels", LABELS].map(str::to_owned).into(),
            ports: case.ports(),
            workers: 1,
            ..Setup::default()
        };
        let ours = setup.bootstrap(&self.host_sim, &setup.flags);
        let theirs = self.istiod.as_ref().zip(setup.manifests.first()).map(|(istiod, file)| istiod.translate(file));
        let bootstrap = match (ours, theirs.transpose()?) {
            (Err(e), None | Some(Translated::Refused(_))) => return Ok(Finding::Refused(format!("{e:#}"))),
            (Ok(_), Some(Translated::Refused(words))) => {
                return Ok(Finding::Start(format!("istiod refuses, host-sim does not: {words}")));
            }
            (Ok(bootstrap), None) => bootstrap,
            (Ok(_), Some(Translated::Yes(translation))) => translation.bootstrap(&self.certificates)?,
            (Err(e), Some(Translated::Yes(translation))) => {
                // What Envoy would refuse may be refused before it gets there.
                let bootstrap = translation.bootstrap(&self.certificates)?;
                return Ok(match envoy::start(&self.envoy, &bootstrap, 1).await {
                    Err(_) => Finding::Refused(format!("{e:#}")),
                    Ok(_) => Finding::Start(format!("host-sim refuses, istiod and Envoy do not: {e:#}")),
                });
            }
        };
        let (envoy, host_sim) = tokio::join!(envoy::start(&self.envoy, &bootstrap, 1), setup.host_sim(&setup.flags));
        match (envoy, host_sim) {
            (Ok(envoy), Ok(host_sim)) => self.compare(case, &envoy, &host_sim).await,
            (Err(e), Err(_)) => Ok(Finding::Refused(format!("{e:#}"))),
            (Err(e), Ok(_)) => Ok(Finding::Start(format!("Envoy does not start: {e:#}"))),
            (Ok(_), Err(e)) => Ok(Finding::Start(format!("host-sim does not start: {e:#}"))),
        }
    }

    async fn compare(&self, case: &Case, envoy: &Gateway, host_sim: &Gateway) -> Result<Finding> {
        let ejects = case.resources.iter().any(|resource| resource.to_string().contains("outlierDetection"));
        let (expected, got) = self.ask_both(&case.requests, envoy, host_sim, ejects).await?;
        let mut different = Vec::new();
        for ((send, expected), got) in case.requests.iter().zip(&expected).zip(&got) {
            if compare::difference(expected, got).is_none() {
                continue;
            }
            let slow = [expected, got].iter().any(|answer| answer.ms.is_some() || answer.outcome == Outcome::Timeout);
            let times = if slow { AGAIN / 8 } else { AGAIN };
            // Twice: where origins are drawn for several tries, one sample may well lack what another has often.
            let many = vec![send.clone(); times];
            if self.again(&many, envoy, host_sim, ejects).await?.is_some()
                && let Some(words) = self.again(&many, envoy, host_sim, ejects).await?
            {
                different.push(Different { send: send.clone(), words });
            }
        }
        Ok(Finding::Asked(case.requests.len(), different))
    }

    /// Asks both, at the same time; in a world that ejects, without saying which origin it was.
    async fn ask_both(
        &self,
        requests: &[Send],
        envoy: &Gateway,
        host_sim: &Gateway,
        ejects: bool,
    ) -> Result<(Vec<Answer>, Vec<Answer>)> {
        let (mut expected, mut got) = tokio::try_join!(self.ask(requests, envoy), self.ask(requests, host_sim))?;
        if ejects {
            expected.iter_mut().chain(&mut got).for_each(wherever);
        }
        Ok((expected, got))
    }

    /// Asks all, one after another, and collects afterwards what the origins saw.
    async fn ask(&self, requests: &[Send], gateway: &Gateway) -> Result<Vec<Answer>> {
        let mut answers = Vec::new();
        for send in requests {
            let key = replay::fresh_key();
            let Some(to) = gateway.ports.get(&send.port).copied() else { continue };
            let tls = send.tls.as_ref().map(|tls| self.certificates.client(tls, send.version)).transpose()?;
            let start = std::time::Instant::now();
            let reply = client::exchange_within(PATIENCE, to, send, Some(&key), tls).await?;
            let ms = u64::try_from(start.elapsed().as_millis())?;
            answers.push((key, replay::outcome(reply, Bodies::All), ms));
        }
        tokio::time::sleep(SETTLE).await; // mirrors answer nobody
        Ok(answers
            .into_iter()
            .map(|(key, outcome, ms)| {
                let upstreams = self.origins.take(&key).into_iter().map(record::seen).collect();
                let outcome = whenever(outcome);
                // When Envoy lets go of a connection that it has given up is nobody's business, and a busy machine is slow.
                let ms = (ms >= NOTABLE_MS && outcome != Outcome::Closed).then_some(ms);
                Answer { outcome, upstreams, ms }
            })
            .collect())
    }

    /// Sends one request many times to both. Answers of Envoy that `host-sim` never gives, or the other way round, are no accident when they are common.
    async fn again(&self, many: &[Send], envoy: &Gateway, host_sim: &Gateway, ejects: bool) -> Result<Option<String>> {
        let (expected, got) = self.ask_both(many, envoy, host_sim, ejects).await?;
        Ok(uncommon(&expected, &got, false).or_else(|| uncommon(&got, &expected, true)))
    }
}

/// Takes away how long a bucket of an hour has left: the two gateways did not start at once.
fn whenever(mut outcome: Outcome) -> Outcome {
    if let Outcome::Response { headers, .. } = &mut outcome {
        headers.iter_mut().filter(|(name, _)| name == "x-ratelimit-reset").for_each(|(_, left)| *left = "*".into());
    }
    outcome
}

/// Takes away which origin it was: in a world that ejects, the one that failed first was drawn, and the others have its requests ever after.
fn wherever(answer: &mut Answer) {
    if let Outcome::Response { headers, body, .. } = &mut answer.outcome {
        headers.iter_mut().filter(|(name, _)| name == "x-origin").for_each(|(_, origin)| *origin = "*".into());
        if body.as_ref().is_some_and(|body| body.contains("\"origin\"")) {
            *body = None;
        }
    }
    answer.upstreams.iter_mut().for_each(|seen| seen.origin = "*".into());
}

/// The difference of an answer that is common here and never given there.
fn uncommon(common: &[Answer], there: &[Answer], swapped: bool) -> Option<String> {
    let same =
        |a: &Answer, b: &Answer| if swapped { compare::difference(b, a) } else { compare::difference(a, b) }.is_none();
    for answer in common {
        let times = common.iter().filter(|other| same(other, answer) || same(answer, other)).count();
        let known = there.iter().any(|other| same(answer, other));
        if !known && times * 4 >= common.len() {
            let words = |other: &Answer| {
                if swapped { compare::difference(other, answer) } else { compare::difference(answer, other) }
            };
            let origins = |answer: &Answer| answer.upstreams.iter().map(|seen| seen.origin.clone()).collect::<Vec<_>>();
            // The nearest: where an origin was drawn, the draw is not the difference.
            let from =
                |other: &&Answer| (origins(other) != origins(answer), words(other).map_or(0, |words| words.len()));
            return there.iter().min_by_key(from).and_then(words);
        }
    }
    None
}
