//! Which alert thresholds a run crosses while it spends: each at most once.

use super::BudgetState;
use crate::money::Usd;

/// What an alert is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The run's own cap.
    Cap,
    /// A budget, by its name for people.
    Budget(String),
}

/// A threshold that was crossed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Of what.
    pub what: What,
    /// The threshold, in percent.
    pub percent: u32,
    /// What has been spent by now.
    pub spent: Usd,
    /// Of how much.
    pub limit: Usd,
    /// It is about the pull request's own budget or the run's cap.
    pub own: bool,
}

/// Watches a run's spend against its cap and every budget.
#[derive(Clone, Debug)]
pub struct Alerts {
    watched: Vec<Watched>,
}

#[derive(Clone, Debug)]
struct Watched {
    what: What,
    before: Usd,
    limit: Usd,
    own: bool,
    /// Thresholds that have not been crossed, ascending.
    ahead: Vec<u32>,
}

impl Alerts {
    /// Watches `cap` and the budgets as they stood before the run. A threshold that earlier runs had
    /// crossed is not told again.
    #[must_use]
    pub fn new(thresholds: &[u32], cap: Usd, budgets: &[BudgetState]) -> Self {
        let mut thresholds = thresholds.to_vec();
        thresholds.sort_unstable();
        let watch = |what: What, before: Usd, limit: Usd, own: bool| {
            let ahead =
                thresholds.iter().copied().filter(|percent| before < limit.percent(*percent)).collect();
            Watched { what, before, limit, own, ahead }
        };
        let budget = |state: &BudgetState| {
            let own = state.balance.limit.is_of_pull_request();
            watch(What::Budget(state.name.clone()), state.balance.settled, state.balance.limit.usd, own)
        };
        let cap = watch(What::Cap, Usd::ZERO, cap, true);
        Self { watched: std::iter::once(cap).chain(budgets.iter().filter(is_whole).map(budget)).collect() }
    }

    /// The thresholds that this run's spend of `spent` so far has newly crossed. Where it has jumped over
    /// several of the same budget, the highest speaks for all.
    pub fn on(&mut self, spent: Usd) -> Vec<Alert> {
        self.watched.iter_mut().filter_map(|watched| watched.on(spent)).collect()
    }
}

/// An even pace is meant to be used up every day: only budgets are worth telling of.
fn is_whole(state: &&BudgetState) -> bool {
    !state.balance.limit.is_paced()
}

/// The thresholds of budgets over which a run's spend has carried them, by the order of the ledger: every
/// settlement begins where the one before it ended, so each is crossed by one run, whatever ran beside it.
/// Where a budget was carried over several, each is named.
#[must_use]
pub fn crossed(thresholds: &[u32], spent: Usd, budgets: &[BudgetState]) -> Vec<Alert> {
    let mut alerts = Vec::new();
    for BudgetState { name, balance } in budgets.iter().filter(is_whole) {
        let (now, limit) = (balance.settled, balance.limit.usd);
        let before = now - spent;
        let newly = |percent: &&u32| (before < limit.percent(**percent)) && now >= limit.percent(**percent);
        alerts.extend(thresholds.iter().filter(newly).map(|percent| Alert {
            what: What::Budget(name.clone()),
            percent: *percent,
            spent: now,
            limit,
            own: balance.limit.is_of_pull_request(),
        }));
    }
    alerts
}

impl Watched {
    fn on(&mut self, spent: Usd) -> Option<Alert> {
        let now = self.before + spent;
        let crossed = self.ahead.iter().take_while(|percent| now >= self.limit.percent(**percent)).count();
        let percent = self.ahead.drain(..crossed).next_back()?;
        Some(Alert { what: self.what.clone(), percent, spent: now, limit: self.limit, own: self.own })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Balance, Enforce, Limit, Window};

    fn state(name: &str, settled: u32, usd: u32) -> BudgetState {
        let window = Window { start: jiff::Timestamp::UNIX_EPOCH, end: None };
        let limit = Limit {
            purse: "repo".to_owned(),
            per: "total".to_owned(),
            window,
            usd: Usd::from_dollars(usd),
            enforce: Enforce::Hard,
        };
        let balance = Balance { limit, settled: Usd::from_dollars(settled), held: Usd::ZERO };
        BudgetState { name: name.to_owned(), balance }
    }

    fn told(alerts: &mut Alerts, spent: u32) -> Vec<(What, u32)> {
        alerts.on(Usd::from_dollars(spent)).into_iter().map(|alert| (alert.what, alert.percent)).collect()
    }

    #[test]
    fn each_threshold_is_told_once() {
        let budget = |name: &str| What::Budget(name.to_owned());
        let mut alerts =
            Alerts::new(&[95, 50, 80], Usd::from_dollars(20), &[state("a", 40, 100), state("b", 85, 100)]);
        assert_eq!(told(&mut alerts, 0), []);
        assert_eq!(told(&mut alerts, 9), []);
        assert_eq!(told(&mut alerts, 10), [(What::Cap, 50), (budget("a"), 50), (budget("b"), 95)]);
        assert_eq!(told(&mut alerts, 10), []);
        assert_eq!(told(&mut alerts, 20), [(What::Cap, 95)]);
        assert_eq!(told(&mut alerts, 60), [(budget("a"), 95)]);
        assert_eq!(told(&mut alerts, 1000), []);
    }

    #[test]
    fn settlements_in_a_row_cross_each_threshold_once() {
        let mut found = Vec::new();
        for (spent, settled) in [(30, 30), (25, 55), (5, 60), (0, 60), (38, 98), (10, 108)] {
            let crossed = crossed(&[50, 80, 95], Usd::from_dollars(spent), &[state("a", settled, 100)]);
            found.extend(crossed.iter().map(|alert| (settled, alert.percent)));
        }
        assert_eq!(found, [(55, 50), (98, 80), (98, 95)]);
    }

    #[test]
    fn an_alert_tells_the_sum_with_earlier_runs() {
        let mut alerts = Alerts::new(&[50], Usd::from_dollars(100), &[state("a", 40, 100)]);
        let alert = alerts.on(Usd::from_dollars(12)).remove(0);
        assert_eq!((alert.spent, alert.limit), (Usd::from_dollars(52), Usd::from_dollars(100)));
    }

    #[test]
    fn a_pull_requests_own_budget_is_known_on_a_shared_ledger_as_well() {
        for (purse, own) in [
            ("pr:17", true),
            ("github.com/acme/widgets pr:17", true),
            ("repo", false),
            ("github.com/acme/widgets repo", false),
            ("label:a/b pr:17", false),
        ] {
            let mut state = state("it", 60, 100);
            state.balance.limit.purse = purse.to_owned();
            let crossed = crossed(&[50], Usd::from_dollars(20), std::slice::from_ref(&state));
            assert_eq!(crossed.iter().map(|alert| alert.own).collect::<Vec<_>>(), [own], "{purse}");
            // A run's own cap is the other one that is watched.
            let mut alerts = Alerts::new(&[90], Usd::from_dollars(1000), &[state]);
            assert_eq!(alerts.on(Usd::from_dollars(40)).remove(0).own, own, "{purse}");
        }
    }
}
