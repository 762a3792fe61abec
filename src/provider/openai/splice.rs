//! Changing a request: only the bytes that must change.

use bytes::Bytes;

use super::super::Edits;
use super::super::splice::{Cut, object_of, quoted, splice};
use super::ceiling::TOOL_CALLS_MAX;
use super::fields::{NotePlace, StreamUsage};
use super::{Form, Request};

impl Request {
    /// The body with `edits` made, and with what metering needs:
    ///
    /// - a streamed chat says its usage only where `stream_options.include_usage` asks for it;
    /// - a service tier that is left to the project's settings becomes the default one, for OpenAI's own
    ///   models: others may not know the field;
    /// - tools that the provider runs get a most number of calls.
    ///
    /// A cap goes where the request has one, else into the field that the model takes. The note is a turn
    /// of the user's at the very end, so that the cached prefix stays as it is.
    #[must_use]
    pub fn rewrite(&self, edits: &Edits) -> Bytes {
        let mut cuts: Vec<Cut> = Vec::new();
        let mut added = String::new();
        let model = edits.model.as_ref().unwrap_or(&self.model);
        if let (Some(at), true) = (&self.model_at, *model != self.model) {
            cuts.push((at.clone(), quoted(model.as_str())));
        }
        if let Some(cap) = edits.output_cap.filter(|cap| *cap >= self.min_output_cap()) {
            self.cap(cap, model, &mut cuts, &mut added);
        }
        if self.form == Form::Chat && self.found.stream {
            self.ask_usage(&mut cuts, &mut added);
        }
        if self.found.asked_tier().is_none() && Request::is_openai(model) {
            match &self.found.tier {
                Some((_, at)) => cuts.push((at.clone(), r#""default""#.to_owned())),
                None => added.push_str(r#","service_tier":"default""#),
            }
        }
        let looping = self.form == Form::Responses && !self.found.server_tools.is_empty();
        if looping && self.found.tool_calls_max.is_none() {
            match &self.found.tool_calls_at {
                Some(null) => cuts.push((null.clone(), TOOL_CALLS_MAX.to_string())),
                None => added.push_str(&format!(r#","max_tool_calls":{TOOL_CALLS_MAX}"#)),
            }
        }
        if let (Some(note), Some(place)) = (&edits.note, &self.found.note_at) {
            self.note(note, place, &mut cuts);
        }
        if !added.is_empty() {
            cuts.push((self.found.end..self.found.end, added));
        }
        splice(&self.body, cuts)
    }

    fn cap(&self, cap: u64, model: &crate::model::ModelId, cuts: &mut Vec<Cut>, added: &mut String) {
        let given = self.found.caps.iter().filter(|field| field.tokens.is_some());
        if given.clone().next().is_some() {
            let above = given.filter(|field| field.tokens.is_some_and(|tokens| tokens > cap));
            cuts.extend(above.map(|field| (field.at.clone(), cap.to_string())));
            return;
        }
        let field = match self.form {
            Form::Responses => "max_output_tokens",
            Form::Chat if Request::is_openai(model) => "max_completion_tokens",
            Form::Chat => "max_tokens",
        };
        match self.found.caps.iter().find(|cap| cap.field == field) {
            Some(null) => cuts.push((null.at.clone(), cap.to_string())),
            None => added.push_str(&format!(r#","{field}":{cap}"#)),
        }
    }

    fn ask_usage(&self, cuts: &mut Vec<Cut>, added: &mut String) {
        match &self.found.stream_usage {
            StreamUsage::Asked => {}
            StreamUsage::Absent => added.push_str(r#","stream_options":{"include_usage":true}"#),
            StreamUsage::Missing(end, empty) => {
                let comma = if *empty { "" } else { "," };
                cuts.push((*end..*end, format!(r#"{comma}"include_usage":true"#)));
            }
            StreamUsage::Denied(at) => cuts.push((at.clone(), "true".to_owned())),
            StreamUsage::Other(at) => cuts.push((at.clone(), r#"{"include_usage":true}"#.to_owned())),
        }
    }

    fn note(&self, note: &str, place: &NotePlace, cuts: &mut Vec<Cut>) {
        let turn = format!(r#",{{"role":"user","content":{}}}"#, quoted(note));
        match place {
            NotePlace::EndOfTurns(at) => cuts.push((*at..*at, turn)),
            NotePlace::AfterString(at) => {
                cuts.push((at.start..at.start, r#"[{"role":"user","content":"#.to_owned()));
                cuts.push((at.end..at.end, format!("}}{turn}]")));
            }
        }
    }

    /// The body for `POST /v1/responses/input_tokens`, for the model in `edits` if there is one; `None`
    /// where its answer would not bound the request. It has the fields that this endpoint takes and no
    /// other.
    #[must_use]
    pub fn count_body(&self, edits: &Edits) -> Option<Bytes> {
        if !self.countable() {
            return None;
        }
        let model = edits.model.as_ref().unwrap_or(&self.model).as_str();
        Some(object_of(model, &self.found.countable, &self.body).into())
    }
}

#[cfg(test)]
mod tests;
