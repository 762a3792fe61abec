//! What an item to price used: the API is told by the shape of its usage, and by its name where shapes are
//! alike.

use serde_json::Value;

use super::Item;
use super::context::marks_lifetime;
use crate::model::ModelId;
use crate::provider::{anthropic, converse, gemini, openai};
use crate::tokens::{Region, Terms, Usage};

/// Whose names a usage object uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Api {
    Anthropic,
    OpenAi,
    Gemini,
    Converse,
}

/// The usage of an item, or why there is none.
pub(super) fn usage(item: &Item) -> Result<(Api, Usage), String> {
    let api = api(item)?;
    let model = item.model.as_deref().or_else(|| named_model(item, api));
    let model = ModelId::new(model.ok_or_else(|| "the model is missing".to_owned())?);
    let usage = match api {
        Api::Anthropic => from_anthropic(item, &model),
        Api::OpenAi => from_openai(item, &model),
        Api::Gemini => from_gemini(item, &model),
        Api::Converse => {
            let terms = Terms { region: item.region(), ..Terms::default() };
            let hour = marks_lifetime(&item.request_context, "1h");
            converse::usage(&model, converse_usage(item)?, hour, terms).map_err(|error| error.to_string())
        }
    };
    Ok((api, usage?))
}

/// The API by the fields of the usage; by name where there is none, or where it has those that Anthropic's
/// and OpenAI's share.
fn api(item: &Item) -> Result<Api, String> {
    let has = |fields: &[&str]| fields.iter().any(|field| item.usage.get(field).is_some());
    if has(&["promptTokenCount", "candidatesTokenCount", "totalTokenCount", "total_input_tokens"]) {
        return Ok(Api::Gemini);
    }
    if has(&["inputTokens", "outputTokens"]) {
        return Ok(Api::Converse);
    }
    if has(&["prompt_tokens", "completion_tokens", "input_tokens_details", "output_tokens_details"])
        && !has(&["cache_creation", "cache_read_input_tokens", "iterations", "server_tool_use"])
        && item.api.as_deref() != Some("anthropic")
    {
        return Ok(Api::OpenAi);
    }
    let named = |name: &str| match name {
        "anthropic" | "messages" => Some(Api::Anthropic),
        "responses" | "chat" | "completions" | "chat_completions" | "openai" | "openai_responses"
        | "openai_chat" | "azure" | "openrouter" | "xai" => Some(Api::OpenAi),
        "gemini" | "google" => Some(Api::Gemini),
        "converse" => Some(Api::Converse),
        _ => None,
    };
    let by_name = item.api.as_deref().and_then(named).or_else(|| item.provider.as_deref().and_then(named));
    match (by_name, item.api.as_deref().or(item.provider.as_deref())) {
        (Some(api), _) => Ok(api),
        (None, None) => Ok(Api::Anthropic),
        // Clouds and compatible servers: what is left has Anthropic's names, or none.
        (None, Some("bedrock" | "vertex" | "foundry" | "other" | "aws" | "gcp")) => Ok(Api::Anthropic),
        (None, Some(other)) if item.usage.is_null() && item.events.is_none() => {
            Err(format!("the API `{other}` is not supported yet"))
        }
        (None, Some(other)) if !has(&["input_tokens"]) => {
            Err(format!("the API `{other}` is not supported yet"))
        }
        (None, Some(_)) => Ok(Api::Anthropic),
    }
}

/// The model that the events of a stream name.
fn named_model(item: &Item, api: Api) -> Option<&str> {
    let mut events = item.events.iter().flatten();
    events.find_map(|event| match api {
        Api::Anthropic => event["message"]["model"].as_str(),
        Api::OpenAi => event["response"]["model"].as_str().or(event["model"].as_str()),
        Api::Gemini => event["modelVersion"].as_str(),
        Api::Converse => None,
    })
}

/// A stream of Converse says its usage in its last event, among what it calls metadata.
fn converse_usage(item: &Item) -> Result<&Value, String> {
    let Some(events) = &item.events else { return given(item) };
    let mut told = events.iter().rev().map(|event| &event["metadata"]["usage"]);
    let usage = told.find(|usage| !usage.is_null());
    usage.ok_or_else(|| "the stream broke off before its usage".to_owned())
}

fn given(item: &Item) -> Result<&Value, String> {
    if item.usage.is_null() { Err("the usage is missing".to_owned()) } else { Ok(&item.usage) }
}

