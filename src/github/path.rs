//! Texts that become part of a URL, and the parts of a URL that come back.

use http::Uri;

/// One segment of a path: everything but letters, digits and `-._~` is percent-encoded.
pub(super) fn segment(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A path of several segments, its slashes kept; `None` where a segment is empty, `.` or `..`, which
/// could lead to another call.
pub(super) fn segments(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('/').collect();
    let fine = parts.iter().all(|part| !matches!(*part, "" | "." | ".."));
    fine.then(|| parts.into_iter().map(segment).collect::<Vec<_>>().join("/"))
}

/// The address of the next page, from a `Link` header (RFC 8288).
pub(super) fn next_page(link: &str) -> Option<&str> {
    link.split(',').find_map(|entry| {
        let (target, parameters) = entry.trim().strip_prefix('<')?.split_once('>')?;
        let next = parameters.split(';').any(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or_default();
            name.trim().eq_ignore_ascii_case("rel")
                && value.trim().trim_matches('"').split(' ').any(|relation| relation == "next")
        });
        next.then_some(target)
    })
}

/// Whether two addresses have the same scheme, host and port.
pub(super) fn same_origin(a: &Uri, b: &Uri) -> bool {
    let port = |uri: &Uri| uri.port_u16().unwrap_or(if uri.scheme_str() == Some("http") { 80 } else { 443 });
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    a.scheme() == b.scheme() && host(a) == host(b) && port(a) == port(b)
}

/// Whether a host is this machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_change_the_call_is_encoded_or_refused() {
        for (text, encoded) in [
            ("dependabot[bot]", "dependabot%5Bbot%5D"),
            ("a/b", "a%2Fb"),
            ("a?b#c d%", "a%3Fb%23c%20d%25"),
            ("é", "%C3%A9"),
            ("v1.0_x~y-z", "v1.0_x~y-z"),
        ] {
            assert_eq!(segment(text), encoded);
        }
        assert_eq!(segments("feature/a b").as_deref(), Some("feature/a%20b"));
        for text in ["", "/a", "a/", "a//b", "../a", "a/./b", "a/.."] {
            assert_eq!(segments(text), None, "{text}");
        }
    }

    #[test]
    fn the_next_page_is_read_from_any_order_of_links() {
        let prev = "<https://h/a?page=1>; rel=\"prev\"";
        let next = "<https://h/a?page=3>; rel=\"next\"";
        for link in [format!("{prev}, {next}"), format!("{next}, {prev}"), next.to_owned()] {
            assert_eq!(next_page(&link), Some("https://h/a?page=3"));
        }
        assert_eq!(next_page("<https://h/a>; title=\"x\"; rel=next"), Some("https://h/a"));
        for link in ["", prev, "https://h/a; rel=next", "<https://h/a>; rel=nextish"] {
            assert_eq!(next_page(link), None, "{link}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let same = |a: &str, b: &str| same_origin(&a.parse().expect(a), &b.parse().expect(b));
        assert!(same("https://h/a", "https://H:443/b"));
        assert!(!same("https://h/a", "http://h/a"));
        assert!(!same("https://h/a", "https://h:444/a"));
        assert!(!same("https://h/a", "https://h.evil/a"));
    }
}
