//! Bytes to text: UTF-8, UTF-16 of both orders with and without a mark, and what is no text.

/// What a file holds.
pub(crate) enum Content {
    Text(String),
    Binary,
}

/// How much of the beginning is looked at to tell text from binary.
const HEAD: usize = 8192;

pub(crate) fn decode(bytes: Vec<u8>) -> Content {
    if let Some(rest) = bytes.strip_prefix(&[0xff, 0xfe]) {
        return Content::Text(utf16(rest, u16::from_le_bytes));
    }
    if let Some(rest) = bytes.strip_prefix(&[0xfe, 0xff]) {
        return Content::Text(utf16(rest, u16::from_be_bytes));
    }
    let head = &bytes[..bytes.len().min(HEAD)];
    if head.contains(&0) {
        // Western text in UTF-16 has its zeros in every other place, and in no other.
        let zeros = |odd: usize| head.iter().skip(odd).step_by(2).filter(|b| **b == 0).count();
        let (even, odd, half) = (zeros(0), zeros(1), head.len() / 2);
        if half >= 4 && odd * 10 >= half * 8 && even * 20 <= half {
            return Content::Text(utf16(&bytes, u16::from_le_bytes));
        }
        if half >= 4 && even * 10 >= half * 8 && odd * 20 <= half {
            return Content::Text(utf16(&bytes, u16::from_be_bytes));
        }
        return Content::Binary;
    }
    let bytes = if bytes.starts_with(&[0xef, 0xbb, 0xbf]) { bytes[3..].to_vec() } else { bytes };
    // A file in an old one-byte encoding is text as well; what is not ASCII in it matters to no rule.
    Content::Text(
        String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()),
    )
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = bytes.as_chunks::<2>().0.iter().map(|pair| unit(*pair));
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_in_every_encoding_and_a_picture_in_none() {
        let text = "KEY=wert ü\n";
        let le: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let be: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let marked = |mark: [u8; 2], rest: &[u8]| [&mark, rest].concat();
        for bytes in [
            text.as_bytes().to_vec(),
            le.clone(),
            be.clone(),
            marked([0xff, 0xfe], &le),
            marked([0xfe, 0xff], &be),
        ] {
            let Content::Text(read) = decode(bytes) else { panic!("binary") };
            assert_eq!(read, text);
        }
        assert!(matches!(decode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec()), Content::Binary));
    }
}
