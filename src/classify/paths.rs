//! What kind of file a path is, by its name alone.

use super::words::Words;

/// What kind of file a path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// Text for people: pages, readmes, changelogs, licences.
    Prose,
    /// A picture or diagram that belongs to documentation.
    Figure,
    /// The table of contents of a documentation site.
    Nav,
    /// Words a spell checker is told to accept.
    Spelling,
    /// A notebook: cells of prose and of code, which a name does not tell apart.
    Notebook,
    /// Program text that may hold comments.
    Source,
    /// A test, or the data of one.
    Test,
    /// A workflow, a container file, or a pipeline.
    Ci,
    /// A lock file.
    Lock,
    /// A build script or package manifest.
    Build,
    /// Text that a program fills in.
    Template,
    /// Text that steers an agent or a model.
    Instructions,
    /// Code, style or configuration of a documentation site.
    Site,
    /// Written by a program, or copied in: nobody edits it by hand.
    Generated,
    /// Strings that an interface shows, by language.
    Strings,
    /// Settings of the forge, the editor and the like, that no program of the project reads.
    Housekeeping,
    /// Anything else: settings, data, binaries.
    Other,
}

static PROSE_EXT: Words =
    Words::of("md mdx markdown mdown rst adoc asciidoc txt textile rdoc tex org qmd wiki pod ronn rmd");
static PROSE_NAMES: Words = Words::of(
    "license licence unlicense copying copyright notice authors contributors readme changelog changes \
     history news maintainers contributing thanks patents",
);
static SOURCE_EXT: Words = Words::of(
    "rs py pyi js mjs cjs ts mts cts jsx tsx java kt kts go c h cc cpp cxx hh hpp m mm cs fs rb php \
     swift scala sh bash ps1 tf hcl lua ex exs erl hs ml dart vue svelte zig nim jl r pl clj groovy \
     sql proto graphql gql thrift kts vb f90 m4 cmake ino cu sol v sv vhd rkt lisp el fish bat cmd \
     gradle bicep rego",
);
static FIGURE_EXT: Words = Words::of("svg png jpg jpeg gif webp avif mp4 webm");
static DIAGRAM_EXT: Words = Words::of("drawio excalidraw puml plantuml mmd d2 dot");
static SITE_EXT: Words = Words::of("css scss less html js mjs ts mts jsx tsx vue svelte py rb json astro");
static LOCKS: Words = Words::of(
    "cargo.lock package-lock.json npm-shrinkwrap.json yarn.lock pnpm-lock.yaml poetry.lock uv.lock \
     pdm.lock gemfile.lock composer.lock go.sum bun.lockb gradle.lockfile go.work.sum \
     packages.lock.json package.resolved",
);
static MANIFESTS: Words = Words::of(
    "cargo.toml package.json pyproject.toml setup.py setup.cfg go.mod pom.xml build.gradle \
     build.gradle.kts settings.gradle.kts gradle.properties gemfile composer.json makefile \
     cmakelists.txt meson.build justfile deno.json version.properties libs.versions.toml pubspec.yaml \
     mix.exs package.swift podfile build.sbt pipfile environment.yml tox.ini .pre-commit-config.yaml \
     renovate.json directory.packages.props lerna.json .release-please-manifest.json .bumpversion.cfg \
     version version.txt .node-version .python-version .nvmrc .tool-versions rust-toolchain.toml \
     rust-toolchain chart.yaml deps.edn project.clj rebar.config cpanfile conanfile.txt vcpkg.json",
);
static NAVS: Words = Words::of(
    "mkdocs.yml mkdocs.yaml _toc.yml toc.yml toc.yaml sidebars.js sidebars.ts sidebars.json \
     sidebar.json nav.yml nav.adoc navigation.yml _meta.json _meta.js _meta.ts mint.json docs.json \
     _sidebar.md antora.yml zensical.toml",
);
static AGENT_FILES: Words = Words::of(
    "agents.md claude.md gemini.md skill.md .cursorrules copilot-instructions.md .mcp.json \
     opencode.json",
);
static AGENT_DIRS: Words = Words::of(".claude .cursor .codex .gemini .opencode .windsurf");
static TEST_DIRS: Words = Words::of(
    "test tests __tests__ testdata test-data test_data fixtures fixture __fixtures__ __snapshots__ \
     snapshots e2e acceptance testing-data golden goldens __mocks__ testcases cassettes",
);
static TEMPLATE_DIRS: Words = Words::of(
    "templates template _templates scaffold scaffolds skeleton stubs issue_template \
     pull_request_template",
);
static DOCS_DIRS: Words =
    Words::of("docs doc documentation website site blog book guide guides manual .vitepress www");

