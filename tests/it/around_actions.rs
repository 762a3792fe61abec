//! The actions around another action's step, executed as the runner executes them: `start` and `finish`, and
//! the node action that ends with the job.

use std::fs;
use std::path::{Path, PathBuf};

use serde_yaml::Value;
use tollgate::money::Usd;
use tollgate::simulate::{Answer, Script};

use crate::around::end_meters;
use crate::run::{KEY, PRELUDE, Upstream, charged, expect_settled, serve};
use crate::run_actions::pull_request;
use crate::support::Tollgate;
use crate::support::runner::workflow::{Foreign, Values};
use crate::support::runner::{Job, Ran, Step};

const BINARY: &str = env!("CARGO_BIN_EXE_tollgate");

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A job on a pull request, with a provider, and the meters that it leaves.
pub(crate) struct World {
    pub(crate) tollgate: Tollgate,
    pub(crate) job: Job,
    pub(crate) upstream: Upstream,
}

impl World {
    fn new(usd: &str, cap: &str, on: &str) -> Self {
        let file = crate::run_actions::budget(usd, cap, on);
        let upstream = serve(Script::new(|_| Answer::text("Looked at.").of_tokens(400).into()));
        Self::of(&file, upstream, "ANTHROPIC")
    }

    /// A job under this budget file, whose requests go to `upstream`.
    pub(crate) fn of(file: &str, upstream: Upstream, api: &str) -> Self {
        let tollgate = pull_request(file, file);
        let mut job = Job::new(&tollgate.work());
        job.given("GITHUB_EVENT_PATH", tollgate.home().join("event.json"))
            .github("event_name", "pull_request")
            .env(&format!("TOLLGATE_UPSTREAM_{api}"), &upstream.url);
        Self { tollgate, job, upstream }
    }

