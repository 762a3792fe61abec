//! What a budget means, in plain words, with the most that each limit can be passed by.

use std::fmt::Write as _;

use super::scalar::{duration_text, exact};
use super::{
    AskModel, Budget, BudgetLine, CommentMode, CommentPolicy, CommentShow, CommentWhen, DearerModel, Deliver,
    Enforce, FailOr, LEDGER_BRANCH, LedgerChoice, LedgerError, LowBudget, Mode, Pace, Period, Preset,
    RetryTier, Rule, Scope, ServerTools, TierLimits, UnknownModel,
};
use crate::model::Vendor;
use crate::money::{Usd, group};
use crate::task::{Stakes, Task, Tier};

/// Explains a budget: what it limits and by how much each limit can be passed, the tiers, what happens at
/// a cap, and which task goes to which tier.
#[must_use]
pub fn explain(budget: &Budget) -> String {
    let mut out = String::new();
    mode(&mut out, budget);
    budgets(&mut out, budget);
    tiers(&mut out, budget);
    routing(&mut out, budget);
    at_the_cap(&mut out, budget);
    otherwise(&mut out, budget);
    agent(&mut out, budget);
    prices(&mut out, budget);
    comment(&mut out, budget.comment);
    status(&mut out, budget);
    out
}

/// One line of the explanation. Writing to a string cannot fail.
macro_rules! say {
    ($out:expr, $($arg:tt)*) => {{
        let _ = writeln!($out, $($arg)*);
    }};
}

fn mode(out: &mut String, budget: &Budget) {
    match budget.mode {
        Mode::Enforce => say!(out, "Mode: enforce. Caps stop runs, and exceeded budgets fail checks."),
        Mode::Observe => {
            say!(out, "Mode: observe. Runs are metered and reported; nothing is stopped, no check fails.");
        }
    }
    let zone = budget.timezone.iana_name().unwrap_or("UTC");
    say!(out, "Days, weeks (from Monday) and months are those of {zone}.");
    ledger(out, budget);
}

fn ledger(out: &mut String, budget: &Budget) {
    match &budget.ledger {
        LedgerChoice::Default if budget.path.is_some() => {
            say!(
                out,
                "Spend is recorded in files below `{}`; in Actions on the branch `{LEDGER_BRANCH}` of the",
                budget.ledger.folder()
            );
            say!(out, "repository, for which a job needs `permissions: {{ contents: write }}`.");
        }
        LedgerChoice::Default | LedgerChoice::File(_) => {
            say!(
                out,
                "Spend is recorded in files below `{}`. A hosted runner forgets them with its job:",
                budget.ledger.folder()
            );
            say!(out, "there, budgets add up over the runs of one job, unless that folder is kept.");
        }
        LedgerChoice::Postgres => {
            say!(out, "Spend is recorded in the PostgreSQL database that TOLLGATE_DATABASE_URL names, which");
            say!(out, "other repositories may share.");
        }
        LedgerChoice::Git(choice) => {
            let branch = choice.branch.as_deref().unwrap_or(LEDGER_BRANCH);
            match &choice.repository {
                Some(repository) => {
                    say!(out, "Spend is recorded on the branch `{branch}` of {repository}, which other");
                    say!(out, "repositories may share, with the token in TOLLGATE_LEDGER_TOKEN.");
                }
                None => {
                    say!(
                        out,
                        "Spend is recorded on the branch `{branch}` of the repository; in Actions a job"
                    );
                    say!(out, "needs `permissions: {{ contents: write }}` for that.");
                }
            }
        }
    }
    if budget.grows() {
        say!(out, "A run holds an eighth of its cap at first, and more while it spends.");
    }
    if let Some(root) = &budget.ledger_root {
        say!(out, "That branch must begin with the commit {root}.");
    }
}

fn prices(out: &mut String, budget: &Budget) {
    let lines = budget.prices.explained();
    if !lines.is_empty() {
        say!(out, "\nPrices");
    }
    for line in lines {
        say!(out, "  {line}");
    }
}

fn budgets(out: &mut String, budget: &Budget) {
    say!(out, "\nBudgets");
    if budget.budgets.is_empty() {
        say!(out, "  none: only the caps of single runs hold");
    }
    for line in &budget.budgets {
        budget_line(out, budget, line);
    }
    for (path, lines) in &budget.workflows {
        say!(out, "\nBudgets that {path} adds");
        for line in lines {
            budget_line(out, budget, line);
        }
    }
    let has_lines = !budget.budgets.is_empty() || !budget.workflows.is_empty();
    if has_lines && budget.mode == Mode::Enforce {
        say!(
            out,
            "\n  These bounds hold at published prices and provider-reported usage, for traffic that goes\n  \
             through the meter."
        );
    }
    if !budget.alerts.is_empty() {
        let percents: Vec<String> = budget.alerts.iter().map(|percent| format!("{percent} %")).collect();
        say!(out, "  It is said when spend reaches {} of a budget.", and(&percents));
    }
    for hook in &budget.webhooks {
        say!(out, "  At {} % the webhook in {} is told, too.", hook.at, hook.env);
    }
    if let Some(lift) = &budget.lift {
        let who = lift.permission.as_str();
        say!(out, "  The label `{}`, set by someone with {who} permission, raises every budget", lift.label);
        say!(
            out,
            "  that applies to its pull request by {} for {}.",
            exact(lift.usd),
            duration_text(lift.expires)
        );
    }
}

