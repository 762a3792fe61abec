//! Decisions: what the book's answer to a wish is. Pure; all checks first, then the event.

use jiff::{SignedDuration, Timestamp};

use super::book::{Book, LIVE_MAX};
use super::event::{Adjust, Cut, Expire, Extend, Kind, Refuse, Reserve, Settle, Void};
use super::hold::{Hold, Phase};
use super::{Answer, Balance, Enforce, Limit, Request, Spend};
use crate::id::HoldId;
use crate::money::Usd;

/// How long after its expiry a hold is charged: clocks of two machines need not agree.
pub const SKEW: SignedDuration = SignedDuration::from_secs(60);
/// Limits or purses that a reserve may name.
pub const NAMES_MAX: usize = 64;
/// Bytes of a purse's name, a hold's key, a reason.
pub const NAME_BYTES_MAX: usize = 512;

/// Something that is to happen to a hold; the commit gives it a number and a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The hold.
    pub hold: HoldId,
    /// What happens.
    pub kind: Kind,
}

/// Why the ledger does not do what it is asked, other than a limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request makes no sense.
    #[error("the ledger was asked for something that makes no sense: {0}")]
    Nonsense(String),
    /// The request's windows are not those of now.
    #[error(
        "the ledger's clock says {at}, which is outside the {per} window of `{purse}` that this run was \
         started in\n\nhint: start the run again; if it happens again, set this machine's clock"
    )]
    WindowOver {
        /// The ledger's time.
        at: Timestamp,
        /// How often the limit starts anew.
        per: String,
        /// Whose limit it is.
        purse: String,
    },
    /// The request's lease is over before it begins.
    #[error(
        "hold `{hold}` was to expire at {expires}, and the ledger's clock says {at}\n\nhint: start the run \
         again; if it happens again, set this machine's clock"
    )]
    LeaseOver {
        /// The hold.
        hold: HoldId,
        /// When it was to expire.
        expires: Timestamp,
        /// The ledger's time.
        at: Timestamp,
    },
    /// The same key with other terms.
    #[error(
        "hold `{hold}` was granted before on other terms: {what} differs\n\nhint: a run that asks for \
         something else needs a key of its own"
    )]
    KeyReused {
        /// The hold.
        hold: HoldId,
        /// The first term that differs.
        what: &'static str,
    },
    /// A second process claims a live hold.
    #[error(
        "hold `{hold}` is in use by another process since {since}\n\nhint: wait for that run to end; if it \
         was killed, `tollgate ledger void` gives its hold up, and its expiry charges it"
    )]
    InUse {
        /// The hold.
        hold: HoldId,
        /// When it was granted.
        since: Timestamp,
    },
    /// The hold has had its run.
    #[error("hold `{hold}` is {} and cannot be taken again\n\nhint: a new run needs a key of its own", phase.as_str())]
    Closed {
        /// The hold.
        hold: HoldId,
        /// How it ended.
        phase: Phase,
    },
    /// The step is not one that a hold in this phase can take.
    #[error("hold `{hold}` is {}, and cannot be {wanted}{}", phase.as_str(), hint(*phase))]
    Phase {
        /// The hold.
        hold: HoldId,
        /// Where it stands.
        phase: Phase,
        /// What it was to become.
        wanted: &'static str,
    },
    /// What was to be corrected has changed since it was looked at.
    #[error(
        "hold `{hold}` is {} at ${now}, and was to be corrected as one that nobody settled, at ${seen}\n\nhint: it has \
         changed meanwhile; `tollgate ledger export` shows by what",
        phase.as_str()
    )]
    Changed {
        /// The hold.
        hold: HoldId,
        /// Where it stands.
        phase: Phase,
        /// What it is charged.
        now: Usd,
        /// What it was charged when it was looked at.
        seen: Usd,
    },
    /// A second settlement says something else.
    #[error(
        "hold `{hold}` is settled at ${recorded}, and cannot be settled again at ${wanted}\n\nhint: `adjust` corrects a closed hold"
    )]
    SettledOtherwise {
        /// The hold.
        hold: HoldId,
        /// What is recorded.
        recorded: Usd,
        /// What it was to be settled at.
        wanted: Usd,
    },
    /// Too many holds are live.
    #[error(
        "{LIVE_MAX} holds are live, the most there may be\n\nhint: `tollgate ledger show` lists them; those of dead runs are charged when they expire"
    )]
    TooMany,
    /// There is no such hold.
    #[error("the ledger has no hold `{0}`\n\nhint: `tollgate ledger show` lists the live ones")]
    Unknown(HoldId),
    /// The event would be too long.
    #[error("{0}\n\nhint: shorten the names of labels and workflows")]
    TooLarge(super::event::TooLarge),
}