    /// Runs the steps of a job, ours with the binary at hand.
    pub(crate) fn steps(
        &mut self,
        steps: &Value,
        theirs: &mut dyn FnMut(&mut Job, &Foreign<'_>) -> Step,
    ) -> Vec<(String, Ran)> {
        let secrets = ["ANTHROPIC_API_KEY", "GEMINI_API_KEY", "OPENAI_API_KEY"].map(|name| (name, KEY));
        self.job.steps(steps, &secrets, &ours, theirs)
    }

    /// Begins a run that holds everything there is, so that the next is refused.
    fn hold_all(&mut self) {
        let with = [("binary-path", BINARY), ("anthropic-api-key", KEY)];
        self.job.uses(&root().join("start"), &with).expect_success();
    }

    /// Where runs around other steps lie.
    fn runs(&self) -> Vec<PathBuf> {
        let books = fs::read_dir(self.job.folder("temp").join("tollgate")).into_iter().flatten().flatten();
        let runs = books.filter_map(|books| fs::read_dir(books.path().join("runs")).ok());
        runs.flatten().flatten().map(|entry| entry.path()).collect()
    }

    /// The ledger, where nothing is held any more.
    #[track_caller]
    pub(crate) fn settled(&mut self) -> Usd {
        charged(&expect_settled(&mut self.tollgate, false))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        end_meters(&self.runs());
    }
}

/// An action of ours by its name, with what every step of a test gives it.
fn ours(name: &str) -> Option<(PathBuf, Values)> {
    let part = name.strip_prefix("OWNER/tollgate/")?;
    Some((root().join(part), Values::from([("binary-path".to_owned(), BINARY.to_owned())])))
}

/// The steps of the workflow that a document shows below a heading, without the checkout.
#[track_caller]
pub(crate) fn documented(heading: &str) -> Value {
    let text = fs::read_to_string(root().join("docs/guides/other-actions.md")).expect("the guide");
    let from = text.find(&format!("\n## {heading}\n")).expect("a heading");
    let (_, rest) = text[from..].split_once("```yaml\n").expect("a snippet");
    let (snippet, _) = rest.split_once("```").expect("an end");
    let workflow: Value = serde_yaml::from_str(snippet).expect("YAML");
    let steps = if workflow.is_sequence() { &workflow } else { &workflow["jobs"]["agent"]["steps"] };
    let steps = steps.as_sequence().expect("steps").iter();
    let checkout = |step: &&Value| step["uses"].as_str().is_some_and(|uses| uses.starts_with("actions/"));
    Value::Sequence(steps.filter(|step| !checkout(step)).cloned().collect())
}

/// An agent in the place of the other action: it asks as Claude Code would, by what the step was given.
fn asks(job: &mut Job, foreign: &Foreign<'_>, script: &str) -> Step {
    let model = foreign.with["claude_args"].strip_prefix("--model ").expect("a model");
    let env = [
        ("ANTHROPIC_BASE_URL", foreign.env["ANTHROPIC_BASE_URL"].as_str()),
        ("ANTHROPIC_API_KEY", &foreign.with["anthropic_api_key"]),
        ("ANTHROPIC_MODEL", model),
    ];
    job.run(&format!("set +e\n{PRELUDE}{script}"), &env)
}

fn outcomes(steps: &[(String, Ran)]) -> Vec<&str> {
    steps.iter().map(|(outcome, _)| outcome.as_str()).collect()
}

fn log(steps: &[(String, Ran)]) -> String {
    steps.iter().map(|(outcome, ran)| format!("=== {outcome}\n{}", ran.log())).collect()
}

#[test]
fn the_documented_workflow_settles_and_gates_whatever_becomes_of_the_step() {
    let steps = documented("Claude Code");
    for (script, agent, code, outcome, verdict) in [
        ("ask One; ask Two", "success", None, "completed", "pass"),
        ("ask One; exit 7", "failure", Some(5), "agent_failed", "fail"),
        // Out of memory, or the runner's own doing.
        ("ask One; kill -9 $$", "failure", Some(5), "agent_failed", "fail"),
        ("true", "success", Some(3), "unmetered", "fail"),
    ] {
        let mut world = World::new("5", "0.1", "");
        let ran = world.steps(&steps, &mut |job, foreign| asks(job, foreign, script));
        let finish = if code.is_some() { "failure" } else { "success" };
        assert_eq!(
            outcomes(&ran),
            [
                "OWNER/tollgate/start: success".to_owned(),
                format!("anthropics/claude-code-action: {agent}"),
                format!("OWNER/tollgate/finish: {finish}"),
            ],
            "{}",
            log(&ran)
        );
        let last = &ran[2].1;
        let step = last.step("Settle and report");
        assert_eq!(step.code, Some(code.unwrap_or(0)), "{}", log(&ran));
        assert_eq!(last.outputs, step.outputs, "the action declares what the binary writes, and no more");
        assert_eq!((&*last.outputs["outcome"], &*last.outputs["verdict"]), (outcome, verdict));
        let spent = world.settled();
        assert_eq!(spent, world.upstream.witness.usd());
        assert_eq!(last.outputs["total_cost_usd"], spent.to_string());
        assert!(step.log.contains("<!-- tollgate:v1 key=default run=77.1 "), "{}", step.log);
        assert!(world.job.summary.starts_with("### "), "{}", world.job.summary);
    }
}

#[test]
fn start_hands_out_a_token_and_hides_it() {
    let mut world = World::new("5", "0.1", "");
    let with = [("binary-path", BINARY), ("anthropic-api-key", KEY)];
    let start = world.job.uses(&root().join("start"), &with);
    start.expect_success();
    let step = start.step("Begin the run");
    let written = step.outputs.keys().filter(|name| !start.outputs.contains_key(*name));
    assert_eq!(written.collect::<Vec<_>>(), Vec::<&String>::new(), "each is declared");
    let (token, state) = (&start.outputs["api_key"], &start.outputs["state"]);
    let (folder, key) = state.rsplit_once(':').expect("a folder and a key");
    for secret in [token.as_str(), key] {
        let mask = format!("::add-mask::{secret}\n");
        assert!(step.log.contains(&mask), "{}", step.log);
        assert!(!step.log.replace(&mask, "").contains(secret), "{}", step.log);
    }
    assert!(Path::new(folder).starts_with(world.job.folder("temp")), "outside the checkout: {folder}");
    assert_eq!(world.runs(), [Path::new(folder)]);
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(folder).expect("there").permissions());
    assert_eq!(mode & 0o777, 0o700);
    assert!(!start.log().contains(KEY) && !start.log().contains("ghs_canary"), "{}", start.log());
    assert!(world.job.env.keys().all(|name| name.starts_with("TOLLGATE_UPSTREAM_")), "nothing is exported");
    let finish = [("binary-path", BINARY), ("state", state.as_str()), ("outcome", "skipped")];
    world.job.uses(&root().join("finish"), &finish).expect_success();
    // And once more, as the end of the job does.
    let again = world.job.uses(&root().join("finish"), &finish);
    again.expect_success();
    let said = &again.step("Settle and report").log;
    assert_eq!(
        said,
        "note: this run was settled before: the agent's step was skipped, so nothing was spent\n"
    );
    assert_eq!(again.outputs["verdict"], "pass", "a later step can read it all the same");
}