fn budget_line(out: &mut String, budget: &Budget, line: &BudgetLine) {
    let who = match &line.scope {
        Scope::Org => "All runs of all repositories of the owner".to_owned(),
        Scope::Repo => "All runs of the repository".to_owned(),
        Scope::Workflow => "The runs of each workflow file".to_owned(),
        Scope::Task => "The runs of each task".to_owned(),
        Scope::Actor => "The runs that each person or bot causes".to_owned(),
        Scope::Pr => "The runs on each pull request".to_owned(),
        Scope::Label(label) => format!("The runs on pull requests labelled `{label}`"),
    };
    let per = match line.per {
        Period::Day => " a day",
        Period::Week => " a week",
        Period::Month => " a month",
        Period::Total => " in total",
    };
    let origin = if line.line == 0 { " (default)".to_owned() } else { format!(" (line {})", line.line) };
    say!(out, "  {who} together may cost {}{per}, {}{origin}.", exact(line.usd), line.enforce.as_str());
    if line.pace == Pace::Even {
        let (share, end) = if line.per == Period::Day { ("hour", "hour") } else { ("day", "day") };
        say!(
            out,
            "    It is spent evenly: by the end of each {end}, no more than each {share}'s share so far."
        );
    }
    let dearest = exact(dearest_cap(budget));
    match (budget.mode, line.enforce) {
        (Mode::Observe, _) => {
            say!(out, "    Only counted in observe mode. It can be passed without bound.");
        }
        (Mode::Enforce, Enforce::Hard) => {
            say!(out, "    No run gets a cap above what is left; with too little left, none starts.");
            say!(out, "    The most it can be passed by: $0.00.");
        }
        (Mode::Enforce, Enforce::Soft) => {
            say!(
                out,
                "    A run keeps its cap; once the limit is reached the check fails and no run starts."
            );
            say!(out, "    The most it can be passed by: {dearest} for each run under way at that time.");
        }
        (Mode::Enforce, Enforce::Warn) => {
            say!(out, "    Once the limit is reached it is said; checks pass and runs go on.");
            say!(out, "    It can be passed without bound.");
        }
    }
}

/// The largest dollar cap among the tiers that any task can be routed to.
fn dearest_cap(budget: &Budget) -> Usd {
    let routed =
        Task::ALL.into_iter().flat_map(|task| Stakes::ALL.map(|stakes| budget.tasks.tier(task, stakes)));
    routed.map(|tier| budget.tiers.get(tier).max_usd).max().unwrap_or(Usd::ZERO)
}

fn tiers(out: &mut String, budget: &Budget) {
    say!(out, "\nTiers, each with the cap of one run");
    let ordered = [Tier::High, Tier::Medium, Tier::Low];
    let width = |text: fn(&TierLimits) -> String| {
        ordered.map(|tier| text(budget.tiers.get(tier)).chars().count()).into_iter().max().unwrap_or(0)
    };
    let model = |limits: &TierLimits| limits.model.to_string();
    let cap = |limits: &TierLimits| exact(limits.max_usd);
    let tokens = |limits: &TierLimits| match limits.max_tokens {
        Some(tokens) => format!("{} new tokens", group(u128::from(tokens))),
        None => "any number of tokens".to_owned(),
    };
    let (model_width, cap_width, tokens_width) = (width(model), width(cap), width(tokens));
    for tier in ordered {
        let limits = budget.tiers.get(tier);
        say!(
            out,
            "  {tier:<6}  {:<model_width$}  {:>cap_width$}  {:>tokens_width$}  {}",
            model(limits),
            cap(limits),
            tokens(limits),
            duration_text(limits.timeout),
        );
    }
    for tier in ordered {
        let limits = budget.tiers.get(tier);
        let effort = limits.effort.map(|effort| format!("thinks at {} effort", effort.as_str()));
        let thinking = limits.thinking.map(|tokens| match tokens {
            0 => "does not think before an answer".to_owned(),
            tokens => format!("thinks for {} tokens at most", group(u128::from(tokens))),
        });
        let said: Vec<String> = effort.into_iter().chain(thinking).collect();
        if !said.is_empty() {
            say!(out, "  The {tier} tier's model {}.", and(&said));
        }
    }
}

