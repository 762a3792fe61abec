//! `tollgate start`, a step of somebody else's, `tollgate finish`: the same as a run, and whatever becomes of
//! the step or of the meter, what was spent is on the books.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use jiff::{SignedDuration, Timestamp};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::net::TcpListener;
use tollgate::meter::{Allowance, Config, DearerModel, Meter, Policy};
use tollgate::money::Usd;
use tollgate::price::Table;
use tollgate::simulate::{Answer, Fault, Reply, Script};
use tollgate::supervise::{self, Signals};

use crate::prices_update;
use crate::run::{
    KEY, PRELUDE, Upstream, agent, announced, arrival, budget, charged, expect_settled, ledger, lines,
    repository, serve, summary, usd, verdict,
};
use crate::support::{Run, Tollgate};

/// What `start` says by name.
pub(crate) type Given = BTreeMap<String, String>;

/// What a run of `start` has said.
pub(crate) fn given(run: &Run) -> Given {
    let given = run.stdout.lines().filter_map(|line| line.split_once('='));
    given.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A repository, and the meters that were left running in it, which go when it goes.
pub(crate) struct World(pub(crate) Tollgate);

impl World {
    fn new(budget: &str) -> Self {
        Self(repository(budget))
    }

    /// The folders of runs.
    fn folders(&self) -> Vec<PathBuf> {
        let runs = self.0.work().join(".tollgate/runs");
        fs::read_dir(runs).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    }

    /// `tollgate start`.
    fn start(&mut self, upstream: &Upstream, more: &[&str]) -> (Run, Given) {
        self.0.env("ANTHROPIC_API_KEY", KEY).args(["start", "--upstream"]);
        let run = self.0.args([&format!("anthropic={}", upstream.url)]).args(more).run();
        let given = given(&run);
        (run, given)
    }

    /// `tollgate start`, which begins a run.
    fn begun(&mut self, upstream: &Upstream) -> Given {
        let (run, given) = self.start(upstream, &[]);
        run.expect_code(0);
        assert_eq!(given["run"], "true");
        given
    }

    /// The step between.
    fn step(&self, given: &Given, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{PRELUDE}{script}")).current_dir(self.0.work()).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.0.home());
        for (name, output) in [
            ("ANTHROPIC_BASE_URL", "anthropic_base_url"),
            ("ANTHROPIC_API_KEY", "api_key"),
            ("ANTHROPIC_MODEL", "model"),
        ] {
            command.env(name, &given[output]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// `tollgate finish`.
    pub(crate) fn finish(&mut self, given: &Given, outcome: &str) -> Run {
        // The real one has the path that it was told; the tests' own is redacted.
        let world = self.0.work().parent().expect("a folder").display().to_string();
        let state = given["state"].replace("[WORLD]", &world);
        self.0.args(["finish", "--summary-json", "../summary.json", "--outcome", outcome]);
        self.0.env("TOLLGATE_STATE", state).run()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        end_meters(&self.folders());
    }
}

/// Ends the meters that were left running in these folders of runs.
pub(crate) fn end_meters(folders: &[PathBuf]) {
    for pid in folders.iter().filter_map(|folder| meter(folder)) {
        end(pid, Signal::KILL);
    }
}

/// The meter that was left in a run's folder, while it is there.
fn meter(folder: &Path) -> Option<Pid> {
    let text = fs::read_to_string(folder.join("meter")).ok()?;
    let process: Value = serde_json::from_str(text.lines().nth(1)?).ok()?;
    let pid = i32::try_from(process["pid"].as_i64()?).ok()?;
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
    line.contains("attend").then(|| Pid::from_raw(pid)).flatten()
}

/// The only meter there is.
#[track_caller]
fn only_meter(world: &World) -> Pid {
    let folders = world.folders();
    let [folder] = folders.as_slice() else { panic!("{folders:?}") };
    meter(folder).expect("a meter is left running")
}

/// Ends a meter, and waits until it is gone.
#[track_caller]
fn end(pid: Pid, signal: Signal) {
    kill_process(pid, signal).expect("it is there");
    // It is no child of this process, which could wait for it otherwise.
    let process = format!("/proc/{}/stat", pid.as_raw_nonzero());
    let gone = || fs::read_to_string(&process).map_or(true, |stat| stat.contains(") Z "));
    let until = std::time::Instant::now() + std::time::Duration::from_secs(15);
    while !gone() {
        assert!(std::time::Instant::now() < until, "it does not end");
        std::thread::yield_now();
    }
}

fn answers() -> Upstream {
    serve(Script::new(|_| Answer::text("Looked at.").of_tokens(400).into()))
}

/// What differs between two runs of the same: their names, and when they were.
fn told(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let words = line.split(' ').map(|word| match word {
            word if word.starts_with("run=local/") => "run=[RUN]",
            word if word.starts_with("hash=") => "hash=[HASH]",
            word => word,
        });
        words.collect::<Vec<_>>().join(" ")
    });
    lines.filter(|line| !line.contains("`local/")).collect::<Vec<_>>().join("\n")
}

/// What a summary says but for names and times.
fn said(mut summary: Value) -> Value {
    let fields = summary.as_object_mut().expect("an object");
    for own in
        ["hold_id", "run_folder", "result_path", "patch_path", "summary_path", "started", "duration_ms"]
    {
        fields.remove(own);
    }
    fields.retain(|name, _| !name.contains("seconds") && !name.contains("time"));
    summary
}

/// The entry of the only run on the ledger, but for names and times.
fn entry(ledger: &Value) -> Value {
    let mut entry = ledger["runs"][0].clone();
    let fields = entry.as_object_mut().expect("an object");
    for own in ["hold", "reserved", "closed", "at", "expires", "started", "ended"] {
        fields.remove(own);
    }
    entry
}

#[test]
fn a_step_between_start_and_finish_is_reported_and_settled_as_a_run() {
    for (work, outcome, cap, code) in [
        ("ask One; ask Two", "success", "0.1", 0),
        ("ask One; exit 7", "failure", "0.1", 5),
        ("while ! stopped; do ask Go; done", "success", "0.003", 4),
        ("true", "success", "0.1", 3),
    ] {
        let upstream = answers();
        let mut world = repository(&budget("1", cap, ""));
        let run = agent(&mut world, &upstream, work);
        run.expect_code(code);
        let spent = charged(&expect_settled(&mut world, false));
        let (one, entry_of_run) = (summary(&world), entry(&ledger(&mut world, false)));

        let mut world = World::new(&budget("1", cap, ""));
        let given = world.begun(&upstream);
        let status = world.step(&given, work).status().expect("sh starts");
        assert_eq!(status.success(), outcome == "success");
        let finish = world.finish(&given, outcome);
        finish.expect_code(code);
        assert_eq!(told(&finish.stdout), told(&run.stdout), "the comment");
        assert_eq!(verdict(&finish), verdict(&run));
        let ledger = expect_settled(&mut world.0, false);
        assert_eq!(charged(&ledger), spent);
        assert_eq!(upstream.witness.usd(), spent + spent, "and that is what the provider charged");
        assert_eq!(entry(&ledger), entry_of_run, "the ledger's entry");
        assert_eq!(said(summary(&world.0)), said(one), "the summary");
    }
}

#[test]
fn start_says_where_the_meter_is_and_hands_no_key_on() {
    let upstream = answers();
    let mut world = World::new(&budget("1", "0.1", ""));
    world.0.env("RUNNER_TRACKING_ID", "github_7").env("GITHUB_TOKEN", "ghs_canary");
    let (run, given) = world.start(&upstream, &[]);
    run.expect_code(0);
    let url = given["anthropic_base_url"].clone();
    let names: Vec<&str> = given.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "anthropic_base_url",
            "api_key",
            "cap_usd",
            "gemini_base_url",
            "hold_id",
            "model",
            "openai_base_url",
            "run",
            "stakes",
            "state",
            "task",
            "tier"
        ]
    );
    let out = |name: &str| given[name].as_str();
    assert_eq!((out("openai_base_url"), out("gemini_base_url")), ("", ""), "there is no key for them");
    assert_eq!(
        (out("model"), out("task"), out("stakes"), out("tier"), out("cap_usd")),
        ("claude-haiku-5-5", "review", "low", "low", "0.1")
    );
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    let said = lines(&run.stderr, "tollgate: the meter");
    assert_eq!(said, format!("tollgate: the meter is at {url}; `tollgate finish` ends the run"));

    let pid = only_meter(&world).as_raw_nonzero();
    // Nobody but root may read the environment of a process that is not dumpable; this test may be root.
    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let seen = [read("environ"), read("cmdline")].concat();
    let seen = String::from_utf8_lossy(&seen);
    assert!(!seen.contains(KEY) && !seen.contains("ghs_canary"), "{seen}");
    assert!(read("environ").is_empty() || seen.contains("RUNNER_TRACKING_ID=github_7"), "{seen}");
    let session = |stat: Vec<u8>| -> String {
        let stat = String::from_utf8_lossy(&stat).into_owned();
        stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(3)).unwrap_or_default().to_owned()
    };
    assert_eq!(session(read("stat")), pid.to_string(), "it leads a session of its own");
    for entry in fs::read_dir(&world.folders()[0]).expect("a folder").flatten() {
        let text = String::from_utf8_lossy(&fs::read(entry.path()).unwrap_or_default()).into_owned();
        for secret in [KEY, "ghs_canary", out("api_key"), out("state").rsplit(':').next().expect("a key")] {
            assert!(!text.contains(secret), "{} has a secret", entry.path().display());
        }
    }
    world.finish(&given, "skipped").expect_code(0);
}

