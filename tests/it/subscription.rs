//! The real Claude Code on a subscription: capped by tokens and time, charged to nobody, and its list price
//! kept apart from every dollar that is.

use std::time::Duration;

use serde_json::json;
use tollgate::meter::{Key, Secret};
use tollgate::money::Usd;
use tollgate::provider::Vendor;
use tollgate::simulate::{Answer, Fault, Reply, Seen, ToolCall};

use crate::agents_world::{Door, Ended, claude_through};
use crate::meter_rig;

/// The subscription's token, which nobody but the provider may ever see.
const TOKEN: &str = "sk-ant-oat01-canary-0123456789abcdef";

/// A month's budget of which nothing is left, which is no concern of a run that spends no dollars.
fn budget(max_tokens: u64) -> String {
    let row = "{ low: low, medium: low, high: low }";
    format!(
        "version: 1\nmode: enforce\nbudgets:\n  - {{ scope: repo, per: month, usd: 0.02 }}\n\
         tiers:\n  low: {{ model: claude-sonnet-5-5, max_usd: 0.02, max_tokens: {max_tokens} }}\n\
         tasks:\n  implementation: {row}\n  review: {row}\n  docs: {row}\n"
    )
}

fn run(max_tokens: u64, plan: impl Fn(&Seen<'_>) -> Reply + Send + Sync + 'static) -> Option<Ended> {
    let door = Door { env: vec![("CLAUDE_CODE_OAUTH_TOKEN", TOKEN.to_owned())], api: "anthropic" };
    claude_through(door, "implementation", &budget(max_tokens), plan)
}

/// What holds of every run on a subscription.
#[track_caller]
fn always(ended: &mut Ended) {
    let said = ended.said();
    assert!(!said.contains(TOKEN), "the token was printed\n{said}");
    let summary = &ended.summary;
    assert_eq!(ended.usd("notional_usd"), ended.witness.usd, "the list price, to the pico-dollar\n{said}");
    assert!(
        ended.witness.usd > "0.02".parse().expect("an amount"),
        "more than any dollar cap there was\n{said}"
    );
    assert_eq!((&summary["subscription"], &summary["cap_usd"]), (&json!(true), &json!(null)), "{said}");
    assert_eq!((&summary["total_cost_usd"], &summary["budgets"]), (&json!("0"), &json!([])), "{said}");
    assert_eq!(summary["savings"]["caching_usd"], "0", "nobody saves dollars that nobody spends\n{said}");
    for head in &ended.witness.heads {
        assert!(!head.contains_key("x-api-key"), "{head:?}");
        assert_eq!(head["authorization"], format!("Bearer {TOKEN}"));
    }
    // The agent works with the run's own token: the script has it print its environment.
    assert!(!ended.bodies().iter().any(|body| body.to_string().contains(TOKEN)), "the agent saw it\n{said}");
    ended.world.args(["report", "--format", "json"]);
    let report = ended.world.run();
    let report: serde_json::Value = serde_json::from_str(&report.stdout).expect("JSON");
    let notional = ended.usd("notional_usd");
    assert_eq!((&report["total"]["usd"], &report["total"]["notional_usd"]), (&json!("0"), &json!(notional)));
    assert_eq!(report["total"]["runs"], 1);
    assert_eq!(
        (&report["budgets"][0]["settled_usd"], &report["budgets"][0]["held_usd"]),
        (&json!("0"), &json!("0"))
    );
    ended.world.args(["ledger", "verify"]);
    ended.world.run().expect_code(0);
}

fn look() -> ToolCall {
    ToolCall::bash("env; seq -f 'line %g of the build log' 1 60")
}

#[test]
fn it_is_metered_and_charged_to_nobody() {
    let plan = |seen: &Seen<'_>| -> Reply {
        match seen.turns {
            0 | 1 => Answer::calls(vec![look()]).of_tokens(2_000).into(),
            _ => Answer::text("All is done.").of_tokens(500).into(),
        }
    };
    let Some(mut ended) = run(1_000_000, plan) else { return };
    ended.expect("pass", "completed", 0);
    always(&mut ended);
    let used = ended.number("new_tokens");
    let tokens = ended.witness.tokens();
    assert_eq!(used, tokens.fresh(), "{}", ended.said());
    let (used, notional) = (tollgate::money::group(used.into()), ended.usd("notional_usd"));
    let headline = format!(
        "Agent cost: {used} of 1,000,000 new tokens of a subscription, notional {} · within its cap",
        notional.shown()
    );
    assert!(ended.run.stdout.contains(&headline), "{headline}\n{}", ended.said());
    assert_eq!(
        ended.text("reason"),
        format!("{used} of 1,000,000 new tokens of a subscription used, and no dollars")
    );
}