/// What kind of file `path` is.
pub(super) fn sort(path: &str) -> Sort {
    let lower = path.to_lowercase();
    let mut dirs: Vec<&str> = lower.split('/').filter(|part| !part.is_empty()).collect();
    let name = dirs.pop().unwrap_or_default();
    let (stem, ext) = match name.rsplit_once('.') {
        Some((stem, ext)) if !stem.is_empty() => (stem, ext),
        _ => (name, ""),
    };
    let within = |known: &Words| dirs.iter().any(|dir| known.contains(dir));
    let is_prose = PROSE_EXT.contains(ext);
    if AGENT_FILES.contains(name) || within(&AGENT_DIRS) {
        return Sort::Instructions;
    }
    if dirs.iter().any(|dir| matches!(*dir, "prompts" | "prompt")) && !is_source(ext) {
        return Sort::Template;
    }
    if is_generated(name, &dirs) {
        return Sort::Generated;
    }
    if LOCKS.contains(name) || ext == "lock" || name.ends_with(".lock.hcl") {
        return Sort::Lock;
    }
    if is_ci(&lower, name) {
        return Sort::Ci;
    }
    if is_spelling(name, stem, ext) {
        return Sort::Spelling;
    }
    let is_readme = PROSE_NAMES.contains(stem);
    if is_test(name, stem, ext, &dirs) && !(is_readme && (is_prose || ext.is_empty())) {
        return Sort::Test;
    }
    if within(&TEMPLATE_DIRS)
        || dirs.iter().any(|dir| dir.starts_with("template-"))
        || ["tmpl", "tpl", "j2", "jinja", "hbs", "ejs", "mustache"].contains(&ext)
        || stem == "pull_request_template"
        || stem == "issue_template"
    {
        return Sort::Template;
    }
    let txt_data = ["requirements", "constraints", "robots", "output", "expected", "stdout", "stderr"];
    if ext == "txt" && ["output", "expected", "stdout", "stderr"].iter().any(|data| stem.starts_with(data)) {
        return Sort::Test;
    }
    let requirements = matches!(dirs.last(), Some(&("requirements" | "reqs"))) && matches!(ext, "txt" | "in");
    if MANIFESTS.contains(name)
        || requirements
        || matches!(ext, "gemspec" | "csproj" | "cabal" | "nuspec" | "podspec")
        || (ext == "txt" && txt_data.iter().any(|data| stem.starts_with(data)))
    {
        return Sort::Build;
    }
    if NAVS.contains(name) || (lower.contains(".vitepress/config") || name.starts_with("docusaurus.config")) {
        return Sort::Nav;
    }
    if is_strings(stem, ext, &dirs) {
        return Sort::Strings;
    }
    if is_housekeeping(&lower, name) {
        return Sort::Housekeeping;
    }
    // A section number: a manual page.
    if dirs.iter().any(|dir| dir.starts_with("man")) && ext.len() == 1 && ext.as_bytes()[0].is_ascii_digit() {
        return Sort::Prose;
    }
    // Word lists and corpora that a program reads.
    if ext == "txt" && dirs.iter().any(|dir| matches!(*dir, "data" | "resources" | "assets" | "src" | "lib"))
    {
        return Sort::Other;
    }
    prose_or_program(stem, ext, within(&DOCS_DIRS))
}

fn prose_or_program(stem: &str, ext: &str, in_docs: bool) -> Sort {
    let mut beginnings = stem.match_indices(['-', '_', '.']).map(|(at, _)| &stem[..at]);
    let named = PROSE_NAMES.contains(stem) || beginnings.any(|begins| PROSE_NAMES.contains(begins));
    if PROSE_EXT.contains(ext)
        || (named && !is_source(ext) && !["yml", "yaml", "json", "toml"].contains(&ext))
    {
        return Sort::Prose;
    }
    match ext {
        "ipynb" => Sort::Notebook,
        _ if DIAGRAM_EXT.contains(ext) => Sort::Figure,
        _ if FIGURE_EXT.contains(ext) && (in_docs || ext != "svg") => Sort::Figure,
        _ if in_docs && SITE_EXT.contains(ext) => Sort::Site,
        _ if is_source(ext) => Sort::Source,
        _ => Sort::Other,
    }
}

/// Whether a file is program text, by its extension.
pub(super) fn is_source_file(path: &str) -> bool {
    path.rsplit_once('.').is_some_and(|(_, ext)| is_source(&ext.to_lowercase()))
}

fn is_source(ext: &str) -> bool {
    SOURCE_EXT.contains(ext)
}

fn is_ci(path: &str, name: &str) -> bool {
    let dirs = [".github/workflows/", ".github/actions/", ".circleci/", ".buildkite/", ".gitlab/ci/"];
    dirs.iter().any(|dir| path.starts_with(dir))
        || matches!(
            name,
            ".gitlab-ci.yml" | "jenkinsfile" | "azure-pipelines.yml" | ".travis.yml" | "action.yml"
        )
        || name.starts_with("dockerfile")
        || name.ends_with(".dockerfile")
        || name.starts_with("docker-compose")
}

