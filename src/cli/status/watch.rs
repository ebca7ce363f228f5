//! `bearerd status --watch`: redrawn in place on a terminal, a block for each change elsewhere.

use std::{io::IsTerminal, time::Duration};

use tokio::time::{MissedTickBehavior, interval};

use super::{
    Shape, ask,
    draw::{draw, essence},
};
use crate::{
    cli::{
        exit::Exit,
        run::{catch_signals, signals},
        terminal::{self, Reader, Tone, paint},
    },
    control::{client::Address, status::Status},
    process::clock::{Clock, SystemClock},
};

/// Time between two looks.
const EACH: Duration = Duration::from_secs(1);
/// The cursor away, and no line broken at the edge; and both as before.
const BEGIN: &str = "\u{1b}[?25l\u{1b}[?7l";
const END: &str = "\u{1b}[?7h\u{1b}[?25h";

/// Shows every second how the daemon is, until somebody says stop or nobody reads any more.
pub(super) async fn watch(address: &Address, shape: Shape) -> Result<(), Exit> {
    let mut signals = signals(catch_signals()?)?;
    let mut screen = Screen::new(shape);
    let mut ticks = interval(EACH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_first = true;
    loop {
        tokio::select! {
            _signal = signals.next() => return screen.end(),
            _tick = ticks.tick() => {}
        }
        let look = tokio::select! {
            _signal = signals.next() => return screen.end(),
            look = ask(address) => look,
        };
        // Who was never there is not worth watching.
        let look = if is_first { Ok(look?) } else { look };
        is_first = false;
        if screen.show(look)? == Reader::Left {
            return Ok(());
        }
    }
}

/// Where it is shown.
struct Screen {
    shape: Shape,
    is_terminal: bool,
    /// Lines of the last picture, over which the next one is drawn.
    lines: usize,
    /// What was shown last, but for what changes by itself.
    last: Option<String>,
}

impl Screen {
    fn new(shape: Shape) -> Self {
        let is_terminal = std::io::stdout().is_terminal() && shape == Shape::Table;
        Self { shape, is_terminal, lines: 0, last: None }
    }

    fn show(&mut self, look: Result<(Status, String), Exit>) -> Result<Reader, Exit> {
        if self.is_terminal { self.redraw(look) } else { self.append(look) }
    }

    /// Draws over the last picture, as much of it as there are rows for.
    fn redraw(&mut self, look: Result<(Status, String), Exit>) -> Result<Reader, Exit> {
        let colour = terminal::has_colour();
        let picture = match look {
            Ok((status, _)) => draw(&status, colour),
            Err(exit) => paint(exit.sentence(), Tone::Bad, colour) + "\n",
        };
        let stamp = paint(&format!("as of {}, Ctrl-C ends", now()), Tone::Faint, colour);
        let whole = format!("{picture}\n{stamp}\n");
        let rows = terminal::rows().saturating_sub(1).max(1);
        let shown: Vec<_> = whole.lines().take(rows).collect();
        let back = match self.lines {
            0 => BEGIN.to_owned(),
            lines => format!("\u{1b}[{lines}F"),
        };
        self.lines = shown.len();
        let drawn: String = shown.iter().map(|line| format!("{line}\u{1b}[K\n")).collect();
        terminal::offer(format!("{back}{drawn}\u{1b}[J").as_bytes())
    }

    /// Adds a block, if there is news.
    fn append(&mut self, look: Result<(Status, String), Exit>) -> Result<Reader, Exit> {
        let (essence, block) = match (look, self.shape) {
            (Ok((status, json)), Shape::Json) => (essence(&status), format!("{json}\n")),
            (Ok((status, _)), Shape::Table) => {
                (essence(&status), format!("{}\n{}\n", now(), draw(&status, false)))
            }
            // One object to a line is all that a program expects.
            (Err(exit), Shape::Json) => {
                let essence = exit.sentence().to_owned();
                if self.last.as_ref() != Some(&essence) {
                    terminal::complain(&essence);
                }
                (essence, String::new())
            }
            (Err(exit), Shape::Table) => {
                (exit.sentence().to_owned(), format!("{}\n{}\n\n", now(), exit.sentence()))
            }
        };
        if self.last.replace(essence.clone()) == Some(essence) {
            return Ok(Reader::Reads);
        }
        terminal::offer(block.as_bytes())
    }

    fn end(&self) -> Result<(), Exit> {
        if self.is_terminal { terminal::print(END.as_bytes()) } else { Ok(()) }
    }
}

fn now() -> String {
    SystemClock.wall().to_string()
}
