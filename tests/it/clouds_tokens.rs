//! Access tokens for Vertex, fetched the three ways that Google's tools set up, from servers that check what they
//! are asked.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use serde_json::{Value, json};
use tollgate::simulate::Script;
use tollgate::simulate::clouds::VERTEX_TOKEN;

use crate::around::{World, given};
use crate::run::{
    Upstream, agent, budget, charged, expect_settled, lines, repository, serve, summary, usd, verdict,
};
use crate::support::{Tollgate, tool};

/// What an endpoint was asked: path, bearer, and its form or JSON.
#[derive(Clone, Debug)]
struct Asked {
    path: String,
    bearer: Option<String>,
    form: BTreeMap<String, String>,
}

/// Google's endpoints, and GitHub's for identity tokens.
struct Google {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Google {
    /// Serves; tokens live for so many seconds.
    fn start(life: i64) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a socket option");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let keep = asked.clone();
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                while let Ok((stream, _)) = listener.accept().await {
                    let keep = keep.clone();
                    let service = service_fn(move |request| answer(request, keep.clone(), life));
                    tokio::spawn(async move {
                        let server = hyper::server::conn::http1::Builder::new();
                        drop(server.serve_connection(TokioIo::new(stream), service).await);
                    });
                }
            });
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no server panicked").clone()
    }
}

async fn answer(
    request: Request<Incoming>,
    keep: Arc<Mutex<Vec<Asked>>>,
    life: i64,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let bearer =
        request.headers().get("authorization").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let form = String::from_utf8_lossy(&body).split('&').filter_map(pair).collect();
    let before = {
        let mut asked = keep.lock().expect("no test panicked");
        asked.push(Asked { path: path.clone(), bearer, form });
        asked.len() - 1
    };
    let until = Timestamp::now() + jiff::SignedDuration::from_secs(life);
    let (status, body) = match path.as_str() {
        // Revoked once the run has begun.
        "/once" if before == 0 => (200, json!({ "access_token": VERTEX_TOKEN, "expires_in": life })),
        "/token" => {
            (200, json!({ "access_token": VERTEX_TOKEN, "expires_in": life, "token_type": "Bearer" }))
        }
        "/oidc" => (200, json!({ "value": "identity-token" })),
        "/sts" => (200, json!({ "access_token": "federated", "expires_in": life })),
        "/impersonate" => (200, json!({ "accessToken": VERTEX_TOKEN, "expireTime": until.to_string() })),
        _ => (
            400,
            json!({ "error": "invalid_grant", "error_description": "Token has been expired or revoked." }),
        ),
    };
    let response = Response::builder().status(status).header("content-type", "application/json");
    Ok(response.body(Full::from(body.to_string())).expect("a response"))
}

/// A pair of a form, without its escapes.
fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            plain => plain,
        });
    }
    Some((name.to_owned(), String::from_utf8(bytes).ok()?))
}

/// A person's credentials, which are turned in there.
fn person(token_url: &str) -> Value {
    json!({
        "type": "authorized_user", "client_id": "id", "client_secret": "a+secret", "refresh_token": "1//refresh",
        "token_uri": token_url,
    })
}

/// A repository whose runs go through Vertex.
fn world(upstream: &Upstream) -> Tollgate {
    let mut world = repository(&budget("1", "0.5", ""));
    world.env("ANTHROPIC_VERTEX_PROJECT_ID", "acme-ci").env("CLOUD_ML_REGION", "global");
    world.env("TOLLGATE_UPSTREAM_VERTEX", &upstream.url);
    world
}

/// An agent that asks Vertex so often.
fn asking(requests: u32) -> String {
    format!(
        r#"
for turn in $(seq {requests}); do
  curl -sS -H "x-api-key: $ANTHROPIC_API_KEY" -H 'content-type: application/json' \
    -d '{{"anthropic_version":"vertex-2023-10-16","max_tokens":500,"messages":[{{"role":"user","content":"hello"}}]}}' \
    "$ANTHROPIC_VERTEX_BASE_URL/projects/$ANTHROPIC_VERTEX_PROJECT_ID/locations/$CLOUD_ML_REGION/publishers/anthropic/models/$ANTHROPIC_MODEL:rawPredict"
done
[ -z "${{GOOGLE_APPLICATION_CREDENTIALS:-}}" ]
"#
    )
}

