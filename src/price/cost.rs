//! What a response cost.

use super::{Table, Unpriced, When};
use crate::model::ModelId;
use crate::money::Usd;
use crate::tokens::{Counts, ServiceTier, Usage};

/// What a response cost, exactly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// All of it: the lines, and the fees for web searches.
    pub usd: Usd,
    /// By line of the usage: the table's id of the model, its tokens, and what they cost.
    pub lines: Vec<(ModelId, Counts, Usd)>,
    /// What a reader of the amount has to know, in sentences.
    pub notes: Vec<String>,
}

impl Table {
    /// What a response cost. Bands are judged line by line, on all of the prompt (cache reads and
    /// writes included), and reprice the whole line.
    ///
    /// # Errors
    /// When a line's model, or its terms, has no price.
    pub fn cost(&self, usage: &Usage, when: When) -> Result<Cost, Unpriced> {
        let mut cost = Cost::default();
        if usage.unbilled {
            let free = |line: &crate::tokens::UsageLine| (line.model.clone(), line.counts, Usd::ZERO);
            cost.lines = usage.lines.iter().map(free).collect();
            cost.notes.push("the request was refused before any output, which is not billed".to_owned());
            return Ok(cost);
        }
        for line in &usage.lines {
            let model = self.known(&line.model)?;
            let usd = model.rates(when, &line.terms, line.counts.prompt())?.price(&line.counts);
            cost.usd += usd;
            cost.lines.push((model.id.clone(), line.counts, usd));
        }
        if usage.lines.iter().any(|line| line.terms.tier == ServiceTier::Priority) {
            let note = "committed capacity counts at its list price; the real one is in the contract";
            cost.notes.push(note.to_owned());
        }
        cost.usd += self.search_fee(usage.lines.first().map(|line| &line.model), usage.web_searches)?;
        Ok(cost)
    }
}
