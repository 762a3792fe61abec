//! Runs that do not start, agents that fail, ledgers that cannot be used: each with its whole message.

use std::fs;

use serde_json::json;
use tollgate::simulate::{Answer, Script};

use crate::run::{
    KEY, agent, announced, arrival, budget, charged, expect_settled, repository, serve, summary, verdict,
};
use crate::support::Tollgate;

fn plain() -> crate::run::Upstream {
    serve(Script::new(|_| Answer::text("Looked at.").of_tokens(400).into()))
}

/// A pull request from a fork, or by somebody.
fn pull_request(world: &Tollgate, fork: bool, login: &str) -> String {
    let head = if fork { "lee/widgets" } else { "acme/widgets" };
    let event = json!({
        "action": "opened",
        "repository": { "full_name": "acme/widgets", "id": 5, "private": false, "default_branch": "main" },
        "sender": { "login": login, "type": "User" },
        "pull_request": {
            "number": 9, "title": "On topic", "body": null, "labels": [],
            "user": { "login": login, "type": "User" },
            "head": { "ref": "topic", "sha": "1".repeat(40), "repo": { "full_name": head, "fork": fork } },
            "base": { "ref": "main", "sha": "2".repeat(40), "repo": { "full_name": "acme/widgets" } },
            "changed_files": 1, "additions": 2, "deletions": 0
        }
    });
    let path = world.work().join("../event.json");
    fs::write(&path, event.to_string()).expect("a file");
    path.to_string_lossy().into_owned()
}

#[test]
fn without_a_key_no_agent_runs() {
    const PASSES: &str = "verdict: pass · forks and Dependabot get no key, so no agent is run and nothing is spent\n\n\
                          hint: write `on: { no_key: fail }` in the budget file to make this fail\n";
    const ERROR: &str = "error: there is no key for a provider: none of ANTHROPIC_API_KEY, OPENAI_API_KEY and GEMINI_API_KEY is set, \
                         nor CLAUDE_CODE_OAUTH_TOKEN\n\n\
                         hint: set one (the agent will not see it), or try `tollgate run --simulate`, which needs none\n";
    for (fork, login, on, code) in [
        (false, "lee", "", 2),
        (true, "lee", "", 0),
        (true, "lee", ", no_key: fail", 2),
        (false, "dependabot[bot]", "", 0),
        (false, "dependabot[bot]", ", no_key: fail", 2),
    ] {
        let mut world = repository(&budget("1", "0.1", on));
        let event = pull_request(&world, fork, login);
        let run = world.args(["run", "--event", &event, "--", "touch", "ran"]).run();
        run.expect_code(code);
        match code {
            0 => {
                assert!(run.stderr.contains(PASSES), "{fork} {login} {on}: {}", run.stderr);
                assert!(
                    run.stdout.contains("### Agent not started: forks and Dependabot get no key"),
                    "{}",
                    run.stdout
                );
                assert!(
                    run.stdout.contains(
                        "- With a key it would have been review at medium stakes, at the medium tier: claude-sonnet-5-5, capped at $0.80."
                    ),
                    "{}",
                    run.stdout
                );
            }
            _ => assert_eq!((run.stderr.as_str(), run.stdout.as_str()), (ERROR, ""), "{fork} {login} {on}"),
        }
        assert!(!world.work().join("ran").exists());
    }
}

