//! What the documents show is true: every YAML snippet parses and is what it claims to be, and every
//! link leads somewhere.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use serde_yaml::Value;
use tollgate::commands::init;

use crate::support::Tollgate;
use crate::support::runner::fields;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every document, with its text.
fn documents() -> Vec<(PathBuf, String)> {
    let mut folders = vec![root().join("docs")];
    let mut files: Vec<PathBuf> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| root().join(name)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }
    files.sort();
    files.into_iter().map(|path| (path.clone(), fs::read_to_string(path).expect("a document"))).collect()
}

/// The YAML snippets of a document, each with its line.
fn snippets(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut inside = false;
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) if &*language == "yaml" => {
                inside = true;
                found.push((text[..range.start].lines().count() + 1, String::new()));
            }
            Event::End(TagEnd::CodeBlock) => inside = false,
            Event::Text(code) if inside => found.last_mut().expect("a snippet").1.push_str(&code),
            _ => {}
        }
    }
    found
}

/// Inputs and outputs of an action, by its name in `uses:`.
fn actions() -> BTreeMap<&'static str, Value> {
    let read = |path: &str| {
        serde_yaml::from_str(&fs::read_to_string(root().join(path)).expect("an action")).expect("YAML")
    };
    BTreeMap::from([
        ("OWNER/tollgate", read("action.yml")),
        ("OWNER/tollgate/around", read("around/action.yml")),
        ("OWNER/tollgate/finish", read("finish/action.yml")),
        ("OWNER/tollgate/gate", read("gate/action.yml")),
        ("OWNER/tollgate/start", read("start/action.yml")),
        ("./", read("action.yml")),
        ("./gate", read("gate/action.yml")),
    ])
}

/// What is wrong with the steps of a job, in words.
fn wrong_steps(steps: &Value, text: &str) -> Vec<String> {
    let (actions, mut wrong) = (actions(), Vec::new());
    let mut outputs: BTreeMap<&str, &Value> = BTreeMap::new();
    for step in steps.as_sequence().into_iter().flatten() {
        let Some(uses) = step["uses"].as_str() else { continue };
        let (name, reference) = uses.split_once('@').unwrap_or((uses, ""));
        if let Some(action) = actions.get(name) {
            for (input, _) in fields(&step["with"]) {
                if action["inputs"][input].is_null() {
                    wrong.push(format!("{name} has no input `{input}`"));
                }
            }
            if let Some(id) = step["id"].as_str() {
                outputs.insert(id, &action["outputs"]);
            }
        } else if reference.len() != 40 || !reference.chars().all(|c| c.is_ascii_hexdigit()) {
            wrong.push(format!("{uses} is not pinned by its commit"));
        }
    }
    for (_, rest) in text.match_indices("steps.").map(|(at, _)| text[at..].split_at("steps.".len())) {
        let name: String =
            rest.chars().take_while(|&c| c.is_ascii_alphanumeric() || "_-.".contains(c)).collect();
        if let Some((id, output)) = name.split_once(".outputs.")
            && outputs.get(id).is_some_and(|outputs| outputs[output].is_null())
        {
            wrong.push(format!("there is no output `{output}`"));
        }
    }
    wrong
}

/// What is wrong with a workflow, in words.
fn wrong_workflow(workflow: &Value, text: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    // `on` is a word in YAML 1.2 and a truth value in 1.1.
    if workflow["on"].is_null() && workflow[Value::Bool(true)].is_null() {
        wrong.push("it says no event".to_owned());
    }
    if workflow["permissions"] != Value::Mapping(serde_yaml::Mapping::new()) {
        wrong.push("it does not begin with `permissions: {}`".to_owned());
    }
    for (name, job) in fields(&workflow["jobs"]) {
        if !job["permissions"].is_mapping() || job["timeout-minutes"].is_null() {
            wrong.push(format!("the job {name} needs `permissions` and `timeout-minutes`"));
        }
        wrong.extend(wrong_steps(&job["steps"], text));
    }
    wrong
}