#[test]
fn a_run_whose_meter_lives_is_not_taken_for_dead() {
    let upstream = answers();
    let mut world = World::new(&budget("1", "0.1", ""));
    let given = world.begun(&upstream);
    let between = agent(&mut world.0, &upstream, "ask Else");
    between.expect_code(0);
    assert_eq!(lines(&between.stderr, "note: "), "");
    let held = ledger(&mut world.0, false);
    assert_eq!(held["live"].as_array().map(Vec::len), Some(1), "{held}");
    assert!(world.step(&given, "ask One").status().expect("sh starts").success());
    world.finish(&given, "success").expect_code(0);
    assert_eq!(charged(&expect_settled(&mut world.0, false)), upstream.witness.usd());
}

#[test]
fn a_step_that_is_killed_is_settled_all_the_same() {
    for (outcome, code, says) in [
        ("failure", 5, "verdict: FAIL · the agent ended with an error"),
        ("cancelled", 130, "verdict: FAIL · the run was cancelled; what it had spent is settled"),
    ] {
        let (script, requests) = announced(|seen| Reply {
            fault: if seen.index == 0 { Fault::None } else { Fault::Stall },
            ..Answer::text("Looked at.").of_tokens(400).into()
        });
        let upstream = serve(script);
        let mut world = World::new(&budget("1", "0.1", ""));
        let given = world.begun(&upstream);
        let mut step = world.step(&given, "ask One; ask Two").spawn().expect("sh starts");
        arrival(&requests);
        arrival(&requests);
        step.kill().and_then(|()| step.wait()).expect("it is ours");
        let finish = world.finish(&given, outcome);
        finish.expect_code(code);
        assert_eq!(lines(&finish.stderr, "verdict: "), says);
        let spent = charged(&expect_settled(&mut world.0, false));
        let estimated = usd(&summary(&world.0)["estimated_usd"]);
        assert!(estimated > Usd::ZERO && spent >= upstream.witness.usd(), "{spent}, {estimated} estimated");
    }
}