#[test]
fn a_key_of_another_vendor_holds_nothing_and_the_one_that_is_needed_is_named() {
    for (preset, key, message) in [
        (
            "codex",
            "ANTHROPIC_API_KEY",
            "error: Codex asks OpenAI for `gpt-6-luna`, and there is no key for it: OPENAI_API_KEY is not set\n\n\
             hint: set it (the agent will not see it), or give the low tier a model whose key is there\n",
        ),
        (
            "gemini",
            "OPENAI_API_KEY",
            "error: Gemini CLI asks Google for `gemini-3.1-flash-lite`, and there is no key for it: GEMINI_API_KEY is not set\n\n\
             hint: set it (the agent will not see it), or give the low tier a model whose key is there\n",
        ),
        (
            "claude",
            "GEMINI_API_KEY",
            "error: Claude Code asks Anthropic for `claude-haiku-5-5`, and there is no key for it: ANTHROPIC_API_KEY is not set\n\n\
             hint: set it (the agent will not see it), or give the low tier a model whose key is there\n",
        ),
        (
            // A cloud is Claude Code's: no other preset speaks to it.
            "opencode",
            "AWS_BEARER_TOKEN_BEDROCK",
            "error: there is no key for a provider: none of ANTHROPIC_API_KEY, OPENAI_API_KEY and GEMINI_API_KEY is set, \
             nor CLAUDE_CODE_OAUTH_TOKEN\n\n\
             hint: set one (the agent will not see it), or try `tollgate run --simulate`, which needs none\n",
        ),
    ] {
        let row = "{ low: low, medium: low, high: low }";
        let mut world = repository(&format!(
            "version: 1\nagent: {{ use: {preset} }}\nbudgets:\n  - {{ scope: repo, per: total, usd: 5 }}\n\
             tasks:\n  implementation: {row}\n  review: {row}\n  docs: {row}\n"
        ));
        world
            .env("CLAUDE_CODE_USE_BEDROCK", if preset == "opencode" { "1" } else { "" })
            .env("AWS_REGION", "us-east-1");
        let run = world.env(key, "a-key-of-that-vendor").args(["run"]).run();
        run.expect_code(2);
        assert!(run.stderr.ends_with(message), "{preset}: {}", run.stderr);
        let shown = world.args(["ledger", "show"]).run();
        // It may not even be there.
        assert!(
            shown.code == Some(6) || shown.stdout == "The ledger is empty.\n",
            "{preset}: {}",
            shown.stdout
        );
    }
}

#[test]
fn a_fork_without_a_clouds_credentials_passes_and_nobody_else_does() {
    const MISSING: &str = "error: Google Vertex is asked for, and there are no credentials for it";
    let asks = budget("1", "0.1", "") + "classify: { ask_model: when_unsure }\n";
    for (fork, code) in [(true, 0), (false, 2)] {
        let mut world = repository(&asks);
        let event = pull_request(&world, fork, "lee");
        world.env("CLAUDE_CODE_USE_VERTEX", "1").env("CLOUD_ML_REGION", "global");
        world.env("ANTHROPIC_VERTEX_PROJECT_ID", "acme-ci");
        let run = world.args(["run", "--event", &event, "--", "touch", "ran"]).run();
        run.expect_code(code);
        let passes = run.stderr.contains("verdict: pass · forks and Dependabot get no key");
        assert_eq!((passes, run.stderr.contains(MISSING)), (fork, !fork), "{}", run.stderr);
        assert!(!run.stderr.contains("second opinion"), "{}", run.stderr);
        assert!(!world.work().join("ran").exists());
    }
}

#[test]
fn an_empty_key_is_no_key() {
    let mut world = repository(&budget("1", "0.1", ""));
    world.env("ANTHROPIC_API_KEY", "").args(["run", "--", "true"]).run().expect_code(2);
}

#[test]
fn a_key_that_is_too_short_to_be_kept_out_of_texts_is_refused() {
    for variable in ["ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"] {
        let mut world = repository(&budget("1", "0.1", ""));
        let run = world.env(variable, "x").args(["run", "--", "true"]).run();
        run.expect_code(2);
        assert_eq!(
            run.stderr,
            format!(
                "error: the key in {variable} is shorter than 8 bytes: it would be found, and taken out, all over what the agent says\n\n\
                 hint: where a server asks for no key, set any of 8 bytes or more, such as `no-key-needed`\n"
            )
        );
    }
}

#[test]
fn a_budget_file_with_a_mistake_starts_nothing() {
    let mut world = repository("version: 1\nbudgets:\n  - { scope: repo, per: moon, usd: 1 }\n");
    for args in [&["run", "--simulate"][..], &["gate"]] {
        let run = world.args(args).run();
        run.expect_code(2);
        assert_eq!(
            run.stderr,
            "error: .github/tollgate.yml:3:25: budgets[0].per: `moon` is no period\n\n\
             hint: write `day`, `week`, `month` or `total`\n",
            "{args:?}"
        );
    }
    assert!(!world.work().join(".tollgate").exists());
}

