//! Questions to a person at a terminal; a secret is read without an echo.

use std::{
    fmt::Display,
    io::{self, IsTerminal, Write},
};

use rustix::{
    io::{Errno, read},
    stdio::stdin,
    termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr},
};
use zeroize::Zeroizing;

use crate::{
    cli::{
        exit::Exit,
        run::{catch_signals, signals},
        terminal::complain,
    },
    process::signals::Signals,
};

/// Longest line: what a terminal gives at once.
const LONGEST: usize = 4096;
/// Exit code of a command that was interrupted, as shells have it.
const INTERRUPTED: u8 = 130;

/// Asks at the terminal, or complains that there is none.
pub(super) struct Asker {
    signals: Signals,
    is_terminal: bool,
    secret_is_piped: bool,
}

/// A line, wiped when it is let go.
type Line = Zeroizing<Vec<u8>>;

impl Asker {
    pub(super) fn new(secret_is_piped: bool) -> Result<Self, Exit> {
        let is_terminal = io::stdin().is_terminal();
        let signals = signals(catch_signals()?)?;
        Ok(Self { signals, is_terminal, secret_is_piped })
    }

    /// Asks until the answer can be used.
    pub(super) async fn ask<T>(
        &mut self,
        flag: &str,
        question: &str,
        usual: Option<&str>,
        accept: impl Fn(&str) -> Result<T, &'static str>,
    ) -> Result<T, Exit> {
        if !self.is_terminal || self.secret_is_piped {
            return Err(Exit::usage(format!("nobody can be asked: say {flag}")));
        }
        let hint = usual.map(|usual| format!(" [{usual}]")).unwrap_or_default();
        loop {
            prompt(&format!("{question}{hint}: "))?;
            let line = self.line().await?;
            let line = std::str::from_utf8(&line).unwrap_or_default().trim();
            let answer = match usual {
                Some(usual) if line.is_empty() => usual,
                _ => line,
            };
            match accept(answer) {
                Ok(answer) => return Ok(answer),
                Err(flaw) => complain(&format!("this {flaw}")),
            }
        }
    }

    /// Asks for the secret, or reads it from standard input.
    pub(super) async fn secret<T, E: Display>(
        &mut self,
        accept: impl Fn(&str) -> Result<T, E>,
    ) -> Result<T, Exit> {
        let judge = |line: &Line| {
            accept(std::str::from_utf8(line).unwrap_or_default()).map_err(|flaw| flaw.to_string())
        };
        if self.secret_is_piped {
            let line = self.line().await?;
            return judge(&line).map_err(|flaw| Exit::usage(format!("standard input {flaw}")));
        }
        if !self.is_terminal {
            return Err(Exit::usage("nobody can be asked: say --key-secret-stdin"));
        }
        loop {
            let line = {
                // Before the question: some are quick to paste.
                let _silence = Silence::begin()?;
                prompt("Secret of the API key (it is not shown): ")?;
                self.line().await
            };
            // The line end that was typed was not shown either.
            prompt("\n")?;
            match judge(&line?) {
                Ok(answer) => return Ok(answer),
                Err(flaw) => complain(&format!("this {flaw}")),
            }
        }
    }

    /// Reads a line, without its end, unless somebody says stop first.
    async fn line(&mut self) -> Result<Line, Exit> {
        tokio::select! {
            _signal = self.signals.next() => {
                Err(Exit::with_code(INTERRUPTED, "stopped: nothing was written"))
            }
            line = tokio::task::spawn_blocking(read_line) => {
                line.unwrap_or(Err(Errno::IO)).map_err(|errno| {
                    Exit::failed(format!("standard input: {}", io::Error::from(errno).kind()))
                })?.ok_or_else(|| Exit::failed("standard input has ended: nothing was written"))
            }
        }
    }
}

/// Reads past no buffer that would keep a copy; `None` at the end of the input.
fn read_line() -> Result<Option<Line>, Errno> {
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST));
    let mut byte = Zeroizing::new([0]);
    loop {
        match read(stdin(), &mut *byte) {
            Ok(0) if line.is_empty() => return Ok(None),
            Ok(0) => break,
            Ok(_) if *byte == *b"\n" => break,
            // More is no secret and no answer.
            Ok(_) if line.len() == LONGEST => return Err(Errno::MSGSIZE),
            Ok(_) => line.extend_from_slice(&*byte),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(line))
}

/// Keeps the terminal from showing what is typed, until its drop.
struct Silence(Termios);

impl Silence {
    fn begin() -> Result<Self, Exit> {
        let refused = |_| Exit::failed("the terminal cannot be kept from showing what is typed");
        let before = tcgetattr(stdin()).map_err(refused)?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        // What was typed too early was shown, and is no secret.
        tcsetattr(stdin(), OptionalActions::Flush, &silent).map_err(refused)?;
        Ok(Self(before))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        // The terminal may be gone.
        tcsetattr(stdin(), OptionalActions::Now, &self.0).ok();
    }
}

/// Standard output is for what is written; questions go beside it.
fn prompt(text: &str) -> Result<(), Exit> {
    let mut out = io::stderr().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Exit::failed(format!("standard error: {}", error.kind())))
}
