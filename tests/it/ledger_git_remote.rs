//! The git ledger over smart HTTP: whose credentials go where, and what each refusal is told as.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tollgate::id::HoldId;
use tollgate::ledger::event::{Bill, Kind, Note};
use tollgate::ledger::store::git::{Credentials, GitPlace, RemoteError, Token};
use tollgate::ledger::store::{Options, Store, StoreError};
use tollgate::ledger::{Answer, Balance, Request};

use crate::ledger::{budget, cents, request, spend};
use crate::ledger_git::{many_write, place};
use crate::support::git;
use crate::support::git_http::{GitHttp, bare};

const TOKEN: &str = "ghs_TESTtoken0123456789";

struct World {
    folder: tempfile::TempDir,
    remote: PathBuf,
    server: GitHttp,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let remote = bare(&folder.path().join("srv"), "acme/widgets.git");
        let server = GitHttp::serve(&folder.path().join("srv"), TOKEN);
        Self { folder, remote, server }
    }

    fn place(&self, name: &str, token: &str) -> GitPlace {
        let mut place = place(&format!("{}/{name}", self.server.url));
        place.credentials = Credentials::Token(Token::new(token));
        place
    }

    fn store(&self) -> Store {
        Store::open_git(self.place("acme/widgets.git", TOKEN), Options::default())
    }

    fn hook(&self, script: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.remote.join("hooks/pre-receive");
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    }
}

fn asked(hold: &str, store: &Store) -> Request {
    request(hold, 3, budget(1000), store.now())
}

/// What a reserve is refused with, the server's address taken out.
fn refusal(world: &World, store: &Store) -> (StoreError, String) {
    let error = store.reserve(&asked("a", store)).expect_err("refused");
    let text = error.to_string().replace(&world.server.url, "SERVER");
    (error, text)
}

#[test]
fn runs_settle_over_http_with_a_token() {
    let world = World::new();
    let store = world.store();
    for hold in ["a", "b"] {
        let request = asked(hold, &store);
        assert!(matches!(store.reserve(&request).expect("an answer"), Answer::Granted { .. }));
        store.rest();
        store.settle(&request.hold, &spend(2)).expect("settled");
    }
    assert_eq!(
        store.verify().map(|verified| (verified.head, verified.events)).expect("in order"),
        (Ok(()), 4)
    );
    let logins = world.server.logins.lock().expect("a list").clone();
    assert!(logins.len() > 8 && logins.iter().all(|login| !login.is_empty()), "{logins:?}");
}

#[test]
fn many_writers_over_http_lose_nothing_and_double_nothing() {
    let world = World::new();
    let url = format!("{}/acme/widgets.git", world.server.url);
    println!("over http: {}", many_write(&world.remote, &url, Some(TOKEN)));
}

#[test]
fn a_push_whose_answer_was_lost_is_found_by_its_claim() {
    let world = World::new();
    let store = world.store();
    world.server.mood.lock().expect("a mood").lost_answers = 1;
    let request = asked("a", &store);
    assert!(matches!(store.reserve(&request).expect("an answer"), Answer::Granted { .. }));
    world.server.mood.lock().expect("a mood").lost_answers = 1;
    store.settle(&request.hold, &spend(2)).expect("settled");
    let verified = store.verify().expect("in order");
    assert_eq!((verified.events, verified.holds, verified.live), (2, 1, 0), "neither lost nor doubled");
    world.server.mood.lock().expect("a mood").lost_answers = u32::MAX;
    let error = store.reserve(&asked("b", &store)).err();
    // The first push lands, and the second try finds its hold.
    assert!(error.is_none(), "{error:?}");
}

