//! The GitHub client when GitHub fails: nothing is done twice, nothing waits longer than it may.

use std::time::Duration;

use tollgate::github::{Error, Limit, StatusState};

use crate::github::{client, client_with, double, run};
use crate::support::github::{Fault, SLOW, TOKEN};

const COMMENTS: &str = "/issues/7/comments";
const BODY: &str = "text <!-- tollgate run=1 -->";
const MARKER: &str = "<!-- tollgate run=1 -->";

#[test]
fn a_comment_is_there_once_whatever_happened_to_its_answer() {
    for (fault, times, found, posts) in [
        (Fault::Before(502), 1, false, 2),
        (Fault::After(502), 1, true, 1),
        (Fault::DropBefore, 1, false, 2),
        (Fault::DropAfter, 1, true, 1),
        (Fault::Secondary { status: 403, retry_after_s: Some(5) }, 2, false, 3),
        (Fault::Secondary { status: 429, retry_after_s: Some(5) }, 1, false, 2),
        (Fault::Primary { reset_s: 30 }, 1, false, 2),
    ] {
        let double = double(|state| {
            // Planted by somebody else: not ours.
            state.comment(7, "eve", BODY);
        });
        double.fault("POST", COMMENTS, times, fault.clone());
        run(async {
            let (github, _) = client(&double);
            let posted = github.create_comment_once(7, BODY, MARKER).await.expect("a comment");
            assert_eq!((posted.found, posted.comment.body.as_str()), (found, BODY), "{fault:?}");
            assert_eq!(posted.comment.author.login, "github-actions[bot]", "{fault:?}");
        });
        let ours = double.state(|state| state.comments.iter().filter(|row| row.login != "eve").count());
        assert_eq!((ours, double.count("POST", COMMENTS)), (1, posts), "{fault:?}");
    }
}

#[test]
fn a_comment_that_took_too_long_is_looked_for() {
    let double = double(|_| {});
    double.fault("POST", COMMENTS, 1, Fault::Slow(SLOW));
    run(async {
        let (github, _) = client_with(&double, |config| config.attempt_timeout = Duration::from_secs(1));
        let posted = github.create_comment_once(7, BODY, MARKER).await.expect("a comment");
        assert!(!posted.found, "the first one was given up before it was written");
    });
    assert_eq!((double.state(|state| state.comments.len()), double.count("POST", COMMENTS)), (1, 1));
}

#[test]
fn a_comment_without_a_marker_is_sent_once_and_says_that_it_is_not_known() {
    for fault in [Fault::Before(500), Fault::After(500), Fault::DropAfter, Fault::DropBefore] {
        let double = double(|_| {});
        double.fault("POST", COMMENTS, 9, fault.clone());
        run(async {
            let (github, _) = client(&double);
            let error = github.create_comment(7, BODY).await.expect_err("no answer");
            let text = error.to_string();
            assert!(
                text.starts_with(
                    "it is not known whether GitHub carried out `POST /repos/octo/gate/issues/7/comments`: "
                ) && text.ends_with("\n\nhint: look before doing it again"),
                "{text}"
            );
        });
        assert_eq!(double.count("POST", COMMENTS), 1, "{fault:?}");
    }
}

#[test]
fn a_comment_that_never_gets_through_ends() {
    let double = double(|_| {});
    double.fault("POST", COMMENTS, 99, Fault::Before(503));
    run(async {
        let (github, _) = client(&double);
        let error = github.create_comment_once(7, BODY, MARKER).await.expect_err("no answer");
        assert!(matches!(error, Error::Unsure { .. }), "{error}");
    });
    assert_eq!(double.count("POST", COMMENTS), 3);
    assert!(double.state(|state| state.comments.is_empty()));
}

#[test]
fn reads_are_asked_again_and_changes_that_may_be_repeated_too() {
    for fault in [Fault::Before(500), Fault::After(504), Fault::DropBefore, Fault::DropAfter] {
        let double = double(|_| {});
        let id = double.state(|state| state.comment(7, "github-actions[bot]", "x").id);
        for method in ["GET", "PATCH", "DELETE"] {
            double.fault(method, "/issues/", 2, fault.clone());
        }
        double.fault("POST", "/graphql", 1, fault.clone());
        run(async {
            let (github, waits) = client(&double);
            assert_eq!(github.comments(7).await.map(|all| all.len()), Ok(1), "{fault:?}");
            assert_eq!(waits.all().len(), 2);
            github.update_comment(id, "y").await.expect("it is changed");
            github.hide_comment(&format!("IC_{id}")).await.expect("it is hidden");
            github.delete_comment(id).await.expect("it is gone");
        });
        assert!(double.state(|state| state.comments.is_empty()), "{fault:?}");
    }
    let double = double(|_| {});
    double.fault("GET", "/pulls/7", 99, Fault::Before(500));
    run(async {
        let (github, _) = client(&double);
        let error = github.pull_request(7).await.expect_err("no answer");
        assert_eq!(
            error.to_string(),
            "GitHub did not answer `GET /repos/octo/gate/pulls/7`: it answers 500\n\nhint: this passes; run it again later"
        );
    });
    assert_eq!(double.count("GET", "/pulls/7"), 6);
}