/// Runs an agent that asks Vertex as often as `requests` says, with these credentials; the exit code and the verdict.
fn run(credentials: &Value, requests: u32) -> (Option<i32>, String) {
    let upstream = serve(Script::saying("Fine.", 400));
    let mut world = world(&upstream);
    let file = world.home().join("credentials.json");
    fs::write(&file, credentials.to_string()).expect("a file");
    world.env("GOOGLE_APPLICATION_CREDENTIALS", &file);
    // Nobody is there: what is on this machine is no proxy's business.
    world.env("http_proxy", "http://127.0.0.1:1").env("https_proxy", "http://127.0.0.1:1");
    let run = agent(&mut world, &upstream, &asking(requests));
    if run.code != Some(0) {
        return (run.code, run.stderr);
    }
    let witness = upstream.witness.snapshot();
    assert_eq!(witness.violations, Vec::<String>::new(), "{}", run.stderr);
    assert_eq!(witness.bills.len(), usize::try_from(requests).expect("few"), "{}", run.stderr);
    let (summary, ledger) = (summary(&world), expect_settled(&mut world, false));
    assert_eq!((usd(&summary["total_cost_usd"]), charged(&ledger)), (witness.usd, witness.usd));
    assert!(
        run.stderr.contains("isolation none ("),
        "a file that the agent can read hardens nothing: {}",
        run.stderr
    );
    (run.code, verdict(&run))
}

