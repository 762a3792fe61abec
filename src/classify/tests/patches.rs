//! Patches: comments alone, or more. Edits are made here on sources of six languages, and shown to the
//! classifier as git writes them, with three lines around.

use super::*;
use ChangeKind::{Docs, Implementation as Code};

/// A path, a hunk, and what the change is.
const HUNKS: &[(&str, &str, ChangeKind)] = &[
    (
        "src/ring.rs",
        " fn pop() {\n-    // takes the oldest\n+    // Takes the oldest one.\n     let x = 1;",
        Docs,
    ),
    ("src/ring.rs", "-/// Old.\n+/// New, with ```code```.\n pub fn pop() {}", Docs),
    ("src/ring.rs", " fn f<'a>(x: &'a str) {\n-    g(\"// a\"); // b\n+    g(\"// c\"); // b\n }", Code),
    ("src/ring.rs", " fn f<'a>(x: &'a str) {\n-    g('\"'); // b\n+    g('\"'); // c\n }", Docs),
    ("src/ring.rs", "+#[must_use]\n pub fn pop() {}", Code),
    ("src/ring.rs", "-#[doc = \"a\"]\n+#[doc = \"b\"]\n pub fn pop() {}", Code),
    ("src/ring.rs", "-    a();\n+    // a();\n     b();", Code),
    ("src/ring.rs", " a();\n+\n b();", Code),
    ("src/ring.rs", "-  a();\n+    a();", Code),
    (
        "app/pool.py",
        " def f():\n-    \"\"\"Give one.\"\"\"\n+    \"\"\"Give one of them.\"\"\"\n     return 1",
        Docs,
    ),
    (
        "app/pool.py",
        " def f():\n     \"\"\"Give one.\n \n-    Old text.\n+    New text, longer.\n     \"\"\"\n     return 1",
        Docs,
    ),
    (
        "app/pool.py",
        "     Some more of the text.\n-    Old words here.\n+    New words here.\n     \"\"\"\n     return 1",
        Docs,
    ),
    (
        "app/pool.py",
        "     Gives what is there, without waiting for more.\n \n-    It may be empty, or so.\n+    It may be empty.\n \n     Other callers see none of it.",
        Docs,
    ),
    // Between two texts: what ends the first and what begins the second are the same marks.
    (
        "app/pool.py",
        "         \"\"\"\n         return False\n \n-    def send(self, code: int = 302) -> None:\n+    def send(self, code: int = 303) -> None:\n         \"\"\"Sends what there is to the other side.\n \n         It does not wait for an answer.",
        Code,
    ),
    // A pragma of which the hunk has two, and loses one.
    ("app/pool.py", " a(  # type: ignore\n-    b,  # type: ignore\n+    b,\n )", Code),
    (
        "app/pool.py",
        " def f():\n-    x = \"\"\"Give one.\"\"\"\n+    x = \"\"\"Give two.\"\"\"\n     return x",
        Code,
    ),
    ("app/pool.py", " f(\n-    \"\"\"Give one.\"\"\",\n+    \"\"\"Give two.\"\"\",\n )", Code),
    ("app/pool.py", "-import os\n+import os  # noqa: F401\n import sys", Code),
    ("app/pool.py", "-x = f()  # why\n+x = f()  # because\n y = 1", Docs),
    ("app/pool.py", "-x = '#a'\n+x = '#b'\n y = 1", Code),
    ("app/pool.py", "-# -*- coding: latin-1 -*-\n+# -*- coding: utf-8 -*-\n y = 1", Code),
    ("app/pool.py", "-x = f()\n+x = f()  # type: ignore[arg-type]\n y = 1", Code),
    ("src/pool.ts", "-// old\n+// new\n export const a = 1;", Docs),
    ("src/pool.ts", "  * Gives one.\n-  * @param a old\n+  * @param a new\n  * @returns it", Docs),
    ("src/pool.ts", " /**\n-  * Old.\n+  * New.\n  */\n export function f() {}", Docs),
    ("src/pool.ts", "-// eslint-disable-next-line no-console\n console.log(1);", Code),
    ("src/pool.ts", "+// @ts-expect-error the types lag\n f(1);", Code),
    ("src/pool.ts", "-const u = 'http://a';\n+const u = 'http://b';", Code),
    ("src/pool.ts", " const t = `\n-  // one\n+  // two\n `;", Code),
    ("pool.go", "-// Pool is one.\n+// Pool is a pool.\n type Pool struct{}", Docs),
    ("pool.go", "+//go:embed page.html\n var page string", Code),
    ("pool.go", "-x := f()\n+x := f() //nolint:errcheck\n return", Code),
    ("pool.go", " s := `\n-// one\n+// two\n `", Code),
    // The first mark ends a text that began above.
    (
        "pool.go",
        " {{ .Name }}\n `)\n }\n \n-// Page is a page of it.\n+// Page is one page of it.\n func Page() []byte {\n \treturn []byte(`/*",
        Docs,
    ),
    ("Pool.java", "-     * old\n+     * new\n      */\n     void f() {}", Docs),
    ("Pool.java", "-@Deprecated\n     void f() {}", Code),
    ("Pool.java", "-    void f() {} // old\n+    void g() {} // old", Code),
    ("pool.c", "-/* old */\n+/* new */\n int f(void);", Docs),
    ("pool.c", "-int f(void); /* a */\n+int f(int); /* a */", Code),
    ("pool.c", "-// clang-format off\n int f(void);", Code),
    ("pool.h", "- * Copyright 2023 Acme\n+ * Copyright 2024 Acme\n  */\n #pragma once", Docs),
    ("pool.rb", "-# old\n+# new\n def f; end", Docs),
    ("pool.rb", "+# frozen_string_literal: true\n def f; end", Code),
    ("run.sh", "-#!/bin/sh\n+#!/bin/bash\n echo", Code),
    ("run.sh", "-# old\n+# new\n echo \"${x#y}\"", Docs),
    ("run.sh", "-echo ${x#y}\n+echo ${x#z}", Code),
    (".github/workflows/ci.yml", "-# old\n+# new\n on: push", Docs),
    ("config.yml", "-a: 1 # one\n+a: 2 # one", Code),
    ("main.tf", "-  # old\n+  # new\n   a = 1", Docs),
    ("a.ipynb", "    \"cell_type\": \"markdown\",\n    \"source\": [\n-    \"old\"\n+    \"new\"", Docs),
    ("a.ipynb", "    \"cell_type\": \"code\",\n    \"source\": [\n-    \"old\"\n+    \"new\"", Code),
];