#[test]
fn a_note_or_a_refusal_whose_answer_was_lost_is_there_once() {
    let world = World::new();
    let store = world.store();
    let key = HoldId::from_text("bill/anthropic/2026-11-23");
    let bill = |billed| {
        Note::Bill(Bill {
            provider: "anthropic".to_owned(),
            day: "2026-11-23".to_owned(),
            billed: cents(billed),
            ledger: cents(1),
            unproven: cents(0),
            models: Vec::new(),
        })
    };
    let request = asked("a", &store);
    let by = Balance { limit: budget(1), settled: cents(1), held: cents(0) };
    let lose = |count| world.server.mood.lock().expect("a mood").lost_answers = count;
    // What was on record before is something else that was asked for.
    store.note(&key, bill(1)).expect("recorded");
    lose(1);
    store.note(&key, bill(1)).expect("recorded");
    lose(2);
    store.note(&key, bill(2)).expect("recorded");
    lose(1);
    store.refuse(&request, &by).expect("recorded");
    let events = store.events(None).expect("events").map(|event| event.expect("an event").kind);
    let said: Vec<String> = events
        .map(|kind| match kind {
            Kind::Note(Note::Bill(bill)) => format!("bill {}", bill.billed),
            Kind::Refuse(_) => "refused".to_owned(),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(said, ["bill 0.01", "bill 0.01", "bill 0.02", "refused"], "neither lost nor doubled");
}

#[test]
fn each_refusal_has_its_own_words() {
    let world = World::new();
    let store = world.store();
    let at = "SERVER/acme/widgets.git";
    let other = |name, token| Store::open_git(world.place(name, token), Options::default());

    let (error, text) = refusal(&world, &other("acme/widgets.git", "wrong"));
    assert!(matches!(error, StoreError::Git(RemoteError::Authentication { .. })), "{error:?}");
    assert!(text.starts_with(&format!("{at} does not accept the credentials for the ledger: ")), "{text}");
    assert!(text.ends_with("is set to a token that has not expired"), "{text}");
    assert!(!text.contains("wrong") && !text.to_lowercase().contains("authorization"), "{text}");

    let (error, text) = refusal(&world, &other("acme/nowhere.git", TOKEN));
    assert!(matches!(error, StoreError::Git(RemoteError::NotFound { .. })), "{error:?}");
    assert!(
        text.starts_with("there is no repository SERVER/acme/nowhere.git that these credentials can see: "),
        "{text}"
    );

    world.server.mood.lock().expect("a mood").read_only = true;
    let (error, text) = refusal(&world, &store);
    assert!(matches!(error, StoreError::Git(RemoteError::Permission { .. })), "{error:?}");
    assert!(
        text.starts_with(&format!(
            "the credentials for {at} may not write to the branch `tollgate-ledger`: "
        )),
        "{text}"
    );
    assert!(text.ends_with("\n\nhint: give the job `permissions: { contents: write }`; a token of a fork's pull request can only read"), "{text}");
    world.server.mood.lock().expect("a mood").read_only = false;

    world.hook(
        "echo 'error: GH013: Repository rule violations found for refs/heads/tollgate-ledger.'\nexit 1",
    );
    let (error, text) = refusal(&world, &store);
    assert!(matches!(error, StoreError::Git(RemoteError::Rules { .. })), "{error:?}");
    assert!(text.starts_with(&format!("the rules of {at} refuse what tollgate writes to the branch `tollgate-ledger`: error: GH013: Repository rule violations found")), "{text}");
    assert!(text.contains("\n\nhint: leave the branch out of the ruleset"), "{text}");

    world.hook("echo 'GH013: Repository rule violations found'\necho '- Commits must have verified signatures.'\nexit 1");
    let (error, text) = refusal(&world, &store);
    assert!(matches!(error, StoreError::Git(RemoteError::Unsigned { .. })), "{error:?}");
    assert_eq!(
        text,
        format!(
            "the rules of {at} ask for signed commits on the branch `tollgate-ledger`, and the ledger's are not signed\
             \n\nhint: leave the branch out of that rule, or name another ledger with `ledger:` in the budget file"
        )
    );
    assert_eq!(
        git(&world.remote, &["for-each-ref", "--format=%(refname)"]),
        "refs/heads/main",
        "nothing was written"
    );
}

#[test]
fn a_server_that_is_not_there_is_told_as_that() {
    let world = World::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port");
    let mut at = place(&format!("http://{port}/acme/widgets.git"));
    at.patience = Duration::ZERO;
    let store = Store::open_git(at, Options::default());
    let (error, text) = refusal(&world, &store);
    assert!(matches!(error, StoreError::Git(RemoteError::Network { unsure: false, .. })), "{error:?}");
    assert!(text.ends_with("\n\nhint: check the network, then start again; nothing was recorded"), "{text}");
}

#[test]
fn a_token_never_goes_unencrypted_to_another_machine() {
    for url in
        ["http://git.example/a/b", "http://127.0.0.1@git.example/a/b", "http://localhost.git.example/a/b"]
    {
        let mut at = place(url);
        at.credentials = Credentials::Token(Token::new(TOKEN));
        let store = Store::open_git(at, Options::default());
        let error = store.balances(&[]).expect_err("refused").to_string();
        assert!(error.starts_with("the ledger's token would go unencrypted to "), "{url}: {error}");
    }
}

#[test]
fn the_servers_clock_decides_and_one_that_is_far_off_stops_writing() {
    let world = World::new();
    world.server.mood.lock().expect("a mood").clock_ahead = Some(300);
    let store = world.store();
    let before = store.now() + jiff::SignedDuration::from_secs(290);
    store.reserve(&asked("a", &store)).expect("an answer");
    let at = store.events(None).expect("events").next().expect("one").expect("read").at;
    assert!(before < at, "{at} is the server's time");
    world.server.mood.lock().expect("a mood").clock_ahead = Some(3600);
    let store = world.store();
    let error = store.settle(&asked("a", &store).hold, &spend(1)).expect_err("a clock that is off");
    assert!(matches!(error, StoreError::Git(RemoteError::Clock { whose: "the server", .. })), "{error:?}");
}

/// A `git` that writes down what it is started with, then is git.
fn recording(folder: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join("git");
    let real = crate::ledger_git::program();
    let (log, real) = (folder.join("git.log"), real.display());
    let script = format!(
        "#!/bin/sh\n{{ echo \"ARGS $*\"; env | sed 's/^/ENV /'; }} >>'{}'\nexec '{real}' \"$@\"\n",
        log.display()
    );
    std::fs::write(&path, script).expect("written");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
    path
}

#[test]
fn the_token_is_in_no_argument_no_file_and_in_the_environment_of_talks_only() {
    use base64::Engine as _;
    let world = World::new();
    let mut at = world.place("acme/widgets.git", TOKEN);
    at.program = recording(world.folder.path());
    at.scratch = world.folder.path().join("scratch");
    std::fs::create_dir(&at.scratch).expect("a folder");
    assert!(!format!("{at:?}").contains(TOKEN), "nor in what a panic would print");
    let store = Store::open_git(at.clone(), Options::default());
    store.reserve(&asked("a", &store)).expect("an answer");

    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{TOKEN}"));
    let log = std::fs::read_to_string(world.folder.path().join("git.log")).expect("a log");
    let (mut talks, mut command) = (0, "");
    for line in log.lines() {
        let holds = line.contains(TOKEN) || line.contains(&encoded);
        if let Some(args) = line.strip_prefix("ARGS ") {
            command = args;
            assert!(!holds, "{line}");
            assert!(args.starts_with("-c core.hooksPath=/dev/null "), "{args}");
        } else if holds {
            assert!(command.contains(" fetch ") || command.contains(" push "), "{command}");
            let key = "ENV GIT_CONFIG_VALUE_3=AUTHORIZATION: basic ";
            assert_eq!(line, format!("{key}{encoded}"));
            talks += 1;
        }
        let name = line.strip_prefix("ENV ").and_then(|line| line.split('=').next()).unwrap_or_default();
        assert!(!matches!(name, "SSH_AUTH_SOCK" | "GIT_DIR" | "GITHUB_TOKEN" | "GIT_ASKPASS"), "{line}");
    }
    assert_eq!(talks, 2, "one fetch, one push");
    for setting in [
        "ENV GIT_CONFIG_GLOBAL=/dev/null",
        "ENV GIT_CONFIG_NOSYSTEM=1",
        "ENV GIT_TERMINAL_PROMPT=0",
        "ENV LC_ALL=C",
    ] {
        assert!(log.contains(setting), "{setting}");
    }
    let mut folders = vec![at.scratch];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).expect("a file");
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains(TOKEN) && !text.contains(&encoded), "{}", path.display());
        }
    }
}
