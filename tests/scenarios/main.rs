//! What a credential's token lives through, in paused time.

mod bench;
