//! Answers that GitHub may confirm with a 304, which costs nothing of the hourly limit.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

/// The most answers that are kept.
const ENTRIES_MAX: usize = 256;
/// The most bytes that are kept.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// An answer, and the tag to ask about it with.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) etag: http::HeaderValue,
    pub(super) body: Bytes,
    pub(super) content_type: String,
    pub(super) next: Option<String>,
}

/// Answers by their address and media type, the oldest dropped first.
#[derive(Debug, Default)]
pub(super) struct Cache {
    kept: HashMap<String, Kept>,
    order: VecDeque<String>,
    bytes: usize,
}

impl Cache {
    pub(super) fn get(&self, key: &str) -> Option<Kept> {
        self.kept.get(key).cloned()
    }

    pub(super) fn put(&mut self, key: String, answer: Kept) {
        self.drop_entry(&key);
        if answer.body.len() > BYTES_MAX / 4 {
            return;
        }
        self.bytes += answer.body.len();
        self.order.push_back(key.clone());
        self.kept.insert(key, answer);
        while self.bytes > BYTES_MAX || self.kept.len() > ENTRIES_MAX {
            let Some(oldest) = self.order.front().cloned() else { return };
            self.drop_entry(&oldest);
        }
    }

    fn drop_entry(&mut self, key: &str) {
        if let Some(old) = self.kept.remove(key) {
            self.bytes -= old.body.len();
            self.order.retain(|other| other != key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(bytes: usize) -> Kept {
        Kept {
            etag: http::HeaderValue::from_static("\"a\""),
            body: Bytes::from(vec![0; bytes]),
            content_type: String::new(),
            next: None,
        }
    }

    #[test]
    fn it_stays_within_its_limits() {
        let mut cache = Cache::default();
        for n in 0..ENTRIES_MAX + 1 {
            cache.put(n.to_string(), answer(1));
        }
        assert!(cache.get("0").is_none() && cache.get("1").is_some());
        cache.put("1".to_owned(), answer(2));
        assert_eq!((cache.kept.len(), cache.bytes), (ENTRIES_MAX, ENTRIES_MAX + 1));
        for n in 0..9 {
            cache.put(format!("large {n}"), answer(BYTES_MAX / 4));
        }
        assert_eq!(cache.bytes, BYTES_MAX);
        cache.put("huge".to_owned(), answer(BYTES_MAX / 4 + 1));
        assert!(cache.get("huge").is_none() && cache.get("large 8").is_some());
    }
}