fn routing(out: &mut String, budget: &Budget) {
    say!(out, "\nRouting: the tier of a task at low, medium and high stakes");
    for task in Task::ALL {
        let [low, medium, high] = Stakes::ALL.map(|stakes| budget.tasks.tier(task, stakes));
        say!(out, "  {task:<14}  {low:<6}  {medium:<6}  {high}");
    }
    for rule in &budget.rules {
        say!(out, "  {}", rule_text(rule));
    }
    if budget.ask_model == AskModel::WhenUnsure {
        say!(
            out,
            "  Where the classifier is not sure, the low tier's model is asked as well, at the run's own"
        );
        say!(out, "  cost. Its answer may move work to a dearer tier, never to a cheaper one.");
    }
    if let Some(retry) = budget.retry {
        let tier = match retry.tier {
            RetryTier::Up => "the next dearer tier",
            RetryTier::Same => "the same tier",
        };
        let times = if retry.at_most == 1 { "once".to_owned() } else { format!("{} times", retry.at_most) };
        say!(out, "  An agent that fails, other than at a cap, is tried again at {tier}, {times} at most.");
        say!(
            out,
            "  Each attempt is a run of its own: it has its own cap, within what the budgets have left."
        );
    }
}

fn rule_text(rule: &Rule) -> String {
    let label = rule.label.as_ref().map(|label| format!("the label `{label}` is set"));
    let paths = rule.paths.as_ref().map(|(patterns, _)| {
        let quoted: Vec<String> = patterns.iter().map(|pattern| format!("`{pattern}`")).collect();
        format!("a changed file matches {}", or(&quoted))
    });
    let conditions: Vec<String> = label.into_iter().chain(paths).chain(rule.when.conditions()).collect();
    let task = rule.task.map(|task| format!("the task is {task}"));
    let stakes = rule.stakes.map(|stakes| format!("the stakes are {stakes}"));
    let effects: Vec<String> = task.into_iter().chain(stakes).collect();
    format!("Line {}: if {}, {}.", rule.line, and(&conditions), and(&effects))
}

fn at_the_cap(out: &mut String, budget: &Budget) {
    say!(out, "\nAt a run's cap{}", once_enforced(budget));
    match budget.steer_at {
        Some(percent) => say!(out, "  At {percent} % the agent is told what is left, and to wrap up."),
        None => say!(out, "  The agent is not told before."),
    }
    say!(out, "  Then it gets one last answer, and every further request is answered with a stop.");
    let of = |verdict| -> Vec<String> {
        Task::ALL
            .into_iter()
            .filter(|task| budget.on.cap.get(task) == Some(&verdict))
            .map(|t| t.to_string())
            .collect()
    };
    for (verdict, means) in [(FailOr::Fail, "fails"), (FailOr::Warn, "passes with a warning")] {
        let tasks = of(verdict);
        if !tasks.is_empty() {
            say!(out, "  The check {means} for {}.", and(&tasks));
        }
    }
}

fn once_enforced(budget: &Budget) -> &'static str {
    match budget.mode {
        Mode::Enforce => "",
        Mode::Observe => ", once the mode is enforce",
    }
}

fn otherwise(out: &mut String, budget: &Budget) {
    let on = &budget.on;
    let min = exact(on.min_run_usd);
    say!(out, "\nOtherwise{}", once_enforced(budget));
    match on.low_budget {
        LowBudget::Downgrade => {
            say!(out, "  Less left than the tier's cap: a cheaper tier whose cap fits, else a cut cap.");
            if let Some(percent) = on.downgrade_saves {
                say!(out, "  A cheaper tier is taken only if the same tokens cost {percent} % less there.");
            }
        }
        LowBudget::Cut => say!(out, "  Less left than the tier's cap: the cap is cut to what is left."),
        LowBudget::Refuse => say!(out, "  Less left than the tier's cap: the run does not start."),
    }
    say!(out, "  Less left than {min}: the run does not start, and the check {}.", verdict(on.refused));
    say!(out, "  The meter saw no request of the agent: the check {}.", verdict(on.unmetered));
    say!(
        out,
        "  {}",
        match on.unknown_model {
            UnknownModel::Deny => "A model without a known price: the request is refused.",
            UnknownModel::Ceiling => "A model without a known price: counted at the dearest price known.",
        }
    );
    say!(
        out,
        "  {}",
        match on.server_tools {
            ServerTools::Deny => "Tools that the provider runs: the request is refused.",
            ServerTools::Bound => "Tools that the provider runs: let through where their worst case fits.",
        }
    );
    say!(
        out,
        "  {}",
        match on.dearer_model {
            DearerModel::Remap => "A dearer model than the tier's: the request goes to the tier's model.",
            DearerModel::Deny => "A dearer model than the tier's: the request is refused.",
            DearerModel::Allow => "A dearer model than the tier's: let through at its own price.",
        }
    );
    say!(
        out,
        "  {}",
        match on.ledger_error {
            LedgerError::Fail => "The ledger cannot be used: the check fails.",
            LedgerError::Skip =>
                "The ledger cannot be used: no agent runs, and the check passes with a warning.",
        }
    );
    say!(out, "  No provider key, as on forks: no agent runs, and the check {}.", verdict(on.no_key));
}