#[test]
fn it_is_stopped_by_its_tokens_however_little_they_would_cost() {
    let plan = |seen: &Seen<'_>| -> Reply {
        let text = format!("Step {} of the work.", seen.turns);
        Answer { text, ..Answer::calls(vec![look()]) }.of_tokens(12_000).into()
    };
    let Some(mut ended) = run(400_000, plan) else { return };
    ended.expect("warn", "capped", 0);
    always(&mut ended);
    let used = ended.number("new_tokens");
    // Kept back are an answer's length and a context: whether a cache still holds it, nobody can promise.
    assert!((300_000..=400_000).contains(&used), "{used} of 400,000 new tokens\n{}", ended.said());
    let texts: Vec<String> = ended.bodies().iter().map(ToString::to_string).collect();
    assert!(texts.iter().any(|text| text.contains("Wrap up now")), "it was steered\n{}", ended.said());
    assert!(texts.iter().any(|text| text.contains("This is the last answer")), "{}", ended.said());
    assert!(ended.run.stderr.contains("Stopped at the token cap"), "{}", ended.said());
    assert_eq!(ended.usd("total_cost_usd"), Usd::ZERO);
}

#[test]
fn what_is_lost_is_notional_at_its_bound_and_a_key_beside_it_is_charged() {
    meter_rig::run(async {
        let lost = |index| if index == 1 { Fault::CloseAfterEvents(3) } else { Fault::None };
        let provider = meter_rig::Provider::start(meter_rig::says(200).failing(lost)).await;
        let mut config = meter_rig::config(&provider, "0.05");
        config.allowance.fresh_tokens = Some(100_000);
        for way in config.ways.iter_mut().filter(|way| way.vendor == Vendor::Anthropic) {
            way.key = Key::Subscription(Secret::new(TOKEN.to_owned()));
        }
        let meter = meter_rig::start(config).await;
        let client = meter_rig::Client::of(&meter);
        let text = meter_rig::body(400, 400).to_string();
        for _ in 0..2 {
            assert!(!client.post(&text).await.stopped());
        }
        let other =
            json!({ "model": "gpt-6.1-sol", "input": "hello", "max_output_tokens": 400, "store": false });
        assert!(!client.at("POST /v1/responses").post(&other.to_string()).await.stopped());
        let totals = meter.drain(Duration::from_secs(4)).await;
        let witness = provider.witness();
        let [told, lost, keyed] = &witness.bills[..] else { panic!("{:?}", witness.bills) };
        assert_eq!((totals.settled, totals.estimated), (keyed.usd, Usd::ZERO), "the key alone is charged");
        assert!(
            totals.notional > told.usd + lost.usd,
            "{} notional: the lost one at its bound",
            totals.notional
        );
        let fresh: u64 = witness.bills.iter().map(|bill| bill.counts.fresh()).sum();
        assert!(totals.fresh > fresh, "{} of {fresh} new tokens: the lost one at its bound", totals.fresh);
        let by_model: Usd = totals.by_model.values().map(|used| used.notional).sum();
        assert_eq!(by_model, totals.notional, "the models add up");
    });
}
