//! What becomes of the agent's result: a comment of its own, a branch of its own, or the saved files alone.
//!
//! Everything here happens after the agent's last process is gone and the run is settled, and decides no
//! verdict: what cannot be delivered is said, and lies in the run's folder.

use std::ffi::OsString;

use super::Story;
use super::folder::RunFolder;
use super::work::Saved;
use crate::agent::branch::{self, Push};
use crate::agent::patch::Baseline;
use crate::budget::Deliver;
use crate::cli::Shell;
use crate::event::Event;
use crate::gate::AgentEnd;
use crate::github::{self, GitHub};
use crate::report::comment::Marker;
use crate::report::result::{self, Branch, Delivery};

/// Variables that git may need to reach a server.
const NETWORK: [&str; 10] = [
    "ALL_PROXY",
    "GIT_SSL_CAINFO",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "all_proxy",
    "https_proxy",
    "no_proxy",
];

/// Delivers what was saved as the budget file says for the task.
pub(super) async fn deliver(
    story: &Story<'_>,
    saved: &mut Saved,
    end: AgentEnd,
    folder: &RunFolder,
    shell: &Shell,
) {
    let baseline = saved.baseline.take();
    let way = story.inputs.budget.agent.deliver.get(&story.class.task).copied();
    let cancelled = matches!(end, AgentEnd::Cancelled(_));
    if cancelled || story.request.simulate || !story.inputs.on_actions {
        baseline.into_iter().for_each(Baseline::discard);
        return;
    }
    let mut pushed = None;
    if let Some(baseline) = baseline {
        if way == Some(Deliver::Branch) {
            match push(story, &baseline, folder, shell).await {
                Ok(branch) => {
                    saved.notes.push(told(&branch));
                    pushed = Some(branch);
                }
                Err(why) => {
                    saved.notes.push(format!("the agent's work is no branch, but in partial.patch: {why}"))
                }
            }
        }
        baseline.discard();
    }
    let text = saved.text.clone().filter(|_| way == Some(Deliver::Comment));
    if text.is_none() && pushed.is_none() {
        return;
    }
    let change = story.inputs.event.change.as_ref();
    let Some(number) = change.and_then(|change| change.number) else {
        saved.notes.push("the agent's result is no comment: the event has no pull request".to_owned());
        return;
    };
    let Some(github) = story.github() else {
        saved.notes.push("the agent's result is no comment: GITHUB_TOKEN is not set".to_owned());
        return;
    };
    let commit = change.map(|change| change.head_sha.clone()).filter(|commit| !commit.is_empty());
    // A comment that does not say so is worth more than none.
    let now = github.pull_request(number).await.ok().map(|now| now.head_commit);
    let moved_to = now.filter(|now| commit.as_ref().is_some_and(|commit| commit != now));
    let unfinished = end != AgentEnd::Fine;
    let delivery = Delivery { task: story.class.task, commit, moved_to, text, branch: pushed, unfinished };
    if let Err(why) = post(github, number, &delivery, shell.var("GITHUB_RUN_ID").unwrap_or("none")).await {
        let files = "it is in the job summary and in the run's folder";
        saved.notes.push(format!("the agent's result is no comment, {files}: {why}"));
    }
}

/// Writes the comment, or replaces the one that is there. Anybody can write a marker: it counts in comments
/// of our own alone.
async fn post(github: &GitHub, number: u64, delivery: &Delivery, run: &str) -> Result<(), github::Error> {
    let body = result::render(delivery, run);
    let me = github.whoami().await?;
    let key = delivery.key();
    let ours = github.comments(number).await?.into_iter().find(|comment| {
        comment.author.login == me.login
            && Marker::read(&comment.body).is_some_and(|marker| marker.key == key)
    });
    match ours {
        Some(comment) if comment.body.trim() == body.trim() => Ok(()),
        Some(comment) if is_newer(&comment.body, run) => Ok(()),
        Some(comment) => github.update_comment(comment.id, &body).await.map(drop),
        None => {
            let marker = body.lines().next().unwrap_or_default().to_owned();
            github.create_comment_once(number, &body, &marker).await.map(drop)
        }
    }
}

/// Whether a comment is of a later run than this one, which ended late.
fn is_newer(comment: &str, run: &str) -> bool {
    let number = |run: &str| run.parse::<u64>().ok();
    let theirs = Marker::read(comment).and_then(|marker| number(&marker.run));
    theirs.zip(number(run)).is_some_and(|(theirs, ours)| theirs > ours)
}

fn told(branch: &Branch) -> String {
    let left_out = if branch.left_out.is_empty() {
        String::new()
    } else {
        format!("; workflows are never changed there: {}", branch.left_out.join(", "))
    };
    let parent = branch.parent.get(..12).unwrap_or(&branch.parent);
    format!("the agent's changes are on the branch `{}`, which goes on from {parent}{left_out}", branch.name)
}

/// Pushes the agent's work as a branch that is new.
async fn push(
    story: &Story<'_>,
    baseline: &Baseline,
    folder: &RunFolder,
    shell: &Shell,
) -> Result<Branch, String> {
    let event = &story.inputs.event;
    let change = event.change.as_ref();
    if change.is_some_and(|change| change.fork) {
        return Err("a fork's files never become a branch of this repository".to_owned());
    }
    let server = shell.var("GITHUB_SERVER_URL").unwrap_or("https://github.com").trim_end_matches('/');
    let Some(token) = shell.var("GITHUB_TOKEN") else { return Err("GITHUB_TOKEN is not set".to_owned()) };
    let url = format!("{server}/{}.git", event.repository);
    let name = branch_name(event, shell.var("GITHUB_RUN_ID"), folder.nonce());
    let environment: Vec<(&'static str, OsString)> =
        NETWORK.iter().filter_map(|name| Some((*name, shell.var(name)?.into()))).collect();
    let message = message(story, shell.var("GITHUB_RUN_ID"));
    let head = change.map(|change| change.head_sha.as_str()).filter(|head| !head.is_empty());
    let push = Push {
        url: &url,
        token: Some(token),
        branch: &name,
        message: &message,
        head,
        environment: &environment,
    };
    let pushed = branch::push(baseline, &push).await.map_err(|error| error.to_string())?;
    let onto = change.map(|change| change.branch.as_str()).filter(|branch| !branch.is_empty());
    let onto = encoded(onto.unwrap_or(&event.default_branch));
    let url = format!("{server}/{}/compare/{onto}...{name}?expand=1", event.repository);
    Ok(Branch { name, url, parent: pushed.parent, files: pushed.files, left_out: pushed.left_out })
}

/// The branch's name: of the pull request or else the run, and never one that was there before.
fn branch_name(event: &Event, run: Option<&str>, nonce: &str) -> String {
    let number = event.change.as_ref().and_then(|change| change.number);
    let digits = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).take(20).collect::<String>();
    let of = match (number, run) {
        (Some(number), _) => format!("pr-{number}"),
        (None, Some(run)) => format!("run-{}", digits(run)),
        (None, None) => "run".to_owned(),
    };
    format!("tollgate/{of}-{}", nonce.get(..8).unwrap_or(nonce))
}

fn message(story: &Story<'_>, run: Option<&str>) -> String {
    let number = story.inputs.event.change.as_ref().and_then(|change| change.number);
    let of = number.map_or(String::new(), |number| format!(" for pull request {number}"));
    let run = run.map_or(String::new(), |run| format!("\n\nRun {run}. Nobody has looked at it yet."));
    format!("An agent's {}{of}{run}", story.class.task)
}

/// A branch's name in a URL, and in Markdown around it.
fn encoded(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    name.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}
