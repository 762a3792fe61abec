//! Claude on Google Vertex or Amazon Bedrock: whether a run goes there, by which address and credentials, how the
//! cloud names a model, and what Claude Code is told.

use super::upstream::{self, variable};
use crate::cli::Shell;
use crate::exit::Failure;
use crate::meter::key::{aws, google};
use crate::meter::{self, Key, Routed, Way};
use crate::model::ModelId;
use crate::price::Table;
use crate::provider::Vendor;

/// The models whose names a cloud extends: their own, Vertex's, and Bedrock's without the profile's prefix. All
/// that are newer have one name everywhere (the clouds' lists of models).
const NAMES: [(&str, &str, &str); 5] = [
    ("claude-opus-4-6", "claude-opus-4-6", "anthropic.claude-opus-4-6-v1"),
    ("claude-opus-4-5", "claude-opus-4-5@20251101", "anthropic.claude-opus-4-5-20251101-v1:0"),
    ("claude-opus-4-1", "claude-opus-4-1@20250805", "anthropic.claude-opus-4-1-20250805-v1:0"),
    ("claude-sonnet-4-5", "claude-sonnet-4-5@20250929", "anthropic.claude-sonnet-4-5-20250929-v1:0"),
    ("claude-haiku-4-5", "claude-haiku-4-5@20251001", "anthropic.claude-haiku-4-5-20251001-v1:0"),
];
/// The inference profiles of regions, by what their names begin with; the first that fits counts.
const PROFILES: [(&str, &str); 9] = [
    ("us-gov-", "us-gov."),
    ("us-", "us."),
    ("eu-", "eu."),
    ("ap-northeast-1", "jp."),
    ("ap-northeast-3", "jp."),
    ("ap-southeast-2", "au."),
    ("ap-southeast-4", "au."),
    ("ap-", "apac."),
    ("", "global."),
];

/// The cloud that serves Claude in Anthropic's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Via {
    /// Google's.
    Vertex {
        /// The project that pays.
        project: String,
        /// The location, such as `global` or `us-east5`.
        location: String,
    },
    /// Amazon's.
    Bedrock {
        /// The region, such as `us-east-1`.
        region: String,
    },
}

impl Via {
    /// The cloud that is asked for: by an address for it, or by the variable that tells Claude Code so.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 2 where both are asked for, or something is not set.
    pub(super) fn chosen(shell: &Shell, given: &[(Vendor, meter::Upstream)]) -> anyhow::Result<Option<Self>> {
        let asked = |vendor: Vendor, switch: &str| {
            let on = shell.var(switch).is_some_and(|value| matches!(value, "1" | "true"));
            on || given.iter().any(|(of, _)| *of == vendor) || shell.var(&variable(vendor)).is_some()
        };
        let vertex = asked(Vendor::Vertex, "CLAUDE_CODE_USE_VERTEX");
        let bedrock = asked(Vendor::Bedrock, "CLAUDE_CODE_USE_BEDROCK");
        match (vertex, bedrock) {
            (false, false) => Ok(None),
            (true, true) => Err(Failure::usage(
                "both Google Vertex and Amazon Bedrock are asked for\n\nhint: unset CLAUDE_CODE_USE_VERTEX or \
                 CLAUDE_CODE_USE_BEDROCK, or leave one of them out of --upstream",
            )
            .into()),
            (true, false) => Self::vertex(shell).map(Some),
            (false, true) => {
                let env = |name: &str| shell.var(name).map(str::to_owned);
                let access = aws::Access::found(&env).map_err(|error| Failure::usage(error.to_string()))?;
                Ok(Some(Self::Bedrock { region: access.region().to_owned() }))
            }
        }
    }

