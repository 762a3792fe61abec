//! mini-swe-agent, without a person, at the API that the model is asked for in.
//!
//! It goes by litellm, whose variables for addresses are among those that every agent gets. An answer
//! without any usage makes it crash, so that a stop says one token each way; an answer without a tool call
//! it takes for a mistake, and gives up after the third.

use std::ffi::OsString;

use super::{FirstRequest, Launch, Manager, Package, PresetError, Search, Told, Wiring, litellm, strings};
use crate::agent::output::Format;
use crate::model::Vendor;
use crate::preset::Preset;

/// The version that the preset was measured with.
pub const PACKAGE: Package = Package {
    program: "mini",
    manager: Manager::Pip,
    name: "mini-swe-agent",
    version: "2.4.6",
    // Imported by litellm, which does not ask for it.
    with: &["mcp==2.3.0"],
};
/// 4 kB; the rest is for a longer prompt.
pub(super) const FIRST: FirstRequest = FirstRequest { sized: 16_000, counted: 8_000 };

pub(super) fn launch(told: &Told, wiring: &Wiring<'_>, search: &Search<'_>) -> Result<Launch, PresetError> {
    let trajectory = wiring.home.join("trajectory.json");
    let mut own: Vec<OsString> =
        ["--yolo", "--exit-immediately", "--cost-limit", "0"].map(OsString::from).to_vec();
    own.extend([OsString::from("--output"), trajectory.into_os_string()]);
    own.extend([
        OsString::from("--model"),
        litellm::model(wiring.model).into(),
        "--config".into(),
        "mini.yaml".into(),
    ]);
    if Vendor::of(wiring.model) == Vendor::Anthropic {
        // litellm fills in the most that the model gives. The other APIs need no cap; the meter gives one.
        let cap = format!("model.model_kwargs.max_tokens={}", wiring.output_tokens_max);
        own.extend([OsString::from("--config"), cap.into()]);
    }
    let task = OsString::from(format!("--task={}", told.prompt));
    let args = own.into_iter().chain(strings(&told.args)).chain([task]).collect();
    let env = [
        ("MSWEA_CONFIGURED", "true"),
        // Our models may be newer than its price list.
        ("MSWEA_COST_TRACKING", "ignore_errors"),
        ("MSWEA_MODEL_RETRY_STOP_AFTER_ATTEMPT", "3"),
        ("MSWEA_SILENT_STARTUP", "1"),
        // Its text is folded at the width of a terminal that is not there.
        ("COLUMNS", "200"),
    ];
    let env = env.into_iter().chain(litellm::ENV).map(|(name, value)| (name, value.to_owned())).collect();
    let program = search.package(Preset::Mini, &PACKAGE)?;
    Ok(Launch { program, args, env, files: Vec::new(), format: Format::Mini })
}
