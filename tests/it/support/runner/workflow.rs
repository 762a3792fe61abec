//! The steps of a workflow's job, run in their order and under their conditions.

use std::path::PathBuf;

use super::*;

/// Values by name.
pub(crate) type Values = BTreeMap<String, String>;

/// An action of somebody else's, as a step uses it.
pub(crate) struct Foreign<'a> {
    /// Its name, without the commit.
    pub(crate) name: &'a str,
    /// What the step gives it.
    pub(crate) with: Values,
    /// The step's own variables.
    pub(crate) env: Values,
}

impl Job {
    /// Runs the steps of a job. Actions of ours are found by `ours`, which also says what every step gives
    /// them besides; any other is up to `theirs`, which returns what became of it.
    pub(crate) fn steps(
        &mut self,
        steps: &Value,
        secrets: &[(&str, &str)],
        ours: &dyn Fn(&str) -> Option<(PathBuf, Values)>,
        theirs: &mut dyn FnMut(&mut Job, &Foreign<'_>) -> Step,
    ) -> Vec<(String, Ran)> {
        let mut scope = self.scope();
        scope.secrets = secrets.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let mut done = Vec::new();
        for step in steps.as_sequence().expect("steps") {
            let keys = ["name", "id", "if", "uses", "with", "env", "run", "timeout-minutes"];
            for (key, _) in fields(step) {
                assert!(keys.contains(&key), "this knows no `{key}` of a step");
            }
            scope.env.clone_from(&self.env);
            let name = step["uses"].as_str().map_or("run", |uses| uses.split('@').next().unwrap_or(uses));
            let holds = expression::condition(step["if"].as_str().unwrap_or("success()"), &scope);
            let ran = if holds { self.job_step(name, step, &scope, ours, theirs) } else { Ran::default() };
            let outcome = match (holds, ran.success) {
                (false, _) => "skipped",
                (true, true) => "success",
                (true, false) => "failure",
            };
            if outcome == "failure" {
                scope.failed = true;
                self.status = "failure";
            }
            if let Some(id) = step["id"].as_str() {
                scope.steps.insert(id.to_owned(), (outcome, ran.outputs.clone()));
            }
            done.push((format!("{name}: {outcome}"), ran));
        }
        done
    }

    fn job_step(
        &mut self,
        name: &str,
        step: &Value,
        scope: &Scope,
        ours: &dyn Fn(&str) -> Option<(PathBuf, Values)>,
        theirs: &mut dyn FnMut(&mut Job, &Foreign<'_>) -> Step,
    ) -> Ran {
        let evaluated = |values: &Value| -> Values {
            let text = |value: &Value| expression::text(value.as_str().unwrap_or_default(), scope);
            fields(values).map(|(name, value)| (name.to_owned(), text(value))).collect()
        };
        let (mut with, env) = (evaluated(&step["with"]), evaluated(&step["env"]));
        if let Some((action, more)) = ours(name) {
            with.extend(more);
            let with: Vec<_> = with.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            self.step_env = env;
            let ran = self.uses(&action, &with);
            self.step_env.clear();
            return ran;
        }
        let result = match step["run"].as_str() {
            Some(script) => {
                let env: Vec<_> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                self.run(script, &env)
            }
            None => theirs(self, &Foreign { name, with, env }),
        };
        Ran { success: result.outcome == "success", outputs: result.outputs.clone(), steps: vec![result] }
    }
}
