//! Changes as projects of many languages make them: what they are, and the stakes of judging them.

use super::*;
use ChangeKind::{Docs, Implementation as Code};
use Stakes::{High, Low, Medium};

type Files = &'static [(&'static str, u64, u64)];

const CHANGES: &[(&str, Files, ChangeKind, Stakes)] = &[
    // Prose.
    ("docs: clarify pooling", &[("doc/source/user/pooling.rst", 12, 4)], Docs, Low),
    ("Add 4.2 release notes", &[("docs/releases/4.2.txt", 80, 0)], Docs, Low),
    ("Update AUTHORS", &[("AUTHORS", 1, 0)], Docs, Low),
    ("Add myself to maintainers", &[("MAINTAINERS.md", 1, 0)], Docs, Low),
    ("New tutorial on streaming", &[("docs/tutorials/streaming.mdx", 640, 0)], Docs, Medium),
    ("man page: mention -z", &[("man/tool.1", 4, 0)], Docs, Low),
    ("Document the flag", &[("docs/modules/ROOT/pages/flags.adoc", 9, 0)], Docs, Low),
    ("Translate README into Turkish", &[("README.tr.md", 140, 0)], Docs, Low),
    ("news fragment", &[("newsfragments/4311.bugfix.rst", 1, 0)], Docs, Low),
    ("Security policy contact", &[("SECURITY.md", 2, 2)], Docs, Low),
    ("Fix typo", &[("docs/authentication.md", 1, 1)], Docs, Low),
    ("Update code of conduct", &[("CODE_OF_CONDUCT.md", 8, 8)], Docs, Low),
    ("Clarify javadoc of Duration", &[("core/src/main/java/org/acme/Duration.java", 6, 3)], Docs, Low),
    ("[DOCS] Spelling in phpdoc", &[("src/Cache/Store.php", 2, 2)], Docs, Low),
    ("godoc: describe zero value of Pool", &[("pool.go", 5, 1)], Docs, Low),
    ("typo in comment", &[("lib/net/pool.rb", 1, 1)], Docs, Low),
    ("Fix comments in parser", &[("src/parse.zig", 3, 3)], Docs, Low),
    ("doc: fix doc comment of `Iter`", &[("crates/core/src/iter.rs", 2, 2)], Docs, Low),
    ("Improve XML docs for HttpHandler", &[("src/HttpHandler.cs", 14, 2)], Docs, Low),
    (
        "Add blog post on 3.0",
        &[("website/blog/2024-03-01-three.md", 90, 0), ("website/blog/three.png", 0, 0)],
        Docs,
        Low,
    ),
    // Not prose, whatever the title or the extension says.
    ("docs: fix sidebar colours", &[("website/src/css/custom.css", 3, 3)], Code, Low),
    (
        "docs: upgrade docusaurus",
        &[("website/package.json", 3, 3), ("website/yarn.lock", 900, 800)],
        Code,
        Low,
    ),
    ("docs: search component", &[("docs/.vitepress/theme/Search.vue", 120, 3)], Code, Medium),
    ("Pin test requirements", &[("requirements/test.txt", 2, 2)], Code, Low),
    ("Update expected output", &[("tests/ui/borrow/escape.stderr", 3, 3)], Code, Low),
    ("Tweak the system prompt", &[("src/agents/prompts/planner.md", 8, 4)], Code, Medium),
    ("Add issue form", &[(".github/ISSUE_TEMPLATE/bug.yml", 40, 0)], Code, Low),
    ("Add Polish translation", &[("src/locales/pl.json", 210, 0)], Code, Medium),
    ("i18n: fix German strings", &[("po/de.po", 8, 8)], Code, Low),
    ("Add field to API schema", &[("api/openapi.yaml", 14, 0)], Code, Medium),
    ("Extend proto with cursor", &[("proto/list.proto", 4, 0)], Code, Medium),
    ("Fix typo in error message", &[("src/errors.ts", 1, 1)], Code, Low),
    (
        "docs: generate CLI reference from source",
        &[("tools/gen_docs.go", 120, 4), ("docs/cli.md", 300, 20)],
        Code,
        Medium,
    ),
    ("doc tests: run on CI", &[(".github/workflows/ci.yml", 9, 0)], Code, Low),
    ("chore: ignore noqa in vendored file", &[("src/vendor/six.py", 1, 1)], Code, Low),
    ("Update snapshot", &[("packages/ui/__snapshots__/button.test.tsx.snap", 12, 12)], Code, Low),
    // Bumps, releases, lock files.
    (
        "chore(deps): bump lodash from 4.17.20 to 4.17.21",
        &[("package-lock.json", 6, 6), ("package.json", 1, 1)],
        Code,
        Low,
    ),
    ("build(deps-dev): bump eslint", &[("pnpm-lock.yaml", 300, 280), ("package.json", 1, 1)], Code, Low),
    ("Update dependency org.slf4j:slf4j-api to v2", &[("gradle/libs.versions.toml", 1, 1)], Code, Low),
    ("fix(deps): update module golang.org/x/net to v0.33", &[("go.mod", 1, 1), ("go.sum", 2, 2)], Code, Low),
    ("Bump actions/setup-node from 3 to 4", &[(".github/workflows/test.yml", 1, 1)], Code, Low),
    ("v2.4.1", &[("CHANGELOG.md", 20, 0), ("package.json", 1, 1)], Code, Low),
    (
        "chore(main): release 1.8.0",
        &[("CHANGELOG.md", 30, 0), (".release-please-manifest.json", 1, 1), ("version.txt", 1, 1)],
        Code,
        Low,
    ),
    (
        "Version Packages",
        &[
            ("packages/a/package.json", 1, 1),
            ("packages/a/CHANGELOG.md", 9, 0),
            (".changeset/red-cats.md", 0, 5),
        ],
        Code,
        Low,
    ),
    ("Prepare for 5.1.0", &[("CHANGES.rst", 20, 2), ("src/acme/__init__.py", 1, 1)], Code, Low),
    ("[maven-release-plugin] prepare release 3.1", &[("pom.xml", 2, 2), ("core/pom.xml", 1, 1)], Code, Low),
    ("Bump version to 0.9", &[("setup.cfg", 1, 1)], Code, Low),
    ("[pre-commit.ci] pre-commit autoupdate", &[(".pre-commit-config.yaml", 3, 3)], Code, Low),
    ("Update flake inputs", &[("flake.lock", 9, 9)], Code, Low),
    // Formatting and lint.
    ("style: run black", &[("src/a.py", 300, 310), ("src/b.py", 120, 130)], Code, Low),
    ("Apply rustfmt", &[("src/lib.rs", 40, 44)], Code, Low),
    ("Reformat with prettier", &[("src/a.ts", 500, 480)], Code, Low),
    ("Remove trailing whitespace", &[("src/a.c", 8, 8)], Code, Low),
    ("Sort imports", &[("pkg/a.go", 6, 6)], Code, Low),
    ("Fix clippy warnings", &[("src/lib.rs", 9, 9)], Code, Low),
    ("Add labeler config", &[(".github/labeler.yml", 20, 0)], Code, Low),
    // Ordinary work.
    (
        "feat(table): sticky headers",
        &[("src/table.tsx", 80, 12), ("src/table.test.tsx", 40, 0)],
        Code,
        Medium,
    ),
    (
        "Fix off-by-one in ring buffer",
        &[("ring/buffer.go", 2, 2), ("ring/buffer_test.go", 18, 0)],
        Code,
        Medium,
    ),
    ("perf: avoid a clone in the hot loop", &[("src/engine.rs", 9, 14)], Code, Medium),
    ("Add tests for Interval", &[("tests/test_interval.py", 120, 0)], Code, Medium),
    (
        "refactor: split the renderer",
        &[("lib/render.ex", 90, 120), ("lib/render/html.ex", 110, 0)],
        Code,
        Medium,
    ),
    ("Support comments in config files", &[("internal/config/lexer.go", 44, 3)], Code, Medium),
    ("Tokenizer: faster lookup", &[("src/tokenizer.rs", 44, 30)], Code, Medium),
    ("Fix author name parsing", &[("src/author.py", 4, 2), ("tests/test_author.py", 9, 0)], Code, Medium),
    ("ci: cache the build", &[(".github/workflows/ci.yml", 30, 4)], Code, Medium),
    ("Multi-stage Docker image", &[("Dockerfile", 30, 10)], Code, Medium),
    // Dangerous to get wrong.
    (
        "Check the session on each request",
        &[("app/middleware/session.rb", 20, 2), ("app/auth/guard.rb", 12, 4)],
        Code,
        High,
    ),
    ("Verify webhook signatures", &[("server/webhook.ts", 30, 2)], Code, High),
    ("Rotate keys in the keyring", &[("pkg/keyring/rotate.go", 60, 4)], Code, High),
    ("Add orders table", &[("db/migrate/20240101_orders.rb", 14, 0), ("db/schema.rb", 8, 1)], Code, High),
    ("Add column", &[("prisma/migrations/20240101/migration.sql", 3, 0)], Code, High),
    ("Open port 8443 for ingress", &[("infra/security_groups.tf", 8, 0)], Code, High),
    ("Fix XSS in markdown preview", &[("src/preview.js", 6, 2)], Code, High),
    ("feat!: drop the v1 API", &[("src/api/v1.ts", 0, 400), ("src/api/index.ts", 4, 20)], Code, High),
    ("Constant-time comparison of MACs", &[("src/mac.c", 9, 4)], Code, High),
    ("Grant read on the bucket", &[("infra/iam/policy.tf", 6, 0)], Code, High),
    ("Use TLS 1.3 by default", &[("net/dial.go", 4, 2)], Code, High),
    ("Escape shell arguments", &[("lib/exec.php", 5, 1)], Code, High),
    ("CODEOWNERS: add team", &[(".github/CODEOWNERS", 2, 1)], Code, High),
    ("k8s: network policies", &[("deploy/networkpolicy.yaml", 30, 0)], Code, High),
    ("Rewrite the storage engine", &[("store/engine.rs", 1800, 900), ("store/log.rs", 700, 0)], Code, High),
    // Words that mean something else in another place.
    ("Bump docker/login-action from 3.1.0 to 3.2.0", &[(".github/workflows/image.yml", 2, 2)], Code, Low),
    ("chore(deps): bump rustls from 0.23.1 to 0.23.2", &[("Cargo.lock", 4, 4)], Code, Low),
    ("test(session): cover the login redirect", &[("tests/session.spec.ts", 22, 1)], Code, Medium),
    ("feat!: require provider v6", &[("versions.tf", 3, 3), ("README.md", 2, 2)], Code, Medium),
    ("Extend the example", &[("examples/network-acls/main.tf", 30, 2)], Code, Low),
    ("Drop the old release script of black", &[("scripts/release.py", 0, 96)], Code, Medium),
    ("Fix formatting of negative amounts", &[("src/money/format.ts", 9, 4)], Code, Medium),
    ("Fix currency formatting in the cart", &[("src/cart/total.tsx", 6, 2)], Code, Medium),
    ("Fix code formatting", &[("src/cart/total.tsx", 60, 62)], Code, Low),
    ("ci: let the job push", &[(".github/workflows/docs.yml", 1, 1)], Code, Medium),
    ("Fix the comment on resize (#1639)", &[("src/table.c", 8, 3)], Docs, Low),
    ("chore: fix function name in comment (#2216)", &[("internal/pool_test.go", 1, 1)], Docs, Low),
    ("Fix comment deletion", &[("app/comments/delete.py", 30, 12)], Code, Medium),
    ("chore: remove repetitive words", &[("core/vm.go", 1, 1), ("core/state.go", 1, 1)], Docs, Low),
    ("Add copyright headers", &[("lib/a.kt", 15, 0), ("lib/b.kt", 15, 0)], Docs, Low),
    ("doc: clarify `--ignore-file`", &[("src/cli/flags.rs", 5, 3)], Code, Low),
    ("Fix grammar in the Ukrainian locale", &[("src/locale/uk/distance.ts", 6, 6)], Code, Low),
    ("Improve JSDoc of addMonths", &[("src/addMonths/index.ts", 4, 1)], Docs, Low),
];

#[test]
fn changes() {
    let mut wrong = Vec::new();
    for (title, files, kind, stakes) in CHANGES {
        let class = classify(&opened(change(title, files)), &[]);
        if (class.change_kind, class.stakes) != (*kind, *stakes) {
            let (got, of) = (class.change_kind.as_str(), class.stakes);
            wrong.push(format!(
                "{title} {files:?}: {got} {of}, not {} {stakes}: {:?}",
                kind.as_str(),
                class.reasons
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), CHANGES.len(), wrong.join("\n"));
}
