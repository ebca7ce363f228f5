//! Stories of one credential's token, and what no story can tell; all in paused time.

mod bench;
mod broker;
mod replay;
mod story;