#[test]
fn a_status_is_not_set_twice() {
    for (fault, posts) in [(Fault::After(500), 1), (Fault::Before(500), 2), (Fault::DropAfter, 1)] {
        let double = double(|_| {});
        double.fault("POST", "/statuses/", 1, fault.clone());
        run(async {
            let (github, _) = client(&double);
            let sha = "a".repeat(40);
            github.create_status(&sha, StatusState::Success, "tollgate", "fine", None).await.expect("set");
        });
        assert_eq!(double.state(|state| state.statuses.len()), 1, "{fault:?}");
        assert_eq!(double.count("POST", "/statuses/"), posts, "{fault:?}");
    }
}

#[test]
fn a_limit_is_waited_for_as_far_as_there_is_time() {
    let double = double(|_| {});
    double.fault("GET", "/pulls/7", 1, Fault::Primary { reset_s: 20 });
    double.fault("GET", "/pulls/7", 1, Fault::Secondary { status: 403, retry_after_s: Some(9) });
    run(async {
        let (github, waits) = client(&double);
        github.pull_request(7).await.expect("after the limits");
        assert_eq!(waits.all(), [Duration::from_secs(21), Duration::from_secs(9)]);
    });
    for (fault, limit, wait) in [
        (Fault::Primary { reset_s: 3_000 }, Limit::Primary, 3_001),
        (Fault::Secondary { status: 403, retry_after_s: None }, Limit::Secondary, 60),
        (Fault::Secondary { status: 429, retry_after_s: None }, Limit::Secondary, 60),
    ] {
        double.fault("GET", "/pulls/7", 1, fault);
        let before = double.seen().len();
        run(async {
            let (github, waits) = client(&double);
            let error = github.pull_request(7).await.expect_err("the limit is too long");
            let Error::RateLimited { limit: of, wait: told, .. } = &error else { panic!("{error}") };
            assert_eq!((*of, told.as_secs()), (limit, wait));
            // As long as it lasts, nothing more is asked.
            assert!(matches!(github.comments(7).await, Err(Error::RateLimited { .. })));
            assert!(waits.all().is_empty());
        });
        assert_eq!(double.seen().len(), before + 1);
    }
    double.fault("GET", "/pulls/7", 1, Fault::Primary { reset_s: 3_000 });
    run(async {
        let (github, _) = client(&double);
        let error = github.pull_request(7).await.expect_err("the limit is too long").to_string();
        assert_eq!(
            error,
            "GitHub's hourly rate limit is used up for `GET /repos/octo/gate/pulls/7`: it can be asked again in \
             3001 s, and 60 s are left\n\nhint: run fewer jobs at once, or give tollgate a token of its own"
        );
    });
    double.fault("GET", "/pulls/7", 2, Fault::Secondary { status: 403, retry_after_s: None });
    run(async {
        let (github, waits) = client_with(&double, |config| config.timeout = Duration::from_secs(200));
        github.pull_request(7).await.expect("after the limits");
        assert_eq!(waits.all(), [Duration::from_secs(60), Duration::from_secs(120)]);
    });
}

#[test]
fn a_missing_permission_is_named() {
    let double = double(|_| {});
    let call =
        "GitHub refuses `POST /repos/octo/gate/issues/7/comments`: Resource not accessible by integration";
    for (named, permission) in [
        (None, "pull-requests: write"),
        (
            Some("issues=write; pull_requests=write,contents=read"),
            "issues: write` or `pull-requests: write` and `contents: read",
        ),
    ] {
        double.fault("POST", COMMENTS, 1, Fault::Forbidden(named));
        run(async {
            let (github, _) = client(&double);
            let error = github.create_comment_once(7, BODY, MARKER).await.expect_err("it is forbidden");
            assert_eq!(
                error.to_string(),
                format!(
                    "{call}\n\nhint: the token needs `{permission}`; in a workflow, under `permissions:`"
                )
            );
        });
    }
    assert!(double.state(|state| state.comments.is_empty()));
}

