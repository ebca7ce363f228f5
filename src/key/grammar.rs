//! A flat JSON object of strings, read without leaving a copy of any of them.
//!
//! `serde_json` decodes escapes in a buffer of its own that nobody wipes (fault 236), and some
//! writers escape the `/` and `+` of a base64 secret. So the little of JSON that a key file needs
//! is read here: RFC 8259 to the letter, for one object whose values are all strings.

use zeroize::Zeroizing;

/// Holds a decoded string; wiped on drop.
pub(super) type Text = Zeroizing<String>;

/// Reads one object and hands each name and value to `field`, with the line of the name.
///
/// # Errors
///
/// What `field` refuses, and [`Malformed`] for whatever is not such an object, made into `E`.
pub(super) fn read_object<E: From<Malformed>>(
    input: &str,
    mut field: impl FnMut(&str, Text, usize) -> Result<(), E>,
) -> Result<(), E> {
    let mut cursor = Cursor { input, rest: input };
    cursor.expect('{')?;
    if !cursor.eats('}') {
        loop {
            let name = cursor.string()?;
            let line = cursor.line();
            cursor.expect(':')?;
            field(&name, cursor.string()?, line)?;
            if cursor.eats('}') {
                break;
            }
            cursor.expect(',')?;
        }
    }
    Ok(cursor.end()?)
}

/// Says where the text stops being an object of strings; never what stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    /// Line, from 1.
    pub(super) line: usize,
}

struct Cursor<'a> {
    input: &'a str,
    rest: &'a str,
}