#[test]
fn what_a_clouds_agent_is_told_is_handed_on_and_no_credentials_are() {
    use tollgate::simulate::clouds::BEDROCK_TOKEN;
    let mut world = World::new("5", "0.1", "");
    world.job.env.clear();
    let to = world.upstream.url.clone();
    world.job.env("TOLLGATE_UPSTREAM_BEDROCK", &to).env("AWS_REGION", "eu-central-1");
    world.job.env("AWS_BEARER_TOKEN_BEDROCK", BEDROCK_TOKEN);
    let start = world.job.uses(&root().join("start"), &[("binary-path", BINARY), ("export-env", "true")]);
    start.expect_success();
    let told: Vec<(&str, &str)> = start
        .outputs
        .iter()
        .filter(|(name, _)| name.contains("claude_code") || name.contains("bedrock") || name.contains("aws"))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let url = start.outputs["anthropic_bedrock_base_url"].as_str();
    assert_eq!(
        told,
        [
            ("anthropic_bedrock_base_url", url),
            ("aws_region", "eu-central-1"),
            ("claude_code_skip_bedrock_auth", "1"),
            ("claude_code_use_bedrock", "1"),
        ]
    );
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    assert_eq!(start.outputs["model"], "eu.anthropic.claude-sonnet-5-5", "as the cloud calls it");
    assert_eq!(start.outputs["anthropic_base_url"], "", "there is no key for it");
    for (output, value) in told {
        assert_eq!(world.job.env[&output.to_ascii_uppercase()], value, "later steps have it as well");
    }
    // A step that has the meter's token and nothing else asks as Claude Code does.
    let script = r#"
unset AWS_BEARER_TOKEN_BEDROCK
curl -sS -f -H "authorization: Bearer $ANTHROPIC_API_KEY" -H 'content-type: application/json' \
  -d '{"anthropic_version":"bedrock-2023-05-31","max_tokens":500,"messages":[{"role":"user","content":"hello"}]}' \
  "$ANTHROPIC_BEDROCK_BASE_URL/model/$ANTHROPIC_MODEL/invoke-with-response-stream" >answer
"#;
    let step = world.job.run(script, &[]);
    assert_eq!(step.outcome, "success", "{}", step.log);
    let finish = [("binary-path", BINARY), ("state", start.outputs["state"].as_str())];
    let finish = world.job.uses(&root().join("finish"), &finish);
    finish.expect_success();
    assert!(!(start.log() + &finish.log()).contains(BEDROCK_TOKEN), "{}", finish.log());
    assert_eq!(finish.outputs["model"], "claude-sonnet-5-5");
    let spent = world.settled();
    assert_eq!(spent, world.upstream.witness.usd());
    assert!(spent > Usd::ZERO);
}

