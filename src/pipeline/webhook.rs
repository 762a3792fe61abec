//! Webhooks that are told of a threshold: one `POST` of `{"text": …}` to an address that the environment
//! holds. A webhook that fails is a warning.

use std::time::Duration;

use reqwest::Url;
use serde_json::json;

use crate::budget::Webhook;
use crate::cli::Shell;
use crate::report::alerts::Alert;
use crate::report::{around, defuse};

/// How long a webhook may take.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Tells every webhook whose threshold is among those crossed. Returns what went wrong, one text each.
pub(super) async fn tell(hooks: &[Webhook], alerts: &[Alert], about: &About, shell: &Shell) -> Vec<String> {
    let mut wrong = Vec::new();
    for alert in alerts {
        for hook in hooks.iter().filter(|hook| hook.at == alert.percent) {
            if let Err(why) = send(hook, alert, about, shell).await {
                wrong.push(format!("the webhook in {} was not told of {} %: {why}", hook.env, alert.percent));
            }
        }
    }
    wrong
}

/// Where a message comes from.
#[derive(Clone, Debug)]
pub(super) struct About {
    /// The repository.
    pub(super) repository: String,
    /// The workflow run's page.
    pub(super) page: Option<String>,
}

async fn send(hook: &Webhook, alert: &Alert, about: &About, shell: &Shell) -> Result<(), String> {
    let address = shell.var(&hook.env).ok_or("the variable is not set")?;
    let url = target(address)?;
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        // Errors of this library can hold the address, which is a secret.
        .map_err(|error| error.without_url().to_string())?;
    let page = about.page.as_ref().map_or(String::new(), |page| format!("\n{page}"));
    let text = format!("{}: {}{page}", about.repository, defuse::plain(&around::sentence(alert)));
    let answer = client.post(url).json(&json!({ "text": text })).send().await.map_err(|error| {
        if error.is_timeout() { "it took too long".to_owned() } else { error.without_url().to_string() }
    })?;
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(format!("it answered {status}")) }
}

/// An address that a message may be sent to. No message repeats it.
fn target(address: &str) -> Result<Url, String> {
    let url = Url::parse(address.trim()).map_err(|_| "the variable does not hold an address")?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let loopback =
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    match (url.scheme(), loopback) {
        ("https", _) | ("http", true) => Ok(url),
        _ => Err("its address is not https, and would travel unencrypted".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_is_https_or_this_machine() {
        for (address, fine) in [
            ("https://hooks.example.com/x", true),
            ("http://127.0.0.1:9/x", true),
            ("http://[::1]:9/x", true),
            ("http://localhost:9", true),
            ("http://hooks.example.com/x", false),
            ("http://127.0.0.1.example.com/x", false),
            ("file:///etc/passwd", false),
            ("hooks.example.com", false),
            ("", false),
        ] {
            assert_eq!(target(address).is_ok(), fine, "{address}");
        }
    }
}
