//! One request on its way: identified, bounded, fitted, admitted, sent.
//!
//! Nothing here decides about money; `bound` says what a request may cost, the account what becomes of
//! it. From the moment bytes may have left, the request is seen to its end whether the agent waits for
//! it or not ([`Unless`]).

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use jiff::Timestamp;
use tokio::runtime::Handle;

use super::Allowance;
use super::account::{Ask, Note, Thread};
use super::bound::{Bounded, Rules, ServedIn, longest_note};
use super::key::google::TokenError;
use super::line::{Arriving, Dial, LineError, Lines};
use super::settle::Charge;
use super::state::{Admission, Admitted, State, Stop};
use super::tap::{ReplyBody, Tap};
use super::threads::{Signs, Threads};
use super::upstream::{self, Way};
use super::{account, say};
use crate::price::When;
use crate::provider::anthropic::unknown_betas;
use crate::provider::{self, Answer, Api, Edits, InputBound, Problem, Reader, Request, Vendor};

/// Says on every answer whether it comes from the provider.
const MARK: HeaderName = HeaderName::from_static("x-tollgate");
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// How long the count endpoint may take; without it the bound by size holds.
const COUNT_MAX: Duration = Duration::from_secs(5);
/// The largest answer of the count endpoint that is read, in bytes.
const COUNT_BYTES_MAX: usize = 64 * 1024;
/// Counts that are kept, so that a request that is tried again is not counted again.
const COUNTS_KEPT: usize = 32;
/// How long a request waits for room at most; by then everything in flight has ended, or is stuck.
const WAIT_MAX: Duration = Duration::from_secs(10 * 60);

/// The largest output cap that is put into a request; a larger one is none.
const CAP_TOKENS_MAX: u64 = 1 << 24;
/// How long an answer may take to begin whose agent has gone.
const ANSWER_MAX: Duration = Duration::from_secs(15 * 60);

/// An answer of the meter.
pub(super) type Reply = Response<ReplyBody>;

/// Everything that a request needs on its way.
#[derive(Debug)]
pub(super) struct Gate<C> {
    pub(super) state: Arc<State>,
    pub(super) rules: Rules,
    pub(super) threads: Threads,
    pub(super) routes: Vec<Route<C>>,
    pub(super) clock: fn() -> Timestamp,
    pub(super) counts: Counts,
    /// See [`Gate::longest_note`].
    pub(super) longest_note: Mutex<Option<(Allowance, String)>>,
}

/// A vendor, and the connections to it.
#[derive(Debug)]
pub(super) struct Route<C> {
    pub(super) way: Way,
    lines: Lines<C>,
}

impl<C: Dial> Route<C> {
    /// The routes of these ways; of each vendor the last counts.
    pub(super) fn all(connector: &C, ways: Vec<Way>) -> Vec<Self> {
        let mut routes: Vec<Self> = Vec::new();
        for way in ways {
            routes.retain(|route| route.way.vendor != way.vendor);
            let lines = Lines::new(connector.clone(), way.upstream.base());
            routes.push(Self { way, lines });
        }
        routes
    }
}

/// A generation that is being considered.
struct Wanted<'a, C> {
    api: Api,
    route: &'a Route<C>,
    request: &'a Request,
    headers: &'a HeaderMap,
    /// Path and query as they came.
    path: &'a PathAndQuery,
    edits: Edits,
    when: When,
    thread: Thread,
}

impl<C: Dial> Gate<C> {
    fn route(&self, vendor: Vendor) -> Result<&Route<C>, Problem> {
        let found = self.routes.iter().find(|route| route.way.vendor == vendor);
        found.ok_or_else(|| Problem::NotFound(format!("a request to {}", vendor.as_str())))
    }