#[test]
fn finish_is_said_twice_and_settled_once() {
    let upstream = answers();
    let mut world = World::new(&budget("1", "0.1", ""));
    let given = world.begun(&upstream);
    assert!(!world.step(&given, "ask One; exit 3").status().expect("sh starts").success());
    world.finish(&given, "failure").expect_code(5);
    let once = expect_settled(&mut world.0, false);
    let again = world.finish(&given, "success");
    again.expect_code(5);
    assert_eq!(
        (again.stdout.as_str(), again.stderr.as_str()),
        ("", "note: this run was settled before: the agent ended with an error\n")
    );
    assert_eq!(expect_settled(&mut world.0, false), once);
}

#[test]
fn a_meter_that_was_told_to_end_has_said_what_it_counted() {
    let upstream = answers();
    let mut world = World::new(&budget("1", "0.1", ""));
    let given = world.begun(&upstream);
    assert!(world.step(&given, "ask One").status().expect("sh starts").success());
    end(only_meter(&world), Signal::HUP);
    assert!(!world.step(&given, "ask Two").status().expect("sh starts").success(), "nothing is metered now");
    world.finish(&given, "success").expect_code(0);
    assert_eq!(charged(&expect_settled(&mut world.0, false)), upstream.witness.usd());
}

#[test]
fn what_finish_never_settled_is_charged_by_the_next_command() {
    let upstream = answers();
    let mut world = World::new(&budget("1", "0.003", ""));
    let given = world.begun(&upstream);
    assert!(world.step(&given, "ask One").status().expect("sh starts").success());
    // The runner ends what is left at the end of a job; this one had the time to say what it counted.
    end(only_meter(&world), Signal::TERM);
    let next = agent(&mut world.0, &upstream, "ask Else");
    next.expect_code(0);
    let note = lines(&next.stderr, "note: ").replace(&given["hold_id"], "[HOLD]");
    assert_eq!(
        note,
        "note: run [HOLD] died before it settled; it is charged $0.0030, all of its hold, because its journal ($0.00020 at most) is no proof"
    );
    let cap: Usd = "0.003".parse().expect("an amount");
    let other = usd(&summary(&world.0)["total_cost_usd"]);
    assert_eq!(charged(&expect_settled(&mut world.0, false)), cap + other);
    // Late, but with the proof that the next command did not have.
    world.finish(&given, "success").expect_code(0);
    let spent: Usd = charged(&expect_settled(&mut world.0, false));
    assert_eq!(spent, upstream.witness.usd(), "the charge is corrected");
}

