//! Git's smart HTTP on loopback: `git http-backend` behind a small server that checks who asks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine as _;

/// What the server does besides serving.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mood {
    /// Pushes get 403.
    pub(crate) read_only: bool,
    /// The answers to that many pushes are lost after they were done.
    pub(crate) lost_answers: u32,
    /// Seconds by which its clock is ahead; `None` for a server that tells no time.
    pub(crate) clock_ahead: Option<i64>,
}

/// A server that lives as long as its test.
#[derive(Clone)]
pub(crate) struct GitHttp {
    pub(crate) url: String,
    pub(crate) mood: Arc<Mutex<Mood>>,
    /// The `Authorization` headers that came.
    pub(crate) logins: Arc<Mutex<Vec<String>>>,
}

impl GitHttp {
    /// Serves the bare repositories below `root` to whoever brings `token`.
    pub(crate) fn serve(root: &Path, token: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let mood = Arc::new(Mutex::new(Mood { clock_ahead: Some(0), ..Mood::default() }));
        let server = Self { url, mood, logins: Arc::default() };
        let shared = server.clone();
        let login = base64::engine::general_purpose::STANDARD.encode(format!("x-access-token:{token}"));
        let (root, expected) = (root.to_owned(), format!("basic {login}"));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (server, root, expected) = (shared.clone(), root.clone(), expected.clone());
                std::thread::spawn(move || server.answer(stream, &root, &expected));
            }
        });
        server
    }

    fn answer(&self, stream: TcpStream, root: &Path, expected: &str) -> Option<()> {
        let mut input = BufReader::new(stream.try_clone().ok()?);
        let mut output = stream;
        let request = Request::read(&mut input, &mut output)?;
        let mood = self.mood.lock().expect("a mood").clone();
        let date = mood.clock_ahead.map(|ahead| {
            let now = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(ahead);
            let date = jiff::tz::TimeZone::UTC.to_datetime(now).strftime("%a, %d %b %Y %H:%M:%S GMT");
            format!("Date: {date}\r\n")
        });
        let mut say = |status: &str, rest: &str, body: &[u8]| {
            let date = date.as_deref().unwrap_or_default();
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\n{date}Connection: close\r\nContent-Length: {length}\r\n{rest}\r\n"
            );
            output.write_all(head.as_bytes()).and_then(|()| output.write_all(body)).ok()
        };
        let login = request.header("authorization").unwrap_or_default();
        self.logins.lock().expect("a list").push(login.clone());
        if !login.eq_ignore_ascii_case(expected) {
            return say("401 Unauthorized", "WWW-Authenticate: Basic realm=\"git\"\r\n", b"");
        }
        let is_push =
            request.path.ends_with("/git-receive-pack") || request.query == "service=git-receive-pack";
        if is_push && mood.read_only {
            return say("403 Forbidden", "", b"Write access to repository not granted.");
        }
        let (head, body) = request.backend(root);
        if request.path.ends_with("/git-receive-pack") && mood.lost_answers > 0 {
            self.mood.lock().expect("a mood").lost_answers -= 1;
            return None;
        }
        let (status, rest): (Vec<&str>, Vec<&str>) =
            head.lines().partition(|line| line.starts_with("Status: "));
        let status = status.first().map_or("200 OK", |line| &line["Status: ".len()..]);
        let rest: String = rest.into_iter().flat_map(|line| [line, "\r\n"]).collect();
        say(status, &rest, &body)
    }
}

struct Request {
    method: String,
    path: String,
    query: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn read(input: &mut impl BufRead, output: &mut impl Write) -> Option<Self> {
        let mut line = String::new();
        input.read_line(&mut line).ok()?;
        let mut words = line.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            input.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
        let mut request =
            Self { method, path: path.to_owned(), query: query.to_owned(), headers, body: Vec::new() };
        if request.header("expect").is_some() {
            output.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
        }
        if let Some(length) = request.header("content-length") {
            input.take(length.parse().ok()?).read_to_end(&mut request.body).ok()?;
        } else if request.header("transfer-encoding").is_some() {
            loop {
                let mut size = String::new();
                input.read_line(&mut size).ok()?;
                let size = u64::from_str_radix(size.trim(), 16).ok()?;
                input.take(size).read_to_end(&mut request.body).ok()?;
                input.read_line(&mut String::new()).ok()?;
                if size == 0 {
                    break;
                }
            }
        }
        Some(request)
    }

    fn header(&self, name: &str) -> Option<String> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone())
    }

    /// What `git http-backend` says: the head and the body of a CGI answer.
    fn backend(&self, root: &Path) -> (String, Vec<u8>) {
        let header = |name| self.header(name).unwrap_or_default();
        let mut command = Command::new("git");
        command
            .arg("http-backend")
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_PROJECT_ROOT", root)
            .env("GIT_HTTP_EXPORT_ALL", "1")
            .env("REMOTE_USER", "octocat")
            .env("REQUEST_METHOD", &self.method)
            .env("PATH_INFO", &self.path)
            .env("QUERY_STRING", &self.query)
            .env("CONTENT_TYPE", header("content-type"))
            .env("CONTENT_LENGTH", self.body.len().to_string())
            .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
            .env("GIT_PROTOCOL", header("git-protocol"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().expect("git is needed for the tests");
        let (mut input, body) = (child.stdin.take().expect("a pipe"), self.body.clone());
        std::thread::spawn(move || input.write_all(&body));
        let out = child.wait_with_output().expect("git ends").stdout;
        let end = out.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(out.len());
        let head = String::from_utf8_lossy(&out[..end]).into_owned();
        (head, out.get(end + 4..).unwrap_or_default().to_vec())
    }
}

/// A bare repository that takes pushes over HTTP, with one commit on `main`.
pub(crate) fn bare(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir_all(&path).expect("a folder");
    super::git(&path, &["init", "--quiet", "--bare", "--initial-branch=main"]);
    super::git(&path, &["config", "http.receivepack", "true"]);
    let tree = super::git(&path, &["hash-object", "-w", "-t", "tree", "/dev/null"]);
    let commit = super::git(&path, &["commit-tree", &tree, "-m", "Begin"]);
    super::git(&path, &["update-ref", "refs/heads/main", &commit]);
    path
}
