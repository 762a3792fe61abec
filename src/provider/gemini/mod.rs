//! Google's Gemini API.

pub mod usage;