    /// Lets a free request through: a list of models, or a count of the agent's own.
    pub(super) async fn free(
        &self,
        api: Api,
        method: Method,
        path: &PathAndQuery,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Reply {
        if self.state.is_sealed() {
            let over = Problem::Denied("this run is over and takes no further requests".to_owned());
            return own(api.say(&over));
        }
        let route = match self.route(api.vendor()) {
            Ok(route) => route,
            Err(problem) => return own(api.say(&problem)),
        };
        let request = match self.outgoing(&route.way, method, path, headers, body).await {
            Ok(request) => request,
            Err(problem) => return own(api.say(&problem)),
        };
        match route.lines.ask(request).await {
            Ok(response) => forwarded(response, ReplyBody::Free),
            Err(error) => own(api.say(&unreachable(&error))),
        }
    }

    /// A request as it goes to the provider.
    async fn outgoing(
        &self,
        way: &Way,
        method: Method,
        path: &PathAndQuery,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<http::Request<Full<Bytes>>, Problem> {
        let now = (self.clock)();
        let pass = way.key.pass(now).await.map_err(|error| self.not_let_in(&error))?;
        upstream::request(way, &pass, now, method, path, headers, body).map_err(|_| bad_upstream())
    }

    /// What the agent is told where there is nothing to ask with, and no more: why is for whoever runs it.
    fn not_let_in(&self, error: &TokenError) -> Problem {
        self.state.note(&format!("a request was not sent: {}", error.in_public()));
        Problem::Upstream("nothing was sent: the meter has no access token for it at the moment".to_owned())
    }

    /// Takes a generation through the gate.
    pub(super) async fn generate(
        &self,
        api: Api,
        path: &PathAndQuery,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Reply {
        let request = match Request::parse(api, path.as_str(), body) {
            Ok(request) => request,
            Err(problem) => return own(api.say(&problem)),
        };
        match self.try_generate(api, path, headers, &request).await {
            Ok(reply) => reply,
            Err(Refusal::Problem(problem)) => own(api.say(&problem)),
            Err(Refusal::Stop(stop)) => {
                let text = say::stop(stop);
                if request.forced_shape() {
                    return own(api.say(&Problem::CapReached(text)));
                }
                own(request.say_stop(&text, &crate::id::random_hex(12)))
            }
        }
    }

    async fn try_generate(
        &self,
        api: Api,
        path: &PathAndQuery,
        headers: &HeaderMap,
        request: &Request,
    ) -> Result<Reply, Refusal> {
        let when = When::Around((self.clock)());
        let (edits, notes) = self.rules.edits(request, when)?;
        for note in &notes {
            self.state.note(note);
        }
        let betas = unknown_betas(headers).chain(request.unknown_betas().iter().map(String::as_str));
        for beta in betas {
            self.state.note(&format!("the beta `{beta}` is not known to this version; it was let through"));
        }
        let thread = self.threads.of(Signs {
            sub_agent: provider::names_sub_agent(headers) || request.sub_agent_shape(),
            routed: self.rules.is_routed(request, &edits),
            tools: request.offers_tools(),
        });
        let route = self.route(api.vendor())?;
        let mut wanted = Wanted { api, route, request, headers, path, edits, when, thread };
        let (admitted, bounded) = self.admit(&wanted).await?;
        // A request that names no cap is given the one that it is bounded by.
        let lowered = request
            .output_cap()
            .is_none_or(|asked| admitted.output < asked && admitted.output < bounded.output);
        if lowered && admitted.output <= CAP_TOKENS_MAX {
            wanted.edits.output_cap = Some(admitted.output);
        }
        wanted.edits.note = admitted.note.map(|note| self.note_text(note));
        self.send(&wanted, admitted, bounded).await
    }

    /// Asks the account until it says yes or no.
    async fn admit(&self, wanted: &Wanted<'_, C>) -> Result<(Admitted, Bounded), Refusal> {
        let (sized, ask) = self.ask(wanted, InputBound::Bytes, None)?;
        match self.state.admit(ask, sized.going()) {
            Admission::Count => {}
            other => return Ok((self.wait(other).await?, sized)),
        }
        // Where nothing tighter is to be had, the bound by size is final.
        let (mut bounded, mut ask) = (sized, Ask { input: account::Input::Final, ..ask });
        if let Some(tokens) = self.count(wanted).await {
            let input = InputBound::Counted { tokens, extra: self.state.count_margin() };
            let (counted, counted_ask) = self.ask(wanted, input, Some(ask.worst.fixed))?;
            if counted.input < bounded.input {
                (bounded, ask) = (counted, counted_ask);
            }
        }
        let admission = self.state.admit(ask, bounded.going());
        Ok((self.wait(admission).await?, bounded))
    }

    /// What is asked of the account, with the bound it comes from.
    fn ask(
        &self,
        wanted: &Wanted<'_, C>,
        input: InputBound,
        sized: Option<account::Spend>,
    ) -> Result<(Bounded, Ask), Problem> {
        let (request, when) = (wanted.request, wanted.when);
        let way = &wanted.route.way;
        let (region, certain) = request.region(&wanted.edits, way.home());
        let served = ServedIn {
            region,
            default_known: certain || self.state.region_known(),
            tier_set: way.upstream.is_azure(),
            notional: way.key.is_subscription(),
        };
        let mut bounded = self.rules.bound(request, &wanted.edits, input, when, &served)?;
        let noted = if request.can_take_note() && !request.forced_shape() && self.rules.policy.enforce {
            let edits = Edits { note: Some(self.longest_note()), ..wanted.edits.clone() };
            Some(self.rules.bound(request, &edits, input, when, &served)?)
        } else {
            None
        };
        let ask = self.rules.ask(request, &mut bounded, noted.as_ref(), sized, wanted.thread);
        Ok((bounded, ask))
    }

    /// Waits where the account says so.
    async fn wait(&self, admission: Admission) -> Result<Admitted, Refusal> {
        match admission {
            Admission::Go(admitted) => Ok(admitted),
            Admission::Stop(stop) => Err(Refusal::Stop(stop)),
            Admission::NoJournal(error) => Err(Refusal::Problem(Problem::Upstream(format!(
                "nothing was sent: the run's journal cannot be written: {error}"
            )))),
            Admission::Count => Err(Refusal::Problem(Problem::Upstream(
                "nothing was sent: the request could not be fitted into what is left".to_owned(),
            ))),
            Admission::Wait(waiting) => match tokio::time::timeout(WAIT_MAX, waiting.answer()).await {
                Ok(Some(answer)) => Box::pin(self.wait(answer)).await,
                Ok(None) | Err(_) => Err(Refusal::Problem(Problem::Upstream(
                    "nothing was sent: no room under the cap came free in time; try again".to_owned(),
                ))),
            },
        }
    }

    /// Asks the provider's free count endpoint; `None` where it cannot be asked or does not answer.
    async fn count(&self, wanted: &Wanted<'_, C>) -> Option<u64> {
        let body = wanted.request.count_body(&wanted.edits)?;
        let digest = self.counts.digest(&body);
        if let Some(tokens) = self.counts.known(digest) {
            return Some(tokens);
        }
        let path = wanted.request.count_path(wanted.path.as_str(), &wanted.edits);
        let path = PathAndQuery::try_from(path).ok()?;
        let answer = async {
            let way = &wanted.route.way;
            let request = self.outgoing(way, Method::POST, &path, wanted.headers, body).await.ok()?;
            let response = wanted.route.lines.ask(request).await.ok()?;
            if response.status() != StatusCode::OK {
                return None;
            }
            let body = Limited::new(response.into_body(), COUNT_BYTES_MAX).collect().await.ok()?;
            wanted.request.parse_count(&body.to_bytes())
        };
        let tokens = tokio::time::timeout(COUNT_MAX, answer).await.ok().flatten();
        match tokens {
            Some(tokens) => self.counts.keep(digest, tokens),
            None => self.state.note("the count endpoint did not answer; bounds by size were used instead"),
        }
        tokens
    }

    /// A text as long as the longest note that a request could get, made once for each allowance.
    fn longest_note(&self) -> String {
        let (allowance, _) = self.state.spent();
        let mut kept = self.longest_note.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((of, text)) if *of == allowance => text.clone(),
            _ => kept.insert((allowance, longest_note(allowance))).1.clone(),
        }
    }

    /// The text of a note as of now; the room for it was set aside with something to spare.
    fn note_text(&self, note: Note) -> String {
        let (allowance, spent) = self.state.spent();
        say::note(note, allowance, spent)
    }

    /// Sends a request that was admitted, and answers when the provider does.
    async fn send(
        &self,
        wanted: &Wanted<'_, C>,
        admitted: Admitted,
        bounded: Bounded,
    ) -> Result<Reply, Refusal> {
        let body = wanted.request.rewrite(&wanted.edits);
        let (api, way) = (wanted.api, &wanted.route.way);
        let path = wanted.request.path(wanted.path.as_str(), &wanted.edits);
        let path = PathAndQuery::try_from(path.as_ref()).map_err(|_| bad_upstream())?;
        let request = self.outgoing(way, Method::POST, &path, wanted.headers, body).await?;
        let mut charge = Charge {
            state: self.state.clone(),
            table: self.rules.table,
            reader: Reader::new(
                wanted.request,
                &wanted.edits,
                wanted.request.region(&wanted.edits, way.home()).0,
            ),
            admitted,
            bounded,
            status: 0,
            main_thread: wanted.thread == Thread::Main,
        };
        let lines = wanted.route.lines.clone();
        charge.admitted.left();
        let answered = Unless::new(async move {
            match lines.ask(request).await {
                Ok(response) => Ok(answered(api, response, charge)),
                Err(error) => {
                    match &error {
                        LineError::Connect(_) | LineError::Unsent(_) => {
                            charge.admitted.close(account::Outcome::NotSent, None);
                        }
                        LineError::Lost(_) => charge.lost(),
                    }
                    Err(unreachable(&error))
                }
            }
        });
        Ok(answered.await?)
    }
}

/// The provider's answer, its body read as it passes.
fn answered(api: Api, response: Response<Arriving>, mut charge: Charge) -> Reply {
    charge.status = response.status().as_u16();
    charge.reader.head(response.headers());
    if response.status().is_redirection() {
        // Following it would carry the key to an address that nobody configured.
        charge.state.note("the provider answered with a redirect, which is never followed");
        drop(Tap::new(response.into_body(), charge));
        return own(api.say(&Problem::Upstream("it answered with a redirect".to_owned())));
    }
    forwarded(response, |body| ReplyBody::Tapped(Box::new(Tap::new(body, charge))))
}

/// Why a request does not leave.
enum Refusal {
    Problem(Problem),
    Stop(Stop),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Refusal::Problem(problem)
    }
}

fn bad_upstream() -> Problem {
    Problem::Upstream("its address or the key cannot be put into a request".to_owned())
}

fn unreachable(error: &LineError) -> Problem {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    Problem::Upstream(text)
}

/// An answer of the meter's own.
pub(super) fn own(answer: Answer) -> Reply {
    let mut reply = Response::new(ReplyBody::Own(Full::new(answer.body)));
    *reply.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = reply.headers_mut();
    headers.insert(MARK, HeaderValue::from_static("stopped"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    if answer.final_word {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    reply
}

/// The provider's answer with the headers that go on.
fn forwarded(response: Response<Arriving>, body: impl FnOnce(Arriving) -> ReplyBody) -> Reply {
    let (mut parts, incoming) = response.into_parts();
    let all = std::mem::take(&mut parts.headers);
    let mut headers = HeaderMap::with_capacity(all.len() + 1);
    for (name, value) in &all {
        let for_browsers = *name == header::SET_COOKIE || *name == header::ALT_SVC;
        if !for_browsers && !upstream::is_one_hop(&all, name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(MARK, HeaderValue::from_static("forwarded"));
    let mut reply = Response::new(body(incoming));
    *reply.status_mut() = parts.status;
    *reply.headers_mut() = headers;
    reply
}

/// Counts that were made, by a digest of what was counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    hasher: RandomState,
    kept: Mutex<Vec<(u64, u64)>>,
}

impl Counts {
    fn digest(&self, body: &Bytes) -> u64 {
        self.hasher.hash_one(body)
    }

    fn known(&self, digest: u64) -> Option<u64> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(known, _)| *known == digest).map(|(_, tokens)| *tokens)
    }

    fn keep(&self, digest: u64, tokens: u64) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= COUNTS_KEPT {
            kept.remove(0);
        }
        kept.push((digest, tokens));
    }
}

/// A future that is finished by a task of its own unless it is awaited to its end: an agent that goes
/// away must not make a request go away that the provider has begun to answer.
struct Unless<F: Future + Send + 'static>(Option<Pin<Box<F>>>)
where
    F::Output: Send;

impl<F: Future + Send + 'static> Unless<F>
where
    F::Output: Send,
{
    fn new(future: F) -> Self {
        Self(Some(Box::pin(future)))
    }
}

impl<F: Future + Send + 'static> Future for Unless<F>
where
    F::Output: Send,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(future) = &mut self.0 else { return Poll::Pending };
        let output = std::task::ready!(future.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(output)
    }
}

impl<F: Future + Send + 'static> Drop for Unless<F>
where
    F::Output: Send,
{
    fn drop(&mut self) {
        // The answer's body, dropped in that task, sees to the rest by itself. Out of time, the request is
        // dropped and counts as lost: a provider that never answers must not hold its money for ever.
        if let (Some(future), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            drop(runtime.spawn(async move { drop(tokio::time::timeout(ANSWER_MAX, future).await) }));
        }
    }
}
