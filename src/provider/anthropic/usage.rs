//! Usage objects of Anthropic responses, to `Usage`.
