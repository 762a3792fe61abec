//! The way to the provider: a fixed address from trusted configuration, and the headers that go with it.
//!
//! Nothing of the address comes from a request but the path, which is on the list of its API, and
//! redirects are never followed. Headers are built from an allow-list, so that neither the agent's
//! token nor anything that belongs to one hop passes.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Uri};
use http_body_util::Full;
use jiff::Timestamp;

use super::key::{Key, Pass};
use crate::provider::Vendor;
use crate::tokens::Region;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const AZURE_KEY: HeaderName = HeaderName::from_static("api-key");
const BETA: HeaderName = HeaderName::from_static("anthropic-beta");
/// Without this beta the Messages API takes an OAuth token for no authentication at all, or says that it is
/// not supported (reports in public trackers of clients, 2025 and 2026).
const OAUTH_BETA: &str = "oauth-2025-04-20";
const GOOGLE_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");

/// Where an API is reached when nothing else is said.
const fn usual(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::Anthropic => "https://api.anthropic.com",
        Vendor::OpenAi => "https://api.openai.com",
        Vendor::Gemini => "https://generativelanguage.googleapis.com",
        Vendor::Vertex => "https://aiplatform.googleapis.com",
        Vendor::Bedrock => "https://bedrock-runtime.us-east-1.amazonaws.com",
    }
}

/// How one vendor is reached: where, and with which key, which the agent never sees.
#[derive(Clone, Debug)]
pub struct Way {
    /// Whose API it is.
    pub vendor: Vendor,
    /// Where it is.
    pub upstream: Upstream,
    /// The key.
    pub key: Key,
}

impl Way {
    /// Where it keeps requests that name no place, as far as that changes prices.
    pub(super) fn home(&self) -> Region {
        match &self.key {
            Key::Aws(access) => access.home(),
            Key::Account(_) | Key::Subscription(_) | Key::Google(_) => self.upstream.region(),
        }
    }
}

/// The address of a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Scheme and authority.
    base: Uri,
    /// What the provider is called in a request.
    host: HeaderValue,
    /// A path before the API's own, without a slash at its end.
    prefix: String,
}

/// Why a text is no address of a provider.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// Not an address at all.
    #[error("`{0}` is not a URL\n\nhint: write it like https://api.anthropic.com")]
    NotUrl(String),
    /// Plain HTTP to somewhere else.
    #[error(
        "`{0}` is plain HTTP to another machine: the key would travel unencrypted\n\nhint: use https, or a loopback address"
    )]
    PlainHttp(String),
    /// Something that an address of a provider does not have.
    #[error(
        "`{0}` has a user name, a query or a fragment, which an upstream cannot have\n\nhint: write scheme, host and \
         path alone, such as https://gateway.example.com/anthropic; the key is taken from its own variable"
    )]
    Extra(String),
}

impl Upstream {
    /// Anthropic's own address.
    #[must_use]
    pub fn anthropic() -> Self {
        Self::of(Vendor::Anthropic)
    }

    /// A vendor's own address.
    ///
    /// # Panics
    /// Never: the addresses are constants, and a test reads them.
    #[must_use]
    pub fn of(vendor: Vendor) -> Self {
        Self::parse(usual(vendor)).expect("a constant address")
    }

    /// Vertex at a location (Google's page on Claude): `global`, several regions together such as `us`, or one.
    ///
    /// # Errors
    /// When the location is none.
    pub fn vertex(location: &str) -> Result<Self, UpstreamError> {
        Self::parse(&match location {
            "global" => usual(Vendor::Vertex).to_owned(),
            "us" | "eu" => format!("https://aiplatform.{location}.rep.googleapis.com"),
            region => format!("https://{region}-aiplatform.googleapis.com"),
        })
    }

    /// Bedrock in a region.
    ///
    /// # Errors
    /// When the region is none.
    pub fn bedrock(region: &str) -> Result<Self, UpstreamError> {
        let china = if region.starts_with("cn-") { ".cn" } else { "" };
        Self::parse(&format!("https://bedrock-runtime.{region}.amazonaws.com{china}"))
    }

    /// Where the address keeps requests: OpenAI's hosts that begin with a region do so for a surcharge
    /// (pricing page).
    #[must_use]
    pub fn region(&self) -> Region {
        let host = self.base.host().unwrap_or_default();
        let kept = host.strip_suffix(".api.openai.com").is_some_and(|region| !region.is_empty());
        if kept { Region::Regional } else { Region::Global }
    }

