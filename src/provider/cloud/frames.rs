//! AWS's event-stream framing: how Bedrock sends the events of a stream, and how a stop is said in it.
//!
//! A frame is `total length · length of the headers · CRC-32 of those eight bytes · headers · payload ·
//! CRC-32 of everything before`, its numbers big-endian. A header is `length of the name · name · 7 · length of
//! the value · value` where the value is text. (AWS's page on the encoding, as part of Amazon Transcribe's guide.)

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

/// The longest frame that is read, in bytes: AWS allows 16 MiB and the framing.
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024 + 128 * 1024;
/// Bytes before the headers.
const PRELUDE_BYTES: usize = 12;
/// Bytes that are no payload of a frame without headers.
const FRAMING_BYTES: usize = PRELUDE_BYTES + 4;
/// The type of a header whose value is text.
const TEXT: u8 = 7;

/// What a frame holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// The data of one event of the Messages API.
    Event(Vec<u8>),
    /// The stream ends with an error of this kind, such as `throttlingException`.
    Error(String),
    /// A frame that says nothing of the answer.
    Other,
}

/// A frame that is not as it was sent; nothing after it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

/// Puts frames together again, whatever pieces they come in.
#[derive(Debug, Default)]
pub(super) struct Frames {
    held: Vec<u8>,
    damaged: bool,
}

impl Frames {
    /// Takes the next bytes, and returns the frames that they complete.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, Damaged> {
        if self.damaged {
            return Err(Damaged);
        }
        self.held.extend_from_slice(bytes);
        let mut found = Vec::new();
        let mut done = 0;
        let read = loop {
            match whole(&self.held[done..]) {
                Ok(None) => break Ok(found),
                Ok(Some(length)) => match decode(&self.held[done..done + length]) {
                    Ok(frame) => found.push(frame),
                    Err(damaged) => break Err(damaged),
                },
                Err(damaged) => break Err(damaged),
            }
            done += whole(&self.held[done..]).ok().flatten().unwrap_or(0);
        };
        self.held.drain(..done);
        self.damaged = read.is_err();
        read
    }

    /// Whether everything that came was whole frames.
    pub(super) fn is_whole(&self) -> bool {
        !self.damaged && self.held.is_empty()
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    usize::try_from(u32::from_be_bytes(four)).ok()
}

/// The length of the first frame, once all of it is there.
fn whole(bytes: &[u8]) -> Result<Option<usize>, Damaged> {
    let Some(length) = number(bytes, 0) else { return Ok(None) };
    if !(FRAMING_BYTES..=FRAME_BYTES_MAX).contains(&length) {
        return Err(Damaged);
    }
    Ok((bytes.len() >= length).then_some(length))
}

/// Reads one frame of exactly these bytes.
fn decode(frame: &[u8]) -> Result<Frame, Damaged> {
    let end = frame.len().checked_sub(4).ok_or(Damaged)?;
    let headers = number(frame, 4).ok_or(Damaged)?;
    let sums = [(8, 8), (end, end)];
    let holds = |(at, upto): (usize, usize)| number(frame, at) == usize::try_from(crc32(&frame[..upto])).ok();
    let payload_at = PRELUDE_BYTES.checked_add(headers).filter(|at| *at <= end).ok_or(Damaged)?;
    if !sums.into_iter().all(holds) {
        return Err(Damaged);
    }
    let said = Said::of(&frame[PRELUDE_BYTES..payload_at])?;
    let payload = &frame[payload_at..end];
    match (said.kind.as_deref(), said.event.as_deref()) {
        (Some("event"), Some("chunk")) => chunk(payload).map(Frame::Event).ok_or(Damaged),
        (Some("exception" | "error"), _) => Ok(Frame::Error(said.error.unwrap_or_default())),
        _ => Ok(Frame::Other),
    }
}

/// The headers that matter.
#[derive(Default)]
struct Said {
    kind: Option<String>,
    event: Option<String>,
    error: Option<String>,
}

impl Said {
    fn of(mut bytes: &[u8]) -> Result<Self, Damaged> {
        let mut said = Self::default();
        while !bytes.is_empty() {
            let name = take(&mut bytes, 1)?;
            let kind = take_bytes(&mut bytes, 1)?;
            // Bedrock sends text alone; a header of another type has a length that is not known here.
            if kind != [TEXT] {
                return Err(Damaged);
            }
            let value = take(&mut bytes, 2)?;
            let value = String::from_utf8_lossy(value).into_owned();
            match name {
                b":message-type" => said.kind = Some(value),
                b":event-type" => said.event = Some(value),
                b":exception-type" | b":error-code" => said.error = Some(value),
                _ => {}
            }
        }
        Ok(said)
    }
}

fn take_bytes<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], Damaged> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Damaged)?;
    *bytes = rest;
    Ok(taken)
}

