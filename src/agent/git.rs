//! The system's git as the agent's neighbours use it: found beforehand by its absolute path, with nobody's
//! configuration, environment, hooks or monitors, with a limit on its time and on what it prints.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;

/// How long one git command may take.
const GIT_TIME_MAX: Duration = Duration::from_secs(30);
/// The longest list of files that is read, in bytes.
const LIST_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Why git gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// It failed, took too long or could not be started.
    #[error("`git {command}` {how}")]
    Failed {
        /// The subcommand.
        command: String,
        /// What happened, with what git said.
        how: String,
    },
    /// There are more names than are read.
    #[error("the agent has changed more files than can be listed")]
    TooManyNames,
}

/// Git without anybody's configuration or environment, and without a key to steal from it.
pub(super) fn bare(git: &Path) -> Command {
    let mut command = Command::new(git);
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LC_ALL", "C")
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// What a git command prints.
pub(super) async fn output(command: Command) -> Result<Vec<u8>, GitError> {
    let mut bytes = Vec::new();
    if run(command, LIST_BYTES_MAX, &mut bytes).await? > LIST_BYTES_MAX {
        return Err(GitError::TooManyNames);
    }
    Ok(bytes)
}

/// Runs a git command and passes on what it prints; how many bytes, or more than `bytes_max` when it
/// printed more and was stopped there.
pub(super) async fn run(mut command: Command, bytes_max: u64, out: &mut dyn Write) -> Result<u64, GitError> {
    let name = command.as_std().get_args().find(|arg| is_subcommand(arg)).unwrap_or_default();
    let name = name.to_string_lossy().into_owned();
    let failed = |how: String| GitError::Failed { command: name.clone(), how };
    let mut child = command.spawn().map_err(|error| failed(format!("could not be started: {error}")))?;
    let mut stdout = child.stdout.take().expect("standard output is piped");
    let mut stderr = child.stderr.take().expect("standard error is piped");
    let read = async {
        let mut chunk = vec![0_u8; 64 * 1024];
        let mut count = 0_u64;
        loop {
            let got = stdout.read(&mut chunk).await?;
            count += got as u64;
            if got == 0 || count > bytes_max {
                return Ok::<u64, io::Error>(count);
            }
            out.write_all(&chunk[..got])?;
        }
    };
    let complain = async {
        let mut said = Vec::new();
        let _ = (&mut stderr).take(4096).read_to_end(&mut said).await;
        // The rest is read and dropped, so that git never waits for a reader.
        let mut chunk = vec![0_u8; 4096];
        while matches!(stderr.read(&mut chunk).await, Ok(count) if count > 0) {}
        said
    };
    let work = async {
        // More than is wanted ends the wait for its standard error, too.
        let mut read = std::pin::pin!(read);
        let mut complain = std::pin::pin!(complain);
        tokio::select! {
            count = &mut read => match count? {
                count if count > bytes_max => Ok((count, Vec::new())),
                count => Ok((count, complain.await)),
            },
            said = &mut complain => Ok::<_, io::Error>((read.await?, said)),
        }
    };
    let done = tokio::time::timeout(GIT_TIME_MAX, work).await;
    let (count, said) = done
        .map_err(|_| failed(format!("took longer than {} s", GIT_TIME_MAX.as_secs())))?
        .map_err(|error| failed(format!("could not be read: {error}")))?;
    if count > bytes_max {
        return Ok(count);
    }
    let status = child.wait().await.map_err(|error| failed(format!("was lost: {error}")))?;
    if status.success() {
        return Ok(count);
    }
    let said = String::from_utf8_lossy(&said).trim().replace('\n', "; ");
    Err(failed(format!("failed: {}", if said.is_empty() { status.to_string() } else { said })))
}

fn is_subcommand(arg: &OsStr) -> bool {
    let bytes = arg.as_bytes();
    !bytes.starts_with(b"-") && !bytes.contains(&b'=')
}

/// Bytes as a name.
pub(super) fn os(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}
