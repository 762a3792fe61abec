//! Checks of the budget lines, those for everybody and those of single workflows.

use std::collections::BTreeMap;

use super::error::{Mistake, quoted};
use super::file::{Line, LineKeys, ScopeWord, WorkflowKeys};
use super::read::{At, Place};
use super::scalar::exact;
use super::{Budget, BudgetLine, Enforce, Scope, policies};
use crate::money::Usd;

/// The budgets of the file, without the lines that are wrong.
pub(super) fn checked(written: Vec<Line>, budget: &Budget, mistakes: &mut Vec<Mistake>) -> Vec<BudgetLine> {
    with_places(written, budget, mistakes).into_iter().map(|(_, line)| line).collect()
}

fn with_places(written: Vec<Line>, budget: &Budget, mistakes: &mut Vec<Mistake>) -> Vec<(Place, BudgetLine)> {
    let mut kept: Vec<(Place, BudgetLine)> = Vec::new();
    for At { place, value } in written {
        not_org_alone(&value, budget, mistakes);
        let Some(line) = one(&place, value, budget.on.min_run_usd, mistakes) else { continue };
        match kept.iter().find(|(_, earlier)| same_purse(earlier, &line)) {
            Some((earlier, _)) => mistakes.push(place.mistake(
                format!("`{}` has the same scope and period, at {}", earlier.key, earlier.at),
                "keep one of the two; to hear of it before a limit is reached, use `alerts`",
            )),
            None => kept.push((place, line)),
        }
    }
    kept
}

/// Runs of other repositories are seen only in a ledger that they write to as well.
fn not_org_alone(keys: &LineKeys, budget: &Budget, mistakes: &mut Vec<Mistake>) {
    let org = keys.scope.as_ref().filter(|scope| scope.value == ScopeWord::Org);
    if let (Some(scope), false) = (org, budget.ledger.is_shared()) {
        mistakes.push(scope.place.mistake(
            "the ledger is this repository's own, so it cannot count what other repositories spend",
            "name a ledger that they share with `ledger: git:OWNER/REPO` or `ledger: postgres`, or write `scope: repo`",
        ));
    }
}

fn same_purse(one: &BudgetLine, other: &BudgetLine) -> bool {
    one.scope == other.scope && one.per == other.per
}

fn one(place: &Place, keys: LineKeys, min_run: Usd, mistakes: &mut Vec<Mistake>) -> Option<BudgetLine> {
    let scope = scope(place, keys.scope, keys.label, mistakes);
    let usd = keys.usd?;
    if usd.value < min_run {
        mistakes.push(usd.place.mistake(
            format!(
                "the limit of {} is below `on.min_run_usd` of {}, so no run could ever start",
                exact(usd.value),
                exact(min_run)
            ),
            format!("write at least `{min_run}`, or lower `on.min_run_usd`"),
        ));
    }
    let per = keys.per?.value;
    let pace = policies::pace(keys.pace, per, mistakes);
    Some(BudgetLine {
        scope: scope?,
        per,
        usd: usd.value,
        enforce: keys.enforce.map_or(Enforce::Hard, |enforce| enforce.value),
        pace,
        line: place.at.line,
    })
}

fn scope(
    place: &Place,
    word: Option<At<ScopeWord>>,
    label: Option<At<String>>,
    mistakes: &mut Vec<Mistake>,
) -> Option<Scope> {
    let word = word?;
    if let (Some(label), true) = (&label, word.value != ScopeWord::Label) {
        mistakes.push(
            label.place.mistake(
                "a label belongs to `scope: label` only",
                "write `scope: label`, or remove the label",
            ),
        );
    }
    Some(match word.value {
        ScopeWord::Org => Scope::Org,
        ScopeWord::Repo => Scope::Repo,
        ScopeWord::Workflow => Scope::Workflow,
        ScopeWord::Task => Scope::Task,
        ScopeWord::Actor => Scope::Actor,
        ScopeWord::Pr => Scope::Pr,
        ScopeWord::Label => match label {
            Some(label) => Scope::Label(label.value),
            None => {
                mistakes.push(place.mistake(
                    "`scope: label` does not say which label",
                    "add its name, such as `label: \"agent:docs\"`",
                ));
                return None;
            }
        },
    })
}

/// The budgets that workflows add. They may add to the file's own, or tighten them, never loosen them.
pub(super) fn checked_workflows(
    written: Vec<(At<String>, WorkflowKeys)>,
    budget: &Budget,
    mistakes: &mut Vec<Mistake>,
) -> BTreeMap<String, Vec<BudgetLine>> {
    let mut workflows = BTreeMap::new();
    for (path, keys) in written {
        workflow_path(&path, mistakes);
        let Some(lines) = keys.budgets else { continue };
        let lines = with_places(lines.value, budget, mistakes);
        for (place, line) in &lines {
            if let Some(outer) = budget.budgets.iter().find(|outer| same_purse(outer, line)) {
                not_looser(place, line, outer, mistakes);
            }
        }
        workflows.insert(path.value, lines.into_iter().map(|(_, line)| line).collect());
    }
    workflows
}

fn not_looser(place: &Place, line: &BudgetLine, outer: &BudgetLine, mistakes: &mut Vec<Mistake>) {
    let origin = match outer.line {
        0 => "of the defaults".to_owned(),
        number => format!("in line {number}"),
    };
    let strictness = |enforce| match enforce {
        Enforce::Warn => 0,
        Enforce::Soft => 1,
        Enforce::Hard => 2,
    };
    if line.usd > outer.usd {
        mistakes.push(place.mistake(
            format!(
                "a workflow may only tighten a budget, and {} is more than the {} {origin}",
                exact(line.usd),
                exact(outer.usd)
            ),
            format!("write `usd: {}` or less", outer.usd),
        ));
    } else if strictness(line.enforce) < strictness(outer.enforce) {
        mistakes.push(place.mistake(
            format!(
                "a workflow may only tighten a budget, and `{}` is weaker than the `{}` {origin}",
                line.enforce.as_str(),
                outer.enforce.as_str()
            ),
            format!("write `enforce: {}`", outer.enforce.as_str()),
        ));
    }
}

fn workflow_path(path: &At<String>, mistakes: &mut Vec<Mistake>) {
    let name = path.value.strip_prefix(".github/workflows/").unwrap_or_default();
    let is_yaml =
        name.strip_suffix(".yml").or_else(|| name.strip_suffix(".yaml")).is_some_and(|stem| !stem.is_empty());
    if is_yaml && !name.contains('/') {
        return;
    }
    let file = path.value.rsplit('/').next().unwrap_or_default();
    let hint = if file.ends_with(".yml") || file.ends_with(".yaml") {
        format!("write `.github/workflows/{file}`")
    } else {
        "write its path, such as `.github/workflows/nightly.yml`".to_owned()
    };
    mistakes.push(path.place.mistake(format!("{} is no path of a workflow file", quoted(&path.value)), hint));
}
