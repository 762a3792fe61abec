//! Sizes of images, read from the first bytes of the file.

/// Base64 characters decoded at most to find a size: a JPEG keeps its own behind its metadata.
const BASE64_MAX: usize = 256 * 1024;

/// Width and height in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Size {
    /// Tokens of an image, `most` at most.
    ///
    /// Anthropic's vision page counts one token a patch of 28 × 28 pixels, after scaling down to a size
    /// that depends on the model; an older edition of it divides the pixels by 750. The larger counts.
    pub(super) fn tokens(self, most: u64) -> u64 {
        let (width, height) = (u64::from(self.width), u64::from(self.height));
        let patches = width.div_ceil(28) * height.div_ceil(28);
        let by_area = (width * height).div_ceil(750);
        patches.max(by_area).clamp(1, most.max(1))
    }
}

/// Reads the size of a PNG, JPEG or WebP in base64; `None` where it cannot be told. The frames of a GIF may
/// be larger than the screen it announces, and some decoders grow the picture to hold them.
pub(super) fn size(base64: &str) -> Option<Size> {
    // Most formats say it in their first 30 bytes.
    let head = decode(base64.as_bytes().get(..64).unwrap_or(base64.as_bytes()))?;
    if head.starts_with(b"\xff\xd8") {
        let head = base64.as_bytes();
        return jpeg(&decode(&head[..head.len().min(BASE64_MAX)])?);
    }
    png(&head).or_else(|| webp(&head)).filter(|size| size.width > 0 && size.height > 0)
}

/// Decodes standard base64 up to its padding, or to the last whole byte; `None` for any other character.
fn decode(base64: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(base64.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for &byte in base64 {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => break,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(((bits >> held) & 0xff) as u8);
        }
    }
    Some(out)
}

fn be16(bytes: &[u8], at: usize) -> Option<u32> {
    let pair: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(u32::from(u16::from_be_bytes(pair)))
}

fn le16(bytes: &[u8], at: usize) -> Option<u32> {
    let pair: [u8; 2] = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(u32::from(u16::from_le_bytes(pair)))
}

fn png(bytes: &[u8]) -> Option<Size> {
    if !bytes.starts_with(b"\x89PNG\r\n\x1a\n") || bytes.get(12..16)? != b"IHDR" {
        return None;
    }
    let be32 = |at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    Some(Size { width: be32(16)?, height: be32(20)? })
}

fn webp(bytes: &[u8]) -> Option<Size> {
    if bytes.get(..4)? != b"RIFF" || bytes.get(8..12)? != b"WEBP" {
        return None;
    }
    match bytes.get(12..16)? {
        b"VP8X" => {
            let le24 = |at: usize| Some(le16(bytes, at)? | u32::from(*bytes.get(at + 2)?) << 16);
            Some(Size { width: le24(24)? + 1, height: le24(27)? + 1 })
        }
        b"VP8 " => Some(Size { width: le16(bytes, 26)? & 0x3fff, height: le16(bytes, 28)? & 0x3fff }),
        b"VP8L" => {
            let packed = u32::from_le_bytes(bytes.get(21..25)?.try_into().ok()?);
            Some(Size { width: (packed & 0x3fff) + 1, height: ((packed >> 14) & 0x3fff) + 1 })
        }
        _ => None,
    }
}

/// Walks a JPEG's segments to the frame header.
fn jpeg(bytes: &[u8]) -> Option<Size> {
    let mut at = 2;
    loop {
        if *bytes.get(at)? != 0xff {
            return None;
        }
        match *bytes.get(at + 1)? {
            // A fill byte before a marker.
            0xff => at += 1,
            // Frame headers; C4, C8 and CC are tables.
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                let size = Size { height: be16(bytes, at + 5)?, width: be16(bytes, at + 7)? };
                return (size.width > 0 && size.height > 0).then_some(size);
            }
            // Markers without a length.
            0x01 | 0xd0..=0xd8 => at += 2,
            // The picture or its end, and no frame header before it.
            0xd9 | 0xda => return None,
            _ => at += 2 + usize::try_from(be16(bytes, at + 2)?).ok()?,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Standard base64 with padding.
    pub(in crate::provider) fn encode(bytes: &[u8]) -> String {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut out = String::new();
        for chunk in bytes.chunks(3) {
            let bits = chunk.iter().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte))
                << (8 * (3 - chunk.len()));
            for place in 0..4 {
                let index = (bits >> (18 - 6 * place)) & 0x3f;
                out.push(if place <= chunk.len() { char::from(ALPHABET[index as usize]) } else { '=' });
            }
        }
        out
    }

    /// The first bytes of a PNG of this size, and `padding` zero bytes.
    pub(in crate::provider) fn png_of(width: u32, height: u32, padding: usize) -> Vec<u8> {
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        bytes.extend_from_slice(&width.to_be_bytes());
        bytes.extend_from_slice(&height.to_be_bytes());
        bytes.resize(bytes.len() + padding, 0);
        bytes
    }

    #[test]
    fn sizes_are_read_from_the_first_bytes() {
        let mut exif_first = b"\xff\xd8\xff\xe1\x75\x32".to_vec();
        exif_first.resize(exif_first.len() + 0x7530, 7);
        exif_first.extend_from_slice(b"\xff\xc4\x00\x03\x00\xff\xff\xc2\x00\x11\x08\x02\x58\x03\x20");
        for (name, bytes, size) in [
            ("png", png_of(1920, 1080, 50), Some((1920, 1080))),
            ("gif", b"GIF89a\x40\x01\xc8\x00\0\0".to_vec(), None),
            (
                "webp, lossy",
                b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\0\0\0\x9d\x01\x2a\x40\x01\xc8\x00".to_vec(),
                Some((320, 200)),
            ),
            (
                "webp, lossless",
                b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\x3f\xc1\x31\x00\0\0\0".to_vec(),
                Some((320, 200)),
            ),
            (
                "webp, extended",
                b"RIFF\0\0\0\0WEBPVP8X\0\0\0\0\0\0\0\0\x3f\x01\x00\xc7\x00\x00".to_vec(),
                Some((320, 200)),
            ),
            ("jpeg, metadata first", exif_first, Some((800, 600))),
            ("jpeg, no frame", b"\xff\xd8\xff\xda\x00\x02".to_vec(), None),
            ("jpeg, cut", b"\xff\xd8\xff".to_vec(), None),
            ("png, cut", png_of(5, 5, 0)[..20].to_vec(), None),
            ("png, empty", png_of(0, 5, 0), None),
            ("text", b"hello, this is not an image at all".to_vec(), None),
            ("nothing", Vec::new(), None),
        ] {
            let expected = size.map(|(width, height)| Size { width, height });
            assert_eq!(super::size(&encode(&bytes)), expected, "{name}");
        }
        assert_eq!(super::size("*not base64*"), None);
    }

    #[test]
    fn an_image_counts_its_patches_and_never_more_than_the_models_most() {
        for (width, height, tokens) in [
            (28, 28, 2),
            (29, 28, 2),
            (1, 1, 1),
            (1000, 1000, 1334),
            (8000, 8000, 1568),
            (u32::MAX, u32::MAX, 1568),
        ] {
            assert_eq!(Size { width, height }.tokens(1568), tokens, "{width} x {height}");
        }
    }
}
