use super::*;
use proptest::prelude::*;

fn scan(body: &[u8]) -> Result<Range<usize>> {
    let mut scanner = Scanner::new(body)?;
    let at = scanner.span()?;
    scanner.end()?;
    Ok(at)
}

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    for (body, message) in [
        ("", "the body is not valid JSON: the body ends too early at byte 0"),
        ("{\"a\":1,}", "the body is not valid JSON: a key in double quotes was expected at byte 7"),
        ("[1,]", "the body is not valid JSON: a value was expected at byte 3"),
        ("{\"a\" 1}", "the body is not valid JSON: a colon was expected at byte 5"),
        ("[1 2]", "the body is not valid JSON: a comma or a closing bracket was expected at byte 3"),
        ("[1", "the body is not valid JSON: the body ends too early at byte 2"),
        ("{\"a\":NaN}", "the body is not valid JSON: a value was expected at byte 5"),
        ("[nul]", "the body is not valid JSON: a value was expected at byte 1"),
        ("[01]", "the body is not valid JSON: a comma or a closing bracket was expected at byte 2"),
        ("[1.]", "the body is not valid JSON: a digit was expected at byte 3"),
        ("[-]", "the body is not valid JSON: a digit was expected at byte 2"),
        ("{} {}", "the body is not valid JSON: something after the end of the value at byte 3"),
        ("\u{feff}{}", "the body is not valid JSON: a byte order mark at byte 0"),
        ("\"a", "the body is not valid JSON: a string is not closed at byte 2"),
        ("\"a\nb\"", "the body is not valid JSON: a control character inside a string at byte 2"),
        ("\"\\x\"", "the body is not valid JSON: an escape that JSON does not have at byte 1"),
        ("\"\\u12g4\"", "the body is not valid JSON: an escape that JSON does not have at byte 1"),
        ("\"\\u12", "the body is not valid JSON: an escape that JSON does not have at byte 1"),
        (
            "{\"a\":{\"b\":1,\"b\":2}}",
            "the key \"b\" is given twice in the object that ends at byte 18; send it once",
        ),
        (
            "{\"model\":1,\"\\u006dodel\":2}",
            "the key \"model\" is given twice in the object that ends at byte 26; send it once",
        ),
    ] {
        assert_eq!(scan(body.as_bytes()).map_err(|f| f.to_string()), Err(message.to_owned()), "{body}");
    }
    let not_utf8 = scan(b"{\"a\":\"\xff\"}").map_err(|f| f.to_string());
    assert_eq!(not_utf8, Err("the body is not valid JSON: a byte that is not UTF-8 at byte 6".to_owned()));
}

#[test]
fn the_depth_ends_at_64() {
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    assert!(scan(nested(64).as_bytes()).is_ok());
    assert_eq!(scan(nested(65).as_bytes()), Err(Flaw::TooDeep { at: 64 }));
    assert!(scan(nested(500_000).as_bytes()).is_err(), "the stack is not what stops it");
}

#[test]
fn many_keys_are_told_apart_in_short_time() {
    let keys: Vec<String> = (0..50_000).map(|n| format!("\"k{n}\":0")).collect();
    assert!(scan(format!("{{{}}}", keys.join(",")).as_bytes()).is_ok());
    let twice = format!("{{{},\"k17\":0}}", keys.join(","));
    assert!(matches!(scan(twice.as_bytes()), Err(Flaw::Duplicate { key, .. }) if key == "k17"));
}

#[test]
fn cache_marks_are_seen_at_any_depth() {
    for (body, any, hour) in [
        (r#"{"a":[{"b":1}]}"#, false, false),
        (r#"{"cache_control":null}"#, false, false),
        (r#"{"a":[{"cache_control":{"type":"ephemeral"}}]}"#, true, false),
        (r#"{"cache_control":{"type":"ephemeral","ttl":"5m"}}"#, true, false),
        (r#"{"a":{"cache\u005fcontrol":{"ttl":"1\u0068"}}}"#, true, true),
        (r#"{"cache_control":{"ttl":"24h"}}"#, true, true),
    ] {
        let mut scanner = Scanner::new(body.as_bytes()).expect("UTF-8");
        scanner.skip().expect(body);
        assert_eq!(scanner.marks, Marks { any, hour }, "{body}");
    }
}

proptest! {
    #[test]
    fn strings_read_as_serde_reads_them(text in ".*", ascii in any::<bool>()) {
        let mut json = serde_json::to_string(&text).expect("a string");
        if ascii {
            let escaped = |c: char| -> String {
                let mut units = [0; 2];
                c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04X}")).collect()
            };
            json = json.chars().map(|c| if c.is_ascii() { c.to_string() } else { escaped(c) }).collect();
        }
        let mut scanner = Scanner::new(json.as_bytes()).expect("UTF-8");
        prop_assert_eq!(scanner.string().expect("a string").value(), text);
        prop_assert!(scanner.end().is_ok());
    }

    #[test]
    fn strings_are_plain_up_to_the_first_special_byte(bytes in prop::collection::vec(
        prop_oneof![any::<u8>(), prop::sample::select(b"\"\\\x00\x1f\x20\x21\x23\x5b\x5d\x80\xff".to_vec())], 0..40
    )) {
        let special = |byte: &u8| *byte == b'"' || *byte == b'\\' || *byte < 0x20;
        prop_assert_eq!(plain_length(&bytes), bytes.iter().position(special).unwrap_or(bytes.len()));
    }

    #[test]
    fn broken_bodies_are_judged_as_serde_judges_them(
        at in 0_usize..200, byte in prop::sample::select(b"{}[]\",:\\0-e.tn \x01u".to_vec())
    ) {
        let mut body = br#"{"a":[1,-2.5e+3,0.1,true,false,null,"x\n\u00e9"],"b":{"c":{},"d":[]},"e":""}"#.to_vec();
        let at = at % body.len();
        body[at] = byte;
        let ours = scan(&body);
        let serdes = serde_json::from_slice::<serde_json::Value>(&body);
        // Serde takes duplicate keys, refuses numbers too large for a float and half surrogates.
        match ours {
            Ok(_) => prop_assert!(serdes.is_ok(), "{}", String::from_utf8_lossy(&body)),
            Err(Flaw::Duplicate { .. }) => {}
            Err(_) => prop_assert!(serdes.is_err(), "{}", String::from_utf8_lossy(&body)),
        }
    }
}