/// A value after its length, which has so many bytes.
fn take<'a>(bytes: &mut &'a [u8], length_bytes: usize) -> Result<&'a [u8], Damaged> {
    let length = take_bytes(bytes, length_bytes)?.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
    take_bytes(bytes, length)
}

/// The event in a chunk: base64 in a JSON object.
fn chunk(payload: &[u8]) -> Option<Vec<u8>> {
    #[derive(Deserialize)]
    struct Chunk {
        bytes: String,
    }
    let chunk: Chunk = serde_json::from_slice(payload).ok()?;
    STANDARD.decode(chunk.bytes).ok()
}

/// One event of the Messages API as a frame.
pub(super) fn encode(event: &[u8]) -> Vec<u8> {
    let mut headers = Vec::new();
    let said = [(":event-type", "chunk"), (":content-type", "application/json"), (":message-type", "event")];
    for (name, value) in said {
        headers.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        headers.extend_from_slice(name.as_bytes());
        headers.push(TEXT);
        headers.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    assemble(&headers, json!({ "bytes": STANDARD.encode(event) }).to_string().as_bytes())
}

/// A frame of these headers and this payload.
pub(super) fn assemble(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    let mut frame = Vec::with_capacity(FRAMING_BYTES + headers.len() + payload.len());
    frame.extend_from_slice(&length(FRAMING_BYTES + headers.len() + payload.len()));
    frame.extend_from_slice(&length(headers.len()));
    frame.extend_from_slice(&crc32(&frame).to_be_bytes());
    frame.extend_from_slice(headers);
    frame.extend_from_slice(payload);
    frame.extend_from_slice(&crc32(&frame).to_be_bytes());
    frame
}

/// CRC-32 as in zlib (polynomial 0x04C11DB7, reflected).
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0_u32; 256];
        let mut index = 0;
        while index < 256 {
            let mut value = index as u32;
            let mut bit = 0;
            while bit < 8 {
                value = if value & 1 == 1 { (value >> 1) ^ 0xEDB8_8320 } else { value >> 1 };
                bit += 1;
            }
            table[index] = value;
            index += 1;
        }
        table
    };
    !bytes.iter().fold(u32::MAX, |sum, byte| {
        let index = (sum ^ u32::from(*byte)) & 0xFF;
        (sum >> 8) ^ TABLE[usize::try_from(index).unwrap_or(0)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_zlib() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(crc32(b""), 0);
    }

    /// The smallest frame of AWS's own test vectors (smithy, `empty_message` and `payload_no_headers`).
    #[test]
    fn published_frames_are_read() {
        let empty = [0, 0, 0, 16, 0, 0, 0, 0, 5, 194, 72, 235, 125, 152, 200, 255];
        assert_eq!(Frames::default().feed(&empty), Ok(vec![Frame::Other]));
        let mut payload = vec![0, 0, 0, 29, 0, 0, 0, 0, 253, 82, 140, 90];
        payload.extend_from_slice(b"{'foo':'bar'}");
        payload.extend_from_slice(&[195, 101, 57, 54]);
        assert_eq!(Frames::default().feed(&payload), Ok(vec![Frame::Other]));
    }

    #[test]
    fn frames_are_put_together_wherever_they_are_cut() {
        let events: [&[u8]; 3] = [br#"{"type":"message_start"}"#, b"", br#"{"type":"message_stop"}"#];
        let stream: Vec<u8> = events.iter().flat_map(|event| encode(event)).collect();
        for cut in 0..=stream.len() {
            let mut frames = Frames::default();
            let mut found = frames.feed(&stream[..cut]).expect("whole");
            assert_eq!(
                frames.is_whole(),
                cut == 0 || found.len() == events.len() || is_boundary(&events, cut)
            );
            found.extend(frames.feed(&stream[cut..]).expect("whole"));
            let expected: Vec<Frame> = events.iter().map(|event| Frame::Event(event.to_vec())).collect();
            assert_eq!(found, expected, "cut at {cut}");
            assert!(frames.is_whole());
        }
    }

    fn is_boundary(events: &[&[u8]], cut: usize) -> bool {
        let ends = events.iter().scan(0, |end, event| {
            *end += encode(event).len();
            Some(*end)
        });
        ends.into_iter().any(|end| end == cut)
    }

    #[test]
    fn a_changed_byte_is_damage_and_nothing_after_it_is_read() {
        let frame = encode(br#"{"type":"message_delta","usage":{"output_tokens":7}}"#);
        for at in 0..frame.len() {
            let mut changed = frame.clone();
            changed[at] ^= 1;
            let mut frames = Frames::default();
            // A longer length only waits for more.
            let read = frames.feed(&changed);
            assert!(read == Err(Damaged) || read == Ok(vec![]), "byte {at}: {read:?}");
            assert!(!frames.is_whole());
            if read == Err(Damaged) {
                assert_eq!(frames.feed(&frame), Err(Damaged));
            }
        }
    }
}