#[test]
fn a_budget_file_that_is_named_must_be_there() {
    let mut world = repository(&budget("1", "0.1", ""));
    let run = world.args(["run", "--simulate", "--budget-file", "none.yml"]).run();
    run.expect_code(2);
    assert_eq!(
        run.stderr,
        "error: the budget file none.yml cannot be read: No such file or directory (os error 2)\n"
    );
}

#[test]
fn a_model_without_a_price_starts_nothing() {
    let mut world = repository("version: 1\ntiers:\n  low: { model: claude-nimbus-9, max_usd: 0.1 }\n");
    let run = world.args(["run", "--simulate"]).run();
    run.expect_code(2);
    assert_eq!(
        run.stderr,
        "error: .github/tollgate.yml: tiers: the model `claude-nimbus-9` has no price, so every request for it would be refused\n\n\
         hint: write a model of the price table, such as claude-sonnet-5-5, or what it costs under `prices: { models: … }`, or let unknown models count at the dearest price there is with `on: { unknown_model: ceiling }`\n"
    );
}

#[test]
fn a_program_that_is_missing_holds_nothing() {
    let upstream = plain();
    let mut world = repository(&budget("1", "0.1", ""));
    for (program, says) in [
        (
            "no-such-agent",
            "error: the agent's program `no-such-agent` was not found on PATH\n\nhint: install it in an earlier step, or write its path\n",
        ),
        (
            "./no-such-agent",
            "error: the agent's program `./no-such-agent` is not there, or cannot be executed\n\nhint: a path is taken from the folder that tollgate was started in\n",
        ),
    ] {
        let to = format!("anthropic={}", upstream.url);
        let run = world.env("ANTHROPIC_API_KEY", KEY).args(["run", "--upstream", &to, "--", program]).run();
        run.expect_code(2);
        assert_eq!(run.stderr, says);
    }
    world.args(["ledger", "show"]).run().expect_code(0);
    assert_eq!(charged(&expect_settled(&mut world, false)).to_string(), "0");
}

#[test]
fn an_upstream_that_requests_may_not_go_to_holds_nothing() {
    let mut world = repository(&budget("1", "0.1", ""));
    world.env("ANTHROPIC_API_KEY", KEY);
    for (to, says) in [
        (
            "anthropic=http://example.com",
            "`http://example.com` is plain HTTP to another machine: the key would travel unencrypted\n\nhint: use https, or a loopback address",
        ),
        (
            "anthropic=ftp://example.com",
            "`ftp://example.com` is not a URL\n\nhint: write it like https://api.anthropic.com",
        ),
        (
            "cohere=https://example.com",
            "`cohere` is not metered; write anthropic, openai, gemini, vertex or bedrock",
        ),
    ] {
        let run = world.args(["run", "--upstream", to, "--", "true"]).run();
        run.expect_code(2);
        let says = format!(
            "error: invalid value '{to}' for '--upstream <API=URL>': {says}\n\nFor more information, try '--help'.\n"
        );
        assert_eq!(run.stderr, says, "{to}");
    }
    assert!(!world.work().join(".tollgate").exists());
}

#[test]
fn an_agent_that_does_without_the_meter_fails_the_check() {
    let upstream = plain();
    for (on, code, says) in [("", 3, "FAIL"), (", unmetered: warn", 0, "pass, with a warning")] {
        let mut world = repository(&budget("1", "0.1", on));
        let run = agent(&mut world, &upstream, "true");
        run.expect_code(code);
        assert_eq!(
            verdict(&run),
            format!(
                "verdict: {says} · the agent ran and no request reached the meter, so its spend is unknown\n\n\
                 hint: let the agent use ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY as they are set for it, \
                 or write `on: {{ unmetered: warn }}` if it may run without the model"
            )
        );
        assert_eq!(summary(&world)["outcome"], "unmetered");
    }
}

