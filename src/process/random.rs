//! Random digits, for secrets and for names that nobody else chooses.

use std::io::Write;

use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

/// Makes so many hex digits, two of each random byte; `None` when the system gives none (fault 244).
pub(super) fn digits(count: usize) -> Option<Vec<u8>> {
    let mut bytes = Zeroizing::new(vec![0; count / 2]);
    SystemRandom::new().fill(&mut bytes).ok()?;
    let mut digits = Vec::with_capacity(count);
    for byte in bytes.iter() {
        // Writing to memory cannot fail.
        write!(digits, "{byte:02x}").ok();
    }
    Some(digits)
}
