//! Claude Code, without a person. Its variables are among those that every agent gets.

use std::ffi::OsString;

use super::{FirstRequest, Launch, Manager, Package, PresetError, Search, Told, Wiring, strings};
use crate::agent::output::Format;
use crate::preset::Preset;

/// The version that the preset was measured with.
pub const PACKAGE: Package = Package {
    program: "claude",
    manager: Manager::Npm,
    name: "@anthropic-ai/claude-code",
    version: "2.1.197",
    with: &[],
};
/// 77 kB.
pub(super) const FIRST: FirstRequest = FirstRequest { sized: 80_000, counted: 27_000 };

pub(super) fn launch(told: &Told, wiring: &Wiring<'_>, search: &Search<'_>) -> Result<Launch, PresetError> {
    let mut env = Vec::new();
    if search.root {
        // Without it Claude Code refuses to skip permissions as root, and exits 1.
        env.push(("IS_SANDBOX", "1".to_owned()));
    }
    let own = ["-p", "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions"];
    let own = own.into_iter().chain(["--model", wiring.model.as_str()]).map(OsString::from);
    // The prompt comes last and behind `--`, so that it is never read as an option.
    let args = own.chain(strings(&told.args)).chain(["--".into(), (&told.prompt).into()]).collect();
    let program = search.package(Preset::Claude, &PACKAGE)?;
    Ok(Launch { program, args, env, files: Vec::new(), format: Format::ClaudeStream })
}
