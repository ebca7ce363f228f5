//! The daemon's end: orders go to the helper, and each waits for its own answer.

use std::{
    collections::HashMap,
    io,
    os::{fd::OwnedFd, unix::net::UnixStream as StdStream},
    process::{Command as Program, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot},
};
use zeroize::Zeroizing;

use super::{Command, Order, Outcome, Report, frame};

/// Orders that may wait for the helper to read them.
const WAITING: usize = 64;
/// How the program is told that it is the helper.
pub const HELPER: &str = "run-commands";

/// A helper that has been started, and what it knows.
pub struct Started {
    line: StdStream,
    commands: Vec<Command>,
}

impl Started {
    /// Starts a helper that knows these commands; call it before the process confines itself.
    ///
    /// # Errors
    ///
    /// When it cannot be started.
    pub fn new(commands: Vec<Command>) -> io::Result<Self> {
        let (line, other) = StdStream::pair()?;
        let mut helper = Program::new("/proc/self/exe");
        helper.arg(HELPER).env_clear().stdin(Stdio::from(OwnedFd::from(other)));
        // It is nobody's child to wait for: it ends with us.
        let _child = helper.stdout(Stdio::null()).spawn()?;
        io::Write::write_all(&mut &line, &frame::pack(&commands)?)?;
        line.set_nonblocking(true)?;
        Ok(Self { line, commands })
    }

    /// Tells whether it knows this command.
    #[must_use]
    pub fn knows(&self, command: &Command) -> bool {
        self.commands.contains(command)
    }
}

/// Runs commands; clones share the helper.
#[derive(Clone)]
pub struct Runner {
    commands: Arc<[Command]>,
    orders: mpsc::Sender<Waiter>,
    next: Arc<AtomicU64>,
}

impl Runner {
    /// Takes up the line to a helper; the future carries the orders, for as long as it is awaited.
    ///
    /// Needs a runtime.
    ///
    /// # Errors
    ///
    /// When the kernel does not watch one more descriptor.
    pub fn new(started: &Started) -> io::Result<(Self, impl Future<Output = ()> + Send + use<>)> {
        let line = UnixStream::from_std(started.line.try_clone()?)?;
        let (orders, line_up) = mpsc::channel(WAITING);
        let commands = started.commands.clone().into();
        Ok((Self { commands, orders, next: Arc::default() }, carry(line, line_up)))
    }

    /// Runs a command and waits for its end, which is bounded.
    pub async fn run(
        &self,
        command: &Command,
        environment: Vec<(String, String)>,
        input: String,
    ) -> Outcome {
        let Some(place) = self.commands.iter().position(|known| known == command) else {
            return Outcome::NoHelper;
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let order = Order { number, command: place, environment, input };
        self.send(&order).await.unwrap_or(Outcome::NoHelper)
    }

    async fn send(&self, order: &Order) -> Option<Outcome> {
        let (reply, outcome) = oneshot::channel();
        let packed = frame::pack(order).ok()?;
        self.orders.send((packed, order.number, reply)).await.ok()?;
        outcome.await.ok()
    }
}

/// An order, its number, and who waits for its end.
type Waiter = (Zeroizing<Vec<u8>>, u64, oneshot::Sender<Outcome>);
type Orders = mpsc::Receiver<Waiter>;
type Waiting = Mutex<HashMap<u64, oneshot::Sender<Outcome>>>;

/// Carries orders and answers until the helper is gone; who waits then is told by a closed channel.
async fn carry(line: UnixStream, orders: Orders) {
    let (reader, writer) = line.into_split();
    let waiting = Waiting::default();
    tokio::select! {
        () = carry_orders(writer, orders, &waiting) => {}
        () = carry_answers(reader, &waiting) => {}
    }
    tracing::error!("the helper that runs commands is gone: restart the daemon");
    drop(waiting);
    // Not again and again: there will be no other helper.
    std::future::pending::<()>().await;
}

async fn carry_orders(mut line: OwnedWriteHalf, mut orders: Orders, waiting: &Waiting) {
    while let Some((bytes, number, reply)) = orders.recv().await {
        waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(number, reply);
        if line.write_all(&bytes).await.is_err() {
            return;
        }
    }
    // Every runner is gone, which means that the daemon ends.
    std::future::pending::<()>().await;
}

async fn carry_answers(mut line: OwnedReadHalf, waiting: &Waiting) {
    while let Some(Report { number, outcome }) = next_answer(&mut line).await {
        let waiter = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        if let Some(waiter) = waiter {
            waiter.send(outcome).ok();
        }
    }
}

async fn next_answer(line: &mut OwnedReadHalf) -> Option<Report> {
    let mut length = [0; 4];
    line.read_exact(&mut length).await.ok()?;
    let mut bytes = frame::room(length).ok()?;
    line.read_exact(&mut bytes).await.ok()?;
    frame::unpack(&bytes).ok()
}