fn from_openai(item: &Item, model: &ModelId) -> Result<Usage, String> {
    let mut merge = openai::usage::Merge::new(model, marks_lifetime(&item.request_context, "12h"));
    merge.region(item.region());
    // What was served counts, where it is said; what was asked for elsewhere.
    if let Some(tier) = item.service_tier.as_deref().or(item.asked_tier()) {
        merge.tier(tier);
    }
    merge.called(item.web_searches(), item.calls());
    if item.previews() {
        merge.preview_searches();
    }
    for output in item.output.iter().flatten() {
        merge.item(output["type"].as_str().unwrap_or_default());
    }
    let Some(events) = &item.events else {
        merge.take(given(item)?).map_err(|error| error.to_string())?;
        return merge.finish().map_err(|error| error.to_string());
    };
    let mut counted = false;
    let ended = |event: &&Value| event["response"]["output"].as_array().is_some_and(|list| !list.is_empty());
    // Each item comes when it is done, and all of them again at the end, unless a recording leaves that out.
    let item_by_item = !events.iter().any(|event| ended(&event));
    for event in events {
        if item_by_item && event["type"] == "response.output_item.done" {
            merge.item(event["item"]["type"].as_str().unwrap_or_default());
        }
        // A Responses event holds the response, a chunk of a chat is one itself.
        let response = event.get("response").unwrap_or(event);
        if let Some(model) = response["model"].as_str() {
            merge.model(model);
        }
        if let Some(tier) = response["service_tier"].as_str().filter(|tier| *tier != "auto") {
            merge.tier(tier);
        }
        for output in response["output"].as_array().into_iter().flatten() {
            merge.item(output["type"].as_str().unwrap_or_default());
        }
        if !response["usage"].is_null() {
            merge.take(&response["usage"]).map_err(|error| error.to_string())?;
            counted = true;
        }
    }
    if !counted {
        return Err(
            "the stream has no usage: it broke off, or `stream_options.include_usage` was not asked \
                    for"
            .to_owned(),
        );
    }
    merge.finish().map_err(|error| error.to_string())
}

fn from_gemini(item: &Item, model: &ModelId) -> Result<Usage, String> {
    let mut merge = gemini::usage::Merge::new(model);
    merge.region(item.region());
    if let Some(tier) = item.service_tier.as_deref().or(item.asked_tier()) {
        merge.tier(tier);
    }
    merge.grounded(item.queries());
    let Some(events) = &item.events else {
        merge.take(given(item)?).map_err(|error| error.to_string())?;
        return merge.finish().map_err(|error| error.to_string());
    };
    let (mut answered, mut finished) = (false, false);
    for event in events {
        if let Some(model) = event["modelVersion"].as_str() {
            merge.model(model);
        }
        for candidate in event["candidates"].as_array().into_iter().flatten() {
            answered = true;
            finished |= candidate["finishReason"].is_string();
            let queries = candidate["groundingMetadata"]["webSearchQueries"].as_array();
            merge.grounded(queries.map_or(0, |queries| u64::try_from(queries.len()).unwrap_or(u64::MAX)));
        }
        if !event["usageMetadata"].is_null() {
            merge.take(&event["usageMetadata"]).map_err(|error| error.to_string())?;
        }
    }
    if answered && !finished {
        return Err("the stream broke off before its final usage: its output is not known".to_owned());
    }
    merge.finish().map_err(|error| error.to_string())
}

fn from_anthropic(item: &Item, model: &ModelId) -> Result<Usage, String> {
    let hour = marks_lifetime(&item.request_context, "1h");
    let mut merge = anthropic::usage::Merge::new(model, hour);
    // Terms that the request asked for hold where the usage does not say what was served.
    merge.take(&Value::Object(item.asked_terms())).map_err(|error| error.to_string())?;
    let mut usage = match &item.events {
        Some(events) => from_anthropic_events(merge, events),
        None => from_anthropic_object(merge, item),
    }?;
    let kept = item.region();
    for line in usage.lines.iter_mut().filter(|line| line.terms.region == Region::Global) {
        line.terms.region = kept.clone();
    }
    Ok(usage)
}

fn from_anthropic_object(mut merge: anthropic::usage::Merge, item: &Item) -> Result<Usage, String> {
    merge.take(given(item)?).map_err(|error| error.to_string())?;
    merge.finish(item.refused_before_output()).map_err(|error| error.to_string())
}

/// The usage of a stream's events. Only a `message_delta` tells the output: the count in
/// `message_start` is a placeholder.
fn from_anthropic_events(mut merge: anthropic::usage::Merge, events: &[Value]) -> Result<Usage, String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut counted = None;
    let mut refused = false;
    let mut any_content = false;
    for event in events {
        match event["type"].as_str() {
            Some("message_start") => {
                let message = &event["message"];
                if let Some(model) = text(&message["model"]) {
                    merge.model(&model);
                }
                if !message["usage"].is_null() {
                    merge.take(&message["usage"]).map_err(|error| error.to_string())?;
                }
            }
            Some("message_delta") => {
                refused |= event["delta"]["stop_reason"] == "refusal";
                let usage = &event["usage"];
                if !usage.is_null() {
                    merge.take(usage).map_err(|error| error.to_string())?;
                    counted = usage["output_tokens"].as_u64().or(counted);
                }
            }
            Some("content_block_start" | "content_block_delta") => any_content = true,
            Some("error") if counted.is_none() => {
                return Err("the stream ended with an error before its final usage".to_owned());
            }
            _ => {}
        }
    }
    let Some(output) = counted else {
        return Err("the stream broke off before its final usage: its output is not known".to_owned());
    };
    // Recorded streams may leave the content out; a count above one tells that there was some.
    let nothing_said = !any_content && output <= 1;
    merge.finish(refused && nothing_said).map_err(|error| error.to_string())
}