#[test]
fn the_token_goes_nowhere_else_and_shows_nowhere() {
    let other = double(|_| {});
    let double = double(|_| {});
    for to in
        [format!("{}/repos/octo/gate/pulls/7", other.url), "//evil.test/x".to_owned(), "ftp://x".to_owned()]
    {
        double.fault("GET", "/pulls/7", 1, Fault::Redirect(302, to.clone()));
        run(async {
            let (github, _) = client(&double);
            let error = github.pull_request(7).await.expect_err("it is elsewhere");
            let call = "GET /repos/octo/gate/pulls/7".to_owned();
            assert_eq!(error, Error::Redirected { call, to });
        });
    }
    assert!(other.seen().is_empty());
    let there = format!("{}/repositories/4711/issues/7/comments", double.url);
    double.fault(
        "GET",
        "/pulls/7",
        1,
        Fault::Redirect(301, format!("{}/repositories/4711/pulls/7", double.url)),
    );
    double.fault("POST", "/repos/octo/gate/issues/7/comments", 1, Fault::Redirect(301, there));
    double.fault("GET", "/pulls/8", 9, Fault::Redirect(302, "/pulls/8".to_owned()));
    double.fault("GET", "/pulls/9", 1, Fault::Before(400));
    double.fault("GET", "/labels", 1, Fault::Redirect(302, format!("https://evil.test/?{TOKEN}")));
    run(async {
        let (github, _) = client(&double);
        assert_eq!(github.pull_request(7).await.map(|pull| pull.number), Ok(7), "a renamed repository");
        assert!(matches!(github.create_comment(7, "x").await, Err(Error::Redirected { .. })));
        for error in [
            github.labels(7).await.expect_err("elsewhere").to_string(),
            github.pull_request(9).await.expect_err("rejected").to_string(),
        ] {
            assert!(!error.contains(TOKEN), "{error}");
        }
    });
    let sensitive = double.seen().iter().all(|seen| seen.headers.contains_key("authorization"));
    assert!(sensitive && double.state(|state| state.comments.is_empty()));
}

#[test]
fn an_answer_that_cannot_be_read_and_no_answer_at_all_are_told_apart() {
    let double = double(|_| {});
    double.fault("GET", "/pulls/7", 1, Fault::Body("{\"number\": 7}".to_owned()));
    double.fault("POST", COMMENTS, 1, Fault::Body("[]".to_owned()));
    double.fault(
        "POST",
        "/graphql",
        1,
        Fault::Body("{\"errors\":[{\"type\":\"FORBIDDEN\",\"message\":\"no\"}]}".to_owned()),
    );
    double.fault("GET", "/labels", 1, Fault::StaleLabels);
    double.state(|state| state.label(7, true, "x", Some("ada")));
    run(async {
        let (github, _) = client(&double);
        let error = github.pull_request(7).await.expect_err("half an answer").to_string();
        assert_eq!(
            error,
            "the answer to `GET /repos/octo/gate/pulls/7` is not what GitHub documents: \
             missing field `title` at line 1 column 13"
        );
        assert!(matches!(github.create_comment(7, "x").await, Err(Error::Unsure { .. })));
        assert!(matches!(github.whoami().await, Err(Error::Forbidden { .. })));
        assert_eq!(github.labeled(7, "x").await, Ok(None), "the labels are behind: it does not count yet");
        assert!(matches!(github.labeled(7, "x").await, Ok(Some(_))));
    });
    run(async {
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", nobody.local_addr().expect("an address"));
        drop(nobody);
        let (github, waits) = client_with(&double, |config| config.api_url = url);
        let error = github.create_comment(7, "x").await.expect_err("nobody is there");
        assert!(matches!(error, Error::Unreachable { .. }), "{error}");
        assert_eq!(waits.all().len(), 5, "what was not sent may be sent again");
    });
    run(async {
        let (github, _) = client_with(&double, |config| {
            config.token = tollgate::github::Secret::new("ghs_other".to_owned())
        });
        let error = github.pull_request(7).await.expect_err("the token is none");
        assert_eq!(
            error.to_string(),
            "GitHub does not know the token of `GET /repos/octo/gate/pulls/7`: Bad credentials\n\n\
             hint: it may have expired; a workflow's token ends with its job"
        );
    });
    assert_eq!(double.take_violations(), ["GET /repos/octo/gate/pulls/7: without the token"]);
}
