//! opencode, without a person, at the API that the model is asked for in.

use std::ffi::OsString;

use serde_json::{Map, Value, json};

use super::{FirstRequest, HomeFile, Launch, Manager, Package, PresetError, Search, Told, Wiring, strings};
use crate::agent::output::Format;
use crate::model::{ModelId, Vendor};
use crate::preset::Preset;

/// The version that the preset was measured with.
pub const PACKAGE: Package = Package {
    program: "opencode",
    manager: Manager::Npm,
    name: "opencode-ai",
    version: "1.18.33",
    with: &[],
};
/// 31 kB, of which 19 are tools.
pub(super) const FIRST: FirstRequest = FirstRequest { sized: 54_000, counted: 12_000 };

pub(super) fn launch(told: &Told, wiring: &Wiring<'_>, search: &Search<'_>) -> Result<Launch, PresetError> {
    let model = format!("{}/{}", provider(wiring.model), wiring.model);
    let own = ["run", "--format", "json", "--model"].map(OsString::from).into_iter().chain([model.into()]);
    let args = own.chain(strings(&told.args)).chain(["--".into(), (&told.prompt).into()]).collect();
    let env =
        ["OPENCODE_DISABLE_AUTOUPDATE", "OPENCODE_DISABLE_LSP_DOWNLOAD", "OPENCODE_DISABLE_MODELS_FETCH"];
    let env = env.map(|name| (name, "1".to_owned())).to_vec();
    let program = search.package(Preset::Opencode, &PACKAGE)?;
    let files = vec![HomeFile::new(".config/opencode/opencode.json", config(wiring))];
    Ok(Launch { program, args, env, files, format: Format::OpencodeJson })
}

/// The name under which opencode knows who serves a model.
fn provider(model: &ModelId) -> &'static str {
    match Vendor::maker(model) {
        // A cloud makes no models.
        Some(Vendor::Anthropic | Vendor::Vertex | Vendor::Bedrock) => "anthropic",
        Some(Vendor::OpenAi) => "openai",
        Some(Vendor::Gemini) => "google",
        None => "tollgate",
    }
}

fn config(wiring: &Wiring<'_>) -> String {
    let (main, small) = (provider(wiring.model), provider(wiring.small_model));
    let mut providers: Map<String, Value> = Map::new();
    for model in [wiring.model, wiring.small_model] {
        let entry = providers.entry(provider(model)).or_insert_with(|| served(model, wiring));
        // Without a limit opencode asks for 32,000 tokens each time, and for 48,000 where it wants a title.
        entry["models"][model.as_str()] = json!({
            "name": model.as_str(),
            "limit": { "context": wiring.window_tokens, "output": wiring.output_tokens_max },
        });
    }
    let config = json!({
        "$schema": "https://opencode.ai/config.json",
        "autoupdate": false,
        "share": "disabled",
        "permission": "allow",
        "model": format!("{main}/{}", wiring.model),
        "small_model": format!("{small}/{}", wiring.small_model),
        "enabled_providers": providers.keys().collect::<Vec<_>>(),
        "provider": providers,
    });
    format!("{config:#}\n")
}

fn served(model: &ModelId, wiring: &Wiring<'_>) -> Value {
    let version = if provider(model) == "google" { "v1beta" } else { "v1" };
    let mut provider = json!({
        "options": { "baseURL": format!("{}/{version}", wiring.base_url), "apiKey": wiring.token },
        "models": {},
    });
    if Vendor::maker(model).is_none() {
        provider["npm"] = json!("@ai-sdk/openai-compatible");
        provider["name"] = json!("tollgate");
    }
    provider
}
