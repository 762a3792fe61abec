//! Gemini CLI, without a person. It asks for no output cap; the meter gives it one.

use std::ffi::OsString;

use serde_json::json;

use super::{FirstRequest, HomeFile, Launch, Manager, Package, PresetError, Search, Told, Wiring, strings};
use crate::agent::output::Format;
use crate::preset::Preset;

/// The version that the preset was measured with.
pub const PACKAGE: Package = Package {
    program: "gemini",
    manager: Manager::Npm,
    name: "@google/gemini-cli",
    version: "0.61.0",
    with: &[],
};
/// 48 kB, of which 14 are tools.
pub(super) const FIRST: FirstRequest = FirstRequest { sized: 68_000, counted: 17_000 };

pub(super) fn launch(told: &Told, wiring: &Wiring<'_>, search: &Search<'_>) -> Result<Launch, PresetError> {
    // A folder that nobody has trusted ends it with exit code 55. With a model named it asks no router.
    let own = ["--yolo", "--skip-trust", "--output-format", "stream-json"];
    let own = own.into_iter().chain(["--model", wiring.model.as_str()]).map(OsString::from);
    // In one word with its option, so that it is never read as one.
    let prompt = OsString::from(format!("--prompt={}", told.prompt));
    let args = own.chain(strings(&told.args)).chain([prompt]).collect();
    // Otherwise it starts itself again below a launcher that passes no signal on.
    let env = vec![("GEMINI_CLI_NO_RELAUNCH", "true".to_owned())];
    let program = search.package(Preset::Gemini, &PACKAGE)?;
    let files = vec![HomeFile::new(".gemini/settings.json", settings())];
    Ok(Launch { program, args, env, files, format: Format::GeminiStream })
}

fn settings() -> String {
    let settings = json!({
        "security": { "auth": { "selectedType": "gemini-api-key" } },
        // Ten tries last more than two minutes.
        "general": { "maxAttempts": 3, "enableAutoUpdate": false, "enableAutoUpdateNotification": false },
        "privacy": { "usageStatisticsEnabled": false },
        "telemetry": { "enabled": false },
    });
    format!("{settings:#}\n")
}