fn hint(phase: Phase) -> &'static str {
    match phase {
        Phase::Held => "\n\nhint: settle it, or give it up with `tollgate ledger void`",
        Phase::Settled | Phase::Voided | Phase::Expired => "\n\nhint: `adjust` corrects a closed hold",
    }
}

/// What a reserve comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The answer.
    pub answer: Answer,
    /// The event that makes it true; `None` where nothing changes.
    pub draft: Option<Draft>,
}

/// May this hold be granted at `at`, the time the event would have?
///
/// `balances` are the request's limits in the same order, see [`Book::balance`]. Hard limits cut the cap
/// to the least that any of them has left, soft ones refuse once their settled spend has reached them.
/// Where several limits apply, the hold is taken from all of them or from none.
///
/// # Errors
/// When the request contradicts itself, the clock, or an earlier request with the same key.
pub fn reserve(
    book: &Book,
    request: &Request,
    balances: &[Balance],
    at: Timestamp,
) -> Result<Decision, Refusal> {
    if let Some(hold) = book.live_hold(&request.hold) {
        return repeat(hold, request);
    }
    if let Some(phase) = book.closed_lately(&request.hold) {
        return Err(Refusal::Closed { hold: request.hold.clone(), phase });
    }
    check(request, at)?;
    if balances.len() != request.limits.len() {
        return Err(Refusal::Nonsense("not every limit has its balance".to_owned()));
    }
    if book.live().len() >= LIVE_MAX {
        return Err(Refusal::TooMany);
    }

    let hard = |balance: &&Balance| balance.limit.enforce == Enforce::Hard;
    let reached =
        |balance: &&Balance| balance.limit.enforce == Enforce::Soft && balance.settled >= balance.limit.usd;
    let tightest = balances.iter().enumerate().filter(|(_, b)| hard(b)).min_by_key(|(_, b)| b.left());
    let cap = tightest.map_or(request.want, |(_, balance)| balance.left().min(request.want));
    let short = tightest.map(|(_, balance)| balance).filter(|_| cap < request.least || cap <= Usd::ZERO);
    let refused_by = short.into_iter().chain(balances.iter().filter(reached)).min_by_key(|b| b.left());
    if let Some(by) = refused_by {
        return Ok(Decision { answer: Answer::Refused { by: by.clone() }, draft: None });
    }

    let cut = tightest.filter(|_| cap < request.want);
    let terms = Reserve {
        want: request.want,
        least: request.least,
        cap,
        cut_by: cut.map(|(limit, b)| Cut { limit, settled: b.settled, held: b.held }),
        expires: request.expires,
        claim: request.claim.clone(),
        purses: request.purses.clone(),
        limits: request.limits.clone(),
        about: request.about.clone(),
        lift: request.lift.clone().map(Box::new),
    };
    let answer = Answer::Granted { cap, cut_by: cut.map(|(_, balance)| balance.clone()) };
    let draft = Draft { hold: request.hold.clone(), kind: Kind::Reserve(terms) };
    Ok(Decision { answer, draft: Some(draft) })
}

