//! What a request may cost and whether policy lets it through: the step before the account.

use std::collections::HashSet;

use super::account::{Ask, Input, Note, Spend, Thread, Worst};
use super::state::Going;
use super::{DearerModel, Policy, Routed, say};
use crate::model::{Limits, ModelId};
use crate::price::{Table, When};
use crate::provider::{Edits, InputBound, Problem, Request};
use crate::tokens::{Ceiling, Region, ServiceTier, Terms};

/// By how many bytes a note may be longer than one of which all of the allowance is spent: ten where that is some
/// dollars and what is spent a part of a cent, and some for an allowance that is another one by then.
const NOTE_SPARE_BYTES: usize = 24;

/// A request with its bound, at the prices of one instant.
#[derive(Clone, Debug)]
pub(super) struct Bounded {
    pub(super) worst: Worst,
    /// The same at list prices where a subscription pays for it: `worst` has no dollars then.
    pub(super) notional: Option<Worst>,
    /// The output cap that was asked for, or the most the model gives.
    pub(super) output: u64,
    /// The model it goes to.
    pub(super) model: ModelId,
    /// Input tokens of its first line at most.
    pub(super) input: u64,
    /// Whether the input was counted.
    pub(super) counted: bool,
    /// Whether one sampling of one model is all that it can cause, so that the input side which a
    /// stream reports first is final.
    pub(super) one_sampling: bool,
    /// Whether the request leaves open where it is served.
    pub(super) region_open: bool,
    pub(super) when: When,
}

impl Bounded {
    /// Where it goes.
    pub(super) fn going(&self) -> Going {
        Going { model: self.model.clone(), notional: self.notional }
    }
}

/// What is known of where a request is served, and who pays for it.
#[derive(Clone, Debug)]
pub(super) struct ServedIn {
    /// Where the endpoint keeps it.
    pub(super) region: Region,
    /// What names no region is known to be served without a surcharge.
    pub(super) default_known: bool,
    /// A subscription pays for it.
    pub(super) notional: bool,
    /// What names no tier is served at the one that whoever made the deployment has set.
    pub(super) tier_set: bool,
}

/// The run's rules and prices, for one request after another.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) table: &'static Table,
    pub(super) policy: Policy,
    routed: Option<Routed>,
    /// The output cap of requests that name none.
    output_default: Option<u64>,
}

impl Rules {
    /// The rules of a run. One that only observes refuses nothing and changes nothing.
    pub(super) fn new(
        table: &'static Table,
        mut policy: Policy,
        routed: Option<Routed>,
        mut output_default: Option<u64>,
    ) -> Self {
        if !policy.enforce {
            policy.deny_unknown_model = false;
            policy.deny_server_tools = false;
            policy.dearer_model = DearerModel::Allow;
            output_default = None;
        }
        Self { table, policy, routed, output_default }
    }

    /// What has to be changed in a request before anything else: its model, where policy says so, and its
    /// output cap, where it has none.
    pub(super) fn edits(&self, request: &Request, when: When) -> Result<(Edits, Vec<String>), Problem> {
        let mut notes: Vec<String> = Vec::new();
        for field in request.unknown_fields() {
            notes.push(format!("`{field}` in a request is not known to this version; it was let through"));
        }
        if self.policy.deny_server_tools && !request.server_tools().is_empty() {
            return Err(Problem::Denied(format!(
                "the request offers {}, which the provider runs by itself and which re-reads the whole \
                 context at every step; the budget file says `server_tools: deny`",
                list(request.server_tools())
            )));
        }
        match request.check_tools() {
            // A run that only observes refuses nothing.
            Err(Problem::Denied(why)) if !self.policy.enforce => {
                notes.push(format!("{why}; it was let through, and that cost is not counted"));
            }
            checked => checked?,
        }
        let output_cap = self.output_default.filter(|_| request.output_cap().is_none());
        let mut edits = Edits { output_cap, ..Edits::default() };
        // By the name that it has where the request goes.
        let routed = self.routed.as_ref().map(|routed| routed.named(request.is_to_cloud()));
        if let Some(routed) = routed.filter(|routed| self.dearer(request.model(), routed, when)) {
            match self.policy.dearer_model {
                DearerModel::Allow => {}
                DearerModel::Deny => return Err(self.too_dear(request.model(), routed)),
                DearerModel::Remap => {
                    notes.push(format!("requests for `{}` went to `{routed}`", request.model()));
                    edits.model = Some(routed.clone());
                }
            }
        }
        Ok((edits, notes))
    }

    /// Whether a request goes to the model that the run was routed to; where it was routed to none, every
    /// model is as good.
    pub(super) fn is_routed(&self, request: &Request, edits: &Edits) -> bool {
        let Some(routed) = &self.routed else { return true };
        let routed = routed.named(request.is_to_cloud());
        let model = edits.model.as_ref().unwrap_or(request.model());
        let known = |model: &ModelId| self.table.find(model).map(|model| &model.id);
        model == routed || known(model).is_some_and(|id| known(routed) == Some(id))
    }