fn patched(title: &str, path: &str, patch: &str) -> Class {
    let mut change = change(title, &[(path, 1, 1)]);
    change.files[0].patch = Some(patch.to_owned());
    classify(&opened(change), &[])
}

#[test]
fn hunks() {
    let mut wrong = Vec::new();
    for (path, hunk, kind) in HUNKS {
        // The title says the opposite.
        let title = if *kind == Docs { "feat: faster pool" } else { "docs: fix comment" };
        let class = patched(title, path, &format!("@@ -1,4 +1,4 @@\n{hunk}\n"));
        if class.change_kind != *kind {
            wrong.push(format!("{path}\n{hunk}\n{:?}", class.reasons));
        }
    }
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), HUNKS.len(), wrong.join("\n"));
}

#[test]
fn a_patch_that_shows_too_little_leaves_it_to_the_title() {
    let hunk = "@@ -9,3 +9,3 @@\n \n-one two\n+one three\n \n";
    assert_eq!(patched("Fix typo in docstring", "a.py", hunk).change_kind, Docs);
    assert_eq!(patched("feat: faster pool", "a.py", hunk).change_kind, Code);
    assert_eq!(patched("feat: faster pool", "a.py", "no hunk at all").change_kind, Code);
    // Documentation of a crate, or a text that the program shows: the middle of it does not say.
    let hunk = "@@ -9,4 +9,4 @@\n a search, in addition to routines that are called when lines are\n-found by the searcher. Implementations can be triviall\n+found by the searcher. Implementations can be trivial\n to write, and some of them are given here for common uses.\n";
    assert_eq!(patched("Fix typo in the crate's documentation", "a.rs", hunk).change_kind, Docs);
    assert_eq!(patched("feat: faster pool", "a.rs", hunk).change_kind, Code);
}

#[test]
fn comments_with_code_elsewhere_are_code() {
    let mut change = change("docs: comments", &[("a.rs", 1, 1), ("b.rs", 1, 1)]);
    change.files[0].patch = Some("@@ -1 +1 @@\n-// a\n+// b\n".to_owned());
    change.files[1].patch = Some("@@ -1 +1 @@\n-a();\n+b();\n".to_owned());
    assert_eq!(classify(&opened(change), &[]).change_kind, Code);
}