#[test]
fn a_meter_that_was_killed_is_charged_its_whole_hold() {
    for (policy, code) in [("", 3), (", unmetered: warn", 0)] {
        let upstream = answers();
        let mut world = World::new(&budget("1", "0.003", policy));
        let given = world.begun(&upstream);
        assert!(world.step(&given, "ask One").status().expect("sh starts").success());
        end(only_meter(&world), Signal::KILL);
        let finish = world.finish(&given, "success");
        finish.expect_code(code);
        let says = if code == 3 { "FAIL" } else { "pass, with a warning" };
        assert_eq!(
            verdict(&finish),
            format!(
                "verdict: {says} · the meter was gone before it could say what the run spent, so it is charged $0.0030, all of its hold\n\n\
                 hint: `meter.log` in the run's folder has its last words; something on the machine may have ended it"
            )
        );
        let cap: Usd = "0.003".parse().expect("an amount");
        assert_eq!(charged(&expect_settled(&mut world.0, false)), cap);
        let summary = summary(&world.0);
        assert_eq!(summary["outcome"], "unmetered");
        assert_eq!((usd(&summary["total_cost_usd"]), usd(&summary["estimated_usd"])), (cap, cap));
    }
}

#[test]
fn what_the_step_could_have_written_is_not_believed() {
    // A count that says less, with everything that is needed but the key.
    let upstream = answers();
    let mut world = World::new(&budget("1", "0.003", ""));
    let given = world.begun(&upstream);
    assert!(world.step(&given, "ask One; ask Two").status().expect("sh starts").success());
    end(only_meter(&world), Signal::TERM);
    let folder = world.folders().pop().expect("a run");
    let count = fs::read_to_string(folder.join("count")).expect("a count");
    let spent = upstream.witness.usd().to_string();
    assert!(count.contains(&spent), "{count}");
    fs::write(folder.join("count"), count.replace(&spent, "0.00001")).expect("written");
    let finish = world.finish(&given, "success");
    finish.expect_code(3);
    let warning = lines(&finish.stderr, "warning: ");
    assert!(warning.ends_with("/count was not written by tollgate: something has changed it"), "{warning}");
    assert_eq!(charged(&expect_settled(&mut world.0, false)), "0.003".parse().expect("an amount"));

    // A state that says something else, such as another hold.
    let mut world = World::new(&budget("1", "0.003", ""));
    let given = world.begun(&upstream);
    let folder = world.folders().pop().expect("a run");
    let state = fs::read_to_string(folder.join("state")).expect("a state");
    fs::write(folder.join("state"), state.replace("\"low\"", "\"high\"")).expect("written");
    let finish = world.finish(&given, "success");
    finish.expect_code(3);
    let folder = folder.file_name().expect("a name").to_string_lossy().into_owned();
    assert_eq!(
        finish.stderr.replace(&folder, "[RUN]"),
        "error: what the run has spent cannot be told: [WORLD]/work/.tollgate/runs/[RUN]/state was not written by tollgate: something has changed it\n\n\
         hint: all of its hold is charged by the next command here, or when its lease is over\n"
    );
}

