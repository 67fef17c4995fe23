//! Cutting an answer into messages (`messenger.md` 3.2).

/// "Under 2000 characters". Counted in UTF-16 units, which is never less than what any other count gives.
pub(super) const MOST_UNITS: usize = 1999;

pub(super) fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// Cuts `text` into pieces that Messenger takes, at ends of paragraphs or sentences where there are any, else
/// between words, else anywhere between characters. Nothing but the white space at a cut is lost.
pub fn split_text(text: &str) -> Vec<String> {
    let mut pieces = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let cut = cut(rest);
        let (piece, after) = rest.split_at(cut);
        pieces.push(piece.trim_end().to_owned());
        rest = after.trim_start();
    }
    pieces
}

/// Where the first piece ends, in bytes.
fn cut(text: &str) -> usize {
    let mut used = 0;
    let (mut paragraph, mut sentence, mut word) = (None, None, None);
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        used += c.len_utf16();
        if used > MOST_UNITS {
            // A paragraph's end in the first half would make needlessly many messages.
            let paragraph = paragraph.filter(|p| *p > text[..at].len() / 2);
            return paragraph.or(sentence).or(word).unwrap_or(at);
        }
        if c.is_whitespace() && at > 0 {
            word = Some(at);
            if matches!(before, '.' | '!' | '?' | '…') {
                sentence = Some(at);
            }
            if c == '\n' {
                sentence = Some(at);
                paragraph = Some(at);
            }
        }
        before = c;
        if matches!(c, '。' | '！' | '？') {
            sentence = Some(at + c.len_utf8());
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_text_stays_whole_and_an_empty_one_is_nothing() {
        assert_eq!(split_text(" hello. "), ["hello."]);
        assert!(split_text(" \n ").is_empty());
        assert_eq!(split_text(&"a".repeat(1999)).len(), 1);
    }

    #[test]
    fn a_long_text_is_cut_at_a_sentence_and_loses_no_word() {
        let text = "This is one sentence of many. ".repeat(300);
        let pieces = split_text(&text);
        assert!(pieces.iter().all(|p| units(p) < 2000 && p.ends_with("many.")), "{pieces:?}");
        assert_eq!(pieces.join(" "), text.trim());
    }

    #[test]
    fn words_and_at_last_characters_are_where_no_sentence_ends() {
        let words = "word ".repeat(900);
        assert!(split_text(&words).iter().all(|p| p.ends_with("word") && units(p) < 2000));
        let emoji = "😀".repeat(2500);
        let pieces = split_text(&emoji);
        assert!(pieces.iter().all(|p| units(p) < 2000));
        assert_eq!(pieces.concat(), emoji);
        let kanji = "注文はどこ。".repeat(700);
        assert!(split_text(&kanji).iter().all(|p| p.ends_with('。')));
    }
}
