//! The source reads itself: who may import whom, and how long a file may be.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Modules that know nothing of ours.
const VOCABULARY: &[&str] = &["money", "tokens", "model", "id", "outcome", "preset", "task", "credentials"];

/// Which modules a module may import besides itself and the vocabulary. A row `a::b` binds the files
/// below `src/a/b`; where both `a` and `a::b` have a row, the longer one decides.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("event", &[]),
    ("budget", &[]),
    ("price", &[]),
    ("provider", &[]),
    ("classify", &["event", "budget"]),
    ("limits", &["event", "budget", "ledger"]),
    ("route", &["classify", "budget", "price", "ledger", "limits"]),
    ("plan", &["classify", "event", "budget", "price", "ledger", "limits"]),
    ("overrides", &["budget", "price", "ledger"]),
    ("savings", &["budget", "price", "ledger"]),
    ("gate", &["budget", "ledger", "limits", "exit"]),
    ("ledger", &[]),
    ("meter", &["provider", "price"]),
    ("agent", &[]),
    ("github", &[]),
    ("report", &["classify", "route", "savings", "gate", "limits", "ledger", "meter", "budget"]),
    ("simulate", &[]),
    ("exit", &[]),
    ("supervise", &["meter", "agent"]),
];

/// Modules that may import anything: the shell.
const SHELL: &[&str] = &["pipeline", "commands", "cli", "main", "lib"];

/// Below `ledger`, only the stores do I/O.
const IO: &[&str] = &["std::fs", "std::net", "tokio::", "rustix::"];

/// A file longer than this is two files.
const LINES_MAX: usize = 700;

#[test]
fn every_module_imports_only_what_it_may() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let module = module_of(&path);
        let top = module.split("::").next().unwrap_or_default().to_owned();
        if SHELL.contains(&top.as_str()) {
            continue;
        }
        let allowed = allowed(&module);
        let at_top = !module.contains("::");
        for (number, line) in text.lines().enumerate() {
            let hidden = line.trim_end().ends_with("crate::{");
            let around = at_top && line.contains("super::") && !line.contains("super::*");
            if hidden || (around && code_lines(&text).any(|(code, _)| code == number + 1)) {
                wrong.push(format!("src/{}:{}: an import this test cannot read", path.display(), number + 1));
            }
            for import in imports(line) {
                if import != top && !allowed.contains(import.as_str()) {
                    wrong.push(format!("src/{}:{}: {top} imports {import}", path.display(), number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports against the table in ARCHITECTURE.md:\n{}", wrong.join("\n"));
}

#[test]
fn decisions_do_no_io() {
    let pure = [
        "budget",
        "classify",
        "limits",
        "route",
        "plan",
        "overrides",
        "savings",
        "gate",
        "price",
        "provider",
        "ledger",
    ];
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let module = module_of(&path);
        let top = module.split("::").next().unwrap_or_default();
        if !pure.contains(&top)
            || module.starts_with("ledger::store")
            || module.split("::").any(|part| part == "tests")
        {
            continue;
        }
        for (number, line) in code_lines(&text) {
            if IO.iter().any(|io| line.contains(io)) {
                wrong.push(format!("src/{}:{number}: {}", path.display(), line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "I/O in a pure module:\n{}", wrong.join("\n"));
}

#[test]
fn files_stay_small_enough_to_live_in() {
    let long: Vec<String> = sources()
        .into_iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(path, lines)| *lines > LINES_MAX && !path.ends_with("tests.rs"))
        .map(|(path, lines)| format!("src/{}: {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "over {LINES_MAX} lines:\n{}", long.join("\n"));
}

#[test]
fn the_table_names_every_module_and_no_other() {
    let tops: BTreeSet<String> = sources()
        .iter()
        .map(|(path, _)| module_of(path).split("::").next().unwrap_or_default().to_owned())
        .collect();
    let named: BTreeSet<String> = (MAY_IMPORT.iter().map(|(module, _)| *module))
        .chain(VOCABULARY.iter().copied())
        .chain(SHELL.iter().copied())
        .map(str::to_owned)
        .collect();
    let missing: Vec<_> = tops.difference(&named).collect();
    assert!(missing.is_empty(), "modules without a row in the import table: {missing:?}");
    let gone: Vec<_> = named.difference(&tops).collect();
    assert!(gone.is_empty(), "rows of the import table without a module: {gone:?}");
}

#[test]
fn the_reader_of_imports_sees_them() {
    assert_eq!(imports("use crate::money::Usd;"), ["money"]);
    assert_eq!(imports("let x = crate::ledger::Window { start };"), ["ledger"]);
    assert_eq!(
        imports("use crate::{money::Usd, ledger, tokens::{Counts, Usage}};"),
        ["money", "ledger", "tokens"]
    );
    assert_eq!(imports("    // crate::meter is elsewhere"), Vec::<String>::new());
}

/// Every file below `src`, by its path in there.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("src can be listed") {
            let path = entry.expect("src can be listed").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("source is text");
                found.push((path.strip_prefix(&root).expect("below src").to_owned(), text));
            }
        }
    }
    assert!(found.len() > 10, "the source was found");
    found
}

/// `a/b.rs` and `a/b/mod.rs` are both `a::b`.
fn module_of(path: &Path) -> String {
    let path = path.with_extension("");
    let parts: Vec<_> = path.iter().filter_map(|part| part.to_str()).filter(|part| *part != "mod").collect();
    parts.join("::")
}

fn allowed(module: &str) -> BTreeSet<&'static str> {
    let row = MAY_IMPORT
        .iter()
        .filter(|(row, _)| module == *row || module.starts_with(&format!("{row}::")))
        .max_by_key(|(row, _)| row.len());
    let mut allowed: BTreeSet<&str> = match row {
        Some((_, names)) => VOCABULARY.iter().chain(names.iter()).copied().collect(),
        // Vocabulary imports vocabulary only.
        None => VOCABULARY.iter().copied().collect(),
    };
    // Errors and tests may name the crate's own test helpers.
    allowed.insert("tests");
    allowed
}

/// Lines that are code outside of tests, with their numbers.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .map(|(number, line)| (number + 1, line))
}

/// The modules of ours that a line of code names.
fn imports(line: &str) -> Vec<String> {
    if line.trim_start().starts_with("//") {
        return Vec::new();
    }
    let name =
        |text: &str| -> String { text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let mut found = Vec::new();
    for (_, rest) in line.match_indices("crate::").map(|(at, text)| (at, &line[at + text.len()..])) {
        match rest.strip_prefix('{') {
            None => found.push(name(rest)),
            Some(list) => {
                let mut depth = 0_i32;
                let mut item = String::new();
                for c in list.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 0 => found.push(name(std::mem::take(&mut item).trim())),
                        _ if depth == 0 => item.push(c),
                        _ => {}
                    }
                }
                found.push(name(item.trim()));
            }
        }
    }
    found.retain(|name| !name.is_empty());
    found
}
