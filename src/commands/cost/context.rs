//! What an item says of its request, and of an answer that is recorded whole: what usage objects leave out.
//!
//! `request_context` holds fields of the request under their own names, and what only an invoice or a log
//! tells: calls of the provider's tools, the hour, the place. Calls may be counts, or the lists themselves.

use serde_json::{Map, Value};

use super::Item;
use crate::tokens::{Calls, Region};

/// Calls of web search, by the names that APIs and logs have for them.
const WEB_SEARCHES: [&str; 4] =
    ["web_search_calls", "web_search_requests", "web_searches", "web_search_call"];
/// Queries that an answer of Gemini's was grounded by.
const QUERIES: [&str; 5] = [
    "grounding_queries",
    "webSearchQueries",
    "web_search_queries",
    "google_search_queries",
    "search_queries",
];
const FILE_SEARCHES: [&str; 3] = ["file_search_calls", "file_searches", "file_search_call"];
const PREVIEW_SEARCHES: [&str; 2] = ["web_search_preview_calls", "preview_searches"];
const CONTAINERS: [&str; 3] = ["containers", "container_sessions", "code_interpreter_sessions"];

impl Item {
    /// The item with what an answer that is recorded whole says where the item itself says nothing. The
    /// answer's model is the one that is billed.
    pub(super) fn unfolded(mut self) -> Self {
        let Value::Object(mut response) = std::mem::take(&mut self.response) else { return self };
        let mut taken = |names: &[&str]| -> Value {
            names.iter().find_map(|name| response.remove(*name)).unwrap_or_default()
        };
        if self.usage.is_null() {
            self.usage = taken(&["usage", "usageMetadata"]);
        }
        let text = |value: Value| value.as_str().map(str::to_owned);
        let list = |value: Value| if let Value::Array(list) = value { Some(list) } else { None };
        self.model = text(taken(&["model", "modelVersion"])).filter(|model| !model.is_empty()).or(self.model);
        self.service_tier = self.service_tier.or(text(taken(&["service_tier", "serviceTier"])));
        self.stop_reason = self.stop_reason.or(text(taken(&["stop_reason"])));
        self.content = self.content.or(list(taken(&["content"])));
        self.output = self.output.or(list(taken(&["output"])));
        self.candidates = self.candidates.or(list(taken(&["candidates"])));
        self
    }

    /// A text of the request. `auto` says what may be served, and not what was.
    pub(super) fn asked(&self, field: &str) -> Option<&str> {
        self.request_context[field].as_str().filter(|text| !matches!(*text, "" | "auto" | "standard_only"))
    }

    /// The tier that was asked for, where the answer does not say which was served.
    pub(super) fn asked_tier(&self) -> Option<&str> {
        let batch = self.request_context["batch"] == true;
        self.asked("service_tier").or_else(|| self.asked("processing")).or(batch.then_some("batch"))
    }

    /// Whether the request was refused before any output, as far as the item says: that is not billed.
    pub(super) fn refused_before_output(&self) -> bool {
        let context = &self.request_context;
        let stop = self.stop_reason.as_deref().or_else(|| context["stop_reason"].as_str());
        let given = context["content"].as_array().map(Vec::is_empty);
        let empty = self.content.as_ref().map(Vec::is_empty).or(given);
        context["refused_pre_output"] == true || (stop == Some("refusal") && empty == Some(true))
    }

    /// Web searches that the request caused, as far as the item says so.
    pub(super) fn web_searches(&self) -> u64 {
        first(&self.request_context, &WEB_SEARCHES)
    }

    /// Queries that the answer was grounded by.
    pub(super) fn queries(&self) -> u64 {
        let grounded = self.candidates.iter().flatten().filter_map(|candidate| {
            let queries = candidate["groundingMetadata"]["webSearchQueries"].as_array()?;
            u64::try_from(queries.len()).ok()
        });
        let context = &self.request_context;
        let told = first(context, &QUERIES).max(first(&context["groundingMetadata"], &QUERIES));
        grounded.max().unwrap_or(0).max(told)
    }

    /// Further calls of the provider's tools.
    pub(super) fn calls(&self) -> Calls {
        let context = &self.request_context;
        Calls {
            file_searches: first(context, &FILE_SEARCHES),
            preview_searches: first(context, &PREVIEW_SEARCHES),
            containers: first(context, &CONTAINERS),
        }
    }

    /// Whether the request offers a web search of the older kind.
    pub(super) fn previews(&self) -> bool {
        let tools = self.request_context["tools"].as_array().into_iter().flatten();
        let mut kinds = tools.filter_map(|tool| tool["type"].as_str().or(tool.as_str()));
        kinds.any(|kind| kind.starts_with("web_search_preview"))
    }

    /// Where the request says that it was kept: by an endpoint of a region, or by the region's name.
    pub(super) fn region(&self) -> Region {
        let context = &self.request_context;
        let channel = |name: &str| [&self.provider, &self.api].into_iter().flatten().any(|said| said == name);
        if context["regional"] == true || channel("bedrock_mantle") {
            return Region::Regional;
        }
        if context["data_zone"] == "us" {
            return Region::Us;
        }
        let named = ["region", "location"].into_iter().find_map(|field| context[field].as_str());
        match named {
            None | Some("global" | "") => Region::Global,
            Some(region) if region.starts_with("us-gov") => Region::UsGov,
            Some("regional" | "multi_region" | "multi-region") => Region::Regional,
            Some(_) if channel("vertex") => Region::Regional,
            // Elsewhere a region says where the request was sent, and the model's name whether it stays there.
            Some(_) => Region::Global,
        }
    }

    /// Terms that the request asked for, in Anthropic's words.
    pub(super) fn asked_terms(&self) -> Map<String, Value> {
        let mut asked = Map::new();
        if let Some(tier) = self.asked_tier() {
            asked.insert("service_tier".to_owned(), tier.into());
        }
        for field in ["speed", "inference_geo"] {
            if let Some(value) = self.asked(field) {
                asked.insert(field.to_owned(), value.into());
            }
        }
        asked
    }
}

/// The first of these fields that is a count, or a list that has one; among the context's own fields, or among
/// its calls.
fn first(context: &Value, names: &[&str]) -> u64 {
    let length = |list: &Vec<Value>| u64::try_from(list.len()).unwrap_or(u64::MAX);
    let count = |value: &Value| value.as_u64().or_else(|| value.as_array().map(length));
    let places = [context, &context["calls"], &context["tool_calls"]];
    let found = |place: &&Value| names.iter().find_map(|name| count(&place[*name]));
    places.iter().find_map(found).unwrap_or(0)
}

/// Whether a part of a request marks this cache lifetime, at any depth.
pub(super) fn marks_lifetime(value: &Value, lifetime: &str) -> bool {
    match value {
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            let names = name.contains("ttl") || name.contains("retention");
            let is_it = value == lifetime || (name.contains(lifetime) && value == true);
            (names && is_it) || marks_lifetime(value, lifetime)
        }),
        Value::Array(values) => values.iter().any(|value| marks_lifetime(value, lifetime)),
        _ => false,
    }
}
