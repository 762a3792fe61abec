//! GitHub's runner, as far as composite and node actions see it: steps are run as it runs them, with its flags,
//! its files and its rules for their content.
//!
//! What it does was read in the runner's own source: `FileCommandManager`, `ScriptHandler`,
//! `CompositeActionHandler` and `NodeScriptActionHandler`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_yaml::Value;

use super::expression::{self, Names};

pub(crate) mod workflow;

/// How long one step may take.
const STEP_TIME_MAX: Duration = Duration::from_secs(60);
/// A longer summary is dropped as a whole.
const SUMMARY_BYTES_MAX: usize = 1024 * 1024;

/// A job: what its steps share.
pub(crate) struct Job {
    folder: tempfile::TempDir,
    workspace: PathBuf,
    /// The variables that the runner sets for every step.
    given: BTreeMap<String, OsString>,
    /// What workflow and job say under `env:`, and what steps wrote to `GITHUB_ENV`.
    pub(crate) env: BTreeMap<String, String>,
    /// What the step says under `env:` whose action is being run.
    step_env: BTreeMap<String, String>,
    /// What steps wrote to `GITHUB_PATH`, the newest first.
    path: Vec<String>,
    github: BTreeMap<String, String>,
    /// The values of its leg of a matrix, as JSON.
    pub(crate) matrix: String,
    /// The job summary.
    pub(crate) summary: String,
    /// Its status, as `job.status` says it.
    pub(crate) status: &'static str,
    steps: usize,
    /// What is to be run when the job ends: the second halves of node actions.
    posts: Vec<Post>,
}

/// The second half of a node action.
struct Post {
    action: PathBuf,
    script: String,
    with: Vec<(String, String)>,
    state: Vec<(String, String)>,
}

/// What became of one step.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) name: String,
    /// `success`, `failure` or `skipped`.
    pub(crate) outcome: &'static str,
    pub(crate) code: Option<i32>,
    pub(crate) outputs: BTreeMap<String, String>,
    /// Its standard output, then its standard error.
    pub(crate) log: String,
}

/// What became of an action.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    pub(crate) success: bool,
    pub(crate) outputs: BTreeMap<String, String>,
    /// Its steps, in order.
    pub(crate) steps: Vec<Step>,
}

impl Ran {
    /// The step of this name.
    #[track_caller]
    pub(crate) fn step(&self, name: &str) -> &Step {
        self.steps
            .iter()
            .find(|step| step.name == name)
            .unwrap_or_else(|| panic!("no step `{name}`: {self:#?}"))
    }

    /// Everything that was logged.
    pub(crate) fn log(&self) -> String {
        self.steps.iter().map(|step| format!("--- {} ({})\n{}", step.name, step.outcome, step.log)).collect()
    }

    /// Checks that the action succeeded, and shows everything where it did not.
    #[track_caller]
    pub(crate) fn expect_success(&self) -> &Self {
        assert!(self.success, "\n{}", self.log());
        self
    }

    /// Checks that the action failed in this step with this code, and that no later step ran.
    #[track_caller]
    pub(crate) fn expect_failure(&self, name: &str, code: i32) -> &Self {
        let step = self.step(name);
        assert_eq!(
            (step.outcome, step.code, self.success),
            ("failure", Some(code), false),
            "\n{}",
            self.log()
        );
        let later = self.steps.iter().skip_while(|step| step.name != name).skip(1);
        assert!(later.clone().all(|step| step.outcome == "skipped"), "\n{}", self.log());
        self
    }
}

/// The API of a GitHub that does not know the job's token, for tests that bring no double: nobody else is
/// asked, and nobody is asked twice.
fn stranger() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            // All these requests are small: one read has the whole of it.
            let _ = stream.read(&mut [0; 16 * 1024]);
            let answer = "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/json\r\ncontent-length: 29\r\n\
                          connection: close\r\n\r\n{\"message\":\"Bad credentials\"}";
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

