use std::os::unix::fs::PermissionsExt;

use super::*;

fn folder_with(name: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join(name);
    std::fs::write(&file, "#!/bin/sh\n").expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    folder
}

fn with(choice: &Choice, search: &Search<'_>, model: &str, small: &str) -> Result<Launch, PresetError> {
    let wiring = Wiring {
        base_url: "http://127.0.0.1:1",
        token: "token",
        model: &ModelId::new(model),
        small_model: &ModelId::new(small),
        cap: "0.8".parse().expect("an amount"),
        output_tokens_max: 13_000,
        window_tokens: 200_000,
        home: Path::new("/run/home"),
    };
    launch(choice, &wiring, search)
}

/// How a preset is started, as root, with an argument of the user's.
fn started(preset: Preset, model: &str, small: &str) -> Launch {
    let folder = folder_with(package(preset).expect("a package").program);
    let told = Told { prompt: "--review".into(), args: vec!["--mine".into()] };
    let search = Search { path: folder.path().as_os_str(), cwd: Path::new("/"), root: true };
    let launch = with(&Choice::of(preset, told), &search, model, small).expect("it is there");
    assert_eq!(launch.program.parent(), Some(folder.path()));
    for name in ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY"] {
        assert!(launch.env.contains(&(name, "token".into())), "{name}");
    }
    launch
}

fn line(launch: &Launch) -> String {
    let args: Vec<_> = launch.args.iter().map(|arg| arg.to_string_lossy()).collect();
    args.join(" ")
}

fn file(launch: &Launch, path: &str) -> String {
    launch.files.iter().find(|file| file.path == path).expect(path).text.clone()
}

fn words(words: &[&str]) -> Choice {
    Choice::Command(words.iter().map(|word| (*word).to_owned()).collect())
}

#[test]
fn claude_is_started_without_a_person() {
    let launch = started(Preset::Claude, "claude-opus-5-5", "claude-haiku-5-5");
    assert_eq!(
        line(&launch),
        "-p --output-format stream-json --verbose --dangerously-skip-permissions --model claude-opus-5-5 --mine -- --review"
    );
    assert_eq!(launch.format, Format::ClaudeStream);
    assert!(launch.env.contains(&("IS_SANDBOX", "1".into())));
    assert!(launch.env.contains(&("CLAUDE_CODE_MAX_OUTPUT_TOKENS", "13000".into())));
    assert!(launch.env.contains(&("ANTHROPIC_DEFAULT_HAIKU_MODEL", "claude-haiku-5-5".into())));
    let folder = folder_with("claude");
    let search = Search { path: folder.path().as_os_str(), cwd: Path::new("/"), root: false };
    let user = with(&Choice::Claude(Told::default()), &search, "claude-opus-5-5", "claude-opus-5-5");
    assert!(user.expect("claude").env.iter().all(|(name, _)| *name != "IS_SANDBOX"));
}

#[test]
fn codex_is_a_provider_of_its_own() {
    let launch = started(Preset::Codex, "gpt-6.1-sol", "gpt-6-luna");
    assert_eq!(
        line(&launch),
        "exec --json --dangerously-bypass-approvals-and-sandbox --skip-git-repo-check --model gpt-6.1-sol --mine -- --review"
    );
    assert_eq!(launch.format, Format::CodexJson);
    let config = file(&launch, ".codex/config.toml");
    assert!(config.contains("base_url = \"http://127.0.0.1:1/v1\"\n"), "{config}");
    assert!(!config.contains("token"), "{config}");
    assert!(
        launch.env.iter().all(|(name, _)| *name != "ANTHROPIC_MODEL"),
        "a model of OpenAI's is none there"
    );
}