/// The answer to a request whose key is live.
pub(super) fn repeat(hold: &Hold, request: &Request) -> Result<Decision, Refusal> {
    let terms = &hold.terms;
    let same = [
        ("the cap", terms.want == request.want),
        ("the least cap", terms.least == request.least),
        ("the purses", terms.purses == request.purses),
        ("the limits", terms.limits == request.limits),
        ("what the run is", terms.about == request.about),
        ("the override", terms.lift.as_deref() == request.lift.as_ref()),
    ];
    if terms.claim != request.claim {
        return Err(Refusal::InUse { hold: hold.id.clone(), since: hold.reserved });
    }
    if let Some((what, _)) = same.into_iter().find(|(_, same)| !same) {
        return Err(Refusal::KeyReused { hold: hold.id.clone(), what });
    }
    if terms.expires != request.expires {
        return Err(Refusal::KeyReused { hold: hold.id.clone(), what: "the expiry" });
    }
    Ok(Decision { answer: Answer::Granted { cap: terms.cap, cut_by: hold.cut_by() }, draft: None })
}

fn check(request: &Request, at: Timestamp) -> Result<(), Refusal> {
    check_terms(request)?;
    check_time(request, at)
}

/// Whether a request makes sense at any time.
pub(super) fn check_terms(request: &Request) -> Result<(), Refusal> {
    let nonsense = |what: &str| Err(Refusal::Nonsense(what.to_owned()));
    let fits = |name: &str| !name.is_empty() && name.len() <= NAME_BYTES_MAX;
    if !fits(request.hold.as_str()) || !fits(&request.claim) {
        return nonsense("its key or its claim is empty or too long");
    }
    let spends_nothing = request.want == Usd::ZERO && request.limits.is_empty();
    if request.want < Usd::ZERO || (request.want == Usd::ZERO && !spends_nothing) {
        return nonsense("its cap must be above zero, but for a run without limits that spends no dollars");
    }
    if request.least < Usd::ZERO || request.least > request.want {
        return nonsense("its cap must not be below the least that is worth having");
    }
    if request.purses.is_empty() || request.purses.len() > NAMES_MAX || request.limits.len() > NAMES_MAX {
        return Err(Refusal::Nonsense(format!(
            "it must name 1 to {NAMES_MAX} purses and {NAMES_MAX} limits at most"
        )));
    }
    if !request.purses.iter().all(|purse| fits(purse)) {
        return Err(Refusal::Nonsense(format!("a purse's name must have 1 to {NAME_BYTES_MAX} bytes")));
    }
    if request.purses.iter().enumerate().any(|(index, purse)| request.purses[..index].contains(purse)) {
        return nonsense("it names a purse twice");
    }
    if let Some(limit) = request.limits.iter().find(|limit| !request.purses.contains(&limit.purse)) {
        return Err(Refusal::Nonsense(format!("`{}` has a limit, and is none of its purses", limit.purse)));
    }
    lift_is_right(request, Timestamp::MIN)
}

/// Whether a request fits `at`, the time the event would have.
pub(super) fn check_time(request: &Request, at: Timestamp) -> Result<(), Refusal> {
    if let Some(limit) = request.limits.iter().find(|limit| !limit.window.contains(at)) {
        let Limit { per, purse, .. } = limit.clone();
        return Err(Refusal::WindowOver { at, per, purse });
    }
    lift_is_right(request, at)?;
    if request.expires <= at {
        return Err(Refusal::LeaseOver { hold: request.hold.clone(), expires: request.expires, at });
    }
    Ok(())
}

fn lift_is_right(request: &Request, at: Timestamp) -> Result<(), Refusal> {
    match request.lift.as_ref().and_then(|lift| lift.wrong(&request.limits, at)) {
        Some(why) => Err(Refusal::Nonsense(format!("hold `{}` {why}", request.hold))),
        None => Ok(()),
    }
}

/// The record of a run that was not started because `by` had too little left: for reports only.
///
/// # Errors
/// When the request contradicts itself or the clock.
pub fn refuse(request: &Request, by: &Balance, at: Timestamp) -> Result<Draft, Refusal> {
    check(request, at)?;
    let body = Refuse {
        least: request.least,
        by: by.limit.clone(),
        settled: by.settled,
        held: by.held,
        purses: request.purses.clone(),
        about: request.about.clone(),
    };
    Ok(Draft { hold: request.hold.clone(), kind: Kind::Refuse(body) })
}