impl Job {
    /// A job whose checkout is `workspace`, with nothing of this process's environment but `PATH`.
    pub(crate) fn new(workspace: &Path) -> Self {
        let folder = tempfile::Builder::new().prefix("tollgate-job-").tempdir().expect("a folder");
        let mut given = BTreeMap::new();
        for (name, below) in [("HOME", "home"), ("RUNNER_TEMP", "temp"), ("RUNNER_TOOL_CACHE", "tools")] {
            fs::create_dir(folder.path().join(below)).expect("a folder");
            given.insert(name.to_owned(), folder.path().join(below).into_os_string());
        }
        fs::create_dir(folder.path().join("files")).expect("a folder");
        given.insert("PATH".to_owned(), std::env::var_os("PATH").unwrap_or_default());
        given.insert("GITHUB_WORKSPACE".to_owned(), workspace.as_os_str().to_owned());
        let workspace = workspace.to_owned();
        let (env, path, github) = Default::default();
        let mut this = Self {
            folder,
            workspace,
            given,
            env,
            step_env: BTreeMap::new(),
            path,
            github,
            matrix: "null".to_owned(),
            summary: String::new(),
            status: "success",
            steps: 0,
            posts: Vec::new(),
        };
        for (name, value) in [("CI", "true"), ("RUNNER_OS", "Linux"), ("LC_ALL", "C.UTF-8")] {
            this.given(name, value);
        }
        for (name, value) in [
            ("actions", "true"),
            ("repository", "acme/widgets"),
            ("server_url", "https://github.com"),
            ("run_id", "77"),
            ("run_attempt", "1"),
            ("job", "agent"),
            ("action_repository", "OWNER/tollgate"),
        ] {
            this.github(name, value);
        }
        this.github("api_url", &stranger());
        this.token("ghs_canary");
        this
    }

    /// Sets the workflow's own token, which no step has in a variable of its own.
    pub(crate) fn token(&mut self, token: &str) -> &mut Self {
        self.github.insert("token".to_owned(), token.to_owned());
        self
    }

    /// Sets a variable that the runner gives to every step, such as `GITHUB_EVENT_PATH`.
    pub(crate) fn given(&mut self, name: &str, value: impl Into<OsString>) -> &mut Self {
        self.given.insert(name.to_owned(), value.into());
        self
    }

    /// Sets a field of the `github` context, and its variable.
    pub(crate) fn github(&mut self, name: &str, value: &str) -> &mut Self {
        self.github.insert(name.to_owned(), value.to_owned());
        self.given(&format!("GITHUB_{}", name.to_uppercase()), value)
    }

    /// Sets a variable as the job's `env:` does.
    pub(crate) fn env(&mut self, name: &str, value: &str) -> &mut Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// A folder of the job: `home`, `temp` or `tools`.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs an action with these inputs, the second half of a node action excepted.
    ///
    /// # Panics
    /// Where the action or an input is not what the runner, or this, knows.
    pub(crate) fn uses(&mut self, action: &Path, with: &[(&str, &str)]) -> Ran {
        let text = fs::read_to_string(action.join("action.yml")).expect("an action");
        let action_yml: Value = serde_yaml::from_str(&text).expect("YAML");
        if action_yml["runs"]["using"] == "node24" {
            return self.node(action, &action_yml, with);
        }
        assert_eq!(action_yml["runs"]["using"], "composite");
        self.github.insert("action_path".to_owned(), action.display().to_string());
        self.given("GITHUB_ACTION_PATH", action);
        let mut scope = self.scope();
        scope.inputs = inputs(&action_yml["inputs"], with, &scope);
        let mut ran = Ran::default();
        for step in action_yml["runs"]["steps"].as_sequence().expect("steps") {
            scope.env.clone_from(&self.env);
            scope.env.extend(self.step_env.clone());
            let result = self.step(step, &scope);
            let forgiven = step["continue-on-error"] == Value::Bool(true);
            scope.failed |= result.outcome == "failure" && !forgiven;
            if let Some(id) = step["id"].as_str() {
                scope.steps.insert(id.to_owned(), (result.outcome, result.outputs.clone()));
            }
            ran.steps.push(result);
        }
        for (name, output) in fields(&action_yml["outputs"]) {
            let value = output["value"].as_str().expect("an output has a value");
            ran.outputs.insert(name.to_owned(), expression::text(value, &scope));
        }
        ran.success = !scope.failed;
        ran
    }

    fn scope(&self) -> Scope {
        let (github, matrix, mut env) = (self.github.clone(), self.matrix.clone(), self.env.clone());
        env.extend(self.step_env.clone());
        Scope { github, matrix, env, status: self.status, ..Scope::default() }
    }

    /// The first half of a node action.
    fn node(&mut self, action: &Path, action_yml: &Value, with: &[(&str, &str)]) -> Ran {
        let script = |half: &str| action_yml["runs"][half].as_str().expect("a script").to_owned();
        let (mut step, state) = self.half(action, action_yml, &script("main"), with, &[]);
        "main".clone_into(&mut step.name);
        let with = with.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.posts.push(Post { action: action.to_owned(), script: script("post"), with, state });
        let declared = fields(&action_yml["outputs"]).map(|(name, _)| name.to_owned());
        let value = |name: String| (step.outputs.get(&name).cloned().unwrap_or_default(), name);
        let outputs = declared.map(value).map(|(value, name)| (name, value)).collect();
        Ran { success: step.outcome == "success", outputs, steps: vec![step] }
    }

