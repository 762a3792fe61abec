//! A real agent behind the real binary, against a provider that answers by a script and keeps its own
//! account.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tollgate::money::Usd;
use tollgate::simulate::{Provider, Reply, Script, Seen, Witness, WitnessHandle};

use crate::support::{Run, Tollgate, tool};

/// The key, which nobody but the provider may ever see.
pub(crate) const KEY: &str = "sk-ant-canary-0123456789abcdef";
/// How long a run may take before it is taken for hung.
const TIME_MAX: Duration = Duration::from_secs(90);

/// How long a stopped agent is left alone before it is ended.
const STOP_GRACE: Duration = Duration::from_secs(15);

/// A simulated provider on a thread of its own.
pub(crate) struct Upstream {
    pub(crate) url: String,
    witness: WitnessHandle,
    senders: Arc<Mutex<Vec<Sender>>>,
    _shutdown: oneshot::Sender<()>,
}

/// Who sent a generation, and when it came.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    pub(crate) agent: Option<String>,
    pub(crate) came: Instant,
}

impl Upstream {
    /// Serves a script, and remembers who asked.
    pub(crate) fn start(plan: impl Fn(&Seen<'_>) -> Reply + Send + Sync + 'static) -> Self {
        let senders = Arc::<Mutex<Vec<Sender>>>::default();
        let seen_by = senders.clone();
        let script = Script::new(move |seen| {
            let sender = Sender { agent: seen.agent.map(str::to_owned), came: Instant::now() };
            seen_by.lock().expect("no script panicked").push(sender);
            plan(seen)
        });
        let provider = Provider::new(script);
        let witness = provider.witness();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket option");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (shutdown, ended) = oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).expect("a listener");
                provider.serve(listener, async { drop(ended.await) }).await;
            });
        });
        Self { url, witness, senders, _shutdown: shutdown }
    }

    /// Its own account.
    pub(crate) fn witness(&self) -> Witness {
        self.witness.snapshot()
    }

    /// Who sent what, in the order in which it came.
    pub(crate) fn senders(&self) -> Vec<Sender> {
        self.senders.lock().expect("no script panicked").clone()
    }
}

/// A run of an agent that is over.
pub(crate) struct Ended {
    pub(crate) run: Run,
    pub(crate) summary: Value,
    /// The run's folder.
    pub(crate) folder: PathBuf,
    pub(crate) witness: Witness,
    pub(crate) senders: Vec<Sender>,
    /// From the last request that reached the provider to the end of the whole run.
    pub(crate) tail: Duration,
    /// Its folders go when it goes.
    pub(crate) world: Tollgate,
}

/// How a run reaches its provider: the variables it is given, and the name of the API.
pub(crate) struct Door {
    /// Variables, the secret ones among them.
    pub(crate) env: Vec<(&'static str, String)>,
    /// The name in `--upstream`.
    pub(crate) api: &'static str,
}

impl Door {
    /// The first party's own API, with a key.
    fn own() -> Self {
        Self { env: vec![("ANTHROPIC_API_KEY", KEY.to_owned())], api: "anthropic" }
    }
}

/// A real agent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Real {
    /// The word for it in the budget file.
    pub(crate) preset: &'static str,
    program: &'static str,
    /// The variable that names its program, in the version that is to be tested.
    variable: &'static str,
}

pub(crate) const CLAUDE: Real =
    Real { preset: "claude", program: "claude", variable: "TOLLGATE_TEST_CLAUDE" };
pub(crate) const CODEX: Real = Real { preset: "codex", program: "codex", variable: "TOLLGATE_TEST_CODEX" };
pub(crate) const GEMINI: Real =
    Real { preset: "gemini", program: "gemini", variable: "TOLLGATE_TEST_GEMINI" };
pub(crate) const OPENCODE: Real =
    Real { preset: "opencode", program: "opencode", variable: "TOLLGATE_TEST_OPENCODE" };
pub(crate) const MINI: Real =
    Real { preset: "mini-swe-agent", program: "mini", variable: "TOLLGATE_TEST_MINI" };
pub(crate) const AIDER: Real = Real { preset: "aider", program: "aider", variable: "TOLLGATE_TEST_AIDER" };

