//! `tollgate run` with a shell script for an agent: what it spends, what it leaves behind, what it sees.

use std::fs;
use std::path::Path;

use tollgate::money::Usd;
use tollgate::simulate::{Answer, Reply, Script, Seen};

use crate::run::{
    KEY, Upstream, agent, budget, charged, expect_settled, repository, run_folder, serve, summary, usd,
    verdict,
};
use crate::support::{Tollgate, git};

/// Works on and on, and leaves something behind each time.
const LOOP: &str = r#"
env > env.txt
git rm -q README.md
printf 'pub fn low() -> u32 { 0 }\n' >> src/lib.rs
mkdir -p notes
turn=0
while [ $turn -lt 100 ]; do
  turn=$((turn + 1))
  ask "Go on." "$FIELDS"
  said
  if stopped; then break; fi
  echo "turn $turn" >> "notes/of the run.md"
done
"#;

fn going_on(seen: &Seen<'_>) -> Reply {
    let told = seen.last_text.to_lowercase().contains("last answer");
    let text = if told { "Done: the first half. Not done: the second." } else { "Going on." };
    Answer::text(text).of_tokens(400).into()
}

/// Every file below a folder.
fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.is_symlink() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[track_caller]
fn expect_key_nowhere(world: &Tollgate) {
    let mut found = Vec::new();
    files(world.work().parent().expect("a world"), &mut found);
    assert!(found.len() > 20, "{found:?}");
    for path in found {
        let bytes = fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(KEY), "the key is in {}", path.display());
    }
}

fn a_loop_is_stopped(fields: &str) -> (Tollgate, Upstream) {
    let upstream = serve(Script::new(going_on));
    let mut world = repository(&budget("1", "0.003", ""));
    let run = agent(&mut world, &upstream, &format!("FIELDS='{fields}'\n{LOOP}"));
    run.expect_code(4);
    let witness = upstream.witness.snapshot();
    assert_eq!(witness.violations, Vec::<String>::new());
    let (summary, ledger) = (summary(&world), expect_settled(&mut world, false));
    let cap: Usd = "0.003".parse().expect("an amount");
    assert_eq!((usd(&summary["total_cost_usd"]), charged(&ledger)), (witness.usd, witness.usd));
    assert!(witness.usd <= cap, "{} of {cap}", witness.usd);
    assert!(witness.usd.pico() * 100 >= cap.pico() * 85, "the cap is put to use: {} of {cap}", witness.usd);
    assert_eq!((&summary["outcome"], &summary["verdict"]), (&"capped".into(), &"fail".into()));
    assert_eq!(summary["estimated_usd"], "0");
    assert_eq!(
        verdict(&run),
        "verdict: FAIL · the agent was stopped at its cap, $0.0028 of $0.0030 spent\n\n\
         hint: raise `max_usd` of the tier in .github/tollgate.yml if such work is worth more, or split the task"
    );
    for text in [&run.stdout, &run.stderr] {
        assert!(!text.contains(KEY), "{text}");
    }
    expect_key_nowhere(&world);
    (world, upstream)
}

#[test]
fn a_loop_is_stopped_at_its_cap_and_leaves_what_it_has() {
    let (world, upstream) = a_loop_is_stopped("");
    let folder = run_folder(&world);
    let result = fs::read_to_string(folder.join("result.md")).expect("a result");
    assert_eq!(
        result,
        "Going on.\n".repeat(13)
            + "Done: the first half. Not done: the second.\n\
               Stopped at the cost cap: this run has used $0.0028 of $0.0030 and 5,729 of 400,000 new tokens, and \
               what is left is less than one more request could need. Nothing further was sent to the model."
    );
    // The work, applied where it began, is the work.
    let clone = world.work().join("../clone");
    git(&world.work(), &["clone", "--quiet", ".", &clone.to_string_lossy()]);
    git(&clone, &["apply", &folder.join("partial.patch").to_string_lossy()]);
    let (mut here, mut there) = (Vec::new(), Vec::new());
    for (root, found) in [(&world.work(), &mut here), (&clone, &mut there)] {
        let mut all = Vec::new();
        files(root, &mut all);
        all.retain(|path| !path.starts_with(root.join(".git")) && !path.starts_with(root.join(".tollgate")));
        for path in all {
            let name = path.strip_prefix(root).expect("below it").to_owned();
            found.push((name, fs::read_to_string(path).expect("text")));
        }
        found.sort();
    }
    assert_eq!(here, there);
    let names: Vec<_> = here.iter().map(|(name, _)| name.to_string_lossy()).collect();
    assert_eq!(
        names,
        [".github/tollgate.yml", "docs/guide.md", "env.txt", "notes/of the run.md", "src/lib.rs"]
    );
    let seen = fs::read_to_string(world.work().join("env.txt")).expect("an environment");
    assert!(seen.contains("\nANTHROPIC_BASE_URL=http://127.0.0.1:"), "{seen}");
    assert!(!seen.contains(&upstream.url), "the agent is not told where the provider is: {seen}");
    assert!(!seen.contains(&*world.home().to_string_lossy()), "the agent has a home of its own: {seen}");
}

#[test]
fn a_loop_over_streams_is_stopped_the_same() {
    let (world, upstream) = a_loop_is_stopped("\"stream\":true,");
    let result = fs::read_to_string(run_folder(&world).join("result.md")).expect("a result");
    assert!(result.contains("Going on."), "{result}");
    let bodies = upstream.witness.snapshot().bodies;
    assert!(bodies.iter().all(|body| String::from_utf8_lossy(body).contains("\"stream\":true")));
}

