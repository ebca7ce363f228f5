//! Bytes of clients, through the code that serves every connection.
//!
//! The stream is in memory and the runtime's time is paused, so that the deadlines of a silent client
//! pass at once.

mod answers;
mod doors;
mod oracle;
mod upstream;

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex, split},
    runtime::{Builder, Runtime},
    time::{sleep, timeout},
};
use tokio_util::task::TaskTracker;

use self::{
    answers::Answer,
    doors::{Door, LOCAL, PROXY, TOKEN},
};
use super::text::SENTINEL;

/// Longest stay of a client that says nothing more; all deadlines of a listener are shorter.
const STAY: Duration = Duration::from_secs(200);
/// By then a connection is over that its client has left.
const OVER: Duration = Duration::from_secs(500);

/// How a client sends.
struct Manner {
    /// Bytes that are sent at once.
    piece: usize,
    /// Bytes that may be on their way.
    window: usize,
    /// Whether it rests between them.
    pauses: bool,
    /// Whether it ends its side when all is sent.
    closes: bool,
}

/// Two bytes say which listener and how it is sent; the rest are requests
/// (faults 35, 126 to 129, 140 to 144, 190).
pub(super) fn local(data: &[u8]) {
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
    }
    let [choice, piece, input @ ..] = data else { return };
    let door = &LOCAL[usize::from(choice % 4)];
    let said = RUNTIME.with(|it| it.block_on(converse(door, input, &manner(*choice, *piece))));
    let answers = check_answers(input, &said);
    oracle::check_tokens(door, input, &answers);
    assert!(upstream::UNHEARD.accept().is_err(), "a listener without a proxy asks nobody");
}

/// The same before a listener that forwards, and an issuer that echoes all that it is told
/// (faults 57, 140, 144, 145, 285).
pub(super) fn proxied(data: &[u8]) {
    thread_local! {
        static RUNTIME: Runtime = {
            // What goes over loopback is there before the runtime looks for it, and only then does
            // time pass: a call that is not seen at once is cut off, as any may be.
            let mut runtime = Builder::new_current_thread();
            let runtime = runtime.enable_all().start_paused(true).build().expect("a runtime");
            runtime.block_on(async { upstream::ISSUER.start() });
            runtime
        };
    }
    let [choice, piece, input @ ..] = data else { return };
    let manner = Manner { pauses: false, closes: false, ..manner(*choice, *piece) };
    upstream::ISSUER.forget();
    let said = RUNTIME.with(|it| it.block_on(converse(&PROXY, input, &manner)));
    assert!(!holds(&said, TOKEN), "a client of the proxy never sees the token");
    // What was being sent may be cut off by a deadline.
    let answers = answers::read_cut(&said, input);
    let most = oracle::most_requests(input);
    assert!(answers.len() <= most + 1, "{} answers to {most} requests", answers.len());
    if oracle::is_ambiguous(input) {
        assert!(answers.len() <= 1 && answers.iter().all(|it| it.status >= 400), "one refusal");
    }
    upstream::ISSUER.check();
}

fn manner(choice: u8, piece: u8) -> Manner {
    Manner {
        piece: if piece == 0 { usize::MAX } else { piece.into() },
        // No kernel gives less, and some refusals are only said if they fit.
        window: if choice & 4 == 0 { 1 << 16 } else { 512 },
        pauses: choice & 8 != 0,
        closes: choice & 16 != 0,
    }
}

/// Sends all, and reads until the other side ends or nothing more can come.
async fn converse(door: &Door, input: &[u8], manner: &Manner) -> Vec<u8> {
    let tasks = TaskTracker::new();
    let (client, server) = duplex(manner.window);
    let talk = async {
        let (mut reader, mut writer) = split(client);
        let send = async {
            for piece in input.chunks(manner.piece) {
                // The server may have heard enough.
                if writer.write_all(piece).await.is_err() {
                    return;
                }
                if manner.pauses {
                    sleep(Duration::from_millis(1)).await;
                }
            }
            if manner.closes {
                writer.shutdown().await.ok();
            }
        };
        let mut said = Vec::new();
        let read = async {
            timeout(STAY, reader.read_to_end(&mut said)).await.ok();
        };
        let (_sent, ()) = tokio::join!(timeout(STAY, send), read);
        said
    };
    let both = async { tokio::join!(door.server.serve(server, door.peer.clone(), &tasks), talk).1 };
    let said = timeout(OVER, both).await.expect("a connection ends when its client has left");
    tasks.close();
    timeout(OVER, tasks.wait()).await.expect("so does a watch");
    said
}

fn check_answers(input: &[u8], said: &[u8]) -> Vec<Answer> {
    assert!(!holds(said, SENTINEL), "no answer quotes a request");
    let answers = answers::read(said, input);
    answers.iter().for_each(Answer::check);
    let most = oracle::most_requests(input);
    // A head that never comes to its end is answered, too: it is no HTTP, too long, or too slow.
    let is_unread = |answer: &Answer| answer.is_of_the_parser || answer.status == 408;
    let unparsed = usize::from(answers.last().is_some_and(is_unread));
    assert!(answers.len() <= most + unparsed, "{} answers to {most} requests", answers.len());
    if oracle::is_ambiguous(input) {
        assert!(answers.len() <= 1, "two answers to what can be read in two ways");
        assert!(answers.iter().all(|answer| answer.status >= 400), "it was answered");
    }
    answers
}

fn holds(text: &[u8], part: &str) -> bool {
    memchr::memmem::find(text, part.as_bytes()).is_some()
}