#[test]
fn a_state_is_what_start_handed_over() {
    let mut world = repository(&budget("1", "0.1", ""));
    let none = world.args(["finish", "--state", "none"]).run();
    none.expect_code(0);
    assert_eq!(none.stderr, "note: `tollgate start` began no run, so there is none to finish\n");
    let hint = "hint: give it the output `state` of `tollgate start`, with --state or in TOLLGATE_STATE\n";
    for (state, says) in [
        ("", "which run is to be finished is not said: there is no state"),
        ("/tmp/run", "the state is not what `tollgate start` handed over"),
    ] {
        let run = world.args(["finish", "--state", state]).run();
        run.expect_code(2);
        assert_eq!(run.stderr, format!("error: {says}\n\n{hint}"));
    }
}

#[test]
fn what_never_reached_the_meter_is_unmetered_and_what_never_ran_is_not() {
    let upstream = answers();
    for (outcome, policy, code, verdict_is) in [
        ("success", "", 3, "FAIL · the agent ran and no request reached the meter, so its spend is unknown"),
        (
            "success",
            ", unmetered: warn",
            0,
            "pass, with a warning · the agent ran and no request reached the meter, so its spend is unknown",
        ),
        ("skipped", "", 0, "pass · the agent's step was skipped, so nothing was spent"),
    ] {
        let mut world = World::new(&budget("1", "0.1", policy));
        let given = world.begun(&upstream);
        let finish = world.finish(&given, outcome);
        finish.expect_code(code);
        assert_eq!(lines(&finish.stderr, "verdict: "), format!("verdict: {verdict_is}"));
        assert_eq!(charged(&expect_settled(&mut world.0, false)), Usd::ZERO);
    }
}

#[test]
fn start_refuses_as_a_run_does_and_says_that_nothing_is_to_be_run() {
    let upstream = answers();
    let mut world = World::new(&budget("1", "0.1", ""));
    agent(&mut world.0, &upstream, "ask One").expect_code(0);
    // What is left is less than a run needs.
    world.0.file(".github/tollgate.yml", &budget("0.0003", "0.1", ""));
    let run = agent(&mut world.0, &upstream, "ask One");
    run.expect_code(3);
    let (start, given) = world.start(&upstream, &["--summary-json", "../summary.json"]);
    start.expect_code(3);
    assert_eq!(start.stdout, "state=none\nrun=false\n");
    assert_eq!(verdict(&start), verdict(&run));
    assert!(start.stderr.contains("<!-- tollgate:v1 key=default "), "the comment is for people here");
    assert_eq!(summary(&world.0)["outcome"], "refused");
    let finish = world.finish(&given, "skipped");
    finish.expect_code(0);
    assert_eq!(
        lines(&finish.stderr, "note: "),
        "note: `tollgate start` began no run, so there is none to finish"
    );

    let json = world
        .0
        .args(["start", "--simulate", "--format", "json", "--upstream", "openai=https://x.test"])
        .run();
    json.expect_code(2);
    assert_eq!(
        json.stderr,
        "error: `--simulate` brings its own provider: leave out `--upstream`, or `--simulate`\n"
    );
}

