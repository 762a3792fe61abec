//! Files with a cloud's credentials in the agent's working tree: the agent can read them there, and what it spends
//! with them no meter sees. A run through that cloud is not started; any other is warned of them.
//!
//! google-github-actions/auth writes such a file into the checkout unless it is told not to, and names it in the
//! environment unless it is told not to do that either. So they are looked for by variable and by name.

use std::io::Write;
use std::path::{Component, Path, PathBuf};

use anyhow::Context;

use super::Story;
use super::upstream::Upstream;
use crate::cli::Shell;
use crate::exit::Failure;
use crate::provider::Vendor;
use crate::report::defuse;

/// The variables that name such files, and the cloud that they are for.
const VARIABLES: [(&str, Vendor); 8] = [
    ("GOOGLE_APPLICATION_CREDENTIALS", Vendor::Vertex),
    ("GOOGLE_GHA_CREDS_PATH", Vendor::Vertex),
    ("CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE", Vendor::Vertex),
    ("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE", Vendor::Vertex),
    ("AWS_CONFIG_FILE", Vendor::Bedrock),
    ("AWS_SHARED_CREDENTIALS_FILE", Vendor::Bedrock),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", Vendor::Bedrock),
    ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", Vendor::Bedrock),
];
/// How google-github-actions/auth names its files, which lie at the top of the workspace.
const GOOGLE_ACTION: (&str, &str) = ("gha-creds-", ".json");

/// Looks for credentials files where the agent works.
///
/// # Errors
/// A [`Failure`] with exit code 2 where there is one of the cloud that the run goes through.
pub(super) fn check(story: &Story<'_>, upstream: &Upstream, shell: &mut Shell) -> anyhow::Result<()> {
    if story.request.simulate {
        return Ok(());
    }
    let here = std::env::current_dir().context("the current folder cannot be told")?;
    let workspace = shell.var("GITHUB_WORKSPACE").map(PathBuf::from);
    let trees: Vec<PathBuf> = [here, story.inputs.root.clone()].into_iter().chain(workspace).collect();
    for (file, vendor) in found(&trees, upstream, shell) {
        // Whoever wrote what is checked out has named it.
        let path = defuse::plain(&file.display().to_string());
        if !upstream.has(vendor) {
            writeln!(
                shell.err,
                "warning: the credentials file {path} lies in the agent's working tree, where the agent can read it; \
                 what it does with it is not metered"
            )?;
            continue;
        }
        let hint = match vendor {
            Vendor::Vertex => {
                "let google-github-actions/auth make a token instead, by `token_format: access_token` and \
                 `create_credentials_file: false`, and give its output `access_token` to tollgate as \
                 TOLLGATE_VERTEX_ACCESS_TOKEN; a file of your own goes outside of the checkout"
            }
            _ => {
                "keep it outside of the checkout; aws-actions/configure-aws-credentials needs none, and tollgate \
                 does not read it"
            }
        };
        let message = format!(
            "the credentials file {path} lies in the agent's working tree: the agent could read it, and spend past the \
             meter\n\nhint: {hint}"
        );
        return Err(Failure::usage(message).into());
    }
    Ok(())
}

/// The credentials files below any of these folders, and their clouds; each once.
fn found(trees: &[PathBuf], upstream: &Upstream, shell: &Shell) -> Vec<(PathBuf, Vendor)> {
    let named =
        VARIABLES.into_iter().filter_map(|(name, vendor)| Some((PathBuf::from(shell.var(name)?), vendor)));
    let read = upstream.files().into_iter().map(|file| (file, Vendor::Vertex));
    let mut found: Vec<(PathBuf, Vendor)> = Vec::new();
    let named = named.chain(read).filter(|(file, _)| lies_in(file, trees));
    let written = trees.iter().flat_map(|tree| of_the_action(tree)).map(|file| (file, Vendor::Vertex));
    for (file, vendor) in named.chain(written) {
        if !found.iter().any(|(known, _)| real(known) == real(&file)) {
            found.push((file, vendor));
        }
    }
    found
}

/// What google-github-actions/auth has written into a folder.
fn of_the_action(tree: &Path) -> Vec<PathBuf> {
    let (begin, end) = GOOGLE_ACTION;
    let entries = std::fs::read_dir(tree).into_iter().flatten().flatten();
    let theirs = entries.filter(|entry| {
        entry.file_name().to_str().is_some_and(|name| name.starts_with(begin) && name.ends_with(end))
    });
    theirs.map(|entry| entry.path()).collect()
}

/// Whether there is such a file, and the agent comes upon it below one of these folders: by its path or where
/// links on the way lead to.
fn lies_in(file: &Path, trees: &[PathBuf]) -> bool {
    let Some(target) = real(file) else { return false };
    let plain = !file.components().any(|part| part == Component::ParentDir);
    let written = std::path::absolute(file).ok().filter(|_| plain);
    let link = file.file_name().and_then(|name| Some(real(folder(file))?.join(name)));
    let paths = [Some(target), written, link];
    let trees: Vec<PathBuf> =
        trees.iter().flat_map(|tree| [Some(tree.clone()), real(tree)]).flatten().collect();
    paths.iter().flatten().any(|path| trees.iter().any(|tree| path.starts_with(tree)))
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn real(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_is_found_by_its_path_and_by_where_it_leads() {
        let world = tempfile::tempdir().expect("a folder");
        let at = |path: &str| world.path().join(path);
        for folder in ["tree/sub", "outside"] {
            std::fs::create_dir_all(at(folder)).expect("a folder");
        }
        for file in ["tree/sub/in.json", "outside/out.json"] {
            std::fs::write(at(file), "{}").expect("a file");
        }
        for (link, to) in [
            ("outside/into.json", "tree/sub/in.json"),
            ("outside/folder", "tree/sub"),
            ("tree/away.json", "outside/out.json"),
            ("tree/away", "outside"),
            ("other", "tree"),
        ] {
            symlink(at(to), at(link)).expect("a link");
        }
        for (file, lies) in [
            ("tree/sub/in.json", true),
            ("outside/out.json", false),
            ("outside/into.json", true),
            ("outside/folder/in.json", true),
            ("tree/away.json", true),
            ("tree/away/out.json", true),
            ("tree/../outside/out.json", false),
            ("outside/../tree/sub/in.json", true),
            ("other/sub/in.json", true),
            ("tree/none.json", false),
        ] {
            for tree in ["tree", "other"] {
                assert_eq!(lies_in(&at(file), &[at(tree)]), lies, "{file} in {tree}");
            }
        }
    }

    #[test]
    fn the_action_s_files_are_known_by_their_names() {
        let tree = tempfile::tempdir().expect("a folder");
        for name in ["gha-creds-0123456789abcdef.json", "gha-creds.json", "my-gha-creds-1.json", "README.md"]
        {
            std::fs::write(tree.path().join(name), "{}").expect("a file");
        }
        assert_eq!(of_the_action(tree.path()), [tree.path().join("gha-creds-0123456789abcdef.json")]);
        assert!(of_the_action(&tree.path().join("none")).is_empty());
    }
}