#[test]
fn gemini_gets_its_prompt_in_one_word() {
    let launch = started(Preset::Gemini, "gemini-3.8-flash", "gemini-3.1-flash-lite");
    assert_eq!(
        line(&launch),
        "--yolo --skip-trust --output-format stream-json --model gemini-3.8-flash --mine --prompt=--review"
    );
    assert!(launch.env.contains(&("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:1".into())));
    assert!(launch.env.contains(&("GEMINI_CLI_NO_RELAUNCH", "true".into())));
    let settings: serde_json::Value =
        serde_json::from_str(&file(&launch, ".gemini/settings.json")).expect("JSON");
    assert_eq!(settings["security"]["auth"]["selectedType"], "gemini-api-key");
}

#[test]
fn opencode_goes_by_the_models_maker() {
    for (model, small, main, providers) in [
        ("claude-opus-5-5", "claude-haiku-5-5", "anthropic", vec![("anthropic", "v1")]),
        ("gpt-6.1-sol", "gpt-6-luna", "openai", vec![("openai", "v1")]),
        ("gemini-3.8-flash", "claude-haiku-5-5", "google", vec![("google", "v1beta"), ("anthropic", "v1")]),
        ("kimi-k3", "kimi-k3", "tollgate", vec![("tollgate", "v1")]),
    ] {
        let launch = started(Preset::Opencode, model, small);
        assert_eq!(line(&launch), format!("run --format json --model {main}/{model} --mine -- --review"));
        let config: serde_json::Value =
            serde_json::from_str(&file(&launch, ".config/opencode/opencode.json")).expect("JSON");
        let found = config["provider"].as_object().expect("providers");
        let urls: Vec<(&str, String)> = found
            .iter()
            .map(|(name, provider)| (name.as_str(), provider["options"]["baseURL"].to_string()))
            .collect();
        let expected = providers.iter().map(|(name, v)| (*name, format!("\"http://127.0.0.1:1/{v}\"")));
        assert_eq!(urls, expected.collect::<Vec<_>>(), "{model}");
        assert_eq!(found[main]["models"][model]["limit"]["output"], 13_000);
        let strange = found[main]["npm"] == "@ai-sdk/openai-compatible";
        assert_eq!(strange, main == "tollgate", "{model}");
    }
}

#[test]
fn python_agents_go_by_litellm() {
    let launch = started(Preset::Mini, "claude-opus-5-5", "claude-haiku-5-5");
    assert_eq!(
        line(&launch),
        "--yolo --exit-immediately --cost-limit 0 --output /run/home/trajectory.json --model anthropic/claude-opus-5-5 \
         --config mini.yaml --config model.model_kwargs.max_tokens=13000 --mine --task=--review"
    );
    let launch = started(Preset::Mini, "gpt-6.1-sol", "gpt-6-luna");
    assert!(
        line(&launch).contains("--model openai/gpt-6.1-sol --config mini.yaml --mine"),
        "{}",
        line(&launch)
    );

    let launch = started(Preset::Aider, "claude-opus-5-5", "claude-haiku-5-5");
    let line = line(&launch);
    assert!(
        line.ends_with(
            " --chat-history-file /run/home/.aider.chat.md --input-history-file /run/home/.aider.input \
             --model-settings-file /run/home/.aider.tollgate.yml --model anthropic/claude-opus-5-5 \
             --weak-model anthropic/claude-haiku-5-5 --mine --message=--review"
        ),
        "{line}"
    );
    let settings = file(&launch, ".aider.tollgate.yml");
    assert_eq!(settings.matches("max_tokens: 13000").count(), 2, "{settings}");
    let launch = started(Preset::Aider, "gemini-3.8-flash", "gemini-3.8-flash");
    let settings = file(&launch, ".aider.tollgate.yml");
    assert_eq!(settings.matches("name: \"gemini/gemini-3.8-flash\"").count(), 1, "{settings}");
    assert!(!settings.contains("max_tokens"), "{settings}");
}