#[test]
fn a_simulated_step_needs_no_key_and_leaves_the_real_books_alone() {
    let mut world = World::new(&budget("1", "0.1", ""));
    let start = world.0.args(["start", "--simulate", "--format", "json"]).run();
    start.expect_code(0);
    let given: Given = serde_json::from_str(&start.stdout).expect("one JSON object of texts");
    let agent = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["simulate-agent", "--model", &given["model"], "--prompt", "Review the change."])
        .env_clear()
        .env("ANTHROPIC_BASE_URL", &given["anthropic_base_url"])
        .env("ANTHROPIC_API_KEY", &given["api_key"])
        .current_dir(world.0.work())
        .output()
        .expect("it starts");
    assert!(agent.status.success(), "{}", String::from_utf8_lossy(&agent.stderr));
    world.finish(&given, "success").expect_code(0);
    let spent = charged(&expect_settled(&mut world.0, true));
    assert_eq!(usd(&summary(&world.0)["total_cost_usd"]), spent);
    assert!(spent > Usd::ZERO);
    world.0.args(["ledger", "show"]).run().expect_code(6);
}

#[test]
fn when_the_tiers_time_is_up_the_meter_takes_no_more() {
    for (outcome, code, says) in [
        ("failure", 5, "verdict: FAIL · the agent was ended when its time was up"),
        ("success", 0, "verdict: pass · "),
    ] {
        let upstream = serve(Script::new(|_| Answer::text("Looked at.").of_tokens(1).into()));
        let file = budget("1", "0.1", "").replace("max_usd: 0.1", "max_usd: 0.1, timeout: 1s");
        let mut world = World::new(&file);
        let given = world.begun(&upstream);
        let status = world.step(&given, "ask Go; until stopped; do ask Go; done; said >said").status();
        assert!(status.expect("sh starts").success());
        let said = fs::read_to_string(world.0.work().join("said")).expect("its last answer");
        assert!(said.starts_with("Stopped: this run is over and takes no further requests."), "{said}");
        let finish = world.finish(&given, outcome);
        finish.expect_code(code);
        assert!(lines(&finish.stderr, "verdict: ").starts_with(says), "{}", finish.stderr);
        assert_eq!(charged(&expect_settled(&mut world.0, false)), upstream.witness.usd());
    }
}

#[test]
fn what_the_ledger_did_not_take_is_settled_by_the_next_finish() {
    let upstream = answers();
    let mut world = World::new(&budget("1", "0.1", ""));
    let given = world.begun(&upstream);
    assert!(world.step(&given, "ask One").status().expect("sh starts").success());
    let (head, away) = (world.0.work().join(".tollgate/head.json"), world.0.work().join("away"));
    fs::rename(&head, &away).expect("moved");
    fs::create_dir(&head).expect("something in its place");
    world.finish(&given, "success").expect_code(6);
    fs::remove_dir(&head).and_then(|()| fs::rename(&away, &head)).expect("mended");
    world.finish(&given, "success").expect_code(0);
    assert_eq!(charged(&expect_settled(&mut world.0, false)), upstream.witness.usd());
}

#[test]
fn a_price_table_that_is_gone_by_then_keeps_nothing_from_being_settled() {
    let upstream = answers();
    let mut scratch = Tollgate::in_repository(&[]);
    let table = scratch.work().parent().expect("a folder").join("table.json");
    scratch.env("TOLLGATE_PRICES", table.to_str().expect("a path"));
    let installed = prices_update::update(&mut scratch, &prices_update::changed());
    let digest = installed.stderr.split("sha256:").nth(1).and_then(|rest| rest.split(' ').next());
    let digest = digest.expect("a digest");

    let file = format!("{}prices: {{ table: \"sha256:{digest}\" }}\n", budget("1", "0.1", ""));
    let mut world = World::new(&file);
    world.0.env("TOLLGATE_PRICES", table.to_str().expect("a path"));
    let given = world.begun(&upstream);
    assert!(world.step(&given, "ask One").status().expect("sh starts").success());
    fs::remove_file(&table).expect("it was there");
    world.finish(&given, "success").expect_code(0);
    let charged = charged(&expect_settled(&mut world.0, false));
    assert_eq!(charged, upstream.witness.usd());
    assert!(charged > Usd::ZERO);
}

