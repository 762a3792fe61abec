// A pull request's comment as a page: node scripts/comment-page.mjs light|dark FILE.md
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";

const [theme, file] = process.argv.slice(2);
const tools = resolve("target/tools/npm-screenshots");
const require = createRequire(resolve(tools, "package.json"));
const { marked } = await import(require.resolve("marked"));
const css = readFileSync(resolve(tools, `node_modules/github-markdown-css/github-markdown-${theme}.css`), "utf8");
const [page, box, line, quiet] =
  theme === "dark" ? ["#0d1117", "#151b23", "#3d444d", "#9198a1"] : ["#ffffff", "#f6f8fa", "#d1d9e0", "#59636e"];

process.stdout.write(`<!doctype html><html><head><meta charset="utf-8"><style>${css}
  body { margin: 0; padding: 14px; background: ${page}; }
  .comment { border: 1px solid ${line}; border-radius: 6px; overflow: hidden; }
  .who { padding: 8px 16px; background: ${box}; border-bottom: 1px solid ${line}; color: ${quiet};
         font: 14px -apple-system, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
  .who b { color: ${theme === "dark" ? "#f0f6fc" : "#1f2328"}; }
  .who i { font-style: normal; border: 1px solid ${line}; border-radius: 1em; padding: 0 6px; font-size: 12px; }
  .markdown-body { padding: 16px; font-size: 14px;
                   font-family: -apple-system, "Segoe UI", "Liberation Sans", Arial, "Noto Color Emoji", sans-serif; }
</style></head><body><div class="comment"><div class="who"><b>github-actions</b> <i>bot</i> commented</div>
<div class="markdown-body">${marked.parse(readFileSync(file, "utf8"), { gfm: true })}</div></div>
<script>document.body.dataset.height = Math.ceil(document.documentElement.getBoundingClientRect().height)</script>
</body></html>`);