fn verdict(verdict: FailOr) -> &'static str {
    match verdict {
        FailOr::Fail => "fails",
        FailOr::Warn => "passes with a warning",
        FailOr::Pass => "passes",
    }
}

fn agent(out: &mut String, budget: &Budget) {
    let agent = &budget.agent;
    say!(out, "\nAgent");
    match agent.preset {
        Preset::Command => say!(out, "  The command {}.", quoted(&agent.args).join(" ")),
        preset if agent.args.is_empty() => say!(out, "  {}.", preset.title()),
        preset => say!(out, "  {}, with {}.", preset.title(), and(&quoted(&agent.args))),
    }
    let keys: Vec<String> = keys(budget).into_iter().map(str::to_owned).collect();
    if !keys.is_empty() {
        say!(out, "  Its requests need the key in {}, which it does not see.", and(&keys));
    }
    if !agent.env.is_empty() {
        say!(out, "  It sees the variables {} besides the usual ones.", and(&agent.env));
    }
    let own: Vec<String> = agent.prompt.keys().map(Task::to_string).collect();
    if !own.is_empty() {
        say!(out, "  The file has its own prompt for {}.", and(&own));
    }
    for (way, means) in [
        (
            Deliver::Comment,
            "Its last text is a comment on the pull request, and changes are saved as a patch,",
        ),
        (Deliver::Patch, "Its changes are saved as a patch"),
        (Deliver::Branch, "Its changes are pushed as a branch of their own, and saved as a patch,"),
        (Deliver::Off, "Its changes are not kept"),
    ] {
        let tasks: Vec<String> = agent
            .deliver
            .iter()
            .filter(|(_, chosen)| **chosen == way)
            .map(|(task, _)| task.to_string())
            .collect();
        if !tasks.is_empty() {
            say!(out, "  {means} for {}.", and(&tasks));
        }
    }
    if budget.result_in_comment {
        say!(out, "  Its last text goes under a fold in the comment.");
    }
}

/// The variables of the keys that the agent's models need.
fn keys(budget: &Budget) -> Vec<&'static str> {
    let mut keys: Vec<&str> = budget
        .models()
        .into_iter()
        .filter_map(|model| budget.agent.preset.vendor(model).map(Vendor::key_variable))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

fn comment(out: &mut String, policy: CommentPolicy) {
    say!(out, "\nComment on a pull request");
    match policy.mode {
        CommentMode::Update => say!(out, "  One, kept up to date."),
        CommentMode::New => say!(out, "  A new one for each workflow run."),
        CommentMode::HideAndNew => say!(out, "  A new one for each workflow run; older ones are hidden."),
        CommentMode::Off => return say!(out, "  None."),
    }
    match policy.only_when {
        CommentWhen::Always => say!(out, "  It is written when a run starts."),
        CommentWhen::Spent => say!(out, "  It is written once a run has spent something, or fails."),
        CommentWhen::Alert => {
            say!(
                out,
                "  It is written once a check does not pass, a budget crosses a threshold, or an override"
            );
            say!(out, "  counts.");
        }
    }
    match policy.show {
        CommentShow::Auto => {
            say!(out, "  It shows every budget; in a public repository, only the pull request's own.");
        }
        CommentShow::All => say!(out, "  It shows every budget, also in a public repository."),
        CommentShow::Own => say!(out, "  It shows the pull request's own budget only."),
    }
}

fn status(out: &mut String, budget: &Budget) {
    if let Some(context) = &budget.status {
        let context = context.escape_default();
        say!(out, "\nStatus of the commit that a run is on\n  `{context}`: the verdict, and what it cost.");
    }
}

fn quoted(texts: &[String]) -> Vec<String> {
    texts.iter().map(|text| format!("`{}`", text.escape_default())).collect()
}

/// `a`, `a and b`, `a, b and c`.
fn and(words: &[String]) -> String {
    joined(words, "and")
}

fn or(words: &[String]) -> String {
    joined(words, "or")
}

fn joined(words: &[String], last_by: &str) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [firsts @ .., last] => format!("{} {last_by} {last}", firsts.join(", ")),
    }
}
