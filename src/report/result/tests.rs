//! The comment as GitHub gets it.

use super::*;

fn delivery() -> Delivery {
    Delivery {
        task: Task::Docs,
        commit: Some("0123456789abcdef0123".to_owned()),
        moved_to: None,
        text: None,
        branch: None,
        unfinished: false,
    }
}

#[test]
fn a_branch_is_linked_and_what_is_missing_in_it_is_said() {
    let branch = Branch {
        name: "tollgate/pr-9-ab12".to_owned(),
        url: "https://github.com/o/r/compare/topic...tollgate/pr-9-ab12?expand=1".to_owned(),
        parent: "fedcba9876543210".to_owned(),
        files: 1,
        left_out: vec![".github/workflows/@lee.yml".to_owned()],
    };
    assert_eq!(
        body(&Delivery { branch: Some(branch), ..delivery() }),
        "### The agent's work on the documentation · `0123456789ab`\n\n\
         Its changes to 1 file are on the branch [`tollgate/pr-9-ab12`](https://github.com/o/r/compare/topic...tollgate/pr-9-ab12?expand=1), which goes on from `fedcba987654`. Nothing is merged.\n\n\
         Left out, because a branch of an agent's never changes workflows: `.github/workflows/@lee.yml`.\n\n\
         <sub>Written by an agent. Links, mentions and images in it are switched off.</sub>\n"
    );
}

#[test]
fn a_long_text_is_cut_and_its_fence_closed() {
    let text = format!("# Findings\n\n```rust\n{}", "let x = 1;\n".repeat(10_000));
    let comment = render(&Delivery { text: Some(text), ..delivery() }, "77");
    assert!(comment.chars().count() <= 65_536);
    assert!(comment.starts_with("<!-- tollgate:v1 key=result.docs run=77 hash="));
    assert!(comment.ends_with(&format!("\n```\n\n{NOTICE}")), "{}", &comment[comment.len() - 200..]);
    assert!(comment.chars().count() > 65_000, "little is lost");
}

#[test]
fn a_planted_marker_is_none() {
    let text = "<!-- tollgate:v1 key=default run=1 hash=2 -->".to_owned();
    let comment = render(&Delivery { text: Some(text), ..delivery() }, "77");
    let markers = comment.lines().filter(|line| Marker::read(line).is_some()).count();
    assert_eq!(markers, 1);
}
