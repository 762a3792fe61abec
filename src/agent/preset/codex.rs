//! Codex, without a person.
//!
//! It is wired as a provider of its own in `config.toml`: the address in `OPENAI_BASE_URL` is ignored, and
//! the built-in provider tries a WebSocket first. It asks for no output cap; the meter gives it one.

use std::ffi::OsString;

use super::{
    FirstRequest, HomeFile, Launch, Manager, Package, PresetError, Search, Told, Wiring, quoted, strings,
};
use crate::agent::output::Format;
use crate::preset::Preset;

/// The version that the preset was measured with.
pub const PACKAGE: Package =
    Package { program: "codex", manager: Manager::Npm, name: "@openai/codex", version: "0.169.0", with: &[] };
/// 56 kB, of which 25 are tools.
pub(super) const FIRST: FirstRequest = FirstRequest { sized: 84_000, counted: 20_000 };

pub(super) fn launch(told: &Told, wiring: &Wiring<'_>, search: &Search<'_>) -> Result<Launch, PresetError> {
    let own = ["exec", "--json", "--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check"];
    let own = own.into_iter().chain(["--model", wiring.model.as_str()]).map(OsString::from);
    let args = own.chain(strings(&told.args)).chain(["--".into(), (&told.prompt).into()]).collect();
    let program = search.package(Preset::Codex, &PACKAGE)?;
    let files = vec![HomeFile::new(".codex/config.toml", config(wiring))];
    Ok(Launch { program, args, env: Vec::new(), files, format: Format::CodexJson })
}

fn config(wiring: &Wiring<'_>) -> String {
    let url = quoted(&format!("{}/v1", wiring.base_url));
    // Web searches are run by the provider, which `on: { server_tools }` refuses: Codex offers one with
    // every request for a model that it does not know. A request that failed is tried four times by itself,
    // and a stream that broke five times.
    format!(
        "model_provider = \"tollgate\"\n\
         check_for_update_on_startup = false\n\
         web_search = \"disabled\"\n\
         \n\
         [analytics]\n\
         enabled = false\n\
         \n\
         [model_providers.tollgate]\n\
         name = \"tollgate\"\n\
         base_url = {url}\n\
         env_key = \"OPENAI_API_KEY\"\n\
         wire_api = \"responses\"\n\
         request_max_retries = 2\n\
         stream_max_retries = 1\n"
    )
}