/// May the cap of a live hold be raised to `to`? As far as its hard limits have room; `balances` are those
/// of the hold's limits, in the same order. A cap that is there already is granted again, so that a lost
/// answer can be asked for once more.
///
/// # Errors
/// When the hold is not live, or is somebody else's.
pub fn extend(hold: &Hold, claim: &str, to: Usd, balances: &[Balance]) -> Result<Decision, Refusal> {
    if hold.phase != Phase::Held {
        return Err(Refusal::Phase { hold: hold.id.clone(), phase: hold.phase, wanted: "extended" });
    }
    if hold.terms.claim != claim {
        return Err(Refusal::InUse { hold: hold.id.clone(), since: hold.reserved });
    }
    let had = hold.terms.cap;
    if to <= had {
        return Ok(Decision { answer: Answer::Granted { cap: had, cut_by: None }, draft: None });
    }
    let hard = |balance: &&Balance| balance.limit.enforce == Enforce::Hard;
    let tightest =
        balances.iter().enumerate().filter(|(_, b)| hard(b)).min_by_key(|(_, balance)| balance.left());
    let cap = tightest.map_or(to, |(_, balance)| to.min(had + balance.left()));
    let cut = tightest.filter(|_| cap < to);
    if let Some((_, by)) = cut.filter(|_| cap <= had) {
        return Ok(Decision { answer: Answer::Refused { by: by.clone() }, draft: None });
    }
    let answer = Answer::Granted { cap, cut_by: cut.map(|(_, balance)| balance.clone()) };
    let cut_by = cut.map(|(limit, b)| Cut { limit, settled: b.settled, held: b.held });
    let kind = Kind::Extend(Extend { cap, cut_by, of: hold.origin() });
    Ok(Decision { answer, draft: Some(Draft { hold: hold.id.clone(), kind }) })
}

/// The run of a hold is over and says what it spent.
///
/// Recorded in full, also above the cap. Late spend of an expired or voided hold is an adjustment, also where
/// a bound was put on it meanwhile; where a person has said what it cost, that stands. A repeated settlement with
/// the same spend changes nothing.
///
/// # Errors
/// When the hold was settled at another amount.
pub fn settle(hold: &Hold, spend: &Spend) -> Result<Option<Draft>, Refusal> {
    settle_as(hold, spend, None)
}

/// As [`settle`], with a word for how the run ended.
///
/// # Errors
/// When the hold was settled at another amount.
pub fn settle_as(hold: &Hold, spend: &Spend, outcome: Option<&str>) -> Result<Option<Draft>, Refusal> {
    check_spend(spend)?;
    let kind = match hold.phase {
        Phase::Held => Kind::Settle(Settle {
            spend: spend.clone(),
            overrun: spend.usd > hold.terms.cap,
            of: hold.origin(),
            outcome: outcome.map(str::to_owned),
        }),
        _ if hold.spend == *spend => return Ok(None),
        _ if hold.awaits_its_run() => return adjust(hold, spend, "the run settled late"),
        Phase::Settled | Phase::Expired | Phase::Voided => {
            let (recorded, wanted) = (hold.spend.usd, spend.usd);
            return Err(Refusal::SettledOtherwise { hold: hold.id.clone(), recorded, wanted });
        }
    };
    Ok(Some(Draft { hold: hold.id.clone(), kind }))
}

/// A hold is given up without spend: its run forwarded nothing, or a person says so.
///
/// # Errors
/// When the hold was closed otherwise.
pub fn void(hold: &Hold, reason: &str) -> Result<Option<Draft>, Refusal> {
    check_reason(reason)?;
    match hold.phase {
        Phase::Held => {
            let kind = Kind::Void(Void { reason: reason.to_owned(), of: hold.origin() });
            Ok(Some(Draft { hold: hold.id.clone(), kind }))
        }
        Phase::Voided => Ok(None),
        phase @ (Phase::Settled | Phase::Expired) => {
            Err(Refusal::Phase { hold: hold.id.clone(), phase, wanted: "voided" })
        }
    }
}

