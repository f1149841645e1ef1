//! `host-sim test`: requests with expectations, through the real modules, without a cluster and without a socket.

mod case;
mod check;
mod coverage;
mod dialect;
mod report;
mod update;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use istio::Source;
use proxy::explain::Question;
use proxy::route::Origin;
use serde_saphyr::Spanned;

use self::case::{Case, Cases};
use self::check::Miss;
use self::coverage::Coverage;
use self::report::Outcome;
use crate::command_line::TestArgs;
use crate::explain::{self, Answer, Asked};
use crate::failure::Failure;
use crate::say;
use crate::stage::Stage;
use crate::{inputs, run};

/// What is in a file of cases.
enum Document {
    Own(Box<Spanned<Case>>),
    Theirs(Box<Spanned<dialect::Case>>),
}

/// A case, its file, and where it stands.
struct Found {
    file: usize,
    line: u64,
    document: Document,
}

/// Runs every case and reports.
///
/// # Errors
/// Exit 1 when a case fails or too little is covered; 3 for files that are refused; 4 and 5 as `run`.
pub(crate) fn test(args: &TestArgs) -> Result<(), Failure> {
    let begun = Instant::now();
    let files = inputs::sources(&args.cases)?;
    let found = read(&files)?;
    let mut runner = Runner::new(args, &found)?;
    let mut outcomes = Vec::with_capacity(found.len());
    let mut updates: BTreeMap<usize, Vec<update::Update>> = BTreeMap::new();
    let report = report::Text::new(found.len(), args)?;
    for (turn, one) in (1u64..).zip(&found) {
        let file = files.get(one.file).map(|file| file.name.as_str()).unwrap_or_default();
        let (outcome, changes) = runner.run(one, file, turn)?;
        report.case(&outcome)?;
        updates.entry(one.file).or_default().extend(changes);
        outcomes.push(outcome);
    }
    if args.update {
        return update::write(&files, updates).and_then(|changed| report.updated(changed));
    }
    report.end(&outcomes, begun.elapsed())?;
    if let Some(path) = &args.junit {
        let xml = report::junit(&outcomes, begun.elapsed());
        std::fs::write(path, xml).map_err(|error| Failure::World(format!("--junit {}: {error}", path.display())))?;
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.passed()).count();
    runner.covered(args)?;
    match failed {
        0 => Ok(()),
        1 => Err(Failure::No("1 case failed".to_owned())),
        n => Err(Failure::No(format!("{n} cases failed"))),
    }
}

fn read(files: &[Source]) -> Result<Vec<Found>, Failure> {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for (number, file) in files.iter().enumerate() {
        // Their files say so in their first field.
        let theirs =
            file.text.lines().any(|line| line.trim_start().starts_with("testCases:") || line.contains("\"testCases\""));
        let add = |document: Document, line: u64| Found { file: number, line, document };
        if theirs {
            match case::read::<dialect::Cases>(&file.name, &file.text) {
                Ok(documents) => found.extend(
                    documents
                        .into_iter()
                        .flat_map(|document| document.test_cases)
                        .map(|case| add(Document::Theirs(Box::new(case.clone())), case.referenced.line())),
                ),
                Err(problem) => problems.push(problem),
            }
        } else {
            match case::read::<Cases>(&file.name, &file.text) {
                Ok(documents) => found.extend(
                    documents
                        .into_iter()
                        .flat_map(|document| document.cases)
                        .map(|case| add(Document::Own(Box::new(case.clone())), case.referenced.line())),
                ),
                Err(problem) => problems.push(problem),
            }
        }
    }
    for one in &found {
        let Document::Own(case) = &one.document else { continue };
        let file = files.get(one.file).map(|file| file.name.as_str()).unwrap_or_default();
        let url = &case.value.request.url;
        if let Err(problem) = Asked::of_url(&url.value) {
            problems.push(format!(
                "{file}:{}:{}: request.url: {problem}",
                url.referenced.line(),
                url.referenced.column()
            ));
        }
    }
    if problems.is_empty() { Ok(found) } else { Err(Failure::Manifests(problems)) }
}

/// The gateway, and the VirtualServices for cases of the other kind.
struct Runner {
    stage: Option<Stage>,
    coverage: Option<Coverage>,
    rules: Option<dialect::Rules>,
}

impl Runner {
    fn new(args: &TestArgs, found: &[Found]) -> Result<Self, Failure> {
        let own = found.iter().any(|one| matches!(one.document, Document::Own(_)));
        let theirs = found.iter().any(|one| matches!(one.document, Document::Theirs(_)));
        let stage = if own { Some(Stage::set(&args.gateway)?) } else { None };
        let coverage = stage.as_ref().filter(|_| args.coverage.is_some()).map(Coverage::of);
        let rules = if theirs { Some(rules(args)?) } else { None };
        Ok(Self { stage, coverage, rules })
    }

