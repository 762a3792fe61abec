//! What the repository holds at a commit.

use super::client::{GitHub, found};
use super::error::Error;
use super::transport::{Call, RAW};
use super::{Tree, TreeEntry, TreeKind, path, wire};

/// The longest file that is read, in bytes.
const FILE_BYTES_MAX: usize = 4 * 1024 * 1024;
const CONTENTS_READ: &str = "contents: read";
/// The deepest folder that is gone down to.
const DEPTH_MAX: usize = 32;

impl GitHub {
    /// The commit of a branch; `None` where there is no such branch.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn branch(&self, name: &str) -> Result<Option<String>, Error> {
        let Some(name) = path::segments(name) else { return Ok(None) };
        let call = Call::get(self.at(&format!("/git/ref/heads/{name}")), CONTENTS_READ);
        let reference: Option<wire::Reference> = found(self.read(&call, self.deadline()).await)?;
        match reference {
            None => Ok(None),
            Some(reference) if reference.object.r#type == "commit" => Ok(Some(reference.object.sha)),
            Some(_) => Err(self.transport().garbled(&call, "a branch leads to something that is no commit")),
        }
    }

    /// A file at a commit, of 4 MiB at most; `None` where there is none.
    ///
    /// # Errors
    /// [`Error`]; [`Error::NotAFile`] for a folder.
    pub async fn contents(&self, file: &str, commit: &str) -> Result<Option<Vec<u8>>, Error> {
        let not_a_file = || Error::NotAFile { path: file.to_owned() };
        let encoded = path::segments(file).ok_or_else(not_a_file)?;
        let target = self.at(&format!("/contents/{encoded}?ref={}", path::segment(commit)));
        let call = Call { accept: RAW, bytes_max: FILE_BYTES_MAX, ..Call::get(target, CONTENTS_READ) };
        let answer = found(self.transport().call(&call, self.deadline()).await)?;
        match answer {
            None => Ok(None),
            // A folder is listed in JSON, whatever was asked for; a file says that it is raw.
            Some(answer) if is_json(&answer.content_type) => Err(not_a_file()),
            Some(answer) => Ok(Some(answer.body.to_vec())),
        }
    }

    /// Everything below a folder at a commit, at every depth; the empty name is the root. A folder that
    /// is not there has nothing in it.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn tree(&self, commit: &str, folder: &str) -> Result<Tree, Error> {
        let deadline = self.deadline();
        let mut sha = commit.to_owned();
        let steps: Vec<&str> = if folder.is_empty() { Vec::new() } else { folder.split('/').collect() };
        if steps.len() > DEPTH_MAX || steps.iter().any(|step| matches!(*step, "" | "." | "..")) {
            return Err(Error::NotAFile { path: folder.to_owned() });
        }
        for step in steps {
            let call = Call::get(self.at(&format!("/git/trees/{}", path::segment(&sha))), CONTENTS_READ);
            let listed: wire::Tree = self.read(&call, deadline).await?;
            let below = listed.tree.into_iter().find(|entry| entry.path == step);
            match below.filter(|entry| kind(&entry.mode) == Some(TreeKind::Folder)) {
                Some(entry) => sha = entry.sha,
                // What is not there cannot be told from what was cut off.
                None => return Ok(Tree { entries: Vec::new(), complete: !listed.truncated }),
            }
        }
        let target = self.at(&format!("/git/trees/{}?recursive=1", path::segment(&sha)));
        let call = Call::get(target, CONTENTS_READ);
        let listed: wire::Tree = self.read(&call, deadline).await?;
        let entries = listed.tree.into_iter().map(|entry| {
            let kind = kind(&entry.mode)
                .ok_or_else(|| self.transport().garbled(&call, &format!("the mode `{}`", entry.mode)))?;
            let path = if folder.is_empty() { entry.path } else { format!("{folder}/{}", entry.path) };
            Ok(TreeEntry { path, kind, sha: entry.sha, bytes: entry.size })
        });
        Ok(Tree { entries: entries.collect::<Result<_, Error>>()?, complete: !listed.truncated })
    }

    /// The content with this id, of 4 MiB at most.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn blob(&self, sha: &str) -> Result<Vec<u8>, Error> {
        let target = self.at(&format!("/git/blobs/{}", path::segment(sha)));
        let call = Call { accept: RAW, bytes_max: FILE_BYTES_MAX, ..Call::get(target, CONTENTS_READ) };
        let answer = self.transport().call(&call, self.deadline()).await?;
        if is_json(&answer.content_type) {
            return Err(self.transport().garbled(&call, "it is JSON, and the raw content was asked for"));
        }
        Ok(answer.body.to_vec())
    }
}

fn is_json(content_type: &str) -> bool {
    content_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}

/// What git's file mode says.
fn kind(mode: &str) -> Option<TreeKind> {
    Some(match mode {
        "100644" | "100664" => TreeKind::File,
        "100755" => TreeKind::Executable,
        "120000" => TreeKind::Symlink,
        "160000" => TreeKind::Submodule,
        "040000" | "40000" => TreeKind::Folder,
        _ => return None,
    })
}
