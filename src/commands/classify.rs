//! `tollgate classify`: what events ask for, and what a mistake would cost, with the reasons.
//!
//! With `--input`, JSON Lines in and out; without, the current event.

use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::Serialize;

use crate::budget::Rule;
use crate::classify::explain::{self, Signal};
use crate::classify::{ChangeKind, Class, classify};
use crate::event::{self, Env, EventError};
use crate::exit::{self, Failure};
use crate::task::{Stakes, Task};

/// The longest input line, in bytes.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Classify events: what is asked for (review, docs, implementation), and the stakes
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Events to classify, one JSON object a line; `-` for stdin [default: the current event]
    #[arg(long, value_name = "FILE|-")]
    pub input: Option<PathBuf>,
    /// The payload of the current event [default: GITHUB_EVENT_PATH, else the local repository]
    #[arg(long, value_name = "FILE", conflicts_with = "input")]
    pub event: Option<PathBuf>,
    /// How to write the answers [default: json with --input, else text]
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// Show every signal with its weight, also those that do not decide
    #[arg(long)]
    pub explain: bool,
    /// The budget file whose rules come before the built-in classifier
    #[arg(long, value_name = "FILE")]
    pub budget_file: Option<PathBuf>,
}

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// One answer, as JSON. The field order is the output's.
#[derive(Serialize)]
struct Answer<'a> {
    id: &'a str,
    task: Task,
    change_kind: ChangeKind,
    stakes: Stakes,
    confidence: u8,
    reasons: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    signals: Option<&'a [Signal]>,
}

/// What is made of each event.
#[derive(Clone, Copy)]
struct Judge<'a> {
    rules: &'a [Rule],
    explain: bool,
}

impl Judge<'_> {
    fn of(self, event: &event::Event) -> (Class, Option<Vec<Signal>>) {
        (classify(event, self.rules), self.explain.then(|| explain::signals(event, self.rules)))
    }
}

/// Where the command finds what it did not get as an argument.
pub struct Around<'a> {
    /// The environment.
    pub env: Env<'a>,
    /// The folder it was started in.
    pub dir: &'a Path,
    /// Standard input.
    pub stdin: &'a mut dyn Read,
}

/// Runs the command with the budget file's `rules`. Returns the exit status: 0, or 2 where a line of
/// the input could not be read; the other lines are answered all the same.
///
/// # Errors
/// A [`Failure`] with exit code 2 where the input cannot be opened or there is no event that can be used;
/// another error where the answer cannot be written.
pub fn run(
    args: &Args,
    rules: &[Rule],
    around: Around<'_>,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    let judge = Judge { rules, explain: args.explain };
    let Some(input) = &args.input else {
        let event = event::current(around.env, args.event.as_deref(), around.dir)
            .map_err(|error| Failure::usage(error.to_string()))?;
        let judged = judge.of(&event);
        let id = event.change.as_ref().map_or("", |change| change.head_sha.as_str());
        write_answer(out, args.format.unwrap_or(Format::Text), id, &judged)?;
        return Ok(exit::PASS);
    };
    let format = args.format.unwrap_or(Format::Json);
    if input == Path::new("-") {
        return lines(BufReader::new(around.stdin), "stdin", judge, format, out, err);
    }
    let name = input.display().to_string();
    let file =
        std::fs::File::open(input).map_err(|error| Failure::usage(format!("cannot read {name}: {error}")))?;
    lines(BufReader::new(file), &name, judge, format, out, err)
}

fn lines(
    mut input: BufReader<impl Read>,
    name: &str,
    judge: Judge<'_>,
    format: Format,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> anyhow::Result<u8> {
    let mut status = exit::PASS;
    let mut out = BufWriter::new(out);
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let read = input.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line);
        if read.with_context(|| format!("cannot read {name}"))? == 0 {
            break;
        }
        if line.len() as u64 > LINE_BYTES_MAX {
            anyhow::bail!("{name}:{number}: the line is longer than {} MiB", LINE_BYTES_MAX / 1024 / 1024);
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match parse_line(&line) {
            Ok((id, event)) => write_answer(&mut out, format, &id, &judge.of(&event))?,
            Err(error) => {
                status = exit::USAGE;
                out.flush()?;
                writeln!(err, "{name}:{number}: {error}")?;
            }
        }
        // Whoever sends one event at a time waits for each answer.
        if input.buffer().is_empty() {
            out.flush()?;
        }
    }
    out.flush()?;
    Ok(status)
}

fn parse_line(line: &[u8]) -> Result<(String, event::Event), LineError> {
    let text = std::str::from_utf8(line.trim_ascii_end()).map_err(|_| LineError::NotUtf8)?;
    Ok(event::line::parse(text)?)
}

/// Why a line of the input has no answer. The input's fault.
#[derive(Debug, thiserror::Error)]
enum LineError {
    /// The line is not text.
    #[error("the line is not UTF-8 text")]
    NotUtf8,
    /// The line is no event.
    #[error(transparent)]
    Event(#[from] EventError),
}

fn write_answer(
    out: &mut dyn Write,
    format: Format,
    id: &str,
    (class, signals): &(Class, Option<Vec<Signal>>),
) -> anyhow::Result<()> {
    match format {
        Format::Json => {
            let answer = Answer {
                id,
                task: class.task,
                change_kind: class.change_kind,
                stakes: class.stakes,
                confidence: class.confidence,
                reasons: &class.reasons,
                signals: signals.as_deref(),
            };
            serde_json::to_writer(&mut *out, &answer)?;
            writeln!(out)?;
        }
        Format::Text => {
            let (task, stakes) = (class.task, class.stakes);
            let head = if id.is_empty() { String::new() } else { format!("{id}: ") };
            writeln!(out, "{head}{task}, {stakes} stakes ({} % sure)", class.confidence)?;
            for reason in &class.reasons {
                writeln!(out, "  {}", crate::report::defuse::plain(reason))?;
            }
            for signal in signals.iter().flatten() {
                let Signal { of, weight, source, says, decides } = signal;
                let mark = if *decides { '*' } else { ' ' };
                let says = crate::report::defuse::plain(says);
                writeln!(out, "  {mark} {:<6} {weight:>6}  {source}: {says}", of.as_str())?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io;

    use super::*;

    /// What was written so far, and how much of that had been when each line was asked for.
    #[derive(Default)]
    struct Seen {
        written: Vec<u8>,
        lines_at_read: Vec<usize>,
    }

    struct Out<'a>(&'a RefCell<Seen>);

    impl Write for Out<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().written.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Hands out one line at a time, as somebody does who waits for each answer.
    struct In<'a>(&'a RefCell<Seen>, std::vec::IntoIter<&'a str>);

    impl Read for In<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let mut seen = self.0.borrow_mut();
            let answers = seen.written.iter().filter(|byte| **byte == b'\n').count();
            seen.lines_at_read.push(answers);
            self.1.next().map_or(Ok(0), |line| line.as_bytes().read(into))
        }
    }

    #[test]
    fn an_answer_is_there_before_the_next_event_is_waited_for() {
        const LINE: &str = "{\"id\":\"1\",\"event\":{\"name\":\"push\"},\"title\":\"x\",\"files\":[]}\n";
        let seen = RefCell::new(Seen::default());
        let input = BufReader::new(In(&seen, vec![LINE, LINE].into_iter()));
        let judge = Judge { rules: &[], explain: false };
        let status = lines(input, "stdin", judge, Format::Json, &mut Out(&seen), &mut io::sink());
        assert_eq!(status.expect("it can be written"), exit::PASS);
        assert_eq!(seen.borrow().lines_at_read, [0, 1, 2]);
    }
}