#[test]
fn a_run_within_its_cap_costs_what_the_provider_says() {
    let upstream = serve(Script::new(going_on));
    let mut world = repository(&budget("1", "0.1", ""));
    let run = agent(&mut world, &upstream, "ask 'One.'\nask 'Two.'\nsaid\n");
    run.expect_code(0);
    assert_eq!(verdict(&run), "verdict: pass · $0.00040 of $0.10 spent, within every budget");
    let summary = summary(&world);
    assert_eq!(usd(&summary["total_cost_usd"]), upstream.witness.usd());
    assert_eq!((&summary["requests"], &summary["stopped_requests"]), (&2.into(), &0.into()));
    let tokens = upstream.witness.snapshot().tokens();
    assert_eq!(summary["output_tokens"], tokens.output);
    assert_eq!(summary["by_model"]["claude-haiku-5-5"]["input_tokens"], tokens.input);
    let folder = run_folder(&world);
    assert_eq!(fs::read_to_string(folder.join("result.md")).expect("a result").trim(), "Going on.");
    assert!(!folder.join("partial.patch").exists(), "there is no work");
    let kept = fs::read_to_string(folder.join("summary.json")).expect("a summary");
    assert_eq!(kept, fs::read_to_string(world.work().join("../summary.json")).expect("a summary"));
    let line = fs::read_to_string(folder.join("cost.jsonl")).expect("a cost line");
    let line: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
    assert_eq!(usd(&line["cost_usd"]), upstream.witness.usd());
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&folder).expect("a folder").permissions().mode() & 0o777, 0o700);
}

/// Whatever it is told to leave out, tollgate's own folder is nobody's work; and the work of an agent that
/// commits is its work all the same.
#[test]
fn what_an_agent_commits_is_in_the_patch_and_the_ledger_is_not() {
    let upstream = serve(Script::new(going_on));
    let file = budget("1", "0.1", "") + "ledger: file:books\n";
    let mut world = repository(&file);
    let work = "ask Go\necho new > new.txt\ngit add new.txt\ngit commit -qm 'New'\necho more >> README.md\n";
    agent(&mut world, &upstream, work).expect_code(0);
    let folder = fs::read_dir(world.work().join("books/runs")).expect("runs").next().expect("a run");
    let patch = fs::read_to_string(folder.expect("an entry").path().join("partial.patch")).expect("a patch");
    let changed: Vec<&str> = patch.lines().filter(|line| line.starts_with("diff ")).collect();
    assert_eq!(changed, ["diff --git a/README.md b/README.md", "diff --git a/new.txt b/new.txt"]);
}

/// What a hurried or hostile client might do to get past the meter.
#[test]
fn requests_that_are_no_good_cost_nothing() {
    let upstream = serve(Script::new(going_on));
    let mut world = repository(&budget("1", "0.1", ""));
    let script = r#"
try() { curl -sS -o "$HOME/body" -w '%{http_code}\n' -H 'anthropic-version: 2023-06-01' "$@"; }
good="{\"model\":\"$ANTHROPIC_MODEL\",\"max_tokens\":9,\"messages\":[{\"role\":\"user\",\"content\":\"x\"}]}"
key="x-api-key: $ANTHROPIC_API_KEY"
to=$ANTHROPIC_BASE_URL/v1
echo "no token: $(try -d "$good" $to/messages)"
echo "another token: $(try -H 'x-api-key: sk-other' -d "$good" $to/messages)"
echo "a batch: $(try -H "$key" -d "{\"requests\":[]}" $to/messages/batches)"
echo "a file: $(try -H "$key" -d x $to/files)"
echo "out of the path: $(try --path-as-is -H "$key" -d "$good" $to/messages/../complete)"
echo "two models: $(try -H "$key" -d "{\"model\":\"claude-opus-5-5\",${good#\{}" $to/messages)"
echo "no model of ours: $(try -H "$key" -d "$(echo "$good" | sed "s/$ANTHROPIC_MODEL/claude-nimbus-9/")" $to/messages)"
echo "a web search: $(try -H "$key" -d "{\"tools\":[{\"type\":\"web_search_20250305\",\"name\":\"web_search\"}],${good#\{}" $to/messages)"
echo "no JSON: $(try -H "$key" -d '{' $to/messages)"
echo "too much: $(try -H "$key" -d "$(echo "$good" | sed 's/:9,/:99999999,/')" $to/messages)"
echo "good: $(try -H "$key" -d "$good" $to/messages)"
"#;
    let run = agent(&mut world, &upstream, script);
    run.expect_code(0);
    let said: Vec<&str> = run
        .stderr
        .lines()
        .filter(|line| {
            line.contains(": ") && line.ends_with(|c: char| c.is_ascii_digit()) && !line.contains('=')
        })
        .collect();
    assert_eq!(
        said,
        [
            "no token: 401",
            "another token: 401",
            "a batch: 404",
            "a file: 404",
            "out of the path: 404",
            "two models: 400",
            "no model of ours: 403",
            "a web search: 403",
            "no JSON: 400",
            // Lowered to what fits.
            "too much: 200",
            "good: 200",
        ]
    );
    let witness = upstream.witness.snapshot();
    assert_eq!((witness.generations, witness.violations), (2, Vec::new()));
    assert_eq!(charged(&expect_settled(&mut world, false)), upstream.witness.usd());
}
