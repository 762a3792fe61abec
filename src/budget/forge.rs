//! What is said and allowed on the forge: the comment, the commit status, alerts with their webhooks, and the
//! override.
//!
//! The same two steps as for the rest of the file: what may be written, and what it means.

use std::time::Duration;

use serde_json::{Value, json};

use super::error::{Mistake, quoted};
use super::read::{At, Keys, Place, Read, Words, mapping, word, word_schema, words};
use super::scalar::Percent;
use super::tree::{Kind, Node};
use super::{CommentMode, CommentPolicy, CommentShow, CommentWhen, MayOverride, Override, Webhook};
use crate::money::Usd;

mapping! {
    /// How a pull request's comment is posted, and what it shows.
    CommentKeys {
        /// Update one comment in place, write a new one each run, hide the old and write a new one, or off.
        "mode" => mode: CommentMode,
        /// When a comment is first written: always, once money was spent, or once there is something to look at.
        "only_when" => only_when: CommentWhen,
        /// Whose budgets it shows: all, only the pull request's own, or auto: its own in public repositories.
        "show" => show: CommentShow,
        /// Whether the agent's last text goes under a fold: details or off.
        "result" => result: ResultShown,
    }
    required {}
    later {}
}

/// Whether the agent's text is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResultShown {
    Details,
    Off,
}

words! {
    ResultShown, "choice here" { "details" => ResultShown::Details, "off" => ResultShown::Off, }
    later {}
}

words! {
    CommentMode, "way to comment" {
        "update" => CommentMode::Update,
        "new" => CommentMode::New,
        "hide-and-new" => CommentMode::HideAndNew,
        "off" => CommentMode::Off,
    }
    later {}
}

words! {
    CommentWhen, "choice here" {
        "always" => CommentWhen::Always,
        "spent" => CommentWhen::Spent,
        "alert" => CommentWhen::Alert,
    }
    later {}
}

words! {
    CommentShow, "choice here" {
        "auto" => CommentShow::Auto,
        "all" => CommentShow::All,
        "own" => CommentShow::Own,
    }
    later {}
}

/// Takes over what is written of the comment; returns whether the agent's text is shown, where that is.
pub(super) fn apply_comment(policy: &mut CommentPolicy, keys: CommentKeys) -> Option<bool> {
    let CommentKeys { mode, only_when, show, result } = keys;
    policy.mode = mode.map_or(policy.mode, |at| at.value);
    policy.only_when = only_when.map_or(policy.only_when, |at| at.value);
    policy.show = show.map_or(policy.show, |at| at.value);
    result.map(|at| at.value == ResultShown::Details)
}

/// The longest context that GitHub shows whole in a list of checks, in characters.
const CONTEXT_CHARS_MAX: usize = 100;

/// The context that is meant.
pub(super) fn context(context: At<String>, mistakes: &mut Vec<Mistake>) -> Option<String> {
    let At { place, value } = context;
    let fine = value.chars().count() <= CONTEXT_CHARS_MAX;
    if !fine {
        mistakes.push(place.mistake(
            format!("a status has a name of at most {CONTEXT_CHARS_MAX} characters"),
            "write the name that rulesets are to require, such as `tollgate`",
        ));
    }
    fine.then_some(value)
}

mapping! {
    /// A label by which a person lets a pull request spend more than its budgets allow.
    OverrideKeys {
        /// The label.
        "label" => label: String,
        /// What whoever sets the label must be allowed to do in the repository.
        "permission" => permission: MayOverride,
        /// How many dollars every budget that applies is raised by.
        "usd" => usd: Usd,
        /// How long after it was set the label counts.
        "expires" => expires: Duration,
    }
    required {
        "label": "add the label's name, such as `label: budget-override`",
        "usd": "add by how many dollars budgets are raised, such as `usd: 10`",
    }
    later {}
}

words! {
    MayOverride, "permission that can write" {
        "write" => MayOverride::Write,
        "maintain" => MayOverride::Maintain,
        "admin" => MayOverride::Admin,
    }
    later {}
}

