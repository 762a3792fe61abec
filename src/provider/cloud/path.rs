//! Paths of the two clouds: which model they name, where it is served, and what is asked of it.

use std::borrow::Cow;
use std::ops::Range;

use super::super::{Endpoint, is_model_name};
use super::Cloud;
use crate::tokens::Region;

/// What a path says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// The model as it is written, without escapes.
    pub(super) model: String,
    /// Where it stands in the path.
    pub(super) at: Range<usize>,
    /// Vertex's location; nothing with Bedrock, which has it in its address.
    pub(super) location: Option<String>,
    /// What is asked.
    pub(super) endpoint: Endpoint,
    /// Whether the answer is asked for as a stream of events.
    pub(super) stream: bool,
}

/// Geographic prefixes of Bedrock's inference profiles.
const PROFILES: [&str; 8] = ["us-gov.", "us.", "eu.", "apac.", "au.", "jp.", "ca.", "global."];

/// Reads a path; `None` for anything that is not on the list.
pub(super) fn read(cloud: Cloud, method: &str, path: &str) -> Option<Named> {
    let path = path.split_once('?').map_or(path, |(path, _query)| path);
    if method != "POST" {
        return None;
    }
    match cloud {
        Cloud::Vertex => vertex(path),
        Cloud::Bedrock => bedrock(path),
    }
}

/// `/v1/projects/P/locations/L/publishers/anthropic/models/M:rawPredict` (Google's page on Claude).
fn vertex(path: &str) -> Option<Named> {
    let rest = path.strip_prefix("/v1/projects/")?;
    let (project, rest) = rest.split_once("/locations/")?;
    let (location, rest) = rest.split_once("/publishers/anthropic/models/")?;
    let (model, verb) = rest.rsplit_once(':')?;
    if ![project, location, model].into_iter().all(is_model_name) {
        return None;
    }
    let (endpoint, stream) = match (model, verb) {
        ("count-tokens", "rawPredict") => (Endpoint::Count, false),
        (_, "rawPredict") => (Endpoint::Generate, false),
        (_, "streamRawPredict") => (Endpoint::Generate, true),
        _ => return None,
    };
    let start = path.len() - rest.len();
    Some(Named {
        model: model.to_owned(),
        at: start..start + model.len(),
        location: Some(location.to_owned()),
        endpoint,
        stream,
    })
}

/// `/model/ID/invoke` and its like (Bedrock's API reference). An id's colons and slashes may be escaped.
fn bedrock(path: &str) -> Option<Named> {
    let rest = path.strip_prefix("/model/")?;
    let (written, verb) = rest.split_once('/')?;
    let model = unescaped(written)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
    if model.is_empty() || model.starts_with('.') || !model.bytes().all(plain) || model.contains("..") {
        return None;
    }
    let (endpoint, stream) = match verb {
        "invoke" => (Endpoint::Generate, false),
        "invoke-with-response-stream" => (Endpoint::Generate, true),
        "count-tokens" => (Endpoint::Count, false),
        _ => return None,
    };
    let start = "/model/".len();
    Some(Named { model, at: start..start + written.len(), location: None, endpoint, stream })
}

/// The text without `%3A` and `%2F`; `None` where it has another escape.
fn unescaped(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        out.push(match after.get(..2)? {
            "3A" | "3a" => ':',
            "2F" | "2f" => '/',
            _ => return None,
        });
        rest = &after[2..];
    }
    out.push_str(rest);
    Some(out)
}

/// A model's id as a segment of a path.
pub(super) fn escaped(model: &str) -> String {
    model.replace(':', "%3A").replace('/', "%2F")
}

/// The name of the model that a Bedrock id runs: of an ARN its last part.
///
/// # Errors
/// Where the id is another name for a model that only its account knows.
pub(super) fn bedrock_model(id: &str) -> Result<&str, String> {
    let Some(arn) = id.strip_prefix("arn:") else { return Ok(id) };
    let (kind, name) = arn.rsplit_once('/').unwrap_or((arn, ""));
    let known = kind.ends_with(":inference-profile") || kind.ends_with(":foundation-model");
    if known && name.contains("anthropic.") {
        return Ok(name);
    }
    Err(format!(
        "`{id}` does not say which model it runs, so that what the request may cost cannot be said: name a model \
         or a system-defined inference profile, such as us.anthropic.claude-sonnet-5-5"
    ))
}

/// A Bedrock model's id without the geographic prefix of an inference profile.
pub(super) fn without_profile(id: &str) -> &str {
    let stripped = PROFILES.iter().find_map(|prefix| id.strip_prefix(prefix));
    stripped.filter(|rest| rest.starts_with("anthropic.")).unwrap_or(id)
}

/// Where a request is served, as far as it changes the price: Vertex by the location in the path, Bedrock by
/// the inference profile. `home` is where the endpoint is. A Bedrock model that is named by itself runs in the
/// endpoint's region, which counts as one that is kept there.
pub(super) fn region(named: &Named, model: &str, home: &Region) -> Region {
    match &named.location {
        Some(location) if location == "global" => Region::Global,
        Some(_) => Region::Regional,
        None if model.starts_with("global.") => Region::Global,
        None if model.starts_with("us-gov.") || *home == Region::UsGov => Region::UsGov,
        None => Region::Regional,
    }
}

