//! The most that a request could cost.

use super::{Rates, Table, Unpriced, When};
use crate::money::{Rate, Usd};
use crate::tokens::{Ceiling, CeilingLine, Region, ServiceTier, Speed, Terms};

/// The most that a request could cost, as a function of the output cap that can still be lowered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// Everything but the output of the ceiling's first line.
    pub fixed: Usd,
    /// What one token of the first line's output cap costs: its output rate times its answers.
    pub output_rate: Rate,
    /// The first line's output cap, in tokens, as asked for.
    pub output_max: u64,
}

impl Bound {
    /// The most, with the output cap as asked for.
    #[must_use]
    pub fn total(&self) -> Usd {
        self.with_output(self.output_max)
    }

    /// The most, with an output cap of so many tokens.
    #[must_use]
    pub fn with_output(&self, output: u64) -> Usd {
        self.fixed + self.output_rate * output
    }
}

impl Table {
    /// The most that a request could cost: no usage within the ceiling costs more.
    ///
    /// Where several samplings are possible, the band is judged on all of their input together, since a
    /// provider may report only their sum.
    ///
    /// # Errors
    /// When a line's model, or the dearest terms it allows, has no price.
    pub fn bound(&self, ceiling: &Ceiling, when: When) -> Result<Bound, Unpriced> {
        let mut bound = Bound::default();
        for (index, line) in ceiling.lines.iter().enumerate() {
            let input = line.input.saturating_mul(line.samplings);
            let rates = self.dearest_allowed(line, when, input)?;
            bound.fixed += rates.dearest_input(line.cache_writes, line.audio) * input;
            let answers = line.samplings.saturating_mul(line.choices);
            if index == 0 {
                let rate = rates.output.pico_per_token().saturating_mul(i128::from(answers));
                bound.output_rate = Rate::from_pico_per_token(rate);
                bound.output_max = line.output;
            } else {
                bound.fixed += rates.output * line.output.saturating_mul(answers);
            }
        }
        let model = ceiling.lines.first().map(|line| &line.model);
        bound.fixed += self.fees(model, ceiling.web_searches, ceiling.calls)?;
        Ok(bound)
    }

    /// The dearest rates at the line's terms, or at any plainer ones that a response may fall back to.
    ///
    /// Where the region is open, the United States count wherever they are offered: a request that names no
    /// region is served in its workspace's default one (Messages API reference), and only an answer says
    /// which that is.
    fn dearest_allowed(&self, line: &CeilingLine, when: When, input: u64) -> Result<Rates, Unpriced> {
        let model = self.known(&line.model)?;
        let asked = Table::terms_of(&line.model, &line.terms);
        let mut dearest = model.dearest(when, &asked, input)?;
        let regions = [Some(&asked.region), Some(&Region::Global), line.region_open.then_some(&Region::Us)];
        for region in regions.into_iter().flatten() {
            for tier in [&asked.tier, &ServiceTier::Standard] {
                for speed in [&asked.speed, &Speed::Standard] {
                    let terms = Terms { tier: tier.clone(), speed: speed.clone(), region: region.clone() };
                    // Nearly every request asks for nothing special, and that has been looked up.
                    if terms == asked {
                        continue;
                    }
                    if let Ok(rates) = model.dearest(when, &terms, input) {
                        dearest = dearest.dearer(rates);
                    }
                }
            }
        }
        Ok(dearest)
    }
}