/// How long an override counts where the file does not say.
const EXPIRES: Duration = Duration::from_secs(24 * 3600);
/// The longest label that GitHub takes, in characters.
const LABEL_CHARS_MAX: usize = 50;

/// The override that is meant.
pub(super) fn checked_override(keys: OverrideKeys, mistakes: &mut Vec<Mistake>) -> Option<Override> {
    let (label, usd) = (keys.label?, keys.usd?);
    let length = label.value.chars().count();
    if label.value.trim().is_empty() || length > LABEL_CHARS_MAX {
        mistakes.push(label.place.mistake(
            format!("{} is no label: GitHub takes 1 to {LABEL_CHARS_MAX} characters", quoted(&label.value)),
            "write the label's name, such as `budget-override`",
        ));
        return None;
    }
    Some(Override {
        label: label.value,
        permission: keys.permission.map_or(MayOverride::Maintain, |at| at.value),
        usd: usd.value,
        expires: keys.expires.map_or(EXPIRES, |at| at.value),
    })
}

mapping! {
    /// A threshold that is also told to a webhook.
    HookKeys {
        /// The percent of any budget.
        "at" => at: Percent,
        /// The name of the environment variable that holds the webhook's address, which is a secret.
        "webhook_env" => webhook_env: String,
    }
    required {
        "at": "add the percent, such as `at: 80`",
        "webhook_env": "add the name of the variable that holds the address, such as `webhook_env: SLACK_WEBHOOK`",
    }
    later {}
}

/// One threshold: a percent, or a percent with a webhook.
#[derive(Debug)]
pub(super) enum Threshold {
    /// Said where everything is said.
    Plain(Percent),
    /// Told to a webhook, too.
    Hook(HookKeys),
}

impl Read for Threshold {
    fn read(node: &Node, place: &Place, mistakes: &mut Vec<Mistake>) -> Option<Self> {
        match &node.kind {
            Kind::Map(_) => HookKeys::read(node, place, mistakes).map(Self::Hook),
            _ => Percent::read(node, place, mistakes).map(Self::Plain),
        }
    }

    fn schema() -> Value {
        json!({ "anyOf": [Percent::schema(), HookKeys::schema()] })
    }
}

/// The thresholds, ascending, and those that have a webhook.
pub(super) fn thresholds(
    written: Vec<At<Threshold>>,
    mistakes: &mut Vec<Mistake>,
) -> (Vec<u32>, Vec<Webhook>) {
    let (mut percents, mut webhooks) = (Vec::new(), Vec::new());
    for At { place, value } in written {
        let (percent, hook) = match value {
            Threshold::Plain(percent) => (percent.0, None),
            Threshold::Hook(HookKeys { at: Some(at), webhook_env: Some(name) }) => (at.value.0, Some(name)),
            // What is missing was said when it was read.
            Threshold::Hook(_) => continue,
        };
        if percents.contains(&percent) {
            mistakes.push(place.mistake(format!("{percent} percent is there twice"), "keep one of the two"));
        }
        percents.push(percent);
        if let Some(name) = hook.filter(|name| is_variable(name, mistakes)) {
            webhooks.push(Webhook { at: percent, env: name.value });
        }
    }
    percents.sort_unstable();
    (percents, webhooks)
}

fn is_variable(name: &At<String>, mistakes: &mut Vec<Mistake>) -> bool {
    let text = &name.value;
    if text.contains("://") {
        mistakes.push(name.place.mistake(
            "this is an address, and whoever reads the file could post to it",
            "keep the address in a secret, set a variable from it in the workflow's `env:`, and write the \
             variable's name here",
        ));
        return false;
    }
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let fine = !text.is_empty() && text.chars().all(word) && !text.starts_with(|c: char| c.is_ascii_digit());
    if !fine {
        mistakes.push(name.place.mistake(
            format!("{} is no name of an environment variable", quoted(text)),
            "write a name of letters, digits and `_`, such as `SLACK_WEBHOOK`",
        ));
    }
    fine
}
