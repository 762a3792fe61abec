//! The JSON Schema of the budget file, for editors, made from the declarations that the parser reads by.

use serde_json::json;

use super::file::File;
use super::read::Read as _;

/// Where the schema is committed, below the repository's root.
pub const PATH: &str = "schema/tollgate.schema.json";

/// The schema, ready to be written to [`PATH`].
#[must_use]
pub fn json() -> String {
    let mut schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "tollgate budget file",
    });
    if let (Some(schema), serde_json::Value::Object(file)) = (schema.as_object_mut(), File::schema()) {
        schema.extend(file);
    }
    format!("{schema:#}\n")
}
