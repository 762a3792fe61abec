//! `tollgate meter`, from its arguments to its summary.

use serde_json::{Value, json};

use tollgate::commands::meter;
use tollgate::price::Table;

use crate::meter_rig::{Client, KEY, MESSAGES, Provider, body, run, says};

#[test]
fn the_command_serves_until_it_is_told_to_end() {
    run(async {
        let provider = Provider::start(says(200)).await;
        let folder = tempfile::tempdir().expect("a folder");
        let args = meter::Args {
            cap_usd: "0.05".parse().expect("an amount"),
            cap_tokens: None,
            upstream: vec![format!("anthropic={}", provider.url).parse().expect("an upstream")],
            listen: "127.0.0.1:0".parse().expect("an address"),
            ready_file: folder.path().join("ready.json"),
            summary_json: folder.path().join("summary.json"),
            journal: None,
            steer_at: 80,
            server_tools: meter::ServerTools::Deny,
            unknown_model: meter::UnknownModel::Deny,
            observe: false,
        };
        let read = |path: &std::path::Path| -> Value {
            serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")
        };
        let agent = async {
            let ready = read(&args.ready_file);
            let text = |name: &str| ready[name].as_str().expect("a text").to_owned();
            let client = Client { url: text("url"), token: text("token"), line: MESSAGES };
            client.work(body(400, 1_000).to_string()).await;
        };
        let env = |name: &str| (name == "ANTHROPIC_API_KEY").then(|| KEY.to_owned());
        let mut err = Vec::new();
        let code = meter::run_until(&args, Table::embedded(), &env, &mut err, agent).await.expect("it runs");
        assert_eq!((code, err.as_slice()), (0, &b""[..]));
        let summary = read(&args.summary_json);
        let spent = provider.spent().to_string();
        assert_eq!(summary["settled_usd"], json!(spent));
        assert_eq!((&summary["cap_usd"], &summary["held_usd"]), (&json!("0.05"), &json!("0")));
        assert_eq!(summary["requests"], json!(provider.witness().generations));
        assert_eq!(summary["by_model"]["claude-sonnet-5-5"]["usd"], json!(spent));
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 2, "nothing else is left");
        let code =
            meter::run_until(&args, Table::embedded(), &|_| None, &mut err, async {}).await.expect("it runs");
        assert_eq!(code, 2);
        assert_eq!(
            String::from_utf8_lossy(&err),
            "error: ANTHROPIC_API_KEY is not set\n\nhint: the meter sends it to the provider; clients get a token instead\n"
        );
    });
}