/// Runs Claude Code on a task under a budget file; `None` where Claude Code is not installed.
pub(crate) fn claude(
    task: &str,
    budget: &str,
    plan: impl Fn(&Seen<'_>) -> Reply + Send + Sync + 'static,
) -> Option<Ended> {
    claude_through(Door::own(), task, budget, plan)
}

/// As [`claude`], through another door.
pub(crate) fn claude_through(
    door: Door,
    task: &str,
    budget: &str,
    plan: impl Fn(&Seen<'_>) -> Reply + Send + Sync + 'static,
) -> Option<Ended> {
    through(&CLAUDE, &[door], task, budget, plan)
}

/// Runs a real agent on a task under a budget file, with a key for every provider, which are one; `None`
/// where the agent is not installed.
pub(crate) fn run(
    real: &Real,
    task: &str,
    budget: &str,
    plan: impl Fn(&Seen<'_>) -> Reply + Send + Sync + 'static,
) -> Option<Ended> {
    let door = |api, variable| Door { env: vec![(variable, KEY.to_owned())], api };
    let doors = [Door::own(), door("openai", "OPENAI_API_KEY"), door("gemini", "GEMINI_API_KEY")];
    through(real, &doors, task, budget, plan)
}

fn through(
    real: &Real,
    doors: &[Door],
    task: &str,
    budget: &str,
    plan: impl Fn(&Seen<'_>) -> Reply + Send + Sync + 'static,
) -> Option<Ended> {
    let program = tool(real.program, real.variable)?;
    let upstream = Upstream::start(plan);
    let mut tollgate = Tollgate::in_repository(&[("src/lib.rs", "pub fn one() -> u32 {\n    1\n}\n")]);
    tollgate.commit(&[(".github/tollgate.yml", budget)], "A budget");
    let mut path = std::ffi::OsString::from(program.parent().expect("a file has a folder"));
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    tollgate.env("PATH", path).time_max(TIME_MAX);
    tollgate.args(["run", "--task", task]);
    for door in doors {
        for (name, value) in &door.env {
            tollgate.env(name, value);
        }
        tollgate.args(["--upstream", &format!("{}={}", door.api, upstream.url)]);
    }
    let summary = tollgate.home().join("summary.json");
    tollgate.args(["--summary-json".as_ref(), summary.as_os_str()]);
    let run = tollgate.run();
    let ended = Instant::now();
    let senders = upstream.senders();
    let tail = senders.last().map_or(Duration::ZERO, |last| ended - last.came);
    let text = std::fs::read_to_string(&summary)
        .unwrap_or_else(|error| panic!("no summary: {error}\n{}\n{}", run.stdout, run.stderr));
    let summary: Value = serde_json::from_str(&text).expect("the summary is JSON");
    let folder = Path::new(summary["summary_path"].as_str().expect("a folder")).parent().expect("a folder");
    let ended = Ended {
        folder: folder.to_owned(),
        run,
        summary,
        witness: upstream.witness(),
        senders,
        tail,
        world: tollgate,
    };
    ended.always();
    Some(ended)
}

/// A budget file in which every task goes to one tier, which is defined here or is the default.
pub(crate) fn budget(tier: &str, defined: &str) -> String {
    let row = format!("{{ low: {tier}, medium: {tier}, high: {tier} }}");
    let tiers = if defined.is_empty() { String::new() } else { format!("tiers:\n  {tier}: {defined}\n") };
    format!(
        "version: 1\nmode: enforce\n{tiers}tasks:\n  implementation: {row}\n  review: {row}\n  docs: {row}\n"
    )
}

impl Ended {
    /// What holds of every run, however it went.
    #[track_caller]
    fn always(&self) {
        let said = self.said();
        if self.summary["subscription"] == true {
            assert_eq!(self.spent(), Usd::ZERO, "a subscription is charged by nobody\n{said}");
        } else {
            assert!(self.spent() <= self.cap(), "the cap is passed\n{said}");
            assert!(self.witness.usd <= self.cap(), "the provider charges more than the cap\n{said}");
            assert_eq!(self.repository_spend(), self.spent(), "the ledger holds what the run spent\n{said}");
        }
        assert_eq!(self.witness.violations, Vec::<String>::new(), "\n{said}");
        assert!(!said.contains(KEY), "the key was printed\n{said}");
        assert_eq!(self.survivors(), Vec::<String>::new(), "processes outlive the run\n{said}");
        // It is ended only that long after a stop, and the stop comes after the last request.
        assert!(self.tail < STOP_GRACE, "the agent did not exit by itself\n{said}");
    }

    /// Everything that was printed.
    pub(crate) fn said(&self) -> String {
        format!(
            "--- stderr\n{}\n--- stdout\n{}\n--- summary\n{:#}",
            self.run.stderr, self.run.stdout, self.summary
        )
    }

    /// A text of the summary.
    #[track_caller]
    pub(crate) fn text(&self, name: &str) -> &str {
        self.summary[name].as_str().unwrap_or_else(|| panic!("{name} is no text\n{}", self.said()))
    }

    /// A number of the summary.
    #[track_caller]
    pub(crate) fn number(&self, name: &str) -> u64 {
        self.summary[name].as_u64().unwrap_or_else(|| panic!("{name} is no number\n{}", self.said()))
    }

    /// An amount of the summary.
    #[track_caller]
    pub(crate) fn usd(&self, name: &str) -> Usd {
        self.text(name).parse().expect("an amount")
    }

    /// What the run spent, by tollgate's count.
    pub(crate) fn spent(&self) -> Usd {
        self.usd("total_cost_usd")
    }

    /// The run's cap.
    pub(crate) fn cap(&self) -> Usd {
        self.usd("cap_usd")
    }

    /// What the ledger holds against the repository's month: this is its first run.
    fn repository_spend(&self) -> Usd {
        let budgets = self.summary["budgets"].as_array().expect("budgets");
        let month = budgets.iter().find(|budget| budget["per"] == "month").expect("the month's budget");
        month["spent_usd"].as_str().expect("an amount").parse().expect("an amount")
    }

    /// Checks verdict, outcome and exit code.
    #[track_caller]
    pub(crate) fn expect(&self, verdict: &str, outcome: &str, code: i32) {
        let found = (self.text("verdict"), self.text("outcome"), self.run.code);
        assert_eq!(found, (verdict, outcome, Some(code)), "\n{}", self.said());
    }

    /// Tollgate's count and the provider's are the same to the pico-dollar.
    #[track_caller]
    pub(crate) fn expect_exact(&self) {
        assert_eq!(self.spent(), self.witness.usd, "\n{}", self.said());
        assert_eq!(self.usd("estimated_usd"), Usd::ZERO, "\n{}", self.said());
    }

    /// A file of the run's folder.
    #[track_caller]
    pub(crate) fn file(&self, name: &str) -> String {
        let path = self.folder.join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}\n{}", self.said()))
    }

    /// The bodies that reached the provider, parsed.
    pub(crate) fn bodies(&self) -> Vec<Value> {
        let bodies = self.witness.bodies.iter();
        bodies.map(|body| serde_json::from_slice(body).expect("the provider has parsed it")).collect()
    }

    /// How much of the cap was used, in percent.
    pub(crate) fn share(&self) -> i128 {
        self.witness.usd.pico() * 1_000 / self.cap().pico()
    }

    /// Says what was measured, for whoever reads a test's output.
    pub(crate) fn measured(&self, what: &str) {
        use std::io::Write as _;
        let share = self.share();
        let _ = writeln!(
            std::io::stderr(),
            "measured: {what}: {} requests, {} at once, {} of {}, {}.{} % of the cap; {} ms from the last request to the end",
            self.number("requests"),
            self.witness.peak,
            self.witness.usd,
            self.cap(),
            share / 10,
            share % 10,
            self.tail.as_millis(),
        );
    }

    /// Processes that still know the run's folder by their environment or command line.
    fn survivors(&self) -> Vec<String> {
        let marker = self.folder.as_os_str().as_encoded_bytes();
        let entries = std::fs::read_dir("/proc").expect("Linux").flatten();
        let processes = entries.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
        let knows = |path: &Path| {
            ["environ", "cmdline"].iter().any(|file| {
                let bytes = std::fs::read(path.join(file)).unwrap_or_default();
                bytes.windows(marker.len()).any(|window| window == marker)
            })
        };
        let name = |path: &Path| {
            let line = std::fs::read(path.join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ")
        };
        processes.map(|entry| entry.path()).filter(|path| knows(path)).map(|path| name(&path)).collect()
    }
}