/// A key pair of 2,048 bits: the private half as PEM, the public one as DER.
fn key(openssl: &Path) -> (String, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a folder");
    let (private, public) = (folder.path().join("private.pem"), folder.path().join("public.der"));
    let run = |args: &[&str]| {
        let output = Command::new(openssl).args(args).output().expect("openssl");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let (from, to) = (private.display().to_string(), public.display().to_string());
    run(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", &from]);
    run(&["rsa", "-in", &from, "-RSAPublicKey_out", "-outform", "DER", "-out", &to]);
    (fs::read_to_string(private).expect("a key"), fs::read(public).expect("a key"))
}

#[test]
fn a_service_account_signs_for_its_token_once() {
    let Some(openssl) = tool("openssl", "TOLLGATE_TEST_OPENSSL") else { return };
    let (private, public) = key(&openssl);
    let google = Google::start(3_600);
    let token_url = format!("{}/token", google.url);
    let credentials = json!({
        "type": "service_account", "project_id": "acme-ci", "private_key_id": "k1", "private_key": private,
        "client_email": "ci@acme-ci.iam.gserviceaccount.com", "token_uri": token_url,
    });
    let (code, said) = run(&credentials, 3);
    assert_eq!(code, Some(0), "{said}");
    let asked = google.asked();
    assert_eq!(asked.len(), 1, "a token is kept until it is about to expire: {asked:?}");
    assert_eq!(asked[0].form["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
    let assertion = &asked[0].form["assertion"];
    let (signed, signature) = assertion.rsplit_once('.').expect("a signature");
    let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).expect("base64");
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &public)
        .verify(signed.as_bytes(), &decoded(signature))
        .expect("signed with the account's key");
    let parts: Vec<Value> =
        signed.split('.').map(|part| serde_json::from_slice(&decoded(part)).expect("JSON")).collect();
    assert_eq!(parts[0], json!({ "alg": "RS256", "typ": "JWT", "kid": "k1" }));
    assert_eq!(parts[1]["iss"], "ci@acme-ci.iam.gserviceaccount.com");
    assert_eq!(
        (&parts[1]["aud"], &parts[1]["scope"]),
        (&json!(token_url), &json!("https://www.googleapis.com/auth/cloud-platform"))
    );
    let (from, until) =
        (parts[1]["iat"].as_i64().expect("a time"), parts[1]["exp"].as_i64().expect("a time"));
    assert_eq!(until - from, 3_600);
}

#[test]
fn a_token_that_is_about_to_expire_is_fetched_anew() {
    let google = Google::start(200);
    let (code, said) = run(&person(&format!("{}/token", google.url)), 2);
    assert_eq!(code, Some(0), "{said}");
    let asked = google.asked();
    assert!(asked.len() >= 3, "once ahead of the run, and for each request: {asked:?}");
    let form = &asked[0].form;
    assert_eq!(
        [&form["grant_type"], &form["client_id"], &form["client_secret"], &form["refresh_token"]],
        ["refresh_token", "id", "a+secret", "1//refresh"]
    );
}

#[test]
fn a_workload_s_identity_is_exchanged_and_stands_in_for_a_service_account() {
    let google = Google::start(3_600);
    let at = |path: &str| format!("{}{path}", google.url);
    let audience =
        "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/github";
    let credentials = json!({
        "type": "external_account", "audience": audience,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": at("/sts"),
        "service_account_impersonation_url": at("/impersonate"),
        "credential_source": {
            "url": at("/oidc"), "headers": { "Authorization": "Bearer actions-request-token" },
            "format": { "type": "json", "subject_token_field_name": "value" },
        },
    });
    let (code, said) = run(&credentials, 2);
    assert_eq!(code, Some(0), "{said}");
    let asked = google.asked();
    let paths: Vec<&str> = asked.iter().map(|asked| asked.path.as_str()).collect();
    assert_eq!(paths, ["/oidc", "/sts", "/impersonate"]);
    assert_eq!(asked[0].bearer.as_deref(), Some("Bearer actions-request-token"));
    let form = &asked[1].form;
    assert_eq!(
        [&form["audience"], &form["subject_token"], &form["grant_type"]],
        [audience, "identity-token", "urn:ietf:params:oauth:grant-type:token-exchange"]
    );
    assert_eq!(asked[2].bearer.as_deref(), Some("Bearer federated"));
}

#[test]
fn without_a_token_nothing_is_held_and_the_reason_is_said() {
    let google = Google::start(3_600);
    let (code, said) = run(&person(&format!("{}/revoked", google.url)), 1);
    assert_eq!(code, Some(2), "{said}");
    assert_eq!(
        said,
        "error: no access token for Google Vertex: 127.0.0.1 answered 400 Bad Request: Token has been expired or revoked.\n\n\
         hint: what was revoked or has expired is to be made anew; workload identity federation needs `id-token: write` \
         among the job's permissions, and an account that the pool may stand in for\n"
    );
}

#[test]
fn why_a_token_cannot_be_renewed_is_told_to_whoever_runs_the_agent_and_not_to_the_agent() {
    let (google, upstream) = (Google::start(200), serve(Script::saying("Fine.", 400)));
    let mut world = world(&upstream);
    let file = world.home().join("credentials.json");
    fs::write(&file, person(&format!("{}/once", google.url)).to_string()).expect("a file");
    world.env("GOOGLE_APPLICATION_CREDENTIALS", &file);
    let run = agent(&mut world, &upstream, &asking(1).replace("\ndone\n", "\ndone >answer.json\n"));
    let answer = fs::read_to_string(world.work().join("answer.json")).expect("an answer");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    let message = answer["error"]["message"].as_str().expect("a message");
    assert_eq!(message, "nothing was sent: the meter has no access token for it at the moment");
    let why =
        "A request was not sent: no access token for Google Vertex: 127.0.0.1 answered 400 Bad Request.";
    assert!(run.stdout.contains(why), "{}", run.stdout);
    assert!(!run.stdout.contains("revoked"), "a comment has none of the server's words: {}", run.stdout);
    assert_eq!(upstream.witness.snapshot().generations, 0);
}

/// What is said of a file of this cloud in the checkout, at `[WORLD]/work/PATH`.
fn refusal(path: &str) -> String {
    format!(
        "error: the credentials file [WORLD]/{path} lies in the agent's working tree: the agent could read it, and spend \
         past the meter\n\n\
         hint: let google-github-actions/auth make a token instead, by `token_format: access_token` and \
         `create_credentials_file: false`, and give its output `access_token` to tollgate as \
         TOLLGATE_VERTEX_ACCESS_TOKEN; a file of your own goes outside of the checkout\n"
    )
}

#[test]
fn a_credentials_file_in_the_checkout_starts_nothing() {
    let (google, upstream) = (Google::start(3_600), serve(Script::saying("Fine.", 400)));
    let credentials = person(&format!("{}/token", google.url)).to_string();
    // Where the file is, the variable that names it, and what that says; from the world's folder.
    for (file, name, said) in [
        (
            "work/gha-creds-0123456789abcdef.json",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "work/gha-creds-0123456789abcdef.json",
        ),
        ("work/deep/in/it.json", "GOOGLE_APPLICATION_CREDENTIALS", "home/link.json"),
        ("work/own.json", "GOOGLE_GHA_CREDS_PATH", "work/own.json"),
        ("work/own.json", "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE", "work/own.json"),
        // As the action leaves it where it exports no variables.
        ("work/gha-creds-0123456789abcdef.json", "", "work/gha-creds-0123456789abcdef.json"),
    ] {
        let mut world = world(&upstream);
        let top = world.work().join("..").canonicalize().expect("the world");
        let at = |path: &str| top.join(path);
        fs::create_dir_all(at(file).parent().expect("a folder")).expect("a folder");
        fs::write(at(file), &credentials).expect("a file");
        if said != file {
            std::os::unix::fs::symlink(at(file), at(said)).expect("a link");
        }
        if !name.is_empty() {
            world.env(name, at(said));
        }
        if name != "GOOGLE_APPLICATION_CREDENTIALS" {
            world.env("TOLLGATE_VERTEX_ACCESS_TOKEN", VERTEX_TOKEN);
        }
        let run = agent(&mut world, &upstream, "touch ran");
        run.expect_code(2);
        assert_eq!(run.stderr, refusal(said), "{file} {name}");
        assert!(!world.work().join("ran").exists() && !world.work().join(".tollgate").exists());
        assert_eq!(google.asked().len(), 0, "no token was fetched");
        // What the hint says is enough.
        fs::remove_file(at(file)).expect("it is there");
        if name != "GOOGLE_APPLICATION_CREDENTIALS" {
            agent(&mut world, &upstream, &asking(1)).expect_code(0);
        }
    }
}

#[test]
fn a_credentials_file_of_a_cloud_that_is_not_asked_is_warned_of() {
    let upstream = serve(Script::saying("Fine.", 400));
    let mut world = repository(&budget("1", "0.5", ""));
    world.file("gha-creds-0123456789abcdef.json", "{}");
    let run = agent(&mut world, &upstream, "ask Go\n");
    run.expect_code(0);
    assert_eq!(
        lines(&run.stderr, "warning: "),
        "warning: the credentials file [WORLD]/work/gha-creds-0123456789abcdef.json lies in the agent's working tree, \
         where the agent can read it; what it does with it is not metered"
    );
}

#[test]
fn what_is_too_dear_goes_to_the_routed_model_by_its_name_there_where_there_is_a_cloud_as_well() {
    let upstream = serve(Script::saying("Fine.", 400));
    let mut world = repository(&budget("1", "0.5", ", dearer_model: remap"));
    world
        .env("CLAUDE_CODE_USE_BEDROCK", "1")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_BEARER_TOKEN_BEDROCK", "unused-here");
    let ask = r#"
curl -sS -H "x-api-key: $ANTHROPIC_API_KEY" -H 'anthropic-version: 2023-06-01' -H 'content-type: application/json' \
  -d '{"model":"claude-opus-5-5","max_tokens":500,"messages":[{"role":"user","content":"hello"}]}' \
  "$ANTHROPIC_BASE_URL/v1/messages"
"#;
    let run = agent(&mut world, &upstream, ask);
    run.expect_code(0);
    let witness = upstream.witness.snapshot();
    let models: Vec<String> = witness.bills.iter().map(|bill| bill.model.to_string()).collect();
    assert_eq!(
        (models, witness.violations),
        (vec!["claude-haiku-5-5".to_owned()], Vec::new()),
        "{}",
        run.stderr
    );
}

#[test]
fn a_meter_that_is_left_running_reads_the_file_that_was_named_from_elsewhere() {
    let (google, upstream) = (Google::start(3_600), serve(Script::saying("Fine.", 400)));
    let mut world = World(world(&upstream));
    let credentials = person(&format!("{}/token", google.url)).to_string();
    fs::write(world.0.home().join("credentials.json"), credentials).expect("a file");
    let start =
        world.0.env("GOOGLE_APPLICATION_CREDENTIALS", "../home/credentials.json").args(["start"]).run();
    start.expect_code(0);
    let given = given(&start);
    assert_eq!(given["claude_code_use_vertex"], "1");
    assert_eq!(google.asked().len(), 2, "by the start, and by the meter that it leaves");
    let finish = world.finish(&given, "success");
    finish.expect_code(3);
    assert!(finish.stderr.contains("no request reached the meter"), "{}", finish.stderr);
    expect_settled(&mut world.0, false);
}
