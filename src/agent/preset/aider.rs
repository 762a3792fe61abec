//! aider, with one message and without a person, at the API that the model is asked for in.
//!
//! It goes by litellm, whose variables for addresses are among those that every agent gets. Its files are
//! kept out of the checkout, as far as it lets them, and it commits nothing: its work is a patch.

use std::ffi::OsString;

use serde_json::{Map, Value, json};

use super::{
    FirstRequest, HomeFile, Launch, Manager, Package, PresetError, Search, Told, Wiring, litellm, quoted,
    strings,
};
use crate::agent::output::Format;
use crate::model::Vendor;
use crate::preset::Preset;

/// The version that the preset was measured with.
pub const PACKAGE: Package =
    Package { program: "aider", manager: Manager::Pip, name: "aider-chat", version: "0.86.2", with: &[] };
/// 4 kB, and a map of the repository.
pub(super) const FIRST: FirstRequest = FirstRequest { sized: 24_000, counted: 9_000 };

/// Where its settings for models are, below its home.
const SETTINGS: &str = ".aider.tollgate.yml";

const FLAGS: [&str; 15] = [
    "--yes-always",
    "--no-analytics",
    "--no-auto-commits",
    "--no-check-update",
    "--no-detect-urls",
    "--no-dirty-commits",
    "--no-fancy-input",
    "--no-gitignore",
    "--no-pretty",
    "--no-show-model-warnings",
    "--no-show-release-notes",
    "--no-suggest-shell-commands",
    "--chat-history-file",
    "--input-history-file",
    "--model-settings-file",
];

pub(super) fn launch(told: &Told, wiring: &Wiring<'_>, search: &Search<'_>) -> Result<Launch, PresetError> {
    let home = |name: &str| wiring.home.join(name).into_os_string();
    let (flags, with_file) = FLAGS.split_at(FLAGS.len() - 3);
    let mut own: Vec<OsString> = flags.iter().map(OsString::from).collect();
    for (flag, file) in with_file.iter().zip([".aider.chat.md", ".aider.input", SETTINGS]) {
        own.extend([OsString::from(flag), home(file)]);
    }
    for (flag, model) in [("--model", wiring.model), ("--weak-model", wiring.small_model)] {
        own.extend([OsString::from(flag), litellm::model(model).into()]);
    }
    let message = OsString::from(format!("--message={}", told.prompt));
    let args = own.into_iter().chain(strings(&told.args)).chain([message]).collect();
    let env = litellm::ENV.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
    let program = search.package(Preset::Aider, &PACKAGE)?;
    let files = vec![
        HomeFile::new(SETTINGS, settings(wiring)),
        HomeFile::new(".aider/caches/model_prices_and_context_window.json", prices(wiring)),
    ];
    Ok(Launch { program, args, env, files, format: Format::Aider })
}

/// Models newer than it get whole files for every edit, and a temperature, which the newest refuse.
fn settings(wiring: &Wiring<'_>) -> String {
    let mut text = String::new();
    for model in [wiring.model, wiring.small_model] {
        text.push_str(&format!(
            "- name: {}\n  edit_format: diff\n  use_repo_map: true\n  use_temperature: false\n",
            quoted(&litellm::model(model))
        ));
        if Vendor::of(model) == Vendor::Anthropic {
            // litellm fills in the most that the model gives. The other APIs need no cap; the meter gives one.
            text.push_str(&format!("  extra_params:\n    max_tokens: {}\n", wiring.output_tokens_max));
        }
        if wiring.small_model == wiring.model {
            break;
        }
    }
    text
}

/// What aider else fetches at every start, from a host that is none of ours. Prices are the meter's business.
fn prices(wiring: &Wiring<'_>) -> String {
    let mut models: Map<String, Value> = Map::new();
    for model in [wiring.model, wiring.small_model] {
        let limits = json!({
            "max_input_tokens": wiring.window_tokens,
            "max_output_tokens": wiring.output_tokens_max,
            "max_tokens": wiring.output_tokens_max,
            "litellm_provider": Vendor::of(model).as_str(),
            "mode": "chat",
        });
        models.insert(litellm::model(model), limits);
    }
    format!("{:#}\n", Value::Object(models))
}
