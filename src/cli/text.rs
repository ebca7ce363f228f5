//! Text of strangers, made fit for a terminal.

/// Length of a UUID: what is longer in an error's message may be a secret that is echoed.
const LONGEST_WORD: usize = 36;
/// Longest message that is shown, in characters.
const LONGEST_MESSAGE: usize = 240;

/// Writes out what would move the cursor, colour, hide or turn text around.
pub(super) fn clean(text: &str) -> String {
    let escaped = |letter: char| {
        if is_unseen(letter) { letter.escape_unicode().collect() } else { String::from(letter) }
    };
    text.chars().map(escaped).collect()
}

/// Writes JSON so that it can be shown on a terminal, and is still the same JSON.
pub(super) fn clean_json(json: &str) -> String {
    let mut units = [0; 2];
    let mut escaped = |letter: char| {
        if !is_unseen(letter) {
            return String::from(letter);
        }
        letter.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
    };
    json.chars().map(&mut escaped).collect()
}

/// Makes an issuer's message showable: short, and without any word that could be a secret.
///
/// Some issuers quote the request, and with it the token (fault 32).
pub(super) fn message(text: &str) -> String {
    let is_token = |letter: char| letter.is_ascii_alphanumeric() || "-._~+/=*".contains(letter);
    let mut shown = String::new();
    for part in text.split_inclusive(|letter| !is_token(letter)) {
        let word = part.trim_end_matches(|letter| !is_token(letter));
        shown.push_str(if word.len() > LONGEST_WORD { "…" } else { word });
        shown.push_str(part.get(word.len()..).unwrap_or_default());
    }
    let shown = clean(shown.trim());
    match shown.char_indices().nth(LONGEST_MESSAGE) {
        Some((end, _)) => format!("{}…", shown.get(..end).unwrap_or_default()),
        None => shown,
    }
}

/// Breaks a sentence into lines of so many characters, between words where there are any.
pub(super) fn wrap(sentence: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in sentence.split_whitespace() {
        let mut rest: Vec<char> = word.chars().collect();
        loop {
            let line = lines.last().map_or(0, |line| line.chars().count());
            let room = width.saturating_sub(if line == 0 { 0 } else { line + 1 });
            let piece = match rest.len() <= room {
                true => std::mem::take(&mut rest),
                // Too long for any line: it is broken where the line ends.
                false if line == 0 => rest.drain(..width.max(1).min(rest.len())).collect(),
                false => {
                    lines.push(String::new());
                    continue;
                }
            };
            if let Some(last) = lines.last_mut() {
                last.extend((line > 0).then_some(' '));
                last.extend(piece);
            }
            if rest.is_empty() {
                break;
            }
        }
    }
    lines
}

/// Controls, and the formats that turn text around or join it (Unicode, general category Cf).
fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    // fault 148
    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        let table = [
            ("café bot/1", "café bot/1"),
            ("a\u{1b}[31mb", "a\\u{1b}[31mb"),
            ("a\r\nb\tc\u{7f}", "a\\u{d}\\u{a}b\\u{9}c\\u{7f}"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("a\u{202e}b\u{2066}", "a\\u{202e}b\\u{2066}"),
        ];
        for (text, shown) in table {
            assert_eq!(clean(text), shown);
        }
    }

    #[test]
    fn sentences_are_broken_between_words_and_words_only_if_they_must() {
        let table = [
            ("", 5, vec![""]),
            ("one", 5, vec!["one"]),
            ("one two three", 7, vec!["one two", "three"]),
            ("one  two", 3, vec!["one", "two"]),
            ("a abcdefgh b", 3, vec!["a", "abc", "def", "gh", "b"]),
            ("äöü ß", 3, vec!["äöü", "ß"]),
        ];
        for (sentence, width, lines) in table {
            assert_eq!(wrap(sentence, width), lines, "{sentence}");
        }
    }

    #[test]
    fn json_stays_the_same_json() {
        let text = "a\u{1b}\u{9b}\u{202e}\u{e0041}é\"\\";
        let json = clean_json(&serde_json::to_string(text).unwrap());
        assert!(!json.chars().any(is_unseen), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    // fault 32
    #[test]
    fn what_may_be_an_echoed_secret_is_cut_out_of_a_message() {
        let secret = "c2VjcmV0.c2VjcmV0".repeat(3);
        let table = [
            (
                "Missing capability: service_users.read".to_owned(),
                "Missing capability: service_users.read",
            ),
            (format!("Bearer {secret} {{\"key\":\"{secret}\"}}"), "Bearer … {\"key\":\"…\"}"),
            (secret.clone(), "…"),
            (
                "6ac84721-a7ba-4034-9c39-41ef7b38819d?".into(),
                "6ac84721-a7ba-4034-9c39-41ef7b38819d?",
            ),
            (" a\u{1b}b\n".into(), "a\\u{1b}b"),
            (String::new(), ""),
        ];
        for (text, shown) in table {
            assert_eq!(message(&text), shown);
        }
        assert_eq!(message(&"é ".repeat(500)).chars().count(), LONGEST_MESSAGE + 1);
    }
}
