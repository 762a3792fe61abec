use super::*;
use proptest::prelude::*;

const TOKEN: &str = "tok-0123456789abcdef";

fn speech(format: Format) -> Speech {
    Speech::new(format, &Arc::new(Redactor::new([TOKEN])))
}

fn spoken(format: Format, chunks: &[&[u8]]) -> (String, Said) {
    let mut speech = speech(format);
    let mut out = String::new();
    for chunk in chunks {
        speech.feed(chunk, &mut out);
    }
    let said = speech.finish(&mut out);
    (out, said)
}

#[test]
fn plain_output_is_passed_on_and_its_end_is_kept() {
    let (out, said) = spoken(Format::Plain, &[b"one\n::error::two\r\nthree \x1b[1m##[x]\xff"]);
    assert_eq!(out, "one\n│ ::error::two\nthree # #[x]\u{fffd}\n");
    assert_eq!(said.text, "one\n::error::two\nthree ##[x]\u{fffd}");
}

#[test]
fn a_secret_is_masked_wherever_the_stream_is_split() {
    let text = format!("a {TOKEN} b\n");
    for at in 0..text.len() {
        let (head, tail) = text.as_bytes().split_at(at);
        let (out, said) = spoken(Format::Plain, &[head, tail]);
        assert_eq!(out, "a [redacted] b\n", "split at {at}");
        assert_eq!(said.text, "a [redacted] b");
    }
}

#[test]
fn a_secret_is_masked_where_its_line_is_cut() {
    for before in LINE_BYTES_MAX - TOKEN.len() - 1..=LINE_BYTES_MAX {
        let text = format!("{}{TOKEN}{}\n", "x".repeat(before), "y".repeat(100));
        let (out, _) = spoken(Format::Plain, &[text.as_bytes()]);
        assert!(!out.contains(&TOKEN[..4]), "{before}: {}", &out[LINE_BYTES_MAX - 40..]);
    }
}

#[test]
fn a_long_line_is_cut_with_a_note() {
    let (out, _) = spoken(Format::Plain, &["x".repeat(LINE_BYTES_MAX + 1_000).as_bytes()]);
    assert_eq!(out, format!("{} … 1000 more bytes\n", "x".repeat(LINE_BYTES_MAX)));
}

#[test]
fn a_flood_is_cut_with_a_note_and_its_end_is_kept() {
    let mut speech = speech(Format::Plain);
    let chunk = format!("{}\n", "x".repeat(999)).repeat(1_000);
    let mut out = String::new();
    let mut longest = 0;
    for _ in 0..10 {
        speech.feed(chunk.as_bytes(), &mut out);
        longest = longest.max(out.len());
        if out.len() > chunk.len() {
            break;
        }
        out.clear();
    }
    speech.feed(b"the end\n", &mut out);
    out.clear();
    let said = speech.finish(&mut out);
    assert_eq!(out, "… of 10000008 bytes of output only the first 8 MiB are shown\n");
    assert!(longest <= chunk.len(), "nothing piles up");
    assert!(said.text.ends_with("x\nthe end") && said.text.len() <= LAST_BYTES_MAX);
}

#[test]
fn claude_text_is_defused_line_by_line_and_kept_whole() {
    let (out, said) = spoken(
        Format::ClaudeStream,
        &[
            br#"{"type":"assistant","message":{"model":"m","content":[{"type":"text","text":"Fine.\n::error::x\r##[group]y"}]}}"#,
            b"\n",
            format!(r#"{{"type":"result","is_error":false,"result":"All {TOKEN} done.\n::x::"}}"#).as_bytes(),
        ],
    );
    assert_eq!(out, "Fine.\n│ ::error::x\n# #[group]y\nAll [redacted] done.\n│ ::x::\n");
    assert_eq!(said, Said { text: "All [redacted] done.\n::x::".into(), ..Said::default() });
}

#[test]
fn a_huge_json_line_is_named_and_the_run_goes_on() {
    let huge = format!(r#"{{"type":"user","x":"{}"}}"#, "y".repeat(JSON_BYTES_MAX));
    let (out, said) = spoken(
        Format::ClaudeStream,
        &[huge.as_bytes(), b"\n", br#"{"type":"result","is_error":false,"result":"ok"}"#],
    );
    assert_eq!(out, format!("… a message of {} bytes was not shown\nok\n", huge.len()));
    assert_eq!(said.text, "ok");
}

/// A log in memory.
#[derive(Clone, Default)]
pub(in crate::agent) struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    pub(in crate::agent) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("no writer panics")).into_owned()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no writer panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn commands_are_off_while_the_agent_speaks_and_on_for_our_own() {
    let shared = Shared::default();
    let log = Log::new(Box::new(shared.clone()), true);
    log.own("::notice::before");
    log.agent("one\n");
    log.agent("two\n");
    log.own("::warning::80 %");
    log.agent("three\n");
    log.close();
    log.close();
    let text = shared.text();
    let lines: Vec<&str> = text.lines().collect();
    let token = |line: &str| line.strip_prefix("::stop-commands::").map(str::to_owned);
    let first = token(lines[1]).expect("the fence goes up");
    let second = token(lines[6]).expect("the fence goes up again");
    assert_ne!(first, second);
    assert_eq!(first.len(), 32);
    let (first, second) = (format!("::{first}::"), format!("::{second}::"));
    assert_eq!(
        [lines[0], lines[2], lines[3], lines[4], lines[5], lines[7], lines[8]],
        ["::notice::before", "one", "two", first.as_str(), "::warning::80 %", "three", second.as_str()]
    );
    assert_eq!(lines.len(), 9);
}

#[test]
fn without_a_runner_there_is_no_fence() {
    let shared = Shared::default();
    let log = Log::new(Box::new(shared.clone()), false);
    log.agent("one\n");
    log.own("two");
    log.close();
    assert_eq!(shared.text(), "one\ntwo\n");
}

proptest! {
    #[test]
    fn any_bytes_in_any_chunks_give_the_same_lines_and_no_command(
        bytes in proptest::collection::vec(
            prop_oneof![4 => proptest::sample::select(b":#[]\r\n \t\x1b:a".to_vec()), 1 => any::<u8>()], 0..120),
        cuts in proptest::collection::vec(0_usize..120, 0..5),
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        let (out, said) = spoken(Format::Plain, &chunks);
        prop_assert_eq!(&(out.clone(), said), &spoken(Format::Plain, &[&bytes]));
        for line in out.split(['\r', '\n']) {
            prop_assert!(!line.trim_start().starts_with("::"), "{:?}", line);
            prop_assert!(!line.contains("##["), "{:?}", line);
        }
    }
}
