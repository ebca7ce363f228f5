//! Stories of one credential's token; all in paused time.

mod bench;
mod replay;
mod story;