    /// Ends the job: runs the second halves of its node actions, the newest first.
    pub(crate) fn end(&mut self) -> Vec<Step> {
        let posts = std::mem::take(&mut self.posts);
        let mut steps = Vec::new();
        for Post { action, script, with, state } in posts.into_iter().rev() {
            let text = fs::read_to_string(action.join("action.yml")).expect("an action");
            let action_yml: Value = serde_yaml::from_str(&text).expect("YAML");
            assert_eq!(action_yml["runs"]["post-if"], "always()", "this knows no other condition");
            let with: Vec<(&str, &str)> =
                with.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let (step, _) = self.half(&action, &action_yml, &script, &with, &state);
            steps.push(Step { name: "post".to_owned(), ..step });
        }
        steps
    }

    /// One half of a node action, and the state that it saved. Its inputs are evaluated for each half anew.
    fn half(
        &mut self,
        action: &Path,
        action_yml: &Value,
        script: &str,
        with: &[(&str, &str)],
        state: &[(String, String)],
    ) -> (Step, Vec<(String, String)>) {
        let files = self.files();
        let mut command = Command::new("node");
        command.arg(action.join(script));
        self.surround(&mut command, &files);
        for (name, value) in inputs(&action_yml["inputs"], with, &self.scope()) {
            command.env(format!("INPUT_{}", name.replace(' ', "_").to_uppercase()), value);
        }
        command.envs(state.iter().map(|(name, value)| (format!("STATE_{name}"), value)));
        let mut result = Step::default();
        self.finish(command, &files, &mut result);
        let state = fs::read_to_string(&files["GITHUB_STATE"]).expect("a step's file");
        (result, pairs(&state).expect("a state"))
    }

    /// Runs a step of the job itself: a script with variables of its own.
    pub(crate) fn run(&mut self, script: &str, env: &[(&str, &str)]) -> Step {
        let files = self.files();
        let path = self.folder("temp").join(format!("step-{}.sh", self.steps));
        fs::write(&path, script).expect("a file");
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-eo", "pipefail"]).arg(path);
        self.surround(&mut command, &files);
        command.envs(env.iter().copied());
        let mut result = Step::default();
        self.finish(command, &files, &mut result);
        result
    }

    fn step(&mut self, step: &Value, scope: &Scope) -> Step {
        let name = step["name"].as_str().expect("a step of an action has a name").to_owned();
        let mut result = Step { name, outcome: "skipped", ..Step::default() };
        if !expression::condition(step["if"].as_str().unwrap_or("success()"), scope) {
            return result;
        }
        let files = self.files();
        let command = self.command(step, scope, &files);
        self.finish(command, &files, &mut result);
        result
    }

    /// Runs a step's process to its end.
    fn finish(&mut self, mut command: Command, files: &BTreeMap<&'static str, PathBuf>, result: &mut Step) {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().expect("it starts");
        let (status, stdout, stderr) = super::wait(child, Vec::new(), STEP_TIME_MAX);
        result.log = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        let status = status.unwrap_or_else(|| panic!("a step takes too long\n{}", result.log));
        result.code = status.code();
        result.outcome = if result.code == Some(0) { "success" } else { "failure" };
        // What it wrote counts also where it failed; what cannot be read makes it fail.
        if let Err(wrong) = self.take(files, &mut result.outputs) {
            result.outcome = "failure";
            result.log.push_str(&wrong);
        }
    }

    /// What the runner gives to every step of a job.
    fn surround(&self, command: &mut Command, files: &BTreeMap<&'static str, PathBuf>) {
        command.env_clear().envs(&self.env).envs(&self.step_env).envs(&self.given).envs(files);
        let mut path: Vec<PathBuf> = self.path.iter().map(PathBuf::from).collect();
        path.extend(std::env::split_paths(&self.given["PATH"]));
        command.env("PATH", std::env::join_paths(path).expect("a path")).current_dir(&self.workspace);
    }

