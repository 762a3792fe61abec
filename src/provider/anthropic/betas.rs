//! The betas that a request may name in its `anthropic-beta` header, or to a cloud in its body. One that nobody here
//! knows may change what an answer costs, and is worth a word.

use http::{HeaderMap, HeaderName};

/// The header that names them, by commas or more than once.
static HEADER: HeaderName = HeaderName::from_static("anthropic-beta");
/// The longest name that is repeated, in bytes.
const NAME_BYTES_MAX: usize = 100;
/// Those that the official SDK for Python (2.12.0) and Claude Code (2.1.197) name.
const KNOWN: [&str; 80] = [
    "admin-user-sign-out-2026-10-08",
    "advanced-tool-use-2025-11-20",
    "advisor-tool-2026-03-01",
    "afk-mode-2026-01-31",
    "agent-memory-2026-07-22",
    "analytics-usage-cost-2026-08-24",
    "cache-diagnosis-2026-04-07",
    "ccr-byoc-2025-07-29",
    "ccr-triggers-2026-01-30",
    "ce-claude-code-managed-settings-2026-10-06",
    "ce-plugins-2026-09-01",
    "ce-user-management-2026-07-13",
    "claude-code-20250219",
    "code-execution-2025-05-22",
    "code-execution-2025-08-25",
    "compact-2026-01-12",
    "compact-2026-09-04",
    "computer-use-2024-10-22",
    "computer-use-2025-01-24",
    "computer-use-2025-11-24",
    "context-1m-2025-08-07",
    "context-hint-2026-04-09",
    "context-management-2025-06-27",
    "dev-full-thinking-2025-05-14",
    "dreaming-2026-04-21",
    "effort-2025-11-24",
    "efs-2026-10-01",
    "environments-2025-11-01",
    "experimental-claude-tag-2026-10-21",
    "extended-cache-ttl-2025-04-11",
    "fallback-credit-2026-06-01",
    "fallback-credit-2026-07-01",
    "fast-mode-2026-02-01",
    "files-api-2025-04-14",
    "fine-grained-tool-streaming-2025-05-14",
    "google-managed-data-controls-2026-09-01",
    "inline-tools-2026-09-15",
    "interleaved-thinking-2025-05-14",
    "managed-agents-2026-04-01",
    "mcp-client-2025-04-04",
    "mcp-client-2025-11-20",
    "mcp-client-2026-09-15",
    "mcp-servers-2025-12-04",
    "mcp-tunnels-2026-06-22",
    "message-batches-2024-09-24",
    "message-threads-2026-08-12",
    "mid-conversation-output-config-2026-07-01",
    "mid-conversation-system-2026-04-07",
    "mid-conversation-system-clear-at-2026-08-21",
    "mid-conversation-tool-changes-2026-07-01",
    "model-context-window-exceeded-2025-08-26",
    "oauth-2025-04-20",
    "oidc-federation-2026-04-01",
    "output-128k-2025-02-19",
    "output-300k-2026-03-24",
    "pdfs-2024-09-25",
    "prompt-caching-2024-07-31",
    "prompt-caching-scope-2026-01-05",
    "redact-thinking-2026-02-12",
    "server-side-fallback-2026-06-01",
    "server-side-fallback-2026-07-01",
    "skills-2025-10-02",
    "spend-limit-reads-2026-09-26",
    "structured-outputs-2025-11-13",
    "structured-outputs-2025-12-15",
    "summarize-connector-text-2026-03-13",
    "task-budgets-2026-03-13",
    "telemetry-destinations-2026-08-11",
    "thinking-binding-controls-2026-08-01",
    "thinking-display-updates-2026-08-18",
    "thinking-token-count-2026-05-13",
    "token-counting-2024-11-01",
    "token-efficient-tools-2025-02-19",
    "tool-search-tool-2025-10-19",
    "user-profiles-2026-03-24",
    "user-profiles-2026-08-18",
    "user-profiles-2026-09-04",
    "user-profiles-billing-2026-10-01",
    "web-search-2025-03-05",
    "webhooks-2026-10-07",
];

/// The betas of a request that are not known, each as it is written.
pub fn unknown_betas(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let named = headers.get_all(&HEADER).into_iter().filter_map(|value| value.to_str().ok());
    let names = named.flat_map(|value| value.split(',')).map(str::trim);
    names.filter(|name| is_unknown(name))
}

/// Whether it is the name of a beta that is not known. What is too long to be repeated, or could be taken for
/// more than a name where it is, is none.
pub(super) fn is_unknown(name: &str) -> bool {
    let visible = name.bytes().all(|byte| byte.is_ascii_graphic());
    visible && !name.is_empty() && name.len() <= NAME_BYTES_MAX && !KNOWN.contains(&name)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn only_what_is_not_known_is_told() {
        let mut headers = HeaderMap::new();
        assert_eq!(unknown_betas(&headers).count(), 0);
        for value in ["interleaved-thinking-2025-05-14, one-day-2031-01-01,", "claude-code-20250219", "two"] {
            headers.append(&HEADER, HeaderValue::from_static(value));
        }
        headers.append(&HEADER, HeaderValue::from_str(&"x".repeat(NAME_BYTES_MAX + 1)).expect("a value"));
        assert_eq!(unknown_betas(&headers).collect::<Vec<_>>(), ["one-day-2031-01-01", "two"]);
        // A body may have any text; what is told of it stands in logs, where a line may be a command.
        assert!(is_unknown("new") && !is_unknown("new\n::add-mask::x") && !is_unknown("with blanks"));
    }
}
