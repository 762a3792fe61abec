//! OpenAI Responses and Chat Completions, and servers that speak them.

pub mod usage;
