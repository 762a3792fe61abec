//! Changing a request: only the bytes that must change.

use bytes::Bytes;

use super::super::Edits;
use super::super::splice::{Cut, object_of, quoted, splice};
use super::Request;
use super::content::NotePlace;

impl Request {
    /// The body with `edits` made; the same bytes where there are none.
    ///
    /// A lower output cap also lowers a thinking budget that would reach it (the page on extended thinking:
    /// 1,024 at least, and below `max_tokens`). A cap below [`min_output_cap`](Self::min_output_cap) or a
    /// note that [cannot be taken](Self::can_take_note) is left out.
    ///
    /// The note is a text block of its own, the last of the last message (of the user's, where messages of
    /// role `system` follow it): cache marks are on blocks, and no block before it changes.
    #[must_use]
    pub fn rewrite(&self, edits: &Edits) -> Bytes {
        let mut cuts: Vec<Cut> = Vec::new();
        if let Some(model) = edits.model.as_ref().filter(|model| **model != self.model) {
            cuts.push((self.model_at.clone(), quoted(model.as_str())));
        }
        let cap = self.output_cap_with(edits);
        if cap < self.output_cap {
            cuts.push((self.output_cap_at.clone(), cap.to_string()));
            if let Some((budget, at)) = &self.found.thinking_budget
                && *budget >= cap
            {
                cuts.push((at.clone(), (cap - 1).to_string()));
            }
        }
        if let (Some(note), Some(place)) = (&edits.note, self.note_at()) {
            let block = format!(r#",{{"type":"text","text":{}}}"#, quoted(note));
            match place {
                NotePlace::EndOfBlocks(at) => cuts.push((*at..*at, block)),
                NotePlace::AfterString(at) => {
                    cuts.push((at.start..at.start, r#"[{"type":"text","text":"#.to_owned()));
                    cuts.push((at.end..at.end, format!("}}{block}]")));
                }
            }
        }
        splice(&self.body, cuts)
    }

    /// The body for `POST /v1/messages/count_tokens`, for the model in `edits` if there is one; `None`
    /// where its answer would not bound the request (tools the provider runs, content it holds or
    /// fetches).
    ///
    /// It has the fields that this endpoint takes and no other. What is dropped can only make the count
    /// larger, as context management does, or leaves it alone.
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
