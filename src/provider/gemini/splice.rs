//! Changing a request: only the bytes that must change, and its path where another model is asked.

use bytes::Bytes;
use serde::Deserialize;

use super::super::Edits;
use super::super::splice::{Cut, object_of, quoted, splice};
use super::Request;
use crate::model::ModelId;

impl Request {
    /// The body with `edits` made; the same bytes where there are none. The model is the path's business.
    ///
    /// A lower output cap also lowers a thinking budget above it. The note is a turn of the user's at the
    /// very end, so that the cached prefix stays as it is.
    #[must_use]
    pub fn rewrite(&self, edits: &Edits) -> Bytes {
        let mut cuts: Vec<Cut> = Vec::new();
        if let Some(cap) = edits.output_cap.filter(|cap| self.output_cap().is_none_or(|asked| *cap < asked)) {
            self.cap(cap, &mut cuts);
        }
        if let (Some(note), Some(at)) = (&edits.note, self.found.note_at) {
            let turn = format!(r#",{{"role":"user","parts":[{{"text":{}}}]}}"#, quoted(note));
            cuts.push((at..at, turn));
        }
        splice(&self.body, cuts)
    }

    fn cap(&self, cap: u64, cuts: &mut Vec<Cut>) {
        let config = &self.found.config;
        let field = format!(r#""maxOutputTokens":{cap}"#);
        match (&config.cap, &config.object, &config.null) {
            (Some((_, at)), _, _) => cuts.push((at.clone(), cap.to_string())),
            (None, Some((end, empty)), _) => {
                let comma = if *empty { "" } else { "," };
                cuts.push((*end..*end, format!("{comma}{field}")));
            }
            (None, None, Some(null)) => cuts.push((null.clone(), format!("{{{field}}}"))),
            (None, None, None) => {
                let end = self.found.end;
                cuts.push((end..end, format!(r#","generationConfig":{{{field}}}"#)));
            }
        }
        if let Some((budget, at)) = &config.thinking_budget
            && *budget > cap
        {
            cuts.push((at.clone(), cap.to_string()));
        }
    }

    /// The path with the model of `edits`.
    #[must_use]
    pub fn path(&self, path: &str, edits: &Edits) -> String {
        match &edits.model {
            Some(model) if *model != self.model => named(path, model).unwrap_or_else(|| path.to_owned()),
            _ => path.to_owned(),
        }
    }

    /// The path of the count endpoint for that model.
    #[must_use]
    pub fn count_path(&self, edits: &Edits) -> String {
        format!("/v1beta/models/{}:countTokens", edits.model.as_ref().unwrap_or(&self.model))
    }

    /// The body for `countTokens`, for the model in `edits` if there is one; `None` where its answer would
    /// not bound the request.
    #[must_use]
    pub fn count_body(&self, edits: &Edits) -> Option<Bytes> {
        if !self.countable() {
            return None;
        }
        let model = edits.model.as_ref().unwrap_or(&self.model);
        let inner = object_of(&format!("models/{model}"), &self.found.countable, &self.body);
        Some([b"{\"generateContentRequest\":".as_slice(), &inner, b"}"].concat().into())
    }
}

fn named(path: &str, model: &ModelId) -> Option<String> {
    let (before, rest) = path.split_once("/models/")?;
    let (_, action) = rest.split_once(':')?;
    Some(format!("{before}/models/{model}:{action}"))
}

/// Reads the count endpoint's answer, in tokens. Every request has some: none is no answer.
#[must_use]
pub fn parse_count(body: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Count {
        #[serde(rename = "totalTokens")]
        total: u64,
    }
    let count = serde_json::from_slice::<Count>(body).ok()?;
    Some(count.total).filter(|tokens| *tokens > 0)
}

#[cfg(test)]
mod tests;