    /// Fresh, empty files for a step, by their variables.
    fn files(&mut self) -> BTreeMap<&'static str, PathBuf> {
        self.steps += 1;
        let names = ["GITHUB_OUTPUT", "GITHUB_ENV", "GITHUB_PATH", "GITHUB_STEP_SUMMARY", "GITHUB_STATE"];
        names.into_iter().map(|name| (name, self.fresh(name))).collect()
    }

    fn fresh(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join("files").join(format!("{name}.{}", self.steps));
        fs::write(&path, "").expect("a file");
        path
    }

    /// The command of a `run` step, with the runner's own flags for `shell: bash`.
    fn command(&self, step: &Value, scope: &Scope, files: &BTreeMap<&'static str, PathBuf>) -> Command {
        let keys = ["name", "id", "if", "run", "env", "continue-on-error", "working-directory", "shell"];
        for (key, _) in fields(step) {
            assert!(keys.contains(&key), "a run step of a composite action has no `{key}`");
        }
        assert_eq!(step["shell"], "bash", "this knows no other shell");
        let script = self.folder("temp").join(format!("step-{}.sh", self.steps));
        let run = step["run"].as_str().expect("this knows only steps that run something");
        fs::write(&script, expression::text(run, scope)).expect("a file");
        let mut command = Command::new("bash");
        command.args(["--noprofile", "--norc", "-eo", "pipefail"]).arg(script);
        self.surround(&mut command, files);
        for (name, value) in fields(&step["env"]) {
            command.env(name, expression::text(value.as_str().expect("a text"), scope));
        }
        let folder = step["working-directory"].as_str().unwrap_or(".");
        command.current_dir(self.workspace.join(expression::text(folder, scope)));
        command
    }

    /// Takes what a step wrote to its files.
    fn take(
        &mut self,
        files: &BTreeMap<&'static str, PathBuf>,
        outputs: &mut BTreeMap<String, String>,
    ) -> Result<(), String> {
        let read = |name: &str| fs::read_to_string(&files[name]).expect("a step's file");
        let summary = read("GITHUB_STEP_SUMMARY");
        if summary.len() > SUMMARY_BYTES_MAX {
            return Err(format!("$GITHUB_STEP_SUMMARY upload aborted: {} bytes", summary.len()));
        }
        self.summary.push_str(&summary);
        outputs.extend(pairs(&read("GITHUB_OUTPUT"))?);
        for (name, value) in pairs(&read("GITHUB_ENV"))? {
            if name.eq_ignore_ascii_case("NODE_OPTIONS") {
                return Err("Can't store NODE_OPTIONS output parameter using '$GITHUB_ENV'".to_owned());
            }
            self.env.insert(name, value);
        }
        for line in read("GITHUB_PATH").lines().filter(|line| !line.is_empty()) {
            self.path.insert(0, line.to_owned());
        }
        Ok(())
    }
}

/// What the expressions of an action may name.
#[derive(Default)]
struct Scope {
    github: BTreeMap<String, String>,
    matrix: String,
    env: BTreeMap<String, String>,
    inputs: BTreeMap<String, String>,
    secrets: BTreeMap<String, String>,
    steps: BTreeMap<String, (&'static str, BTreeMap<String, String>)>,
    status: &'static str,
    failed: bool,
}

impl Names for Scope {
    fn value(&self, name: &str) -> Option<String> {
        match name {
            "matrix" => return Some(self.matrix.clone()),
            "job.status" => return Some(self.status.to_owned()),
            _ => {}
        }
        let (context, rest) = name.split_once('.')?;
        match context {
            "github" => self.github.get(rest).cloned(),
            "inputs" => self.inputs.get(rest).cloned(),
            // Whatever a repository calls it, any text will do.
            "vars" => Some(rest.to_ascii_lowercase().replace('_', "-")),
            "secrets" => self.secrets.get(rest).cloned(),
            // A variable that is not set is empty.
            "env" => Some(self.env.get(rest).cloned().unwrap_or_default()),
            "steps" => {
                let (id, what) = rest.split_once('.')?;
                let (outcome, outputs) = self.steps.get(id)?;
                match what.strip_prefix("outputs.") {
                    // An output that was not written is empty.
                    Some(output) => Some(outputs.get(output).cloned().unwrap_or_default()),
                    None => (what == "outcome").then(|| (*outcome).to_owned()),
                }
            }
            _ => None,
        }
    }