    fn run(&mut self, found: &Found, file: &str, turn: u64) -> Result<(Outcome, Vec<update::Update>), Failure> {
        let begun = Instant::now();
        let mut outcome = Outcome { file: file.to_owned(), line: found.line, ..Outcome::default() };
        let mut updates = Vec::new();
        match &found.document {
            Document::Theirs(case) => {
                outcome.name.clone_from(&case.value.description);
                outcome.failures =
                    self.rules.as_ref().map(|rules| dialect::run(&case.value, rules)).unwrap_or_default();
            }
            Document::Own(case) => {
                outcome.name.clone_from(&case.value.name);
                if let Some(stage) = &mut self.stage {
                    stage.rehearsal.restart(turn).map_err(run::refused)?;
                    let (misses, shares, story) = own(&case.value, file, stage, self.coverage.as_mut())?;
                    updates = misses.iter().filter_map(|miss| miss.place.clone()).map(update::Update::from).collect();
                    outcome.failures = misses.iter().map(told).chain(shares).collect();
                    outcome.story = Some(story).filter(|_| !outcome.failures.is_empty());
                }
            }
        }
        outcome.took = begun.elapsed();
        Ok((outcome, updates))
    }

    fn covered(&self, args: &TestArgs) -> Result<(), Failure> {
        let (Some(coverage), Some(least)) = (&self.coverage, args.coverage) else { return Ok(()) };
        say::answer(coverage.told())?;
        match coverage.percent() {
            percent if percent < least => {
                Err(Failure::No(format!("{percent:.1} % is covered, {least} % is asked for")))
            }
            _ => Ok(()),
        }
    }
}

fn rules(args: &TestArgs) -> Result<dialect::Rules, Failure> {
    if args.gateway.bootstrap.is_some() {
        return Err(Failure::Usage(
            "testCases are about VirtualServices: give them with -f, not --bootstrap".to_owned(),
        ));
    }
    let (resources, problems) = istio::read(&inputs::sources(&args.gateway.filename)?);
    if !problems.is_empty() {
        return Err(Failure::Manifests(problems.iter().map(ToString::to_string).collect()));
    }
    dialect::Rules::new(istio::rule_tables(&resources)).map_err(Failure::Manifests)
}

fn told(miss: &Miss) -> String {
    format!("{}: expected {}, got {}", miss.field, miss.expected, miss.actual)
}

type Verdict = (Vec<Miss>, Vec<String>, String);

/// Sends the request as often as the case says; the last one is compared, all of them are counted for shares.
fn own(case: &Case, file: &str, stage: &mut Stage, mut coverage: Option<&mut Coverage>) -> Result<Verdict, Failure> {
    let certificates = case.request.certificate.as_ref().map(|path| {
        let beside = Path::new(file).parent().unwrap_or(Path::new(""));
        explain::certificates(&beside.join(path))
    });
    let certificates = certificates.transpose()?.unwrap_or_default();
    let repeat = case.repeat.max(1);
    let mut hits = vec![0u32; case.share.len()];
    let mut last = None;
    for number in 0..repeat {
        let asked = Asked { certificates: certificates.clone(), ..asked(case, number)? };
        let question: Question = asked.question(stage);
        let account = if number + 1 == repeat { stage.ask(&question) } else { stage.rehearsal.ask(&question) };
        let wanted = number + 1 == repeat || !case.share.is_empty() || coverage.is_some();
        if !wanted {
            continue;
        }
        let answer = Answer::of(&asked, &question.listener, &account, stage);
        for (hit, share) in hits.iter_mut().zip(&case.share) {
            *hit += u32::from(check::counts(share, &answer));
        }
        if let Some(coverage) = coverage.as_deref_mut() {
            let origin: Option<&(String, Origin)> = account.routing().and_then(|routing| routing.route.as_ref());
            coverage.reach(&answer, origin);
        }
        last = Some(answer);
    }
    let Some(answer) = last else { return Ok((Vec::new(), Vec::new(), String::new())) };
    let shares = case.share.iter().zip(hits).filter_map(|(share, hits)| {
        let percent = 100.0 * f64::from(hits) / f64::from(repeat);
        let right = (percent - share.percent).abs() <= share.tolerance;
        let (wanted, tolerance, subject) = (share.percent, share.tolerance, check::subject(share));
        (!right)
            .then(|| format!("share of {subject}: expected {wanted} % (± {tolerance}), got {percent:.1} % of {repeat}"))
    });
    Ok((check::check(case, &answer), shares.collect(), explain::story(&answer)))
}

/// The request; `{n}` is the number of the repetition, from 0.
fn asked(case: &Case, number: u32) -> Result<Asked, Failure> {
    let count = number.to_string();
    let filled = |text: &str| if case.repeat > 1 { text.replace("{n}", &count) } else { text.to_owned() };
    let wanted = &case.request;
    let mut asked = Asked::of_url(&filled(&wanted.url.value)).map_err(|problem| Failure::Manifests(vec![problem]))?;
    asked.method = match &wanted.method {
        Some(method) => method.clone(),
        None if wanted.body.is_empty() => "GET".to_owned(),
        None => "POST".to_owned(),
    };
    let headers =
        wanted.headers.iter().flat_map(|(name, values)| values.0.iter().map(|value| (name.clone(), filled(value))));
    asked.headers = headers.collect();
    asked.client = wanted.client_ip.unwrap_or(explain::CLIENT);
    asked.body = filled(&wanted.body).into_bytes();
    Ok(asked)
}

/// Milliseconds, as reports write them.
fn seconds(took: Duration) -> String {
    format!("{:.3}", took.as_secs_f64())
}
