//! `tollgate gate`: where the budgets stand, without a run.

use tollgate::simulate::{Answer, Script};

use crate::run::{agent, budget, repository, serve};

#[test]
fn before_any_run_everything_is_within_its_limit() {
    let mut world = repository(&budget("1", "0.1", ""));
    let gate = world.args(["gate"]).run();
    gate.expect_code(0);
    assert_eq!(
        (gate.stdout.as_str(), gate.stderr.as_str()),
        ("total repo budget: $0.00 of $1.00 spent\npass: every budget is within its limit\n", "")
    );
    assert!(!world.work().join(".tollgate").exists(), "it writes nothing");
}

#[test]
fn a_budget_that_is_passed_fails_the_gate() {
    let upstream = serve(Script::new(|_| Answer::text("Looked at.").of_tokens(400).into()));
    let mut world = repository(&budget("1", "0.1", ""));
    agent(&mut world, &upstream, "ask Go\n").expect_code(0);
    for (enforce, code, says) in [("hard", 3, "fail"), ("soft", 3, "fail"), ("warn", 0, "warn")] {
        let lowered = budget("0.00015", "0.1", "").replacen(" }", &format!(", enforce: {enforce} }}"), 1);
        world.file(".github/tollgate.yml", &lowered);
        let gate = world.args(["gate"]).run();
        gate.expect_code(code);
        assert_eq!(
            gate.stdout,
            format!(
                "total repo budget: $0.00020 of $0.00015 spent\n\
                 {says}: the total repo budget is exceeded by $0.000050: $0.00020 of $0.00015 spent\n"
            )
        );
        let hint = "\nhint: raise its `usd` in .github/tollgate.yml line 3 to at least $0.01\n";
        assert_eq!(gate.stderr, if code == 0 { "" } else { hint });
    }
    world.file(".github/tollgate.yml", &(budget("0.00015", "0.1", "") + "mode: observe\n"));
    let gate = world.args(["gate"]).run();
    gate.expect_code(0);
    assert_eq!(
        gate.stdout,
        "total repo budget: $0.00020 of $0.00015 spent\n\
         warn: observe mode, so the check passes although the total repo budget is exceeded by $0.000050: $0.00020 of $0.00015 spent\n"
    );
}

#[test]
fn a_scope_that_does_not_apply_is_said_to_be_skipped() {
    let mut world = repository("version: 1\nbudgets:\n  - { scope: pr, per: total, usd: 5 }\n");
    let gate = world.args(["gate"]).run();
    gate.expect_code(0);
    assert_eq!(
        gate.stdout,
        "not checked: pr budget: this run is for no pull request\npass: every budget is within its limit\n"
    );
}
