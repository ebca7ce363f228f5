//! Standard output and error: the only place that writes to them.

use std::io::{self, IsTerminal, Write};

use super::exit::Exit;

/// Tells whether somebody still reads what is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    Reads,
    /// Has seen enough, as `head`.
    Left,
}

/// Prints text as it is.
pub(super) fn print(text: &[u8]) -> Result<(), Exit> {
    offer(text).map(|_has_seen_enough| ())
}

/// Prints text as it is, for whoever has more to print.
pub(super) fn offer(text: &[u8]) -> Result<Reader, Exit> {
    let mut out = io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Left),
        Err(error) => Err(Exit::failed(format!("standard output: {}", error.kind()))),
        Ok(()) => Ok(Reader::Reads),
    }
}

/// Prints a line.
pub(super) fn say(line: &str) -> Result<(), Exit> {
    print(format!("{line}\n").as_bytes())
}

/// Says what went wrong, in one line.
pub(super) fn complain(line: &str) {
    // There is nowhere to say that this failed.
    writeln!(io::stderr().lock(), "bearerd: {line}").ok();
}

/// Tells whether standard output takes colours.
pub(super) fn has_colour() -> bool {
    io::stdout().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Tells how many rows standard output shows.
pub(super) fn rows() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    size.ok().map(|size| usize::from(size.ws_row)).filter(|rows| *rows > 0).unwrap_or(24)
}

/// Names what a piece of text means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// All is well.
    Good,
    /// Somebody should look.
    Odd,
    /// Broken.
    Bad,
    /// A heading.
    Head,
    /// Of less weight.
    Faint,
}

/// Colours a piece of text, if colours are wanted.
pub(super) fn paint(text: &str, tone: Tone, colour: bool) -> String {
    if !colour {
        return text.to_owned();
    }
    let code = match tone {
        Tone::Good => "32",
        Tone::Odd => "33",
        Tone::Bad => "31",
        Tone::Head => "1",
        Tone::Faint => "2",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}
