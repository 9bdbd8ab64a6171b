//! Calls as a script, and whether what came back is what was expected.

use super::answer::Answer;
use super::table::Call;
use anyhow::{Context as _, bail, ensure};
use std::collections::{BTreeMap, BTreeSet};

/// Between the answers of a call, and between calls.
const ANSWER: char = '\u{1e}';
const CALL: char = '\u{1d}';

/// The script that makes `calls`, each with a user agent that its line in the access log is known by.
pub fn script(calls: &[(usize, &Call)], mark: &str) -> String {
    let mut script = String::new();
    for (index, call) in calls {
        let agent = user_agent(mark, *index);
        let command = match (&call.curl, &call.shell) {
            (Some(arguments), _) => format!(
                "curl --silent --show-error --include --max-time 20 --user-agent '{agent}' {arguments}"
            ),
            (None, Some(shell)) => format!("agent='{agent}'; {shell}"),
            (None, None) => "false".to_owned(),
        };
        script.push_str(&format!(
            "for _ in $(seq {}); do out=$({command} 2>&1); printf '%s\\n%s\\036' $? \"$out\"; done; printf '\\035'\n",
            call.times
        ));
    }
    script
}

pub fn user_agent(mark: &str, index: usize) -> String {
    format!("{mark}-call{index}-")
}

/// What the script printed, by call.
pub fn answers(calls: &[(usize, &Call)], printed: &str) -> anyhow::Result<Vec<Vec<Answer>>> {
    let parts: Vec<&str> = printed.split(CALL).collect();
    ensure!(parts.len() == calls.len() + 1, "{} of {} calls were made", parts.len(), calls.len());
    let read = |(part, (_, call)): (&&str, &(usize, &Call))| {
        let records = part.split(ANSWER).filter(|record| !record.trim().is_empty());
        let of = if call.curl.is_some() { Answer::of_curl } else { Answer::of_script };
        records.map(|record| of(record.trim_start())).collect()
    };
    parts.iter().zip(calls).map(read).collect()
}

/// Whether the answers of one call are what it expects.
pub fn compare(call: &Call, answers: &[Answer]) -> anyhow::Result<()> {
    ensure!(answers.len() == call.times, "{} answers to {} calls", answers.len(), call.times);
    for answer in answers {
        compare_one(call, answer)?;
    }
    let field = |path: &'static str| {
        answers
            .iter()
            .map(move |answer| answer.described(path)?.with_context(|| format!("no {path}")))
            .collect::<anyhow::Result<Vec<String>>>()
    };
    if call.sticky {
        let pods: BTreeSet<String> = field("pod")?.into_iter().collect();
        ensure!(pods.len() == 1, "several pods answered: {pods:?}");
    }
    if let Some(shares) = &call.shares {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for version in field("version")? {
            *counts.entry(version).or_default() += 1;
        }
        for (version, (least, most)) in shares {
            let share = counts.get(version).copied().unwrap_or_default() * 100 / call.times;
            ensure!((*least..=*most).contains(&share), "{version} gave {share} % of the answers: {counts:?}");
        }
    }
    Ok(())
}

fn compare_one(call: &Call, answer: &Answer) -> anyhow::Result<()> {
    if let Some(status) = call.status {
        answer.expect("the status", Some(&answer.status.to_string()), Some(&status.to_string()))?;
    }
    if let Some(body) = &call.body {
        answer.expect("the body", Some(answer.body.trim_end()), Some(body.trim_end()))?;
    }
    if let Some(output) = &call.output {
        answer.expect("the output", Some(answer.body.trim_end()), Some(output.trim_end()))?;
    }
    for (name, expected) in &call.headers {
        let found = answer.headers.get(name).map(String::as_str);
        answer.expect(&format!("header {name}"), found, expected.as_deref())?;
    }
    let from = call.from.clone().map(|version| ("version".to_owned(), Some(version)));
    for (path, expected) in call.received.clone().into_iter().chain(from) {
        let found = answer.described(&path)?;
        answer.expect(&path, found.as_deref(), expected.as_deref())?;
    }
    Ok(())
}

/// The flags of the line that `agent` left in an access log.
pub fn flags<'l>(log: &'l str, agent: &str) -> anyhow::Result<&'l str> {
    let line = log.lines().find(|line| line.contains(agent)).context("no line in the access log yet")?;
    // [time] "request" status flags …
    match line.split('"').nth(2).and_then(|rest| rest.split_whitespace().nth(1)) {
        Some(flags) => Ok(flags),
        None => bail!("not a line of Istio's access log: {line}"),
    }
}
