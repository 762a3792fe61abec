// The node action around another action's step: `action/start.sh` where it stands in the job, `action/finish.sh`
// when the job ends, whatever became of the steps between. The runner calls this file for both.
"use strict";

const { spawnSync } = require("node:child_process");
const { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } = require("node:fs");
const { join, resolve } = require("node:path");

const scripts = join(__dirname, "..", "action");
const input = (name) => (process.env[`INPUT_${name.toUpperCase()}`] ?? "").trim();

// The environment without this action's inputs: each script gets the ones that it reads.
const bare = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(INPUT|STATE)_/.test(name)));

// The inputs of these names, as the scripts know them.
const inputs = (...names) =>
  Object.fromEntries(names.map((name) => [`INPUT_${name.toUpperCase().replaceAll("-", "_")}`, input(name)]));

// Runs a script as the composite actions do. Returns its exit status, and what it wrote as step outputs.
function run(script, env, cwd = process.cwd()) {
  const folder = mkdtempSync(join(process.env.RUNNER_TEMP, "tollgate-around-"));
  const outputs = join(folder, "outputs");
  writeFileSync(outputs, "", { mode: 0o600 });
  try {
    const options = { cwd, stdio: ["ignore", "inherit", "inherit"], env: { ...bare, ...env, GITHUB_OUTPUT: outputs } };
    const { status, error } = spawnSync("bash", ["--noprofile", "--norc", "-p", join(scripts, script)], options);
    if (error) throw error;
    return { status: status ?? 1, outputs: readFileSync(outputs, "utf8") };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

// The newest value of one line that was written under this name.
function value(outputs, name) {
  const lines = outputs.split("\n");
  const at = lines.findLastIndex((line) => line.startsWith(`${name}=`) || line.startsWith(`${name}<<`));
  if (at < 0) return "";
  return lines[at].startsWith(`${name}=`) ? lines[at].slice(name.length + 1) : lines[at + 1];
}

function install() {
  const env = { ACTION_REPOSITORY: process.env.GITHUB_ACTION_REPOSITORY || process.env.GITHUB_REPOSITORY };
  env.SERVER_URL = process.env.GITHUB_SERVER_URL;
  Object.assign(env, inputs("version", "binary-path", "build-from-source"));
  const { status, outputs } = run("install.sh", env);
  if (status !== 0) process.exit(status);
  return { TOLLGATE: value(outputs, "binary") };
}

const tokens = {
  GITHUB_TOKEN: input("github-token"),
  TOLLGATE_LEDGER_TOKEN: input("ledger-token") || process.env.TOLLGATE_LEDGER_TOKEN,
};

if (process.env.STATE_begun) {
  // Nothing was begun, and that has been said.
  if (process.env.STATE_begun === "none") process.exit(0);
  const env = { ...install(), ...tokens, ...inputs("outcome"), TOLLGATE_STATE: process.env.STATE_begun };
  process.exitCode = run("finish.sh", env).status;
} else {
  const remember = (state) => appendFileSync(process.env.GITHUB_STATE, `begun=${state}\n`);
  // By this alone the second call knows that it is one.
  remember("none");
  const keys = Object.fromEntries(
    ["anthropic", "openai", "gemini"].map((name) => {
      const variable = `${name.toUpperCase()}_API_KEY`;
      return [variable, input(`${name}-api-key`) || process.env[variable]];
    }),
  );
  keys.CLAUDE_CODE_OAUTH_TOKEN = input("claude-code-oauth-token") || process.env.CLAUDE_CODE_OAUTH_TOKEN;
  const env = { ...install(), ...tokens, ...keys, ...inputs("task", "budget-file", "simulate", "export-env") };
  Object.assign(env, { TOLLGATE_COMMENT_KEY: input("comment-key"), TOLLGATE_MATRIX: input("matrix") });
  const { status, outputs } = run("start.sh", env, resolve(input("working-directory") || "."));
  // Before anything else: what was begun is ended when the job is.
  remember(value(outputs, "state") || "none");
  appendFileSync(process.env.GITHUB_OUTPUT, outputs);
  process.exitCode = status;
}
