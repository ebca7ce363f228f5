//! A name server that says what a test wants.

use std::{
    net::{Ipv4Addr, Ipv6Addr, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

/// What is said of every name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer {
    /// These addresses, if they are asked for.
    Found(Option<Ipv4Addr>, Option<Ipv6Addr>),
    /// An error by its number: 2 SERVFAIL, 3 NXDOMAIN, 5 REFUSED.
    Error(u8),
    Silence,
}

/// Answers until it is dropped.
pub(crate) struct Names {
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Names {
    pub(crate) fn start(socket: UdpSocket, answer: Answer) -> Self {
        let answer = Arc::new(Mutex::new(answer));
        let (asked, is_over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let (said, count, end) = (Arc::clone(&answer), Arc::clone(&asked), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            let mut question = [0; 512];
            while !end.load(Ordering::SeqCst) {
                let Ok((length, client)) = socket.recv_from(&mut question) else { continue };
                count.fetch_add(1, Ordering::SeqCst);
                let answer = *said.lock().unwrap();
                if let Some(reply) = reply(&question[..length], answer) {
                    socket.send_to(&reply, client).unwrap();
                }
            }
        });
        Self { answer, asked, is_over, thread: Some(thread) }
    }

    pub(crate) fn say(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// How many questions have come.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        // A thread that has failed has told so.
        self.thread.take().map(JoinHandle::join);
    }
}

/// Answers a question of RFC 1035; none is no answer.
fn reply(question: &[u8], answer: Answer) -> Option<Vec<u8>> {
    // Behind a head of 12 bytes: labels up to an empty one, then kind and class.
    let name = question[12..].iter().position(|byte| *byte == 0)? + 13;
    let kind = u16::from_be_bytes([question[name], question[name + 1]]);
    let (error, address) = match answer {
        Answer::Silence => return None,
        Answer::Error(number) => (number, None),
        Answer::Found(v4, _) if kind == 1 => (0, v4.map(|ip| ip.octets().to_vec())),
        Answer::Found(_, v6) if kind == 28 => (0, v6.map(|ip| ip.octets().to_vec())),
        Answer::Found(..) => (0, None),
    };
    let answers = u8::from(address.is_some());
    // An answer to a question that wanted recursion, which is to be had.
    let head = [question[0], question[1], 0x81, 0x80 | error, 0, 1, 0, answers, 0, 0, 0, 0];
    let mut reply = [&head[..], &question[12..name + 4]].concat();
    if let Some(address) = address {
        // The name of the question, its kind, class 1, no time to live, the length.
        reply.extend([0xc0, 12]);
        reply.extend(kind.to_be_bytes());
        reply.extend([0, 1, 0, 0, 0, 0, 0]);
        reply.push(u8::try_from(address.len()).unwrap());
        reply.extend(address);
    }
    Some(reply)
}
