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
use crate::report::result::{self, Branch};

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
                Ok(branch) => pushed = Some(branch),
                Err(why) => {
                    saved.notes.push(format!("the agent's work is no branch, but in partial.patch: {why}"))
                }
            }
        }
        baseline.discard();
    }
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