    /// Whether a model is dearer than the routed one. One without a price is judged by
    /// `unknown_model`, not here.
    fn dearer(&self, model: &ModelId, routed: &ModelId, when: When) -> bool {
        self.table.is_dearer(model, routed, when).unwrap_or(false)
    }

    fn too_dear(&self, model: &ModelId, routed: &ModelId) -> Problem {
        Problem::Denied(format!(
            "`{model}` is dearer than `{routed}`, to which this run was routed; the budget file says \
             `dearer_model: {}`",
            if self.policy.dearer_model == DearerModel::Deny { "deny" } else { "remap" }
        ))
    }

    /// The bound of a request as it would be sent.
    pub(super) fn bound(
        &self,
        request: &Request,
        edits: &Edits,
        input: InputBound,
        when: When,
        served: &ServedIn,
    ) -> Result<Bounded, Problem> {
        // How long the answers of a model without a price can be, nobody knows.
        let widest = Limits { output: u64::MAX, ..self.table.dearest_known().limits };
        let limits = |model: &ModelId| -> Limits { self.table.limits(model).unwrap_or(widest) };
        let mut ceiling = self.priced(request.ceiling(edits, &limits, input), when)?;
        let region_open = ceiling.lines.iter().any(|line| line.region_open);
        for line in &mut ceiling.lines {
            line.region_open &= !served.default_known;
            if served.region != Region::Global {
                line.terms.region = served.region.clone();
            }
            if served.tier_set && request.leaves_tier_open() {
                let priority = Terms { tier: ServiceTier::Priority, ..line.terms.clone() };
                let model = self.table.find(&line.model);
                if model.is_some_and(|model| model.rates(when, &priority, 0).is_ok()) {
                    line.terms = priority;
                }
            }
        }
        let (ceiling, bound) = match self.table.bound(&ceiling, when) {
            Ok(bound) => (ceiling, bound),
            Err(unpriced) => {
                let without_price = || {
                    Problem::Denied(format!("{unpriced}, so that what the request may cost cannot be said"))
                };
                if self.policy.deny_unknown_model {
                    return Err(without_price());
                }
                let ceiling = self.at_dearest(ceiling);
                let bound = self.table.bound(&ceiling, when).map_err(|_| without_price())?;
                (ceiling, bound)
            }
        };
        let Some(first) = ceiling.lines.first() else {
            return Err(Problem::Invalid("the request names no model".to_owned()));
        };
        let answers = first.samplings.saturating_mul(first.choices);
        let by_output = answers.saturating_mul(first.output);
        let fixed = Spend { usd: bound.fixed, fresh: ceiling.fresh().saturating_sub(by_output) };
        let priced = Worst { fixed, usd_per_output: bound.output_rate, fresh_per_output: answers };
        Ok(Bounded {
            worst: if served.notional { priced.without_dollars() } else { priced },
            notional: served.notional.then_some(priced),
            output: bound.output_max,
            // As the price table names it, as what is settled is named.
            model: self
                .table
                .find(&first.model)
                .map_or_else(|| first.model.clone(), |model| model.id.clone()),
            input: first.input,
            counted: matches!(input, InputBound::Counted { .. }),
            one_sampling: ceiling.lines.len() == 1 && first.samplings == 1 && ceiling.web_searches == 0,
            region_open,
            when,
        })
    }

    /// The ceiling with a price for every line: a model without one is refused, or takes the dearest.
    fn priced(&self, mut ceiling: Ceiling, when: When) -> Result<Ceiling, Problem> {
        for (index, line) in ceiling.lines.iter_mut().enumerate() {
            if self.table.find(&line.model).is_none() {
                if self.policy.deny_unknown_model {
                    return Err(Problem::Denied(format!(
                        "the price table has no model `{}`; the budget file says `unknown_model: deny`",
                        line.model
                    )));
                }
                line.model = self.table.dearest_known().id.clone();
            } else if index > 0
                && self.policy.dearer_model != DearerModel::Allow
                && let Some(routed) =
                    self.routed.as_ref().filter(|to| self.dearer(&line.model, &to.model, when))
            {
                return Err(self.too_dear(&line.model, &routed.model));
            }
        }
        Ok(ceiling)
    }

    /// The ceiling as if the dearest model there is served all of it.
    fn at_dearest(&self, mut ceiling: Ceiling) -> Ceiling {
        for line in &mut ceiling.lines {
            line.model = self.table.dearest_known().id.clone();
            line.terms = Terms::default();
        }
        ceiling
    }

    /// What is asked of the account for a request with these bounds, without and with a note.
    pub(super) fn ask(
        &self,
        request: &Request,
        bounded: &mut Bounded,
        noted: Option<&Bounded>,
        sized: Option<Spend>,
        thread: Thread,
    ) -> Ask {
        let note = noted.map(|noted| {
            // Where the note lifts the request into a dearer band, the dearer rate holds for both.
            bounded.worst.usd_per_output = bounded.worst.usd_per_output.max(noted.worst.usd_per_output);
            noted.worst.fixed.minus_or_zero(bounded.worst.fixed)
        });
        let input = match sized {
            Some(sized) => Input::Counted { sized },
            None => Input::Sized,
        };
        Ask {
            worst: bounded.worst,
            input,
            output_asked: bounded.output,
            output_min: request.min_output_cap(),
            thread,
            note,
        }
    }
}