#[test]
fn an_agent_that_fails_is_said_to_have_failed() {
    let upstream = plain();
    let mut world = repository(&budget("1", "0.1", ""));
    let run = agent(&mut world, &upstream, "ask Go\nexit 7\n");
    run.expect_code(5);
    assert_eq!(verdict(&run), "verdict: FAIL · the agent ended with an error");
    assert_eq!(summary(&world)["outcome"], "agent_failed");
    assert_eq!(charged(&expect_settled(&mut world, false)), upstream.witness.usd());
}

#[test]
fn an_agent_that_takes_too_long_is_ended() {
    let (script, requests) = announced(|_| Answer::text("Looked at.").of_tokens(400).into());
    let upstream = serve(script);
    let tier = budget("1", "0.1", "").replace("max_usd: 0.1", "max_usd: 0.1, timeout: 1s");
    let mut world = repository(&tier);
    let run = agent(&mut world, &upstream, "ask Go\nexec sleep 3600\n");
    arrival(&requests);
    run.expect_code(5);
    assert_eq!(verdict(&run), "verdict: FAIL · the agent was ended when its time was up");
    assert_eq!(summary(&world)["outcome"], "timed_out");
    assert_eq!(charged(&expect_settled(&mut world, false)), upstream.witness.usd());
}

const DAMAGED: &str = "the ledger is damaged: [WORLD]/work/.tollgate/events/[MONTH]:1: the line does not match its own checksum: it was changed after it was written\n\nhint: nothing was changed; put the folder back from a backup, or let `tollgate ledger doctor` say what can be kept\n";
const IN_THE_WAY: &str =
    "the ledger cannot make `[WORLD]/work/.tollgate/events`: Not a directory (os error 20)\n";

/// The verdict of a run that was not started because nothing could count it.
const SKIPPED: &str = "verdict: pass, with a warning · the agent is not run, because its spend could not be counted: the ledger ";

#[test]
fn without_a_ledger_no_agent_runs() {
    let upstream = plain();
    for (on, code) in [("", 6), (", ledger_error: skip", 0)] {
        let mut world = repository(&budget("1", "0.1", on));
        agent(&mut world, &upstream, "ask Go\n").expect_code(0);
        let events = world.work().join(".tollgate/events");
        let month = fs::read_dir(&events).expect("events").next().expect("a month").expect("an entry").path();
        let text = fs::read_to_string(&month).expect("events");
        fs::write(&month, text.replacen("low", "hih", 1)).expect("damage");
        fs::remove_file(world.work().join(".tollgate/head.json")).expect("a head");
        let run = agent(&mut world, &upstream, "touch ran\n");
        run.expect_code(code);
        let name = month.file_name().expect("a name").to_string_lossy().into_owned();
        let says = match code {
            0 => format!("warning: {DAMAGED}"),
            _ => format!("error: {DAMAGED}"),
        };
        let told = run.stderr.replace(&name, "[MONTH]");
        assert!(told.starts_with(&says), "{on}: {told}");
        assert_eq!(told.contains(SKIPPED), code == 0, "{on}: {told}");
        assert!(!world.work().join("ran").exists(), "never: run uncounted");
    }
}

#[test]
fn a_ledger_that_cannot_be_written_runs_nothing() {
    let upstream = plain();
    for (on, code) in [("", 6), (", ledger_error: skip", 0)] {
        let mut world = repository(&budget("1", "0.1", on));
        // A file where the folder should be: nobody, root neither, can write there.
        world.file(".tollgate", "");
        let run = agent(&mut world, &upstream, "touch ran\n");
        run.expect_code(code);
        let says = match code {
            0 => format!("warning: {IN_THE_WAY}"),
            _ => format!("error: {IN_THE_WAY}"),
        };
        assert!(run.stderr.starts_with(&says), "{on}: {}", run.stderr);
        assert_eq!(run.stderr.contains(SKIPPED), code == 0, "{on}: {}", run.stderr);
        assert!(!world.work().join("ran").exists(), "never: run uncounted");
    }
}

#[test]
fn a_simulation_takes_no_agent() {
    let mut world = repository(&budget("1", "0.1", ""));
    let run = world.args(["run", "--simulate", "--", "true"]).run();
    run.expect_code(2);
    assert_eq!(
        run.stderr,
        "error: `--simulate` brings its own agent and provider: leave out CMD and `--upstream`, or `--simulate`\n"
    );
}
