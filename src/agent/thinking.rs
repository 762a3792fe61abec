//! How hard an agent's model is to think, in the variables that agents read.

use crate::task::Effort;

/// The least that Anthropic's API takes for a budget of thinking, in tokens.
const THINKING_MIN: u64 = 1_024;
/// What of an answer is left for words, where it also holds thinking.
const WORDS: u64 = 2_048;

/// The variables that say so; none where the agent is to choose. What is thought is part of an answer, so it is
/// never more than fits into one of `output_tokens_max` beside its words.
#[must_use]
pub fn variables(
    effort: Option<Effort>,
    thinking: Option<u64>,
    output_tokens_max: u64,
) -> Vec<(&'static str, String)> {
    let mut variables = Vec::new();
    if let Some(effort) = effort {
        for name in ["CLAUDE_CODE_EFFORT_LEVEL", "TOLLGATE_EFFORT"] {
            variables.push((name, effort.as_str().to_owned()));
        }
    }
    if let Some(tokens) = thinking {
        let fits = tokens.min(output_tokens_max.saturating_sub(WORDS));
        let tokens = if fits < THINKING_MIN { 0 } else { fits };
        for name in ["MAX_THINKING_TOKENS", "TOLLGATE_THINKING_TOKENS"] {
            variables.push((name, tokens.to_string()));
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_left_to_the_agent() {
        assert_eq!(variables(None, None, 32_000), []);
    }

    #[test]
    fn thinking_fits_into_an_answer() {
        for (asked, output, expected) in [
            (16_000, 32_000, "16000"),
            (40_000, 30_000, "27952"),
            (16_000, 4_096, "2048"),
            (16_000, 3_000, "0"),
            (500, 32_000, "0"),
            (0, 32_000, "0"),
        ] {
            let variables = variables(Some(Effort::XHigh), Some(asked), output);
            let said =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| &value[..]);
            assert_eq!(said("MAX_THINKING_TOKENS"), Some(expected), "{asked} {output}");
            assert_eq!(said("TOLLGATE_THINKING_TOKENS"), Some(expected));
            assert_eq!(said("CLAUDE_CODE_EFFORT_LEVEL"), Some("xhigh"));
            assert_eq!(said("TOLLGATE_EFFORT"), Some("xhigh"));
        }
    }
}
