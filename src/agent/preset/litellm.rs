//! litellm, the library by which Python agents reach every API.

use crate::model::{ModelId, Vendor};

/// Without it the price list is fetched at every start.
pub(super) const ENV: [(&str, &str); 1] = [("LITELLM_LOCAL_MODEL_COST_MAP", "True")];

/// The name under which litellm asks for a model: its API comes first.
pub(super) fn model(model: &ModelId) -> String {
    let api = match Vendor::of(model) {
        // A cloud makes no models.
        Vendor::Anthropic | Vendor::Vertex | Vendor::Bedrock => "anthropic",
        Vendor::OpenAi => "openai",
        Vendor::Gemini => "gemini",
    };
    format!("{api}/{model}")
}