/// What is wrong with a snippet: a workflow, steps of one, or a budget file.
fn wrong_snippet(text: &str) -> Vec<String> {
    let value: Value = match serde_yaml::from_str(text) {
        Ok(value) => value,
        Err(error) => return vec![error.to_string()],
    };
    if !value["jobs"].is_null() {
        return wrong_workflow(&value, text);
    }
    if value.is_sequence() {
        return wrong_steps(&value, text);
    }
    let mut world = Tollgate::new();
    world.file("budget.yml", text);
    let check = world.args(["check", "--budget-file", "budget.yml"]).run();
    if check.code == Some(0) { Vec::new() } else { vec![check.stderr] }
}

#[test]
fn every_snippet_in_the_documents_works() {
    let (mut seen, mut wrong) = (0, Vec::new());
    for (path, text) in documents() {
        for (line, snippet) in snippets(&text) {
            seen += 1;
            let shown = path.strip_prefix(root()).expect("below the root").display();
            wrong.extend(wrong_snippet(&snippet).into_iter().map(|what| format!("{shown}:{line}: {what}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 5, "the documents show {seen} snippets, so this test reads the wrong place");
}

#[test]
fn our_own_workflows_and_the_starter_work() {
    let mut wrong = wrong_snippet(init::WORKFLOW);
    wrong.extend(wrong_snippet(init::BUDGET));
    for entry in fs::read_dir(root().join(".github/workflows")).expect("workflows") {
        wrong.extend(wrong_snippet(&fs::read_to_string(entry.expect("a file").path()).expect("a workflow")));
    }
    wrong
        .extend(wrong_snippet(&fs::read_to_string(root().join(".github/tollgate.yml")).expect("our budget")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_snippet_that_is_wrong_is_noticed() {
    for (snippet, what) in [
        ("- uses: OWNER/tollgate@v1\n  with: { tsak: x }\n", "OWNER/tollgate has no input `tsak`"),
        ("- uses: actions/checkout@v7\n", "actions/checkout@v7 is not pinned by its commit"),
        (
            "- id: t\n  uses: OWNER/tollgate@v1\n- run: echo ${{ steps.t.outputs.cost }}\n",
            "there is no output `cost`",
        ),
        ("on: push\njobs: {}\n", "it does not begin with `permissions: {}`"),
        (
            "on: push\npermissions: {}\njobs: { a: { steps: [] } }\n",
            "the job a needs `permissions` and `timeout-minutes`",
        ),
    ] {
        assert_eq!(wrong_snippet(snippet), [what], "{snippet}");
    }
    assert!(wrong_snippet("version: 1\nmoed: observe\n")[0].contains("did you mean `mode`?"));
}

/// The anchors that GitHub gives a document's headings.
fn anchors(text: &str) -> Vec<String> {
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        inside ^= line.starts_with("```");
        if let (false, Some(heading)) = (inside, line.strip_prefix('#')) {
            let heading = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = heading.chars().filter(|&c| c.is_alphanumeric() || "-_ ".contains(c));
            lines.push(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
        }
    }
    lines
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut wrong = Vec::new();
    for (path, text) in documents() {
        // Pictures that come in two themes are written as HTML.
        for attribute in ["src=\"", "srcset=\""] {
            for (at, _) in text.match_indices(attribute) {
                let file: String = text[at + attribute.len()..].chars().take_while(|&c| c != '"').collect();
                if !path.with_file_name(&file).is_file() {
                    wrong.push(format!("{}: {file}", path.display()));
                }
            }
        }
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            let (Event::Start(Tag::Link { dest_url, .. }) | Event::Start(Tag::Image { dest_url, .. })) =
                event
            else {
                continue;
            };
            if dest_url.contains("://") {
                continue;
            }
            let (file, anchor) = dest_url.split_once('#').unwrap_or((&dest_url, ""));
            let target = if file.is_empty() { path.clone() } else { path.with_file_name(file) };
            let found = if anchor.is_empty() {
                target.exists()
            } else {
                fs::read_to_string(&target).is_ok_and(|text| anchors(&text).iter().any(|a| a == anchor))
            };
            if !found {
                wrong.push(format!("{}: {dest_url}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "links that lead nowhere:\n{}", wrong.join("\n"));
}