    fn failed(&self) -> bool {
        self.failed
    }
}

/// Every input with its value: what was given, or else its default.
fn inputs(declared: &Value, with: &[(&str, &str)], scope: &Scope) -> BTreeMap<String, String> {
    let mut inputs = BTreeMap::new();
    for (name, input) in fields(declared) {
        let default = input["default"].as_str().unwrap_or_default();
        inputs.insert(name.to_owned(), expression::text(default, scope));
    }
    for (name, value) in with {
        let place = inputs.get_mut(*name).unwrap_or_else(|| panic!("there is no input `{name}`"));
        (*value).clone_into(place);
    }
    inputs
}

/// The fields of a mapping; none of what is no mapping.
pub(crate) fn fields(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_mapping().into_iter().flatten().map(|(name, value)| (name.as_str().expect("a name"), value))
}

/// The content of `GITHUB_OUTPUT` or `GITHUB_ENV`: `name=value`, or `name<<END`, lines, `END`.
pub(crate) fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut found = Vec::new();
    // Only a line feed ends a line on Linux: a carriage return belongs to the value.
    let mut lines = text.split('\n');
    while let Some(line) = lines.next() {
        if line.is_empty() {
            continue;
        }
        let equals = line.find('=').unwrap_or(usize::MAX);
        let heredoc = line.find("<<").unwrap_or(usize::MAX);
        if equals < heredoc {
            found.push((line[..equals].to_owned(), line[equals + 1..].to_owned()));
        } else if heredoc < equals {
            let (name, end) = (&line[..heredoc], &line[heredoc + 2..]);
            if name.is_empty() || end.is_empty() {
                return Err(format!("Invalid format '{line}'"));
            }
            let mut value = Vec::new();
            loop {
                match lines.next() {
                    Some(line) if line == end => break,
                    Some(line) => value.push(line),
                    None => return Err(format!("Invalid value. Matching delimiter not found '{end}'")),
                }
            }
            found.push((name.to_owned(), value.join("\n")));
        } else {
            return Err(format!("Invalid format '{line}'"));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runners_files_are_read_as_it_reads_them() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (text, expected) in [
            ("", Ok(vec![])),
            ("a=b\n\nc=d=<<e\n", Ok(vec![pair("a", "b"), pair("c", "d=<<e")])),
            ("a<<EOF\nx\r\n=y\nEOF\nb=\n", Ok(vec![pair("a", "x\r\n=y"), pair("b", "")])),
            ("a<<EOF\nEOF\n", Ok(vec![pair("a", "")])),
            ("a<<EOF\nx\n EOF\n", Err("Invalid value. Matching delimiter not found 'EOF'".to_owned())),
            ("nothing\n", Err("Invalid format 'nothing'".to_owned())),
            ("<<EOF\nEOF\n", Err("Invalid format '<<EOF'".to_owned())),
        ] {
            assert_eq!(pairs(text), expected, "{text:?}");
        }
    }

    #[test]
    fn steps_are_run_as_the_runner_runs_them() {
        let workspace = tempfile::tempdir().expect("a folder");
        let action = r#"
name: X
description: X
inputs: { who: { description: x, default: "${{ github.repository }}" } }
outputs: { said: { value: "${{ steps.first.outputs.said }}" }, missing: { value: "${{ steps.first.outputs.no }}" } }
runs:
  using: composite
  steps:
    - { name: first, id: first, shell: bash, env: { WHO: "${{ inputs.who }}" }, run: "echo said=$WHO >>$GITHUB_OUTPUT; echo X=1 >>$GITHUB_ENV; echo /new >>$GITHUB_PATH; echo page >>$GITHUB_STEP_SUMMARY; env | grep ^INPUT_ || true" }
    - { name: forgiven, shell: bash, continue-on-error: true, run: "false | true; echo not reached" }
    - { name: second, shell: bash, if: "env.X == '1'", run: 'echo "$X $PATH"; exit 7' }
    - { name: third, shell: bash, run: "echo no" }
    - { name: last, shell: bash, if: always(), run: "echo yes" }
"#;
        fs::write(workspace.path().join("action.yml"), action).expect("a file");
        let mut job = Job::new(workspace.path());
        let ran = job.uses(workspace.path(), &[]);
        let outcomes: Vec<_> = ran.steps.iter().map(|step| (step.outcome, step.code)).collect();
        assert_eq!(
            outcomes,
            [
                ("success", Some(0)),
                ("failure", Some(1)),
                ("failure", Some(7)),
                ("skipped", None),
                ("success", Some(0))
            ],
            "{}",
            ran.log()
        );
        assert!(!ran.success);
        assert_eq!(ran.step("first").log, "", "no INPUT_* is set");
        assert_eq!(ran.step("forgiven").log, "", "a failure in a pipe ends the step");
        assert!(ran.step("second").log.starts_with("1 /new:"));
        assert_eq!((ran.outputs["said"].as_str(), ran.outputs["missing"].as_str()), ("acme/widgets", ""));
        assert_eq!(job.summary, "page\n");
    }
}