#[test]
fn a_subscription_pays_for_a_step_as_for_a_run() {
    const TOKEN: &str = "sk-ant-oat01-canary-0123456789abcdef";
    let upstream = answers();
    // Nothing is left of it after one run that pays in dollars, which is no concern of one that does not.
    let mut world = World::new(&budget("0.0002", "0.1", ""));
    world.0.env("CLAUDE_CODE_OAUTH_TOKEN", TOKEN).args(["start", "--upstream"]);
    let run = world.0.args([&format!("anthropic={}", upstream.url)]).run();
    run.expect_code(0);
    let given = given(&run);
    assert_eq!(
        (given["run"].as_str(), given["cap_usd"].as_str()),
        ("true", ""),
        "tokens and time are its caps"
    );
    assert!(!run.stdout.contains(TOKEN) && !run.stderr.contains(TOKEN));
    let asks = "ask() { curl -sS -o /dev/null -H \"authorization: Bearer $ANTHROPIC_API_KEY\" \
        -H 'anthropic-version: 2023-06-01' -H 'content-type: application/json' \
        -d \"{\\\"model\\\":\\\"$ANTHROPIC_MODEL\\\",\\\"max_tokens\\\":500,\\\"messages\\\":[{\\\"role\\\":\\\"user\\\",\\\"content\\\":\\\"Go\\\"}]}\" \
        \"$ANTHROPIC_BASE_URL/v1/messages\"; }; ask; ask";
    assert!(world.step(&given, asks).status().expect("sh starts").success());
    let finish = world.finish(&given, "success");
    finish.expect_code(0);
    for head in &upstream.witness.snapshot().heads {
        assert_eq!(head["authorization"], format!("Bearer {TOKEN}"));
    }
    let ledger = expect_settled(&mut world.0, false);
    assert_eq!(charged(&ledger), Usd::ZERO);
    let summary = summary(&world.0);
    assert_eq!(usd(&summary["notional_usd"]), upstream.witness.usd(), "the list price, to the pico-dollar");
    assert!(upstream.witness.usd() > Usd::ZERO);
    assert_eq!((&summary["subscription"], &summary["verdict"]), (&Value::Bool(true), &Value::from("pass")));
}

#[test]
fn the_token_of_a_run_around_this_one_is_no_key() {
    let upstream = answers();
    let mut world = World::new(&budget("1", "0.1", ""));
    world.0.env("TOLLGATE_TOKEN", KEY);
    let (start, _) = world.start(&upstream, &[]);
    start.expect_code(2);
    assert!(start.stderr.starts_with("error: there is no key for a provider"), "{}", start.stderr);
    assert_eq!(start.stdout, "", "nobody is told that anything runs");
}

/// A meter that reaches nobody.
async fn idle_meter() -> Meter {
    let policy = Policy {
        deny_unknown_model: true,
        deny_server_tools: true,
        dearer_model: DearerModel::Remap,
        steer_at: None,
        enforce: true,
    };
    let config = Config {
        ways: Vec::new(),
        table: Table::embedded(),
        policy,
        allowance: Allowance { usd: Usd::from_dollars(1), fresh_tokens: None },
        routed: None,
        output_default: None,
        journal: None,
        clock: Timestamp::now,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    Meter::start(listener, config).expect("a meter")
}

#[tokio::test]
async fn a_meter_that_nobody_ends_ends_with_its_lease() {
    let now = Timestamp::now();
    let mut signals = Signals::catch().expect("signals");
    assert_eq!(signals.pending(), None);
    let attended = supervise::attend(idle_meter().await, &mut signals, Timestamp::MAX, now).await;
    assert!(!attended.time_up && attended.totals.requests == 0);
    let soon = now + SignedDuration::from_millis(200);
    let attended = supervise::attend(idle_meter().await, &mut signals, now, soon).await;
    assert!(attended.time_up && !attended.capped && Timestamp::now() >= soon);
}