    /// Whether it is Azure's, which takes the key in a header of its own.
    pub(super) fn is_azure(&self) -> bool {
        self.base.host().is_some_and(|host| host.ends_with(".azure.com"))
    }

    /// Reads an address: `https` to anywhere, `http` to this machine only.
    ///
    /// # Errors
    /// [`UpstreamError`], in words for whoever wrote it.
    pub fn parse(text: &str) -> Result<Self, UpstreamError> {
        let not_url = || UpstreamError::NotUrl(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| not_url())?;
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else { return Err(not_url()) };
        let path = parts.path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
        if path.query().is_some() || text.contains('#') || authority.as_str().contains('@') {
            return Err(UpstreamError::Extra(text.to_owned()));
        }
        if scheme != Scheme::HTTPS && scheme != Scheme::HTTP {
            return Err(not_url());
        }
        if scheme == Scheme::HTTP && !is_loopback(authority.host()) {
            return Err(UpstreamError::PlainHttp(text.to_owned()));
        }
        let host = host_header(&scheme, &authority).map_err(|_| not_url())?;
        let prefix = path.path().trim_end_matches('/').to_owned();
        let base = Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build();
        Ok(Self { base: base.map_err(|_| not_url())?, host, prefix })
    }

    /// The address as it can be written down and read again.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}{}", self.base.to_string().trim_end_matches('/'), self.prefix)
    }

    /// Where connections go.
    pub(super) fn base(&self) -> Uri {
        self.base.clone()
    }

    /// A path that is on the API's list, as it is there.
    fn path(&self, vendor: Vendor, path_and_query: &PathAndQuery) -> Result<Uri, http::Error> {
        let mut path = path_and_query.as_str();
        let below = |path: &'_ str, start: &str| -> Option<usize> {
            path.strip_prefix(start).filter(|rest| rest.starts_with('/')).map(|_| start.len())
        };
        // Azure's clients write all of the path that its addresses are often given with.
        let again = (!self.prefix.is_empty()).then(|| below(path, &self.prefix)).flatten();
        // Many addresses are given with the version that clients put before every path themselves; those of
        // OpenAI's kind may have it anywhere (`/v1beta/openai`, `/api/paas/v4`).
        let versions = ["/v1", "/v1beta"].into_iter();
        let mut ends = versions.clone().filter(|version| self.prefix.ends_with(version));
        let anywhere = vendor == Vendor::OpenAi && self.prefix.split('/').any(is_version);
        let version = ends
            .find_map(|version| below(path, version))
            .or_else(|| versions.clone().filter(|_| anywhere).find_map(|version| below(path, version)));
        path = &path[again.or(version).unwrap_or(0)..];
        let whole = format!("{}{path}", self.prefix);
        Ok(Uri::from(PathAndQuery::try_from(without_key(&whole).as_ref())?))
    }
}

/// Whether a segment of a path is a version, such as `v1` or `v1beta`.
fn is_version(segment: &str) -> bool {
    let number = segment.strip_prefix('v').map(|rest| rest.trim_end_matches("beta"));
    number.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The authority, without a port that goes without saying.
fn host_header(scheme: &Scheme, authority: &Authority) -> Result<HeaderValue, header::InvalidHeaderValue> {
    let usual = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    let said = if authority.port_u16() == Some(usual) { authority.host() } else { authority.as_str() };
    HeaderValue::from_str(said)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The path without a `key` in its query, which is where some of Gemini's clients put theirs.
fn without_key(path: &str) -> Cow<'_, str> {
    let Some((before, query)) = path.split_once('?') else { return Cow::Borrowed(path) };
    if !query.split('&').any(|pair| pair.starts_with("key=")) {
        return Cow::Borrowed(path);
    }
    let kept: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("key=")).collect();
    let mark = if kept.is_empty() { "" } else { "?" };
    Cow::Owned(format!("{before}{mark}{}", kept.join("&")))
}

