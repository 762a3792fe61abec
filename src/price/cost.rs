//! What a response cost.

use super::{Provider, Table, Unpriced, When};
use crate::model::ModelId;
use crate::money::Usd;
use crate::tokens::{Counts, ServiceTier, Usage, UsageLine};

/// What a response cost, exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// All of it: the lines, and the fees for web searches.
    pub usd: Usd,
    /// By line of the usage: the table's id of the model, its tokens, and what they cost.
    pub lines: Vec<(ModelId, Counts, Usd)>,
    /// What the table makes of the same usage, where the provider said another amount, which counts.
    pub reckoned: Option<Usd>,
    /// What a reader of the amount has to know, in sentences.
    pub notes: Vec<String>,
}

impl Table {
    /// What a response cost. Bands are judged line by line, on all of the prompt (cache reads and
    /// writes included), and reprice the whole line.
    ///
    /// Where the provider says what it charges, that counts, and is compared with the table's own reckoning.
    ///
    /// # Errors
    /// When a line's model, or its terms, has no price.
    pub fn cost(&self, usage: &Usage, when: When) -> Result<Cost, Unpriced> {
        if usage.unbilled {
            let free = |line: &UsageLine| (line.model.clone(), line.counts, Usd::ZERO);
            return Ok(Cost {
                lines: usage.lines.iter().map(free).collect(),
                notes: vec!["the request was refused before any output, which is not billed".to_owned()],
                ..Cost::default()
            });
        }
        match usage.billed {
            Some(billed) => Ok(self.billed(usage, billed, when)),
            None => self.reckon(usage, when),
        }
    }

    /// What the table makes of a usage.
    fn reckon(&self, usage: &Usage, when: When) -> Result<Cost, Unpriced> {
        let mut cost = Cost::default();
        for line in &usage.lines {
            let model = self.known(&line.model)?;
            let prompt = line.counts.prompt().saturating_sub(line.beside_prompt);
            let terms = Table::terms_of(&line.model, &line.terms);
            let usd = model.rates(when, &terms, prompt)?.price(&line.counts);
            cost.usd += usd;
            cost.lines.push((model.id.clone(), line.counts, usd));
        }
        let committed = |line: &UsageLine| {
            let anthropic = self.find(&line.model).is_some_and(|model| model.provider == Provider::Anthropic);
            anthropic && line.terms.tier == ServiceTier::Priority
        };
        if usage.lines.iter().any(committed) {
            let note = "committed capacity counts at its list price; the real one is in the contract";
            cost.notes.push(note.to_owned());
        }
        let first = usage.lines.first().map(|line| &line.model);
        cost.usd += self.fees(first, usage.web_searches, usage.calls)?;
        Ok(cost)
    }

    /// What the provider says that it charges, put down to the first line, and checked.
    fn billed(&self, usage: &Usage, billed: Usd, when: When) -> Cost {
        let name = |id: &ModelId| self.find(id).map_or_else(|| id.clone(), |model| model.id.clone());
        let mut lines: Vec<_> =
            usage.lines.iter().map(|line| (name(&line.model), line.counts, Usd::ZERO)).collect();
        if let Some((_, _, usd)) = lines.first_mut() {
            *usd = billed;
        }
        let mut notes = vec!["the amount is the one that the provider says it charges".to_owned()];
        let mut reckoned = None;
        match self.reckon(usage, when) {
            Ok(own) if own.usd == billed => {}
            Ok(own) => {
                notes.push(format!("the price table makes it {}", own.usd.shown()));
                reckoned = Some(own.usd);
            }
            Err(unpriced) => notes.push(format!("it could not be checked: {unpriced}")),
        }
        Cost { usd: billed, lines, reckoned, notes }
    }
}