/// The path with another model.
pub(super) fn with_model<'a>(path: &'a str, named: &Named, model: &str) -> Cow<'a, str> {
    let (before, after) = (&path[..named.at.start], &path[named.at.end..]);
    Cow::Owned(format!("{before}{}{after}", escaped(model)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vertex(path: &str) -> Option<(String, Option<String>, Endpoint, bool)> {
        let named = read(Cloud::Vertex, "POST", path)?;
        assert_eq!(&path[named.at.clone()], named.model);
        Some((named.model, named.location, named.endpoint, named.stream))
    }

    #[test]
    fn only_claude_on_vertex_is_on_the_list() {
        let at = |location: &str, model: &str| {
            format!("/v1/projects/p-1/locations/{location}/publishers/anthropic/models/{model}")
        };
        for (model, found, endpoint, stream) in [
            ("claude-sonnet-5-5:rawPredict", "claude-sonnet-5-5", Endpoint::Generate, false),
            ("claude-sonnet-5-5:streamRawPredict?beta=true", "claude-sonnet-5-5", Endpoint::Generate, true),
            ("claude-haiku-4-5@20251001:rawPredict", "claude-haiku-4-5@20251001", Endpoint::Generate, false),
            ("count-tokens:rawPredict", "count-tokens", Endpoint::Count, false),
        ] {
            let expected = (found.to_owned(), Some("us-east5".to_owned()), endpoint, stream);
            assert_eq!(vertex(&at("us-east5", model)), Some(expected), "{model}");
        }
        for path in [
            at("global", "claude-sonnet-5-5:predict"),
            at("global", "claude-sonnet-5-5:rawPredict/x"),
            at("../x", "claude-sonnet-5-5:rawPredict"),
            at("global", "a%2Fb:rawPredict"),
            at("global", "").replace("anthropic", "google") + "gemini-3.8-flash:rawPredict",
            "/v1beta1/projects/p/locations/global/publishers/anthropic/models/m:rawPredict".to_owned(),
            "/v1/projects//locations/global/publishers/anthropic/models/m:rawPredict".to_owned(),
        ] {
            assert_eq!(vertex(&path), None, "{path}");
        }
        assert_eq!(read(Cloud::Vertex, "GET", &at("global", "m:rawPredict")), None);
    }

    #[test]
    fn bedrock_names_models_profiles_and_arns() {
        for (path, model, price) in [
            (
                "/model/us.anthropic.claude-sonnet-5-5/invoke",
                "us.anthropic.claude-sonnet-5-5",
                Some(Region::Regional),
            ),
            (
                "/model/global.anthropic.claude-haiku-4-5-20251001-v1%3A0/invoke",
                "global.anthropic.claude-haiku-4-5-20251001-v1:0",
                Some(Region::Global),
            ),
            (
                "/model/anthropic.claude-opus-4-6-v1/invoke",
                "anthropic.claude-opus-4-6-v1",
                Some(Region::Regional),
            ),
            (
                "/model/us-gov.anthropic.claude-opus-4-6-v1/invoke",
                "us-gov.anthropic.claude-opus-4-6-v1",
                Some(Region::UsGov),
            ),
            (
                "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fus.anthropic.claude-sonnet-5-5/invoke",
                "us.anthropic.claude-sonnet-5-5",
                Some(Region::Regional),
            ),
            (
                "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aapplication-inference-profile%2Fab12/invoke",
                "",
                None,
            ),
            ("/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aprovisioned-model%2Fab12/invoke", "", None),
        ] {
            let named = read(Cloud::Bedrock, "POST", path).expect(path);
            let found = bedrock_model(&named.model);
            match price {
                Some(expected) => {
                    assert_eq!(found.as_deref(), Ok(model));
                    assert_eq!(region(&named, model, &Region::Regional), expected, "{path}");
                }
                None => {
                    assert!(found.expect_err(path).contains("does not say which model it runs"), "{path}")
                }
            }
        }
        let plain = read(Cloud::Bedrock, "POST", "/model/anthropic.claude-opus-4-8/invoke").expect("a path");
        assert_eq!(region(&plain, &plain.model, &Region::UsGov), Region::UsGov);
        for path in [
            "/model/us.anthropic.claude-sonnet-5-5/converse",
            "/model/us.anthropic.claude-sonnet-5-5/invoke/x",
            "/model//invoke",
            "/model/a%00b/invoke",
            "/model/..%2Fx/invoke",
            "/inference-profiles",
        ] {
            assert_eq!(read(Cloud::Bedrock, "POST", path), None, "{path}");
        }
        assert_eq!(without_profile("us.anthropic.claude-x"), "anthropic.claude-x");
        assert_eq!(without_profile("eu.meta.llama"), "eu.meta.llama");
        assert_eq!(
            with_model(
                "/model/a/invoke?x=1",
                &read(Cloud::Bedrock, "POST", "/model/a/invoke").expect("a path"),
                "b:0"
            ),
            "/model/b%3A0/invoke?x=1"
        );
    }
}