/// A request to the provider, with what lets it in as of `now`.
pub(super) fn request(
    way: &Way,
    pass: &Pass,
    now: Timestamp,
    method: Method,
    path_and_query: &PathAndQuery,
    from: &HeaderMap,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, http::Error> {
    let Way { vendor, upstream, .. } = way;
    let mut headers = HeaderMap::with_capacity(from.len() + 3);
    for (name, value) in from {
        if goes_on(*vendor, name) && !is_named_by_connection(from, name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(header::HOST, upstream.host.clone());
    // The meter has read the body as UTF-8: a character set of the agent's choice could make another
    // request of the same bytes.
    if !body.is_empty() {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    // A compressed answer could not be read on its way.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let uri = upstream.path(*vendor, path_and_query)?;
    admit(way, pass, (now, &method, &uri), &mut headers, &body)?;
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Adds the headers that let a request in.
fn admit(
    way: &Way,
    pass: &Pass,
    (now, method, uri): (Timestamp, &Method, &Uri),
    headers: &mut HeaderMap,
    body: &[u8],
) -> Result<(), header::InvalidHeaderValue> {
    let (name, scheme, secret) = match (pass, &way.key) {
        (Pass::Bearer(token), _) => (header::AUTHORIZATION, &b"Bearer "[..], &**token),
        (Pass::Key, Key::Aws(access)) => {
            let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
            return access.sign(now, method.as_str(), target, headers, body);
        }
        (Pass::Key, Key::Subscription(token)) => {
            let betas = with_beta(headers, OAUTH_BETA)?;
            headers.insert(BETA, betas);
            (header::AUTHORIZATION, &b"Bearer "[..], token)
        }
        (Pass::Key, Key::Account(key)) => match way.vendor {
            Vendor::Anthropic => (API_KEY, &b""[..], key),
            Vendor::OpenAi if way.upstream.is_azure() => (AZURE_KEY, &b""[..], key),
            Vendor::OpenAi | Vendor::Vertex | Vendor::Bedrock => {
                (header::AUTHORIZATION, &b"Bearer "[..], key)
            }
            Vendor::Gemini => (GOOGLE_KEY, &b""[..], key),
        },
        // Its token comes as a pass of its own.
        (Pass::Key, Key::Google(_)) => return Ok(()),
    };
    let mut value = HeaderValue::from_bytes(&[scheme, secret.bytes()].concat())?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

/// The betas of a request, with one more.
fn with_beta(headers: &HeaderMap, beta: &str) -> Result<HeaderValue, header::InvalidHeaderValue> {
    let asked = headers.get_all(BETA).iter().filter_map(|value| value.to_str().ok());
    let asked = asked.flat_map(|value| value.split(',')).map(str::trim);
    let mut betas: Vec<&str> = asked.filter(|name| !name.is_empty() && *name != beta).collect();
    betas.push(beta);
    HeaderValue::from_str(&betas.join(","))
}

/// Whether a request header is passed on.
fn goes_on(vendor: Vendor, name: &HeaderName) -> bool {
    if *name == header::ACCEPT || *name == header::USER_AGENT {
        return true;
    }
    let name = name.as_str();
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    starts(&["x-stainless-"])
        || match vendor {
            Vendor::Anthropic => starts(&["anthropic-", "x-claude-code-"]) || name == "x-app",
            Vendor::Vertex => starts(&["anthropic-"]),
            Vendor::Bedrock => false,
            Vendor::OpenAi => {
                // Codex says by some of these how its tools are to be read, and whose turn it is.
                starts(&["openai-", "x-codex-", "x-openai-"])
                    || matches!(name, "originator" | "session_id" | "session-id" | "thread-id")
                    || matches!(name, "http-referer" | "x-client-request-id" | "x-title")
            }
            Vendor::Gemini => name == "x-goog-api-client",
        }
}

/// Whether a header that belongs to one hop is meant, by RFC 9110, section 7.6.1.
pub(super) fn is_one_hop(headers: &HeaderMap, name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONNECTION
            | header::PROXY_AUTHENTICATE
            | header::PROXY_AUTHORIZATION
            | header::TE
            | header::TRAILER
            | header::TRANSFER_ENCODING
            | header::UPGRADE
    ) || name == "keep-alive"
        || name == "proxy-connection"
        || is_named_by_connection(headers, name)
}

fn is_named_by_connection(headers: &HeaderMap, name: &HeaderName) -> bool {
    let values = headers.get_all(header::CONNECTION).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|token| token.trim().eq_ignore_ascii_case(name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::key::Secret;

    /// A request at no time in particular.
    fn request(
        way: &Way,
        method: Method,
        path: &PathAndQuery,
        from: &HeaderMap,
        body: Bytes,
    ) -> Request<Full<Bytes>> {
        super::request(way, &Pass::Key, Timestamp::UNIX_EPOCH, method, path, from, body).expect("a request")
    }

    #[test]
    fn addresses_are_https_or_this_machine() {
        for (text, uri) in [
            ("https://api.anthropic.com", "https://api.anthropic.com/v1/messages?beta=true"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1/messages?beta=true"),
            ("http://[::1]:1/", "http://[::1]:1/v1/messages?beta=true"),
            ("https://gateway.test/anthropic/", "https://gateway.test/anthropic/v1/messages?beta=true"),
        ] {
            let upstream = Upstream::parse(text).expect(text);
            let path = PathAndQuery::from_static("/v1/messages?beta=true");
            let base = upstream.base().to_string();
            let path = upstream.path(Vendor::Anthropic, &path).expect(text);
            assert_eq!(format!("{}{path}", base.trim_end_matches('/')), uri);
            assert_eq!(Upstream::parse(&upstream.url()), Ok(upstream), "{text}");
        }
        for (text, message) in [
            (
                "api.anthropic.com",
                "`api.anthropic.com` is not a URL\n\nhint: write it like https://api.anthropic.com",
            ),
            (
                "http://10.0.0.1",
                "`http://10.0.0.1` is plain HTTP to another machine: the key would travel unencrypted\n\n\
                 hint: use https, or a loopback address",
            ),
            (
                "https://a:b@api.test",
                "`https://a:b@api.test` has a user name, a query or a fragment, which an upstream cannot have\n\n\
                 hint: write scheme, host and path alone, such as https://gateway.example.com/anthropic; the key is \
                 taken from its own variable",
            ),
            (
                "ftp://api.test",
                "`ftp://api.test` is not a URL\n\nhint: write it like https://api.anthropic.com",
            ),
        ] {
            assert_eq!(Upstream::parse(text).expect_err(text).to_string(), message);
        }
    }

    #[test]
    fn only_listed_headers_go_on_and_the_key_is_ours() {
        let mut from = HeaderMap::new();
        for (name, value) in [
            ("x-api-key", "the run's token"),
            ("authorization", "Bearer the run's token"),
            ("anthropic-version", "2023-06-01"),
            ("anthropic-beta", "a"),
            ("connection", "keep-alive, Anthropic-Beta"),
            ("accept-encoding", "gzip"),
            ("cookie", "a=b"),
            ("host", "evil.test"),
            ("x-forwarded-for", "10.0.0.1"),
            ("content-type", "application/json; charset=utf-7"),
        ] {
            from.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        let key = Key::account("the real key".to_owned());
        let path = PathAndQuery::from_static("/v1/messages");
        let way = Way { vendor: Vendor::Anthropic, upstream: Upstream::anthropic(), key };
        let request = request(&way, Method::POST, &path, &from, Bytes::from("{}"));
        let mut seen: Vec<String> = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        seen.sort();
        assert_eq!(
            seen,
            [
                "accept-encoding: identity",
                "anthropic-version: 2023-06-01",
                "content-type: application/json",
                "host: api.anthropic.com",
                "x-api-key: the real key",
            ]
        );
        assert_eq!(format!("{:?}", way.key), "Account(Secret(…))");
    }

    #[test]
    fn a_subscription_is_a_bearer_with_the_beta_that_it_needs() {
        for (betas, sent) in [
            (&[][..], "oauth-2025-04-20"),
            (&["a, b"], "a,b,oauth-2025-04-20"),
            (&["a", "oauth-2025-04-20,b"], "a,b,oauth-2025-04-20"),
        ] {
            let mut from = HeaderMap::new();
            from.insert("x-api-key", HeaderValue::from_static("the run's token"));
            for beta in betas {
                from.append("anthropic-beta", HeaderValue::from_static(beta));
            }
            let key = Key::Subscription(Secret::new("sk-ant-oat01-real".to_owned()));
            let way = Way { vendor: Vendor::Anthropic, upstream: Upstream::anthropic(), key };
            let path = PathAndQuery::from_static("/v1/messages");
            let request = request(&way, Method::POST, &path, &from, Bytes::new());
            let seen = |name: &str| {
                let values = request.headers().get_all(name).iter();
                values.map(|value| value.to_str().expect("text").to_owned()).collect::<Vec<_>>()
            };
            assert_eq!(seen("authorization"), ["Bearer sk-ant-oat01-real"]);
            assert_eq!(seen("anthropic-beta"), [sent]);
            assert_eq!(seen("x-api-key"), Vec::<String>::new());
        }
    }

    #[test]
    fn each_vendor_gets_the_key_in_its_own_place_and_only_its_own_headers() {
        let mut from = HeaderMap::new();
        for name in [
            "anthropic-version",
            "openai-beta",
            "x-goog-api-client",
            "x-goog-api-key",
            "api-key",
            "originator",
            "thread-id",
            "x-openai-subagent",
        ] {
            from.insert(HeaderName::from_static(name), HeaderValue::from_static("a"));
        }
        let openai = &["openai-beta: a", "originator: a", "thread-id: a", "x-openai-subagent: a"][..];
        let google = &["x-goog-api-client: a"][..];
        let azure = "/openai/deployments/d/chat/completions?api-version=2026-01-01";
        for (vendor, address, path, uri, key, others) in [
            (
                Vendor::OpenAi,
                "https://api.openai.com",
                "/v1/responses",
                "/v1/responses",
                "authorization: Bearer k",
                openai,
            ),
            (Vendor::OpenAi, "https://x.openai.azure.com", azure, azure, "api-key: k", openai),
            (
                Vendor::OpenAi,
                "https://openrouter.ai/api/v1",
                "/v1/chat/completions",
                "/api/v1/chat/completions",
                "authorization: Bearer k",
                openai,
            ),
            (
                Vendor::Gemini,
                "https://generativelanguage.googleapis.com",
                "/v1beta/models/m:streamGenerateContent?key=token&alt=sse",
                "/v1beta/models/m:streamGenerateContent?alt=sse",
                "x-goog-api-key: k",
                google,
            ),
            (
                Vendor::Gemini,
                "https://generativelanguage.googleapis.com",
                "/v1beta/models?key=token",
                "/v1beta/models",
                "x-goog-api-key: k",
                google,
            ),
        ] {
            let upstream = Upstream::parse(address).expect(address);
            let way = Way { vendor, upstream, key: Key::account("k".to_owned()) };
            let path = PathAndQuery::from_static(path);
            let request = request(&way, Method::POST, &path, &from, Bytes::new());
            let usual = ["accept-encoding", "host"];
            let seen = request.headers().iter().filter(|(name, _)| !usual.contains(&name.as_str()));
            let mut seen: Vec<String> =
                seen.map(|(name, value)| format!("{name}: {}", value.to_str().expect("text"))).collect();
            seen.sort();
            let mut expected: Vec<String> =
                others.iter().chain([&key]).map(|text| (*text).to_owned()).collect();
            expected.sort();
            assert_eq!((request.uri().to_string(), seen), (uri.to_owned(), expected), "{address}");
        }
    }

    #[test]
    fn an_address_may_tell_where_requests_are_served() {
        let region = |address: &str| Upstream::parse(address).expect(address).region();
        assert_eq!(region("https://eu.api.openai.com"), Region::Regional);
        assert_eq!(region("https://api.openai.com"), Region::Global);
        for vendor in Vendor::ALL {
            assert_eq!(Upstream::of(vendor).region(), Region::Global);
        }
    }

    #[test]
    fn an_address_may_hold_the_version_that_clients_write_themselves() {
        for (address, path, expected) in [
            ("https://x.openai.azure.com/openai/v1", "/v1/responses", "/openai/v1/responses"),
            ("https://x.openai.azure.com/openai/v1/", "/openai/v1/responses?a=b", "/openai/v1/responses?a=b"),
            (
                "https://generativelanguage.googleapis.com/v1beta/openai",
                "/v1/chat/completions",
                "/v1beta/openai/chat/completions",
            ),
            ("https://api.z.ai/api/paas/v4", "/v1/chat/completions", "/api/paas/v4/chat/completions"),
            ("https://api.deepseek.com", "/v1/chat/completions", "/v1/chat/completions"),
            ("https://gateway.test/openai", "/v1/chat/completions", "/openai/v1/chat/completions"),
            ("https://gateway.test/vault", "/v1/chat/completions", "/vault/v1/chat/completions"),
        ] {
            let upstream = Upstream::parse(address).expect(address);
            let path = upstream.path(Vendor::OpenAi, &PathAndQuery::from_static(path)).expect(address);
            assert_eq!(path.to_string(), expected, "{address}");
        }
    }
}