/// A hold whose run is gone is charged: what the evidence says, or the whole of it.
///
/// # Errors
/// When the hold was closed otherwise.
pub fn expire(hold: &Hold, evidence: Option<&Spend>) -> Result<Option<Draft>, Refusal> {
    let whole = Spend { usd: hold.terms.cap, estimated: hold.terms.cap, ..Spend::default() };
    let spend = evidence.cloned().unwrap_or(whole);
    check_spend(&spend)?;
    match hold.phase {
        Phase::Held => {
            let kind = Kind::Expire(Expire { spend, proven: evidence.is_some(), of: hold.origin() });
            Ok(Some(Draft { hold: hold.id.clone(), kind }))
        }
        Phase::Expired => Ok(None),
        phase @ (Phase::Settled | Phase::Voided) => {
            Err(Refusal::Phase { hold: hold.id.clone(), phase, wanted: "expired" })
        }
    }
}

/// Every hold whose lease ended more than [`SKEW`] ago is charged.
///
/// # Errors
/// Never, for holds that the book says are live.
pub fn sweep(book: &Book, at: Timestamp) -> Result<Vec<Draft>, Refusal> {
    let over = |hold: &&Hold| at.duration_since(hold.terms.expires) > SKEW;
    book.live().filter(over).filter_map(|hold| expire(hold, None).transpose()).collect()
}

/// Evidence says that a closed hold spent something else than is recorded.
///
/// # Errors
/// When the hold is still held.
pub fn adjust(hold: &Hold, spend: &Spend, evidence: &str) -> Result<Option<Draft>, Refusal> {
    check_spend(spend)?;
    check_reason(evidence)?;
    if hold.phase == Phase::Held {
        return Err(Refusal::Phase { hold: hold.id.clone(), phase: hold.phase, wanted: "adjusted" });
    }
    if hold.spend == *spend {
        return Ok(None);
    }
    let kind = Kind::Adjust(Adjust {
        spend: spend.clone(),
        delta: spend.usd - hold.spend.usd,
        evidence: evidence.to_owned(),
        of: hold.origin(),
    });
    Ok(Some(Draft { hold: hold.id.clone(), kind }))
}

/// As [`adjust`], for a hold that nobody settled, and as long as it is charged what it was `seen` to be and nobody
/// has corrected that: a run may settle late, or a person correct it, while the evidence is read.
///
/// # Errors
/// When the hold has changed.
pub fn correct(hold: &Hold, seen: &Spend, spend: &Spend, evidence: &str) -> Result<Option<Draft>, Refusal> {
    let same = hold.phase == Phase::Expired && !hold.adjusted && hold.spend == *seen;
    if same || (hold.phase != Phase::Held && hold.spend == *spend) {
        return adjust(hold, spend, evidence);
    }
    check_spend(spend)?;
    check_reason(evidence)?;
    let (now, seen) = (hold.spend.usd, seen.usd);
    Err(Refusal::Changed { hold: hold.id.clone(), phase: hold.phase, now, seen })
}

pub(super) fn check_spend(spend: &Spend) -> Result<(), Refusal> {
    let negative = spend.usd < Usd::ZERO || spend.estimated < Usd::ZERO || spend.notional < Usd::ZERO;
    if negative || spend.estimated > spend.usd {
        return Err(Refusal::Nonsense(
            "spend is never below zero, and no more of it estimated than there is".into(),
        ));
    }
    Ok(())
}

pub(super) fn check_reason(reason: &str) -> Result<(), Refusal> {
    if reason.trim().is_empty() || reason.len() > NAME_BYTES_MAX {
        return Err(Refusal::Nonsense(format!("a reason must have 1 to {NAME_BYTES_MAX} bytes")));
    }
    Ok(())
}
