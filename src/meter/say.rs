//! What the agent is told: to wrap up, that this answer is the last, and that it is over.
//!
//! Short and plain, since it is read by a model in the middle of its work and is paid for by the token.

use super::Allowance;
use super::account::{Note, Overrun, Reason, Spend};
use super::state::Stop;
use crate::money::{Usd, group};

/// The text of a note.
pub(super) fn note(note: Note, allowance: Allowance, spent: Spend) -> String {
    let spent = share(allowance, spent);
    match note {
        Note::Steer => format!(
            "[Budget] This run has used {spent}. Wrap up now: start nothing new, finish what is begun, \
             and leave the work in a state that can be used."
        ),
        Note::LastCall => format!(
            "[Budget] This run has used {spent}. This is the last answer it allows: no tool result \
             will be read. Call no tool. Say in plain text what is done, what is not, and what comes next."
        ),
    }
}

/// The text of a stop, as an assistant says it at the end of its turn.
pub(super) fn stop(stop: Stop) -> String {
    let spent = share(stop.allowance, stop.spent);
    match stop.reason {
        Reason::Dollars | Reason::Tokens => format!(
            "Stopped at the {} cap: this run has used {spent}, and what is left is less than one more \
             request could need. Nothing further was sent to the model.",
            if stop.allowance.usd == Usd::ZERO { "token" } else { "cost" }
        ),
        Reason::LargerThanCap => format!(
            "Not sent: this one request could need more than this run's whole allowance, of which {spent} \
             is used. A shorter context or a lower output limit would fit."
        ),
        Reason::Sealed => {
            format!("Stopped: this run is over and takes no further requests. It has used {spent}.")
        }
    }
}

/// What an overrun was, with both amounts in the unit that was passed.
pub(super) fn overrun(overrun: &Overrun) -> String {
    let (worst, spend) = (overrun.worst, overrun.spend);
    if spend.usd > worst.usd {
        return format!("a request that could cost {} at most cost {}", worst.usd.shown(), spend.usd.shown());
    }
    let (worst, spend) = (group(u128::from(worst.fresh)), group(u128::from(spend.fresh)));
    format!("a request that could take {worst} new tokens at most took {spend}")
}

/// `$0.31 of $0.80`, with the tokens where they are capped; tokens alone for a run that spends no dollars.
fn share(allowance: Allowance, spent: Spend) -> String {
    if allowance.usd == Usd::ZERO {
        let tokens = group(u128::from(spent.fresh));
        let of = allowance.fresh_tokens.map(|cap| format!(" of {}", group(u128::from(cap))));
        return format!("{tokens}{} new tokens", of.unwrap_or_default());
    }
    let usd = format!("{} of {}", spent.usd.shown(), allowance.usd.shown());
    match allowance.fresh_tokens {
        None => usd,
        Some(cap) => {
            let tokens = group(u128::from(spent.fresh));
            format!("{usd} and {tokens} of {} new tokens", group(u128::from(cap)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPENT: Spend = Spend { usd: crate::money::Usd::from_dollars(3), fresh: 1_204_000 };

    fn allowance(fresh_tokens: Option<u64>) -> Allowance {
        Allowance { usd: crate::money::Usd::from_dollars(4), fresh_tokens }
    }

    #[test]
    fn the_agent_is_told_in_whole_sentences() {
        assert_eq!(
            note(Note::Steer, allowance(None), SPENT),
            "[Budget] This run has used $3.00 of $4.00. Wrap up now: start nothing new, finish what is begun, \
             and leave the work in a state that can be used."
        );
        assert_eq!(
            note(Note::LastCall, allowance(Some(2_000_000)), SPENT),
            "[Budget] This run has used $3.00 of $4.00 and 1,204,000 of 2,000,000 new tokens. This is the last \
             answer it allows: no tool result will be read. Call no tool. Say in plain text what is done, \
             what is not, and what comes next."
        );
        let said = |reason| stop(Stop { reason, allowance: allowance(None), spent: SPENT });
        assert_eq!(
            said(Reason::Dollars),
            "Stopped at the cost cap: this run has used $3.00 of $4.00, and what is left is less than one more \
             request could need. Nothing further was sent to the model."
        );
        assert_eq!(
            said(Reason::LargerThanCap),
            "Not sent: this one request could need more than this run's whole allowance, of which $3.00 of \
             $4.00 is used. A shorter context or a lower output limit would fit."
        );
        assert_eq!(
            said(Reason::Sealed),
            "Stopped: this run is over and takes no further requests. It has used $3.00 of $4.00."
        );
    }
}