#[test]
fn what_a_step_leaves_to_later_ones_does_not_reach_finish() {
    let mut world = World::new("5", "0.1", "");
    let with = [("binary-path", BINARY), ("anthropic-api-key", KEY), ("export-env", "true")];
    let start = world.job.uses(&root().join("start"), &with);
    start.expect_success();
    assert_eq!(world.job.env["ANTHROPIC_BASE_URL"], start.outputs["anthropic_base_url"]);
    assert_eq!(world.job.env["ANTHROPIC_API_KEY"], start.outputs["api_key"]);
    let evil = world.job.folder("home").join("evil");
    // A git of its own, another ledger, and a checkout that is cleaned.
    let script = format!(
        "{PRELUDE}\nask One\nmkdir bin && printf '#!/bin/sh\\ntouch {0}\\n' >bin/git && chmod +x bin/git\n\
         echo \"$PWD/bin\" >>\"$GITHUB_PATH\"\n\
         printf 'TOLLGATE_LEDGER_REMOTE={0}\\nTOLLGATE_COMMENT_KEY=theirs\\n' >>\"$GITHUB_ENV\"\n",
        evil.display()
    );
    assert_eq!(world.job.run(&script, &[]).outcome, "success");
    let finish = [("binary-path", BINARY), ("state", start.outputs["state"].as_str())];
    let finish = world.job.uses(&root().join("finish"), &finish);
    finish.expect_success();
    assert!(finish.log().contains("<!-- tollgate:v1 key=default "), "{}", finish.log());
    assert!(!evil.exists(), "{}", finish.log());
    assert_eq!(world.settled(), world.upstream.witness.usd());
}

#[test]
fn where_nothing_is_begun_the_agents_step_is_skipped_and_there_is_nothing_to_finish() {
    let steps = documented("Claude Code");
    for (on, start, finish) in [("", "failure", "success"), (", refused: pass", "success", "success")] {
        let mut world = World::new("0.0001", "0.1", on);
        world.hold_all();
        let ran = world.steps(&steps, &mut |_, _| panic!("no agent is to be run"));
        assert_eq!(
            outcomes(&ran),
            [
                format!("OWNER/tollgate/start: {start}"),
                "anthropics/claude-code-action: skipped".to_owned(),
                format!("OWNER/tollgate/finish: {finish}"),
            ],
            "{}",
            log(&ran)
        );
        let outputs = &ran[0].1.outputs;
        let out = |name: &str| outputs[name].as_str();
        assert_eq!((out("run"), out("state"), out("outcome")), ("false", "none", "refused"));
        assert_ne!(out("reason"), "");
    }
}

/// The steps of the node action's example, with the agent's script in the place of its own.
fn around(script: &str) -> Value {
    let mut steps = documented("With one step less");
    assert_eq!(steps[1]["run"], "./scripts/my-agent");
    steps[1]["run"] = format!("{PRELUDE}{script}").into();
    steps
}

#[test]
fn the_node_action_ends_the_run_with_the_job() {
    for (script, status, code, says) in [
        ("ask One", "success", 0, "\nverdict: pass · "),
        ("ask One; kill -9 $$", "failure", 5, "\nverdict: FAIL · the agent ended with an error\n"),
        ("ask One", "cancelled", 130, "\nverdict: FAIL · the run was cancelled; "),
    ] {
        let mut world = World::new("5", "0.1", "");
        let ran = world.steps(&around(script), &mut |_, _| panic!("there is no other action"));
        assert_eq!(ran[0].0, "OWNER/tollgate/around: success", "{}", log(&ran));
        let key = ran[0].1.outputs["state"].rsplit(':').next().unwrap_or_default().to_owned();
        assert!(log(&ran).contains(&format!("::add-mask::{key}\n")), "{}", log(&ran));
        assert!(!log(&ran).contains(KEY), "{}", log(&ran));
        world.job.status = status;
        let posts = world.job.end();
        let [post] = posts.as_slice() else { panic!("{posts:#?}") };
        assert_eq!(post.code, Some(code), "{}", post.log);
        assert!(post.log.contains(says), "{}", post.log);
        assert_eq!(world.settled(), world.upstream.witness.usd());
    }
}

#[test]
fn the_node_action_repeats_what_finish_said_and_says_nothing_of_what_never_began() {
    let mut world = World::new("5", "0.1", "");
    let ran = world.steps(&around("exit 9"), &mut |_, _| panic!("there is no other action"));
    let state = ran[0].1.outputs["state"].as_str();
    let with = [("binary-path", BINARY), ("state", state)];
    world.job.uses(&root().join("finish"), &with).expect_failure("Settle and report", 5);
    let posts = world.job.end();
    assert!(posts[0].log.ends_with("note: this run was settled before: the agent ended with an error\n"));
    assert_eq!(posts[0].code, Some(5));

    for with in [("binary-path", BINARY), ("binary-path", "nowhere")] {
        let mut world = World::new("0.0001", "0.1", "");
        world.hold_all();
        let around = world.job.uses(&root().join("around"), &[with, ("anthropic-api-key", KEY)]);
        assert!(!around.success, "{}", around.log());
        let posts = world.job.end();
        assert_eq!((posts[0].code, posts[0].log.as_str()), (Some(0), ""), "it has been said");
    }
}