fn is_spelling(name: &str, stem: &str, ext: &str) -> bool {
    ext == "dic"
        || matches!(name, ".codespellrc" | "cspell.json" | "typos.toml" | "_typos.toml" | ".wordlist.txt")
        || (ext == "txt" && matches!(stem, "dictionary" | "wordlist" | "spelling"))
}

fn is_test(name: &str, stem: &str, ext: &str, dirs: &[&str]) -> bool {
    let base = name.split('.').next().unwrap_or(name);
    dirs.iter().any(|dir| TEST_DIRS.contains(dir))
        || matches!(ext, "snap" | "stderr" | "stdout" | "golden" | "approved" | "txtar" | "feature")
        || dirs.iter().any(|dir| dir.ends_with("-tests") || dir.ends_with("_tests") || dir.ends_with("-test"))
        || (is_source(ext) && dirs.iter().any(|dir| matches!(*dir, "spec" | "specs")))
        || (is_source(ext)
            && (stem.starts_with("test_")
                || base.ends_with("_test")
                || base.ends_with("-test")
                || stem.ends_with(".test")
                || stem.ends_with(".spec")
                || (matches!(ext, "java" | "kt" | "cs" | "scala" | "groovy" | "swift")
                    && (stem.ends_with("test") || stem.ends_with("tests")))
                || stem.ends_with("_spec")))
}

fn is_generated(name: &str, dirs: &[&str]) -> bool {
    dirs.iter().any(|dir| {
        matches!(
            *dir,
            "vendor" | "third_party" | "node_modules" | "generated" | "__generated__" | "gen" | "dist"
        )
    }) || [
        ".min.js",
        ".min.css",
        ".pb.go",
        "_pb2.py",
        ".g.dart",
        ".designer.cs",
        ".js.map",
        ".gen.go",
        ".gen.ts",
    ]
    .iter()
    .any(|end| name.ends_with(end))
        || name.contains("_generated.")
        || name.contains(".generated.")
}

fn is_strings(stem: &str, ext: &str, dirs: &[&str]) -> bool {
    static DIRS: Words = Words::of("locale locales i18n l10n lang langs languages translations intl values");
    // Languages by their texts: not `lang` or `languages`, where compilers and highlighters keep their own.
    let texts =
        |dir: &&&str| matches!(**dir, "locale" | "locales" | "i18n" | "l10n" | "translations" | "intl");
    let tongue = |part: &&str| {
        let (tongue, land) = part.split_once(['-', '_']).unwrap_or((part, "us"));
        let letters = |text: &str| text.chars().all(|c| c.is_ascii_lowercase());
        tongue.len() == 2 && letters(tongue) && (2..=4).contains(&land.len()) && letters(land)
    };
    let below = dirs.iter().position(|dir| texts(&dir)).map(|at| &dirs[at + 1..]);
    let named = below.is_some_and(|below| tongue(&stem) || below.iter().any(tongue));
    let in_code = named && matches!(ext, "ts" | "js" | "php" | "rb" | "py");
    let php = ext == "php" && dirs.contains(&"lang");
    in_code
        || php
        || matches!(ext, "po" | "pot" | "xlf" | "xliff" | "arb" | "strings" | "resx" | "ftl")
        || (matches!(ext, "json" | "yml" | "yaml" | "xml" | "properties" | "toml")
            && dirs.iter().any(|dir| DIRS.contains(dir) || dir.starts_with("values-")))
}

fn is_housekeeping(path: &str, name: &str) -> bool {
    let forge = path.starts_with(".github/") && !name.starts_with("codeowners") && name != "tollgate.yml";
    forge
        || matches!(
            name,
            ".gitignore"
                | ".gitattributes"
                | ".editorconfig"
                | ".mailmap"
                | ".dockerignore"
                | ".npmignore"
                | ".git-blame-ignore-revs"
                | ".prettierignore"
                | ".eslintignore"
                | ".all-contributorsrc"
        )
}

/// Whether all that a path holds is shown rather than shipped.
pub(super) fn is_example(path: &str) -> bool {
    path.to_lowercase().split('/').rev().skip(1).any(|dir| {
        matches!(
            dir,
            "example" | "examples" | "sample" | "samples" | "demo" | "demos" | "listings" | "playground"
        )
    })
}

/// Whether a file holds no more than the project's own version, by its name.
pub(super) fn is_version_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path).to_lowercase();
    let stem = name.split('.').next().unwrap_or(&name);
    matches!(stem.trim_matches('_'), "version" | "about" | "versions")
}

/// Whether a path is code that describes infrastructure.
pub(super) fn is_infrastructure(path: &str) -> bool {
    let lower = path.to_lowercase();
    let described = [".tf", ".bicep", ".rego", ".hcl"].iter().any(|end| lower.ends_with(end));
    let placed = ["yaml", "yml", "json", "tpl"].iter().any(|end| lower.ends_with(end))
        && lower.split('/').any(|dir| {
            matches!(
                dir,
                "deploy" | "deployment" | "k8s" | "kubernetes" | "charts" | "helm" | "infra" | "manifests"
            )
        });
    described || placed
}
