//! How the simulated provider behaves: what it answers, and what goes wrong.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// What a script sees of a generation request.
#[derive(Clone, Debug)]
pub struct Seen<'a> {
    /// Which generation request it is, from 0, counted over the whole provider.
    pub index: u64,
    /// The parsed body.
    pub body: &'a Value,
    /// The names of the tools that it offers.
    pub tools: Vec<&'a str>,
    /// How many assistant turns its history has.
    pub turns: usize,
    /// All text since the last assistant turn, tool results included.
    pub last_text: String,
    /// The sub-agent that sent it, by Claude Code's header.
    pub agent: Option<&'a str>,
}

impl Seen<'_> {
    /// Whether it offers this tool.
    #[must_use]
    pub fn has_tool(&self, name: &str) -> bool {
        self.tools.contains(&name)
    }
}

/// A call of one of the client's tools.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// Its arguments.
    pub input: Value,
}

impl ToolCall {
    /// A call with these arguments.
    #[must_use]
    pub fn new(name: &str, input: Value) -> Self {
        Self { name: name.to_owned(), input }
    }

    /// Claude Code's shell.
    #[must_use]
    pub fn bash(command: &str) -> Self {
        Self::new("Bash", json!({ "command": command, "description": "Runs a command" }))
    }

    /// Claude Code's sub-agent, by the name that `seen` offers it under.
    #[must_use]
    pub fn sub_agent(seen: &Seen<'_>, prompt: &str) -> Self {
        let name = if seen.has_tool("Agent") { "Agent" } else { "Task" };
        let input = json!({ "description": "Part of the task", "prompt": prompt, "subagent_type": "general-purpose" });
        Self::new(name, input)
    }
}

/// What the model says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Thinking before it.
    pub thinking: Option<String>,
    /// Its text; may be empty where there are calls.
    pub text: String,
    /// Its tool calls; without any the turn ends.
    pub calls: Vec<ToolCall>,
    /// The billed output. `None` counts what is said. The request's `max_tokens` cuts either.
    pub output_tokens: Option<u64>,
    /// Web searches that the provider ran.
    pub web_searches: u64,
    /// How often the provider sampled the model; each sampling reads the whole input again. 0 is 1.
    pub samplings: u64,
}

impl Answer {
    /// A last turn.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self { text: text.to_owned(), ..Self::default() }
    }

    /// A turn that calls tools.
    #[must_use]
    pub fn calls(calls: Vec<ToolCall>) -> Self {
        Self { text: "Looking further.".to_owned(), calls, ..Self::default() }
    }

    /// The same, billed as so many output tokens.
    #[must_use]
    pub fn of_tokens(self, output_tokens: u64) -> Self {
        Self { output_tokens: Some(output_tokens), ..self }
    }
}

/// What goes wrong with an answer. All but refusals by status are charged in full, since a provider that
/// fails in the middle may have done all of the work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// The connection closes before any header.
    CloseBeforeHeaders,
    /// The connection closes after so many events of the stream.
    CloseAfterEvents(usize),
    /// The connection closes after so many bytes of the body.
    CloseAfterBytes(usize),
    /// After so many events comes an `error` event, and the stream ends.
    ErrorEvent(usize),
    /// An error status before any work: not charged.
    Status {
        /// Such as 429, 500, 529.
        status: u16,
        /// Seconds for `retry-after`.
        retry_after: Option<u32>,
    },
    /// Headers never come.
    Stall,
    /// After so many events nothing comes any more.
    StallAfterEvents(usize),
    /// No usage is said anywhere.
    NoUsage,
    /// So many output tokens more are said, and charged, than the request allowed.
    ExtraOutput(u64),
    /// So many uncached input tokens more are said, and charged, than the request had.
    ExtraInput(u64),
    /// Cache writes are said, and charged, as living one hour, whatever was asked.
    HourWrites,
    /// The body calls itself gzip and is none.
    BadGzip,
    /// `content-length` says more than comes.
    WrongLength,
}

