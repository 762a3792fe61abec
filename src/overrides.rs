//! Overrides: does a label on a pull request let it spend more than its budgets allow?
//!
//! Pure. `budget` says which label, by whom and for how long; the pipeline brings what the forge knows of
//! the label; the ledger takes the [`Lift`] that comes of it.

use jiff::{SignedDuration, Timestamp};

use crate::budget::{MayOverride, Override};
use crate::ledger::Lift;

/// What the forge says of the override's label. Nothing here is taken from an event's payload, which is as
/// old as the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Who set it last.
    pub by: String,
    /// What they may do in the repository now.
    pub may: Option<MayOverride>,
    /// When they set it.
    pub set: Timestamp,
    /// Whether nobody can have pushed since who may not write.
    pub vouched: bool,
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The label is not set.
    Unset,
    /// It is set and does not count, for this reason.
    Ignored(String),
    /// It counts.
    Counts(Lift),
}

/// Judges the label at `now`; `None` where it is not set.
#[must_use]
pub fn judge(rule: &Override, label: Option<&Label>, now: Timestamp) -> Standing {
    let Some(label) = label else { return Standing::Unset };
    let Label { by, may, set, vouched } = label;
    let name = &rule.label;
    if may.is_none_or(|may| may < rule.permission) {
        return Standing::Ignored(format!(
            "the label `{name}` was set by {by}, who does not have the {} permission that an override needs",
            rule.permission.as_str()
        ));
    }
    let lasts = SignedDuration::try_from(rule.expires).unwrap_or(SignedDuration::MAX);
    let expires = set.saturating_add(lasts).unwrap_or(Timestamp::MAX);
    if now >= expires {
        return Standing::Ignored(format!(
            "the override by the label `{name}`, set by {by}, has expired; taking the label off and setting it again \
             starts its time anew"
        ));
    }
    if !vouched {
        return Standing::Ignored(format!(
            "the label `{name}` does not count any more, because somebody who may not write to this repository may have \
             pushed since; set it again to vouch for the branch as it is"
        ));
    }
    Standing::Counts(Lift { usd: rule.usd, label: name.clone(), by: by.clone(), set: *set, expires })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::money::Usd;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    fn said(label: Option<Label>, now: &str) -> String {
        let rule = Override {
            label: "more".into(),
            permission: MayOverride::Maintain,
            usd: Usd::from_dollars(10),
            expires: Duration::from_secs(24 * 3600),
        };
        match judge(&rule, label.as_ref(), at(now)) {
            Standing::Unset => "unset".to_owned(),
            Standing::Ignored(why) => why,
            Standing::Counts(lift) => format!("{} by {} until {}", lift.usd, lift.by, lift.expires),
        }
    }

    #[test]
    fn a_label_counts_by_who_set_it_and_when() {
        let set = Label {
            by: "kim".into(),
            may: Some(MayOverride::Maintain),
            set: at("2026-11-23T12:00:00Z"),
            vouched: true,
        };
        let noon = "2026-11-24T11:59:59Z";
        assert_eq!(said(None, noon), "unset");
        assert_eq!(said(Some(set.clone()), noon), "10 by kim until 2026-11-24T12:00:00Z");
        let admin = Label { may: Some(MayOverride::Admin), ..set.clone() };
        assert_eq!(said(Some(admin), noon), "10 by kim until 2026-11-24T12:00:00Z");
        let stranger = "the label `more` was set by kim, who does not have the maintain permission that an override needs";
        for may in [None, Some(MayOverride::Write)] {
            assert_eq!(said(Some(Label { may, ..set.clone() }), noon), stranger);
        }
        assert_eq!(
            said(Some(set.clone()), "2026-11-24T12:00:00Z"),
            "the override by the label `more`, set by kim, has expired; taking the label off and setting it again starts its time anew"
        );
        assert_eq!(
            said(Some(Label { vouched: false, ..set }), noon),
            "the label `more` does not count any more, because somebody who may not write to this repository may have pushed since; set it again to vouch for the branch as it is"
        );
    }
}
