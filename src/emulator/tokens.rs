//! The bearer tokens that were granted, each bound to the key that made it.

use std::collections::HashMap;

use jiff::Timestamp;

use super::chance;

/// Remembers what a token stands for.
#[derive(Clone)]
pub(super) struct Token {
    /// Id of the user.
    pub(super) user: String,
    /// Id of the key that made it.
    pub(super) key: String,
    pub(super) expires_at: Timestamp,
}

/// Holds the tokens; the expired ones too for a while, as they have an answer of their own.
#[derive(Default)]
pub(super) struct Tokens {
    by_text: HashMap<String, Token>,
    swept_len: usize,
}

impl Tokens {
    /// Grants a token, and returns its text.
    pub(super) fn grant(&mut self, token: Token, as_jwt: bool, now: Timestamp) -> String {
        self.sweep(now);
        let text = if as_jwt { jwt(&token, now) } else { opaque() };
        self.by_text.insert(text.clone(), token);
        text
    }

    pub(super) fn find(&self, text: &str) -> Option<&Token> {
        self.by_text.get(text)
    }

    /// Tells how many tokens have not expired.
    pub(super) fn count_alive(&self, now: Timestamp) -> usize {
        self.by_text.values().filter(|token| now < token.expires_at).count()
    }

    /// Forgets all tokens, and tells how many there were.
    pub(super) fn clear(&mut self) -> usize {
        let count = self.by_text.len();
        self.by_text.clear();
        count
    }

    /// Drops what expired over an hour ago, each time the number has doubled.
    fn sweep(&mut self, now: Timestamp) {
        const HOUR: i64 = 3600;
        if self.by_text.len() >= 2 * self.swept_len.max(1024) {
            let is_recent = |token: &Token| now.as_second() < token.expires_at.as_second() + HOUR;
            self.by_text.retain(|_, token| is_recent(token));
            self.swept_len = self.by_text.len();
        }
    }
}

/// Makes a token that looks like a JWT and, as the documented sample, does not parse.
fn opaque() -> String {
    let part = |bytes: &[u8]| chance::base64url(bytes);
    let (head, body) = (chance::random::<16>(), chance::random::<64>());
    format!("eyJ{}.{}.{}", part(&head), part(&body), part(&chance::random::<32>()))
}

/// Makes a token that parses as a JWT, with an `exp` in whole seconds.
fn jwt(token: &Token, now: Timestamp) -> String {
    let part = |json: serde_json::Value| chance::base64url(json.to_string().as_bytes());
    let head = part(serde_json::json!({ "alg": "RS256", "typ": "JWT" }));
    let body = part(serde_json::json!({
        "sub": token.user,
        "iat": now.as_second(),
        "exp": token.expires_at.as_second(),
        "jti": chance::uuid(),
    }));
    format!("{head}.{body}.{}", chance::base64url(&chance::random::<64>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn token(expires_at: i64) -> Token {
        Token { user: "u".into(), key: "k".into(), expires_at: at(expires_at) }
    }

    #[test]
    fn tokens_have_three_parts_and_fit_a_header() {
        for text in [opaque(), jwt(&token(9), at(0))] {
            assert_eq!(text.split('.').count(), 3);
            assert!(text.len() <= 4096);
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)));
        }
    }

    #[test]
    fn long_expired_tokens_are_forgotten_and_fresh_ones_never() {
        let mut tokens = Tokens::default();
        let old: Vec<_> = (0..2048).map(|_| tokens.grant(token(0), false, at(0))).collect();
        let fresh = tokens.grant(token(9000), false, at(5000));
        assert!(tokens.find(&fresh).is_some());
        assert!(old.iter().all(|text| tokens.find(text).is_none()));
    }
}