impl Cursor<'_> {
    fn string(&mut self) -> Result<Text, Malformed> {
        self.expect('"')?;
        // Never shorter than its decoded form, so the text does not move while it grows.
        let mut text = Zeroizing::new(String::with_capacity(self.rest.len()));
        loop {
            match self.next()? {
                '"' => return Ok(text),
                '\\' => text.push(self.escape()?),
                '\0'..' ' => return Err(self.malformed()),
                character => text.push(character),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Malformed> {
        Ok(match self.next()? {
            character @ ('"' | '\\' | '/') => character,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode(),
            _ => return Err(self.malformed()),
        })
    }

    fn unicode(&mut self) -> Result<char, Malformed> {
        let mut code = self.hex()?;
        if (0xd800..0xdc00).contains(&code) {
            code = self.low_surrogate(code)?;
        }
        char::from_u32(code).ok_or(self.malformed())
    }

    fn low_surrogate(&mut self, high: u32) -> Result<u32, Malformed> {
        self.rest = self.rest.strip_prefix("\\u").ok_or(self.malformed())?;
        let low = self.hex()?;
        if !(0xdc00..0xe000).contains(&low) {
            return Err(self.malformed());
        }
        Ok(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))
    }

    fn hex(&mut self) -> Result<u32, Malformed> {
        (0..4).try_fold(0, |code, _| {
            let digit = self.next()?.to_digit(16).ok_or(self.malformed())?;
            Ok(code * 16 + digit)
        })
    }

    fn next(&mut self) -> Result<char, Malformed> {
        let mut characters = self.rest.chars();
        let next = characters.next().ok_or(self.malformed())?;
        self.rest = characters.as_str();
        Ok(next)
    }

    fn expect(&mut self, token: char) -> Result<(), Malformed> {
        if self.eats(token) { Ok(()) } else { Err(self.malformed()) }
    }

    fn eats(&mut self, token: char) -> bool {
        self.skip_space();
        let after = self.rest.strip_prefix(token);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn end(&mut self) -> Result<(), Malformed> {
        self.skip_space();
        if self.rest.is_empty() { Ok(()) } else { Err(self.malformed()) }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn malformed(&self) -> Malformed {
        Malformed { line: self.line() }
    }

    fn line(&self) -> usize {
        let read = self.input.len() - self.rest.len();
        1 + self.input.bytes().take(read).filter(|byte| *byte == b'\n').count()
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use proptest::prelude::*;
    use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

    use super::*;

    type Pairs = Vec<(String, String)>;

    fn ours(input: &str) -> Result<Pairs, Malformed> {
        let mut pairs = Pairs::new();
        read_object::<Malformed>(input, |name, value, _| {
            pairs.push((name.to_owned(), value.to_string()));
            Ok(())
        })?;
        Ok(pairs)
    }

    /// Reads the same with `serde_json`, which is right by assumption.
    struct Oracle(Pairs);

    impl<'de> Deserialize<'de> for Oracle {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct PairsVisitor;
            impl<'de> Visitor<'de> for PairsVisitor {
                type Value = Oracle;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("an object of strings")
                }
                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Oracle, A::Error> {
                    let mut pairs = Pairs::new();
                    while let Some(pair) = map.next_entry()? {
                        pairs.push(pair);
                    }
                    Ok(Oracle(pairs))
                }
            }
            deserializer.deserialize_map(PairsVisitor)
        }
    }

    fn agree(input: &str) -> Result<(), TestCaseError> {
        let oracle = serde_json::from_str::<Oracle>(input).ok().map(|oracle| oracle.0);
        prop_assert_eq!(ours(input).ok(), oracle, "{:?}", input);
        Ok(())
    }

    /// Pieces of JSON, whole and broken, so that random texts come near to objects.
    fn fragment() -> impl Strategy<Value = String> {
        const PIECES: &[&str] = &[
            "{",
            "}",
            "{",
            "}",
            "\"",
            "\"",
            "\"a\"",
            "\"a\":",
            "\"b\":\"c\"",
            ",",
            ":",
            "\\",
            "\\u",
            "\\n",
            "\\\"",
            "\\/",
            "\\u002B",
            "\\ud83d\\ude00",
            "\\ud83d",
            "\\ude00",
            "\\u+123",
            "12",
            "null",
            "[",
            "]",
            " ",
            "\t",
            "\r\n",
            "\n",
            "\0",
            "\u{b}",
            "\u{a0}",
            "é",
            "\u{feff}",
        ];
        prop_oneof![proptest::sample::select(PIECES).prop_map(str::to_owned), ".{0,2}"]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        // fault 90
        #[test]
        fn agrees_with_serde_json_on_fragments(pieces in prop::collection::vec(fragment(), 0..8)) {
            agree(&pieces.concat())?;
        }

        #[test]
        fn agrees_with_serde_json_inside_a_string(
            pieces in prop::collection::vec(fragment(), 0..4),
        ) {
            agree(&format!("{{\"k\" : \"{}\"}}", pieces.concat()))?;
        }

        #[test]
        fn reads_back_what_serde_json_writes(pairs in prop::collection::vec((".*", ".*"), 0..4)) {
            let fields = pairs.iter().map(|(name, value)| {
                format!("{}:{}", serde_json::json!(name), serde_json::json!(value))
            });
            let text = format!("{{{}}}\r\n", fields.collect::<Vec<_>>().join(","));
            prop_assert_eq!(ours(&text), Ok(pairs));
        }
    }

    #[test]
    fn every_escape_is_decoded() {
        let text = r#"{"k":"\"\\\/\b\f\n\r\t\u002B\u00e9\ud83d\ude00"}"#;
        let expected = "\"\\/\u{8}\u{c}\n\r\t+é😀".to_owned();
        assert_eq!(ours(text), Ok(vec![("k".to_owned(), expected)]));
    }

    // fault 236
    #[test]
    fn a_text_has_room_for_all_that_may_come() {
        let input = format!(r#"{{"k":"{}"}}"#, "x".repeat(1000));
        let mut capacity = 0;
        read_object::<Malformed>(&input, |_, value, _| {
            capacity = value.capacity();
            Ok(())
        })
        .unwrap();
        assert_eq!(capacity, input.len() - r#"{"k":""#.len());
    }

    #[test]
    fn the_line_is_where_it_stops_making_sense() {
        for (text, line) in [
            ("", 1),
            ("x\n\n", 1),
            ("{\n;\n\n", 2),
            ("{\n\"a\":\"b\"\n;", 3),
            ("{}\n\n}", 3),
            ("{\n\"a\":\n1}", 3),
        ] {
            assert_eq!(ours(text), Err(Malformed { line }), "{text:?}");
        }
    }

    #[test]
    fn a_field_that_is_refused_ends_the_reading() {
        let mut seen = 0;
        let ended = read_object(r#"{"a":"1","b":"2"}"#, |_, _, line| {
            seen += 1;
            Err(Malformed { line: line + 41 })
        });
        assert_eq!((seen, ended), (1, Err(Malformed { line: 42 })));
    }
}