/// Something to wait for.
#[derive(Clone, Debug)]
pub enum Wait {
    /// A time.
    Time(Duration),
    /// A permit, which is used up: a test lets answers go one by one, or all at once.
    Permit(Arc<Semaphore>),
}

impl Wait {
    pub(super) fn future(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match self.clone() {
            Wait::Time(time) => Box::pin(tokio::time::sleep(time)),
            Wait::Permit(permits) => Box::pin(async move {
                if let Ok(permit) = permits.acquire().await {
                    permit.forget();
                }
            }),
        }
    }
}

/// How one request is answered.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// What is said.
    pub answer: Answer,
    /// What goes wrong.
    pub fault: Fault,
    /// What is waited for before the headers; the charge is made before that.
    pub before: Option<Wait>,
    /// What is waited for between two events of a stream.
    pub between: Option<Wait>,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { answer, ..Self::default() }
    }
}

/// How the provider behaves: a function from requests to replies.
#[derive(Clone)]
pub struct Script {
    plan: Arc<dyn Fn(&Seen<'_>) -> Reply + Send + Sync>,
    /// Caches are written and never found again: what a worst case has to reckon with.
    pub cold_caches: bool,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("cold_caches", &self.cold_caches).finish_non_exhaustive()
    }
}

impl Script {
    /// Answers by this function.
    pub fn new(plan: impl Fn(&Seen<'_>) -> Reply + Send + Sync + 'static) -> Self {
        Self { plan: Arc::new(plan), cold_caches: false }
    }

    /// Says the same every time, and ends the turn.
    #[must_use]
    pub fn saying(text: &str, output_tokens: u64) -> Self {
        let answer = Answer::text(text).of_tokens(output_tokens);
        Self::new(move |_| answer.clone().into())
    }

    /// Calls a tool in every answer, `output_tokens` each, until the request offers no tools or its last
    /// message speaks of the last answer; then says so and ends the turn.
    pub fn looping(output_tokens: u64, call: impl Fn(&Seen<'_>) -> ToolCall + Send + Sync + 'static) -> Self {
        Self::new(move |seen| {
            let told = seen.last_text.to_lowercase().contains("last answer");
            let answer = if told || seen.tools.is_empty() {
                Answer::text("Done so far: I looked at the change. Not done: the rest of it.")
            } else {
                Answer::calls(vec![call(seen)])
            };
            answer.of_tokens(output_tokens).into()
        })
    }

    /// The same, but the turn ends once the history has so many assistant turns.
    #[must_use]
    pub fn ending_after(self, turns: usize, text: &str) -> Self {
        let (plan, text) = (self.plan, text.to_owned());
        let end = move |seen: &Seen<'_>| {
            let mut reply = plan(seen);
            if seen.turns >= turns {
                let output_tokens = reply.answer.output_tokens;
                reply.answer = Answer { output_tokens, ..Answer::text(&text) };
            }
            reply
        };
        Self { plan: Arc::new(end), cold_caches: self.cold_caches }
    }

    /// The same, with a fault where the function says so, by the number of the request.
    #[must_use]
    pub fn failing(self, fault: impl Fn(u64) -> Fault + Send + Sync + 'static) -> Self {
        let plan = self.plan;
        let fail = move |seen: &Seen<'_>| Reply { fault: fault(seen.index), ..plan(seen) };
        Self { plan: Arc::new(fail), cold_caches: self.cold_caches }
    }

    /// The same, with something to wait for before each answer: requests of several clients overlap.
    #[must_use]
    pub fn pausing(self, before: Wait) -> Self {
        let plan = self.plan;
        let pause = move |seen: &Seen<'_>| Reply { before: Some(before.clone()), ..plan(seen) };
        Self { plan: Arc::new(pause), cold_caches: self.cold_caches }
    }

    /// The same, with caches that are written and never found again.
    #[must_use]
    pub fn with_cold_caches(self) -> Self {
        Self { cold_caches: true, ..self }
    }

    pub(super) fn reply(&self, seen: &Seen<'_>) -> Reply {
        (self.plan)(seen)
    }
}