#[test]
fn a_subscription_is_taken_by_both_and_charged_to_nobody() {
    const TOKEN: &str = "sk-ant-oat01-canary-0123456789abcdef";
    let with = [("binary-path", BINARY), ("claude-code-oauth-token", TOKEN)];
    for name in ["start", "around"] {
        let mut world = World::new("5", "0.1", "");
        let begun = world.job.uses(&root().join(name), &with);
        begun.expect_success();
        let out = |name: &str| begun.outputs[name].clone();
        assert_eq!((out("run").as_str(), out("cap_usd").as_str()), ("true", ""), "{name}");
        let (base, key, model) = (out("anthropic_base_url"), out("api_key"), out("model"));
        let env =
            [("ANTHROPIC_BASE_URL", base.as_str()), ("ANTHROPIC_API_KEY", &key), ("ANTHROPIC_MODEL", &model)];
        world.job.run(&format!("set +e\n{PRELUDE}ask One; ask Two"), &env);
        if name == "start" {
            let state = out("state");
            let with = [("binary-path", BINARY), ("state", state.as_str()), ("outcome", "success")];
            world.job.uses(&root().join("finish"), &with).expect_success();
        }
        assert!(world.job.end().iter().all(|post| post.code == Some(0)), "{name}");
        let witness = world.upstream.witness.snapshot();
        assert_eq!(witness.generations, 2, "{name}");
        for head in &witness.heads {
            assert_eq!(head["authorization"], format!("Bearer {TOKEN}"), "{name}");
        }
        assert_eq!(world.settled(), Usd::ZERO, "{name}");
    }
}

#[test]
fn a_run_that_nothing_finished_is_charged_by_the_next_in_the_same_job() {
    let mut world = World::new("5", "0.1", "");
    let with = [("binary-path", BINARY), ("anthropic-api-key", KEY)];
    let first = world.job.uses(&root().join("start"), &with);
    first.expect_success();
    end_meters(&world.runs());
    let second = world.job.uses(&root().join("start"), &with);
    second.expect_success();
    let note = format!(
        "note: run {} died before it settled; it is charged $0.80, all of its hold",
        first.outputs["hold_id"]
    );
    assert!(second.log().contains(&note), "{}", second.log());
    let finish =
        [("binary-path", BINARY), ("state", second.outputs["state"].as_str()), ("outcome", "skipped")];
    world.job.uses(&root().join("finish"), &finish).expect_success();
    assert_eq!(world.settled(), "0.8".parse().expect("an amount"));
}

#[test]
fn the_node_action_gives_a_key_to_start_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut world = World::new("5", "0.1", "");
    let home = world.job.folder("home");
    // It notes what it is called with and sees, and hands on a state that nothing is behind.
    let script = format!(
        "#!/bin/sh\nenv >\"{0}/seen${{1}}\"\ncase $1 in --version) echo tollgate 9 ;; start) echo state=left >>\"$GITHUB_OUTPUT\" ;; esac\n",
        home.display()
    );
    let program = home.join("tollgate");
    fs::write(&program, script).expect("a file");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a mode");
    let with = [("binary-path", program.to_str().expect("a text")), ("anthropic-api-key", KEY)];
    let ran = world.job.uses(&root().join("around"), &with);
    ran.expect_success();
    assert_eq!(ran.outputs["state"], "left");
    assert_eq!(world.job.end()[0].code, Some(0));
    let seen = |word: &str| fs::read_to_string(home.join(format!("seen{word}"))).expect("it was called");
    assert!(seen("start").contains(&format!("ANTHROPIC_API_KEY={KEY}\n")), "{}", seen("start"));
    assert!(seen("finish").contains("TOLLGATE_STATE=left\n"), "{}", seen("finish"));
    for word in ["--version", "finish"] {
        assert!(!seen(word).contains(KEY), "{word} sees the key:\n{}", seen(word));
    }
    assert!(!seen("start").contains("INPUT_ANTHROPIC"), "each gets the inputs that it reads");
}
