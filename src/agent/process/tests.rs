//! Real shells that do what agents do, and worse.

use std::path::Path;

use super::*;
use crate::agent::output::tests::Shared;

/// Two agents below one process could not be told apart, and `cargo test` runs tests as threads.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

const SHORT: Patience =
    Patience { interrupt: Duration::from_millis(150), terminate: Duration::from_millis(150) };
const LONG: Patience = Patience { interrupt: Duration::from_secs(5), terminate: Duration::from_secs(5) };

fn spec(script: &str) -> Spec {
    Spec {
        program: PathBuf::from("/bin/sh"),
        args: vec!["-c".into(), script.into()],
        env: BTreeMap::from([("PATH".into(), std::env::var_os("PATH").unwrap_or_default())]),
        workspace: std::env::temp_dir(),
        time_limit: Duration::from_secs(20),
        format: Format::Plain,
        redactor: Arc::default(),
    }
}

fn begin(spec: &Spec) -> (Running, Shared) {
    let shared = Shared::default();
    let running = start(spec, &Log::new(Box::new(shared.clone()), false)).expect("a shell starts");
    (running, shared)
}

/// Waits until the agent has said `count` lines, which tests use in place of sleeping.
async fn heard(shared: &Shared, count: usize) -> Vec<String> {
    loop {
        let lines: Vec<String> = shared.text().lines().map(str::to_owned).collect();
        if lines.len() >= count {
            return lines;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn assert_gone(pids: &[String]) {
    for pid in pids {
        assert!(pid.parse::<u32>().is_ok(), "`{pid}` is a process id");
        assert!(!Path::new("/proc").join(pid).exists(), "process {pid} is still there");
    }
}

#[tokio::test]
async fn an_agent_that_ends_by_itself_has_a_status_and_last_words() {
    let _one = ONE_AT_A_TIME.lock().await;
    for (script, code) in [("echo hello; echo oh >&2", 0), ("echo hello; echo oh >&2; exit 42", 42)] {
        let (mut running, shared) = begin(&spec(script));
        let Exit::Itself(status) = running.exited().await else { panic!("it has ended") };
        assert_eq!(status.code(), Some(code));
        let ended = running.end(SHORT).await;
        assert_eq!(ended.status.and_then(|status| status.code()), Some(code));
        assert_eq!((ended.signal, ended.left_behind, ended.survivors), (None, 0, 0));
        assert_eq!((ended.said.text.as_str(), ended.complained.text.as_str()), ("hello", "oh"));
        let mut lines = heard(&shared, 2).await;
        lines.sort();
        assert_eq!(lines, ["hello", "oh"]);
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let _one = ONE_AT_A_TIME.lock().await;
    let spec = Spec { program: "/no/such/agent".into(), ..spec("") };
    let error = start(&spec, &Log::new(Box::new(io::sink()), false)).expect_err("nothing to start");
    assert_eq!(
        error.to_string(),
        "the agent `/no/such/agent` could not be started: No such file or directory (os error 2)"
    );
}

#[tokio::test]
async fn it_has_its_own_session_no_input_and_only_the_given_environment() {
    let _one = ONE_AT_A_TIME.lock().await;
    let (mut running, _) = begin(&spec(
        "read line && echo input; set -- $(cat /proc/$$/stat); echo $(($6 - $$)); cat /proc/$$/environ | tr '\\0' '\\n' | cut -d= -f1",
    ));
    running.exited().await;
    assert_eq!(running.end(SHORT).await.said.text, "0\nPATH");
}

#[tokio::test]
async fn an_interrupt_is_asked_first() {
    let _one = ONE_AT_A_TIME.lock().await;
    let (running, shared) =
        begin(&spec("trap 'echo bye; exit 7' INT; echo up; while :; do sleep 0.02; done"));
    heard(&shared, 1).await;
    let ended = running.end(LONG).await;
    assert_eq!(ended.signal, Some(Signal::INT));
    assert_eq!(ended.status.and_then(|status| status.code()), Some(7));
    assert_eq!(ended.said.text, "up\nbye");
}

#[tokio::test]
async fn the_termination_signal_comes_second() {
    let _one = ONE_AT_A_TIME.lock().await;
    let script = "trap '' INT; trap 'exit 8' TERM; echo up; while :; do sleep 0.02; done";
    let (running, shared) = begin(&spec(script));
    heard(&shared, 1).await;
    let ended = running.end(Patience { interrupt: Duration::from_millis(100), ..LONG }).await;
    assert_eq!(ended.signal, Some(Signal::TERM));
    assert_eq!(ended.status.and_then(|status| status.code()), Some(8));
}

#[tokio::test]
async fn what_ignores_every_signal_is_killed_with_its_children() {
    let _one = ONE_AT_A_TIME.lock().await;
    let script = "trap '' INT TERM HUP; sleep 1000 & echo $!; echo $$; while :; do sleep 1000; done";
    let (running, shared) = begin(&spec(script));
    let pids = heard(&shared, 2).await;
    let ended = running.end(SHORT).await;
    assert_eq!((ended.signal, ended.survivors), (Some(Signal::KILL), 0));
    assert_gone(&pids);
}

#[tokio::test]
async fn a_daemon_that_outlives_its_parent_is_ended() {
    let _one = ONE_AT_A_TIME.lock().await;
    for daemon in [
        // Orphaned in the same group; with a session of its own; forked twice; deaf to all but the kill.
        "sleep 1000 & echo $!",
        "nohup setsid sh -c 'echo $$; exec sleep 1000' & sleep 0.05",
        "(setsid sh -c '(setsid sh -c \"echo \\$\\$; exec sleep 1000\" &)' &) ; sleep 0.1",
        "setsid sh -c 'trap \"\" INT TERM HUP; echo $$; while :; do sleep 1000; done' & sleep 0.05",
    ] {
        let (mut running, shared) = begin(&spec(&format!("{daemon}; exit 3")));
        let pids = heard(&shared, 1).await;
        let Exit::Itself(status) = running.exited().await else { panic!("the main process has ended") };
        assert_eq!(status.code(), Some(3));
        let ended = running.end(SHORT).await;
        assert!(ended.left_behind >= 1, "{daemon}: {}", ended.left_behind);
        assert_eq!(ended.survivors, 0);
        assert!(!ended.said.unfinished, "no daemon holds the output open");
        assert_gone(&pids);
    }
}

#[tokio::test]
async fn a_target_that_keeps_moving_is_caught() {
    let _one = ONE_AT_A_TIME.lock().await;
    // Each generation begins a session, starts the next and is gone.
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("hop");
    std::fs::write(&script, "trap '' INT TERM; setsid sh \"$0\" >/dev/null 2>&1 &\n").expect("a script");
    let (mut running, _) = begin(&spec(&format!("sh {}", script.display())));
    running.exited().await;
    let ended = running.end(SHORT).await;
    assert_eq!(ended.survivors, 0);
    // The script is still there, so a hop that was missed would be seen hopping.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let left = std::fs::read_dir("/proc").expect("/proc").flatten().any(|entry| {
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            memchr::memmem::find(&command, script.as_os_str().as_encoded_bytes()).is_some()
        });
        assert!(!left);
    }
}

#[tokio::test]
async fn fifty_children_in_sessions_of_their_own_are_ended() {
    let _one = ONE_AT_A_TIME.lock().await;
    let script =
        "i=0; while [ $i -lt 50 ]; do setsid sh -c 'echo $$; exec sleep 1000' & i=$((i+1)); done; wait";
    let (running, shared) = begin(&spec(script));
    let pids = heard(&shared, 50).await;
    let ended = running.end(LONG).await;
    assert_eq!((ended.signal, ended.survivors), (Some(Signal::INT), 0));
    assert_gone(&pids);
}

#[tokio::test]
async fn time_runs_out_and_waiting_can_be_broken_off() {
    let _one = ONE_AT_A_TIME.lock().await;
    let spec = Spec { time_limit: Duration::from_millis(100), ..spec("exec sleep 1000") };
    let (mut running, _) = begin(&spec);
    let broken_off = tokio::time::timeout(Duration::from_millis(5), running.exited()).await;
    assert!(broken_off.is_err());
    assert_eq!(running.exited().await, Exit::TimeUp);
    let ended = running.end(LONG).await;
    assert_eq!(ended.signal, Some(Signal::INT));
    assert!(ended.duration >= Duration::from_millis(100) && ended.duration < Duration::from_secs(2));
}

#[tokio::test]
async fn an_agent_that_is_dropped_is_gone() {
    let _one = ONE_AT_A_TIME.lock().await;
    let (running, shared) =
        begin(&spec("trap '' INT TERM; setsid sh -c 'echo $$; exec sleep 1000' & sleep 1000"));
    let pids = heard(&shared, 1).await;
    drop(running);
    for pid in pids {
        // Killed, though nobody may have waited for it yet.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        assert!(stat.is_empty() || stat.contains(") Z "), "{stat}");
    }
}

#[tokio::test]
async fn a_flood_of_output_is_swallowed() {
    let _one = ONE_AT_A_TIME.lock().await;
    let started = Instant::now();
    let script = "yes 'a line of output that says nothing at all' | head -c 100000000; echo; echo end";
    let (mut running, shared) = begin(&spec(script));
    running.exited().await;
    let ended = running.end(LONG).await;
    assert!(ended.said.text.ends_with("\nend"), "{:?}", &ended.said.text[ended.said.text.len() - 60..]);
    assert!(shared.text().len() < 9 * 1024 * 1024);
    assert!(shared.text().ends_with("bytes of output only the first 8 MiB are shown\n"));
    assert!(started.elapsed() < Duration::from_secs(10));
}
