//! Step outputs, in the form of GitHub's output file.
//!
//! Each value stands between delimiters of 128 random bits, so that no value (a reason may quote a
//! title) can end early and go on as another output. Later entries win, so what a workflow decides by
//! comes last.

use std::io::{self, Write};

use super::Run;
use crate::id;

/// Why the outputs were not written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// A value holds the delimiter that was drawn for it. That does not happen by chance.
    #[error("the step output `{0}` holds its own random delimiter, so it was not written")]
    Delimiter(String),
    /// The file cannot be written.
    #[error("the step outputs cannot be written: {0}")]
    Io(#[from] io::Error),
}

/// The outputs by name, in the order they are written. An output without a value is empty.
#[must_use]
pub fn of(run: &Run) -> Vec<(&'static str, String)> {
    let counts = run.totals.counts();
    let tightest = run.tightest().map(|state| &state.balance);
    let served = run.served.as_ref();
    let text = |value: Option<String>| value.unwrap_or_default();
    vec![
        ("reason", run.gate.reason.clone()),
        ("run_folder", text(run.files.folder.clone())),
        ("result_path", text(run.files.result.clone())),
        ("patch_path", text(run.files.patch.clone())),
        ("summary_path", text(run.files.summary.clone())),
        ("model", text(served.map(|served| served.model.to_string()))),
        ("task", run.class.task.to_string()),
        ("stakes", run.class.stakes.to_string()),
        ("tier", text(served.map(|served| served.tier.to_string()))),
        ("input_tokens", counts.input.to_string()),
        ("output_tokens", counts.output.to_string()),
        ("cache_read_tokens", counts.cache_read.to_string()),
        ("cache_write_tokens", counts.cache_write().to_string()),
        ("hold_id", text(served.map(|served| served.hold.to_string()))),
        ("budget_spent_usd", text(tightest.map(|balance| balance.settled.to_string()))),
        ("budget_limit_usd", text(tightest.map(|balance| balance.limit.usd.to_string()))),
        ("notional_usd", run.totals.notional.to_string()),
        ("cap_usd", text(served.filter(|_| run.subscription.is_none()).map(|served| served.cap.to_string()))),
        ("total_cost_usd", run.totals.settled.to_string()),
        ("overrun", run.totals.overrun.is_some().to_string()),
        ("outcome", run.gate.outcome.as_str().to_owned()),
        ("verdict", run.gate.verdict.as_str().to_owned()),
    ]
}

/// Appends the outputs to GitHub's output file.
///
/// # Errors
/// When it cannot be written.
pub fn write(run: &Run, out: &mut dyn Write) -> Result<(), OutputError> {
    append(&of(run), out)
}

/// Appends named values to GitHub's output file, or to its file of variables, which has the same form.
///
/// # Errors
/// When it cannot be written.
pub fn append(values: &[(&str, String)], out: &mut dyn Write) -> Result<(), OutputError> {
    let text = entries(values, || format!("tollgate_{}", id::random_hex(16)))?;
    Ok(out.write_all(text.as_bytes())?)
}

/// The entries as the file's text, each with a delimiter of its own.
fn entries(outputs: &[(&str, String)], mut delimiter: impl FnMut() -> String) -> Result<String, OutputError> {
    let mut text = String::new();
    for (name, value) in outputs {
        let delimiter = delimiter();
        if value.contains(&delimiter) {
            return Err(OutputError::Delimiter((*name).to_owned()));
        }
        text.push_str(&format!("{name}<<{delimiter}\n{value}\n{delimiter}\n"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Reads the file as the runner does: line by line, LF only, `name<<delimiter` to the same line.
    fn read(text: &str) -> Option<BTreeMap<String, String>> {
        let mut found = BTreeMap::new();
        let mut lines = text.strip_suffix('\n')?.split('\n');
        while let Some(line) = lines.next() {
            let (name, delimiter) = line.split_once("<<")?;
            let mut value = Vec::new();
            loop {
                match lines.next()? {
                    end if end == delimiter => break,
                    line => value.push(line),
                }
            }
            found.insert(name.to_owned(), value.join("\n"));
        }
        Some(found)
    }

    #[test]
    fn a_value_that_holds_its_delimiter_is_refused() {
        let outputs = [("reason", "x\nEOF\nverdict=pass".to_owned())];
        let error = entries(&outputs, || "EOF".to_owned()).expect_err("it is refused");
        assert_eq!(
            error.to_string(),
            "the step output `reason` holds its own random delimiter, so it was not written"
        );
    }

    #[test]
    fn delimiters_are_drawn_anew() {
        let outputs = [("task", "docs".to_owned()), ("tier", "low".to_owned())];
        let text = entries(&outputs, || id::random_hex(16)).expect("written");
        let delimiters: Vec<&str> = text.lines().filter_map(|line| Some(line.split_once("<<")?.1)).collect();
        assert_eq!(delimiters.len(), 2);
        assert_ne!(delimiters[0], delimiters[1]);
        assert!(delimiters.iter().all(|delimiter| delimiter.len() == 32));
    }

    proptest! {
        #[test]
        fn no_value_can_become_another_output(
            values in proptest::collection::vec("(verdict<<|verdict=pass|EOF|tollgate_|[a-z=<\r\n]){0,12}", 1..5),
        ) {
            const NAMES: [&str; 5] = ["a", "b", "c", "d", "verdict"];
            let outputs: Vec<_> = NAMES.into_iter().zip(values.iter().cloned()).collect();
            let text = entries(&outputs, || format!("tollgate_{}", id::random_hex(16))).expect("written");
            let found = read(&text).expect("well formed");
            let expected: BTreeMap<_, _> =
                outputs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