    fn vertex(shell: &Shell) -> anyhow::Result<Self> {
        let first = |names: &[&str]| names.iter().find_map(|name| shell.var(name)).map(str::to_owned);
        let missing = |what: &str, hint: &str| {
            Failure::usage(format!("Google Vertex is asked for, and {what} is not set\n\nhint: {hint}"))
        };
        let project = first(&["ANTHROPIC_VERTEX_PROJECT_ID", "GOOGLE_CLOUD_PROJECT", "GCLOUD_PROJECT"]);
        let location = first(&["CLOUD_ML_REGION"]);
        let hint = "set it to the project that pays";
        let project = project.ok_or_else(|| missing("ANTHROPIC_VERTEX_PROJECT_ID", hint))?;
        let hint = "set it to `global`, or to a region such as us-east5, which costs a tenth more";
        let location = location.ok_or_else(|| missing("CLOUD_ML_REGION", hint))?;
        for (name, value) in [("ANTHROPIC_VERTEX_PROJECT_ID", &project), ("CLOUD_ML_REGION", &location)] {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte);
            if value.starts_with('.') || !value.bytes().all(plain) {
                let message =
                    format!("{name} is `{value}`, which cannot stand in an address\n\nhint: write its id");
                return Err(Failure::usage(message).into());
            }
        }
        Ok(Self::Vertex { project, location })
    }

    /// How the meter reaches it.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 2 where there are no credentials, or an address cannot be used.
    pub(super) fn way(&self, shell: &Shell, given: &[(Vendor, meter::Upstream)]) -> anyhow::Result<Way> {
        let env = |name: &str| shell.var(name).map(str::to_owned);
        let (vendor, usual, key) = match self {
            Self::Vertex { location, .. } => {
                let source =
                    google::Source::found(&env).map_err(|error| Failure::usage(error.to_string()))?;
                (Vendor::Vertex, meter::Upstream::vertex(location), Key::Google(source))
            }
            Self::Bedrock { region } => {
                let access = aws::Access::found(&env).map_err(|error| Failure::usage(error.to_string()))?;
                (Vendor::Bedrock, meter::Upstream::bedrock(region), Key::Aws(access))
            }
        };
        let upstream = upstream::address(vendor, usual, given, shell)?;
        Ok(Way { vendor, upstream, key })
    }

    /// A model as those name it who serve it, in a cloud or not.
    pub(super) fn named(via: Option<&Self>, model: &ModelId) -> ModelId {
        via.map_or_else(|| model.clone(), |via| via.model(model))
    }

    /// The routed model by the names of all that a request may go to: where there is a cloud, an agent may have a
    /// key of the model's maker as well.
    pub(super) fn routed(via: Option<&Self>, model: &ModelId, table: &Table) -> Routed {
        let Some(via) = via else { return model.clone().into() };
        let of_cloud = Vendor::maker(model) == Some(Vendor::Anthropic)
            && (!model.as_str().starts_with("claude-") || model.as_str().contains('@'));
        let known = table.find(model).filter(|_| of_cloud).map(|model| model.id.clone());
        Routed { model: known.unwrap_or_else(|| model.clone()), in_cloud: Some(via.model(model)) }
    }

    /// A model as the cloud names it. What is written as the cloud does, and what is no model of Claude's, stays.
    fn model(&self, model: &ModelId) -> ModelId {
        let id = model.as_str();
        if !id.starts_with("claude-") {
            return model.clone();
        }
        let known = NAMES.into_iter().find(|(name, ..)| *name == id);
        match self {
            Self::Vertex { .. } => known.map_or_else(|| model.clone(), |(_, vertex, _)| ModelId::new(vertex)),
            Self::Bedrock { region } => {
                let profile = PROFILES.into_iter().find(|(begin, _)| region.starts_with(begin));
                let profile = profile.map_or("", |(_, profile)| profile);
                let name = known.map_or_else(|| format!("anthropic.{id}"), |(_, _, name)| name.to_owned());
                ModelId::new(&format!("{profile}{name}"))
            }
        }
    }

    /// What Claude Code is told, besides what any agent is: the meter at `url` is the cloud, and needs no
    /// credentials of it.
    pub(super) fn env(&self, url: &str) -> Vec<(&'static str, String)> {
        self.told(url).into_iter().map(|(name, _, value)| (name, value)).collect()
    }

    /// The same as step outputs.
    pub(super) fn outputs(&self, url: &str) -> Vec<(&'static str, String)> {
        self.told(url).into_iter().map(|(_, output, value)| (output, value)).collect()
    }

    /// Variables, the outputs of the same name, and their values.
    fn told(&self, url: &str) -> Vec<(&'static str, &'static str, String)> {
        let on = || "1".to_owned();
        match self {
            Self::Vertex { project, location } => vec![
                ("CLAUDE_CODE_USE_VERTEX", "claude_code_use_vertex", on()),
                ("CLAUDE_CODE_SKIP_VERTEX_AUTH", "claude_code_skip_vertex_auth", on()),
                ("ANTHROPIC_VERTEX_BASE_URL", "anthropic_vertex_base_url", format!("{url}/v1")),
                ("ANTHROPIC_VERTEX_PROJECT_ID", "anthropic_vertex_project_id", project.clone()),
                ("CLOUD_ML_REGION", "cloud_ml_region", location.clone()),
            ],
            Self::Bedrock { region } => vec![
                ("CLAUDE_CODE_USE_BEDROCK", "claude_code_use_bedrock", on()),
                ("CLAUDE_CODE_SKIP_BEDROCK_AUTH", "claude_code_skip_bedrock_auth", on()),
                ("ANTHROPIC_BEDROCK_BASE_URL", "anthropic_bedrock_base_url", url.to_owned()),
                ("AWS_REGION", "aws_region", region.clone()),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(env: &[(&str, &str)]) -> Shell {
        let env = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Shell { env, out: Box::new(std::io::sink()), err: Box::new(std::io::sink()) }
    }

    fn chosen(env: &[(&str, &str)]) -> Result<Option<Via>, String> {
        Via::chosen(&shell(env), &[]).map_err(|error| error.to_string())
    }

    #[test]
    fn a_cloud_is_used_where_it_is_asked_for_and_nowhere_else() {
        const AWS: [(&str, &str); 3] = [
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "AKID"),
            ("AWS_SECRET_ACCESS_KEY", "secret-key"),
        ];
        assert_eq!(chosen(&AWS), Ok(None), "credentials lie about for many purposes");
        let switched = [&AWS[..], &[("CLAUDE_CODE_USE_BEDROCK", "1")]].concat();
        assert_eq!(chosen(&switched), Ok(Some(Via::Bedrock { region: "us-east-1".to_owned() })));
        let vertex = [
            ("CLAUDE_CODE_USE_VERTEX", "true"),
            ("GOOGLE_CLOUD_PROJECT", "acme-ci"),
            ("CLOUD_ML_REGION", "global"),
        ];
        let expected = Via::Vertex { project: "acme-ci".to_owned(), location: "global".to_owned() };
        assert_eq!(chosen(&vertex), Ok(Some(expected)));
        for (env, message) in [
            (
                [&switched[..], &vertex].concat(),
                "both Google Vertex and Amazon Bedrock are asked for\n\nhint: unset CLAUDE_CODE_USE_VERTEX or \
                 CLAUDE_CODE_USE_BEDROCK, or leave one of them out of --upstream",
            ),
            (
                vec![("CLAUDE_CODE_USE_VERTEX", "1")],
                "Google Vertex is asked for, and ANTHROPIC_VERTEX_PROJECT_ID is not set\n\nhint: set it to the \
                 project that pays",
            ),
            (
                vec![("CLAUDE_CODE_USE_VERTEX", "1"), ("ANTHROPIC_VERTEX_PROJECT_ID", "p")],
                "Google Vertex is asked for, and CLOUD_ML_REGION is not set\n\nhint: set it to `global`, or to a \
                 region such as us-east5, which costs a tenth more",
            ),
            (
                vec![
                    ("CLAUDE_CODE_USE_VERTEX", "1"),
                    ("ANTHROPIC_VERTEX_PROJECT_ID", "p/x"),
                    ("CLOUD_ML_REGION", "g"),
                ],
                "ANTHROPIC_VERTEX_PROJECT_ID is `p/x`, which cannot stand in an address\n\nhint: write its id",
            ),
        ] {
            assert_eq!(chosen(&env).expect_err("refused"), message);
        }
    }

    #[test]
    fn models_have_the_name_that_the_cloud_gives_them() {
        let bedrock = |region: &str| Via::Bedrock { region: region.to_owned() };
        let vertex = Via::Vertex { project: "p".to_owned(), location: "global".to_owned() };
        for (via, model, name) in [
            (bedrock("us-east-1"), "claude-opus-5-5", "us.anthropic.claude-opus-5-5"),
            (bedrock("us-gov-west-1"), "claude-sonnet-5-5", "us-gov.anthropic.claude-sonnet-5-5"),
            (bedrock("eu-central-1"), "claude-haiku-4-5", "eu.anthropic.claude-haiku-4-5-20251001-v1:0"),
            (bedrock("ap-northeast-1"), "claude-opus-4-6", "jp.anthropic.claude-opus-4-6-v1"),
            (bedrock("sa-east-1"), "claude-opus-5-5", "global.anthropic.claude-opus-5-5"),
            (bedrock("us-east-1"), "global.anthropic.claude-opus-5-5", "global.anthropic.claude-opus-5-5"),
            (bedrock("us-east-1"), "gpt-6.1-sol", "gpt-6.1-sol"),
            (vertex.clone(), "claude-opus-5-5", "claude-opus-5-5"),
            (vertex, "claude-sonnet-4-5", "claude-sonnet-4-5@20250929"),
        ] {
            assert_eq!(via.model(&ModelId::new(model)).as_str(), name, "{via:?}");
        }
    }

    #[test]
    fn the_routed_model_has_a_name_for_each_way_there_is() {
        let bedrock = Via::Bedrock { region: "us-east-1".to_owned() };
        let vertex = Via::Vertex { project: "p".to_owned(), location: "global".to_owned() };
        for (via, model, plain, in_cloud) in [
            (None, "claude-opus-5-5", "claude-opus-5-5", None),
            (Some(&bedrock), "claude-opus-5-5", "claude-opus-5-5", Some("us.anthropic.claude-opus-5-5")),
            (
                Some(&bedrock),
                "global.anthropic.claude-opus-5-5",
                "claude-opus-5-5",
                Some("global.anthropic.claude-opus-5-5"),
            ),
            (
                Some(&vertex),
                "claude-sonnet-4-5@20250929",
                "claude-sonnet-4-5",
                Some("claude-sonnet-4-5@20250929"),
            ),
            (Some(&vertex), "gpt-6.1-sol", "gpt-6.1-sol", Some("gpt-6.1-sol")),
        ] {
            let routed = Via::routed(via, &ModelId::new(model), Table::embedded());
            let expected = Routed { model: ModelId::new(plain), in_cloud: in_cloud.map(ModelId::new) };
            assert_eq!(routed, expected, "{via:?} {model}");
        }
    }
}
