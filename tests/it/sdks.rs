//! The providers' own libraries for Python, whole answers and streams: what comes through `tollgate meter` is
//! what comes from the provider itself, and everybody has counted the same.

use serde_json::{Value, json};
use tollgate::commands::meter;
use tollgate::money::Usd;
use tollgate::price::Table;
use tollgate::simulate::Witness;

use crate::meter_rig::{KEY, Provider, run, says};
use crate::support::tool;

const TEXT: &str = "Half of an answer.";

#[test]
fn anthropics_library_sees_no_difference() {
    sees_no_difference("anthropic");
}

#[test]
fn openais_library_sees_no_difference() {
    sees_no_difference("openai");
}

#[test]
fn googles_library_sees_no_difference() {
    sees_no_difference("google");
}

fn sees_no_difference(library: &str) {
    let Some(python) = tool("python3-with-sdks", "TOLLGATE_TEST_SDKS") else { return };
    let program = format!("{}/tests/sdks/{library}_sdk.py", env!("CARGO_MANIFEST_DIR"));
    let ask = async |url: &str, token: &str| -> Value {
        let mut command = tokio::process::Command::new(&python);
        command
            .arg(&program)
            .env_clear()
            .env("URL", url)
            .env("TOKEN", token)
            .env("PYTHONDONTWRITEBYTECODE", "1");
        let output = command.output().await.expect("Python starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{library} through {url}:\n{said}");
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    run(async {
        let alone = Provider::start(says(200)).await;
        let direct = ask(&alone.url, KEY).await;

        let provider = Provider::start(says(200)).await;
        let folder = tempfile::tempdir().expect("a folder");
        let upstream = ["anthropic", "openai", "gemini"]
            .map(|vendor| format!("{vendor}={}", provider.url).parse().expect("an upstream"));
        let args = meter::Args {
            cap_usd: "1".parse().expect("an amount"),
            cap_tokens: None,
            upstream: Vec::from(upstream),
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
        let mut metered = Value::Null;
        let client = async {
            let ready = read(&args.ready_file);
            let text = |name: &str| ready[name].as_str().expect("a text").to_owned();
            metered = ask(&text("url"), &text("token")).await;
        };
        let env = |name: &str| name.ends_with("_API_KEY").then(|| KEY.to_owned());
        let mut err = Vec::new();
        let code = meter::run_until(&args, Table::embedded(), &env, &mut err, client).await.expect("it runs");
        assert_eq!((code, err.as_slice()), (0, &b""[..]));

        assert_eq!(metered, direct, "{library}");
        let texts = metered["texts"].as_array().expect("texts");
        assert!(texts.iter().all(|text| text == TEXT), "{texts:?}");
        let witness = provider.witness();
        assert_eq!(metered["usages"], usages(&witness), "{library}");
        assert_eq!(witness.violations, Vec::<String>::new());
        let summary = read(&args.summary_json);
        let settled: Usd = summary["settled_usd"].as_str().expect("an amount").parse().expect("an amount");
        assert_eq!(settled, witness.usd, "{library}");
    });
}

/// What the provider has charged for, as the libraries tell it.
fn usages(witness: &Witness) -> Value {
    let one = |bill: &tollgate::simulate::Bill| {
        let counts = &bill.counts;
        json!({ "input": counts.prompt(), "output": counts.output })
    };
    witness.bills.iter().map(one).collect()
}