/// A text as long as the longest note that a request of a run could get: by it the request is bounded.
pub(super) fn longest_note(allowance: super::Allowance) -> String {
    // Never more than all of it is spent; less may take some letters more, see `NOTE_SPARE_BYTES`.
    let spent = Spend { usd: allowance.usd, fresh: allowance.fresh_tokens.unwrap_or(u64::MAX) };
    let steer = say::note(Note::Steer, allowance, spent);
    let last = say::note(Note::LastCall, allowance, spent);
    let longest = if last.len() > steer.len() { last } else { steer };
    format!("{longest}{:NOTE_SPARE_BYTES$}", "")
}

/// `a, b and c`, each once.
fn list(names: &[String]) -> String {
    let mut seen = HashSet::new();
    let names: Vec<String> =
        names.iter().filter(|name| seen.insert(name.as_str())).map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Usd;
    use crate::provider::Api;

    #[test]
    fn a_tier_that_a_deployment_sets_counts_at_the_dearest_it_can_be() {
        let policy = Policy {
            deny_unknown_model: true,
            deny_server_tools: true,
            dearer_model: DearerModel::Deny,
            steer_at: None,
            enforce: true,
        };
        let own = crate::price::Own {
            model: "review-bot".into(),
            is: crate::price::OwnPrice::SameAs("gpt-5.5".into()),
        };
        let (table, _) = Table::embedded().with_own(&[own], false).expect("a name");
        let rules = Rules::new(table.kept(), policy, None, None);
        let when = When::On(jiff::civil::Date::constant(2026, 11, 23));
        let output_rate = |path: &str, tier: &str, tier_set: bool| {
            let body = format!(r#"{{"messages":[{{"role":"user","content":"a"}}]{tier}}}"#);
            let request = Request::parse(Api::OpenAiChat, path, body.into()).expect("a request");
            let served = ServedIn { region: Region::Global, default_known: true, notional: false, tier_set };
            let bounded = rules.bound(&request, &Edits::default(), InputBound::Bytes, when, &served);
            bounded.expect("a bound").worst.usd_per_output.pico_per_token() / 1_000_000
        };
        let (bot, own) = (
            "/openai/deployments/review-bot/chat/completions",
            "/openai/deployments/gpt-5.5/chat/completions",
        );
        for (path, tier, tier_set, dollars) in [
            (bot, "", true, 75),
            (bot, "", false, 30),
            (bot, r#","service_tier":"default""#, true, 30),
            (own, "", true, 30),
        ] {
            assert_eq!(output_rate(path, tier, tier_set), dollars, "{path} {tier} {tier_set}");
        }
    }

    #[test]
    fn no_note_is_longer_than_the_longest() {
        let amounts = (0..=16_u32).flat_map(|power| {
            let round = 10_i128.pow(power);
            [round - 1, round, round + round / 3, 6 * round].map(Usd::from_pico)
        });
        let amounts: Vec<Usd> = amounts.collect();
        for (usd, tokens) in amounts.iter().flat_map(|usd| [(*usd, None), (*usd, Some(2_000_000))]) {
            let allowance = crate::meter::Allowance { usd, fresh_tokens: tokens };
            let longest = longest_note(allowance).len();
            for spent in amounts.iter().filter(|spent| **spent <= usd) {
                for fresh in [0, 999_999, 2_000_000] {
                    for which in [Note::Steer, Note::LastCall] {
                        // No more may be held by then, so that what is spent is all there is.
                        for allowance in [allowance, crate::meter::Allowance { usd: *spent, ..allowance }] {
                            let note = say::note(which, allowance, Spend { usd: *spent, fresh });
                            assert!(note.len() <= longest, "{allowance:?}, {spent:?} spent: {note}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_request_is_remapped_by_the_name_that_the_model_has_where_it_goes() {
        let policy = Policy {
            deny_unknown_model: true,
            deny_server_tools: true,
            dearer_model: DearerModel::Remap,
            steer_at: None,
            enforce: true,
        };
        let names = Routed {
            model: "claude-haiku-5-5".into(),
            in_cloud: Some("us.anthropic.claude-haiku-5-5".into()),
        };
        let rules = Rules::new(Table::embedded(), policy, Some(names), None);
        let when = When::On(jiff::civil::Date::constant(2026, 11, 23));
        for (api, path, model, remapped) in [
            (Api::Anthropic, "/v1/messages", r#""model":"claude-opus-5-5","#, "claude-haiku-5-5"),
            (Api::Bedrock, "/model/us.anthropic.claude-opus-5-5/invoke", "", "us.anthropic.claude-haiku-5-5"),
        ] {
            let body = format!(r#"{{{model}"max_tokens":9,"messages":[{{"role":"user","content":"a"}}]}}"#);
            let request = Request::parse(api, path, body.into()).expect("a request");
            let (edits, _) = rules.edits(&request, when).expect("edits");
            assert_eq!(edits.model, Some(ModelId::new(remapped)), "{path}");
            assert!(rules.is_routed(&request, &edits));
        }
    }
}