#[test]
fn a_command_is_found_and_told_where_the_meter_is() {
    let folder = folder_with("agent");
    let search = Search { path: folder.path().as_os_str(), cwd: folder.path(), root: false };
    for word in ["agent", "./agent"] {
        let launch = with(&words(&[word, "-x"]), &search, "claude-opus-5-5", "claude-haiku-5-5").expect(word);
        assert!(launch.program.is_absolute() && launch.program.ends_with("agent"), "{word}");
        assert_eq!((launch.args, launch.format), (vec![OsString::from("-x")], Format::Plain));
        assert!(launch.env.contains(&("TOLLGATE_METER_URL", "http://127.0.0.1:1".into())));
        assert!(launch.env.contains(&("TOLLGATE_CAP_USD", "0.8".into())));
        assert!(launch.env.contains(&("OPENAI_BASE_URL", "http://127.0.0.1:1/v1".into())));
    }
}

#[test]
fn what_is_missing_is_named_with_what_to_do() {
    let empty = tempfile::tempdir().expect("a folder");
    let told = |preset| Choice::of(preset, Told::default());
    for (choice, message) in [
        (
            told(Preset::Claude),
            "the agent is Claude Code, and there is no program `claude` on PATH\n\nhint: npm install --global @anthropic-ai/claude-code@2.1.197",
        ),
        (
            told(Preset::Codex),
            "the agent is Codex, and there is no program `codex` on PATH\n\nhint: npm install --global @openai/codex@0.169.0",
        ),
        (
            told(Preset::Gemini),
            "the agent is Gemini CLI, and there is no program `gemini` on PATH\n\nhint: npm install --global @google/gemini-cli@0.61.0",
        ),
        (
            told(Preset::Opencode),
            "the agent is opencode, and there is no program `opencode` on PATH\n\nhint: npm install --global opencode-ai@1.18.33",
        ),
        (
            told(Preset::Aider),
            "the agent is aider, and there is no program `aider` on PATH\n\nhint: python3 -m pip install aider-chat==0.86.2",
        ),
        (
            told(Preset::Mini),
            "the agent is mini-swe-agent, and there is no program `mini` on PATH\n\nhint: python3 -m pip install mini-swe-agent==2.4.6 mcp==2.3.0",
        ),
        (
            words(&["agent"]),
            "the agent's program `agent` was not found on PATH\n\nhint: install it in an earlier step, or write its path",
        ),
        (
            words(&["./agent"]),
            "the agent's program `./agent` is not there, or cannot be executed\n\nhint: a path is taken from the folder that tollgate was started in",
        ),
        (
            words(&[]),
            "there is no agent to run\n\nhint: write `agent: { use: claude }` into the budget file, or a command after `--`",
        ),
    ] {
        let search = Search { path: empty.path().as_os_str(), cwd: empty.path(), root: false };
        let error = with(&choice, &search, "m", "m").expect_err("not there");
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_relative_entry_of_path_is_passed_over() {
    let folder = folder_with("agent");
    let path = std::env::join_paths([Path::new("."), Path::new(""), folder.path()]).expect("a path");
    assert_eq!(find_program("agent", &path), Some(folder.path().join("agent")));
    assert_eq!(find_program("agent", OsStr::new(".:")), None);
}

#[test]
fn an_output_cap_leaves_room_for_four_requests() {
    let first = claude::FIRST;
    // Cap, cache write and output in dollars a million tokens; output cap; tokens of a request.
    for (cap, cache_write, output, expected, request) in [
        ("4", "5", "20", 30_000, first.sized),
        ("0.8", "2.5", "10", 13_000, first.counted),
        ("0.1", "0.125", "0.5", 30_000, first.sized),
        ("100", "5", "20", 32_000, first.sized),
    ] {
        let cap: Usd = cap.parse().expect("an amount");
        let cache_write = Rate::per_mtok(cache_write).expect("a rate");
        let output = Rate::per_mtok(output).expect("a rate");
        let tokens = output_cap(first, cap, cache_write, output);
        assert_eq!(tokens, expected, "{cap}");
        let one = cache_write * request + output * tokens;
        assert!(one + one + one + one <= cap, "{cap}");
    }
    let dear = Rate::per_mtok("100").expect("a rate");
    assert_eq!(
        output_cap(first, Usd::from_dollars(1), dear, dear),
        4_096,
        "never below what an answer needs"
    );
}
