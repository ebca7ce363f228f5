//! How long silence and slow readers may take, and what is kept of a stream for its next reader.

use tokio::{
    io::{AsyncReadExt, DuplexStream, duplex},
    time::{sleep, timeout},
};

use super::*;

/// A stream that takes little at a time, and its other end.
fn narrow() -> (Paced<DuplexStream>, Busy, DuplexStream) {
    let (near, far) = duplex(4);
    let (busy, heard_by) = (Busy::default(), Instant::now() + Duration::from_secs(5));
    (Paced::new(near, Limits::default(), heard_by, busy.clone()), busy, far)
}

/// Takes a byte each so many seconds.
async fn sip(mut stream: DuplexStream, every: u64) {
    while stream.read_u8().await.is_ok() {
        sleep(Duration::from_secs(every)).await;
    }
}

/// Writes an answer of so many bytes to whoever takes a byte each so many seconds.
async fn answered(length: usize, every: u64, is_stream: bool) -> (bool, u64) {
    let (mut paced, busy, far) = narrow();
    let (work, began) = (busy.work(), Instant::now());
    let _lasting = is_stream.then(|| work.lasting());
    let answer = async {
        paced.write_all(&vec![b'x'; length]).await?;
        paced.flush().await
    };
    let outcome = tokio::select! {
        outcome = answer => outcome,
        () = sip(far, every) => Ok(()),
    };
    (outcome.is_ok(), (Instant::now() - began).as_secs())
}

// fault 183
#[tokio::test(start_paused = true)]
async fn an_answer_has_an_end_however_steadily_it_is_taken() {
    assert_eq!(answered(1000, 6, false).await, (false, 5), "no byte for so long");
    assert_eq!(answered(1000, 4, false).await, (false, 60), "a byte now and then");
    assert_eq!(answered(10, 4, false).await, (true, 20), "all of it in time");
    assert_eq!(answered(1000, 4, true).await, (true, 3980), "a stream ends when it ends");
    assert_eq!(answered(1000, 6, true).await, (false, 5), "but has to move");
}

/// Waits for bytes, until there is an end to it.
async fn silence(paced: &mut Paced<DuplexStream>) -> u64 {
    let began = Instant::now();
    assert!(AsyncReadExt::read(paced, &mut [0; 100]).await.is_err(), "nothing was sent");
    (Instant::now() - began).as_secs()
}

// faults 181, 182
#[tokio::test(start_paused = true)]
async fn only_who_owes_a_request_is_told_that_it_is_late() {
    let Limits { header_timeout, idle_timeout, .. } = Limits::default();
    for (has_answered, limit) in [(false, header_timeout), (true, idle_timeout)] {
        let (mut paced, busy, mut far) = wide();
        if has_answered {
            drop(busy.work());
        }
        assert_eq!(silence(&mut paced).await, limit.as_secs());
        drop(paced);
        let mut told = Vec::new();
        far.read_to_end(&mut told).await.unwrap();
        assert_eq!(told, if has_answered { b"" } else { TOO_SLOW });
    }
}

// fault 183: whoever was waited for longer before
#[tokio::test(start_paused = true)]
async fn an_earlier_end_is_not_waited_out_by_a_later_alarm() {
    let (mut paced, busy, _far) = narrow();
    drop(busy.work());
    assert_eq!(read_once(&mut paced).await, None, "the alarm is set for a silence");
    let began = Instant::now();
    assert!(paced.write_all(b"twelve bytes").await.is_err(), "nobody takes them");
    assert_eq!(Instant::now() - began, Limits::default().write_timeout);
}

/// Has a request come, read and answered.
async fn answer_one(paced: &mut Paced<DuplexStream>, busy: &Busy, far: &mut DuplexStream) {
    far.write_all(POST.as_bytes()).await.unwrap();
    assert_eq!(read_once(paced).await.as_deref(), Some(POST));
    drop(busy.work());
}

// fault 182
#[tokio::test(start_paused = true)]
async fn the_first_byte_of_a_request_starts_its_time_and_no_other_does() {
    for has_answered in [false, true] {
        let (mut paced, busy, mut far) = wide();
        if has_answered {
            answer_one(&mut paced, &busy, &mut far).await;
            assert_eq!(read_once(&mut paced).await, None);
            sleep(Duration::from_secs(10)).await;
        }
        let began = Instant::now();
        let drip = async {
            while far.write_all(b"a").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        };
        let read = async { while AsyncReadExt::read(&mut paced, &mut [0; 100]).await.is_ok() {} };
        let drip = timeout(Duration::from_secs(600), drip);
        tokio::select! {
            () = read => assert_eq!(Instant::now() - began, Limits::default().header_timeout),
            _endless = drip => panic!("it went on, {has_answered}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_rests_once_it_has_been_silent_for_a_while() {
    let (mut paced, busy, mut far) = wide();
    answer_one(&mut paced, &busy, &mut far).await;
    for (waited, rests) in [(Duration::ZERO, false), (QUIET / 2, false), (QUIET, true)] {
        sleep(waited).await;
        assert_eq!(read_once(&mut paced).await, None);
        assert_eq!(busy.rests(), rests, "after {waited:?} more");
    }
}

#[tokio::test(start_paused = true)]
async fn each_answer_has_its_own_time() {
    let (mut paced, busy, far) = narrow();
    let answers = async {
        for _ in 0..100 {
            drop(busy.work());
            paced.write_all(b"twelve bytes").await.unwrap();
            paced.flush().await.unwrap();
        }
    };
    tokio::select! {
        () = answers => {}
        () = sip(far, 4) => panic!("cut off"),
    }
}

// fault 172
#[tokio::test(start_paused = true)]
async fn what_comes_during_a_wait_ends_it_and_is_not_lost() {
    for (sent, expected) in [(&b"GET"[..], &b"GET"[..]), (b"", b"")] {
        let (mut paced, busy, mut far) = narrow();
        drop(busy.work());
        let never = timeout(Duration::from_secs(600), async {
            tokio::select! {
                () = busy.left() => {}
                () = come_by(&mut paced) => {}
            }
        });
        assert!(never.await.is_err(), "the client is still there");
        far.write_all(sent).await.unwrap();
        drop(far);
        timeout(Duration::from_secs(1), async {
            tokio::select! {
                () = busy.left() => {}
                () = come_by(&mut paced) => {}
            }
        })
        .await
        .unwrap();
        let mut read = Vec::new();
        paced.read_to_end(&mut read).await.unwrap();
        assert_eq!(read, expected);
    }
}

#[tokio::test]
async fn what_came_early_is_read_in_any_pieces() {
    for piece in [1, 3, 22, 100] {
        let (mut paced, _busy, far) = wide();
        paced.unread(POST.as_bytes(), true);
        drop(far);
        let (mut read, mut bytes) = (Vec::new(), vec![0; piece]);
        while let length @ 1.. = AsyncReadExt::read(&mut paced, &mut bytes).await.unwrap() {
            read.extend_from_slice(&bytes[..length]);
        }
        assert_eq!(read, POST.as_bytes(), "in pieces of {piece}");
    }
}

// fault 184
#[tokio::test(start_paused = true)]
async fn whoever_could_not_read_during_the_work_has_an_end_after_it() {
    let (mut paced, busy, mut far) = wide();
    far.write_all(POST.as_bytes()).await.unwrap();
    assert_eq!(read_once(&mut paced).await.as_deref(), Some(POST));
    let work = busy.work();
    assert_eq!(read_once(&mut paced).await, None);
    drop(work);
    let began = Instant::now();
    // HTTP's machinery comes by, and reads only if it is told that there is something.
    let woken = poll_fn(|cx| {
        ready!(Pin::new(&mut paced).poll_flush(cx)).unwrap();
        if Instant::now() > began { Poll::Ready(()) } else { Poll::Pending }
    });
    timeout(Duration::from_secs(600), woken).await.expect("it is woken");
    assert_eq!(Instant::now() - began, QUIET, "to rest");
}

#[tokio::test]
async fn what_is_written_goes_out_together_and_the_end_behind_it() {
    let (mut paced, _busy, mut far) = wide();
    assert!(paced.is_write_vectored());
    let pieces = [io::IoSlice::new(b"twelve"), io::IoSlice::new(b" bytes")];
    assert_eq!(paced.write_vectored(&pieces).await.unwrap(), 12);
    paced.shutdown().await.unwrap();
    let mut read = Vec::new();
    let all = timeout(Duration::from_secs(5), far.read_to_end(&mut read));
    assert_eq!(all.await.expect("it has an end").unwrap(), 12);
    assert_eq!(read, b"twelve bytes");
}

/// Reads once, as HTTP's machinery does; `None` if there is nothing for it.
async fn read_once(paced: &mut Paced<DuplexStream>) -> Option<String> {
    let mut bytes = [0; 100];
    tokio::select! {
        biased;
        read = AsyncReadExt::read(paced, &mut bytes) => {
            Some(String::from_utf8_lossy(&bytes[..read.unwrap()]).into_owned())
        }
        () = std::future::ready(()) => None,
    }
}

fn wide() -> (Paced<DuplexStream>, Busy, DuplexStream) {
    let (near, far) = duplex(1 << 10);
    let (busy, heard_by) = (Busy::default(), Instant::now() + Duration::from_secs(5));
    (Paced::new(near, Limits::default(), heard_by, busy.clone()), busy, far)
}

const POST: &str = "POST /x HTTP/1.1\r\n\r\n";
const BRIEF: &str = "GET /v1/token HTTP/1.1\r\n\r\n";

#[tokio::test]
async fn a_request_that_looks_brief_is_left_to_whoever_takes_such() {
    let (mut paced, busy, mut far) = wide();
    far.write_all(POST.as_bytes()).await.unwrap();
    assert_eq!(read_once(&mut paced).await.as_deref(), Some(POST));
    drop(busy.work());
    far.write_all(POST.as_bytes()).await.unwrap();
    assert_eq!(read_once(&mut paced).await.as_deref(), Some(POST), "this one does not");
    drop(busy.work());
    far.write_all(BRIEF.as_bytes()).await.unwrap();
    assert_eq!(read_once(&mut paced).await, None);
    assert!(busy.rests(), "the machinery can go");
    let all = |came: &[u8]| (came == BRIEF.as_bytes()).then_some(());
    assert!(matches!(paced.wake(all).await, Ok(Woken::Taken(()))));
    // What nobody takes is the machinery's after all, and not looked at again.
    far.write_all(BRIEF.as_bytes()).await.unwrap();
    assert!(matches!(paced.wake(|_| None::<()>).await, Ok(Woken::Bytes)));
    assert_eq!(read_once(&mut paced).await.as_deref(), Some(BRIEF));
}

#[tokio::test]
async fn after_one_that_only_looked_brief_others_go_the_same_way_until_there_is_a_rest() {
    for only_looked_brief in [true, false] {
        let (mut paced, busy, mut far) = wide();
        far.write_all(BRIEF.as_bytes()).await.unwrap();
        assert!(matches!(paced.wake(|_| Some(())).await, Ok(Woken::Taken(()))));
        paced.unread(BRIEF.as_bytes(), only_looked_brief);
        assert_eq!(read_once(&mut paced).await.as_deref(), Some(BRIEF));
        drop(busy.work());
        far.write_all(BRIEF.as_bytes()).await.unwrap();
        assert_eq!(read_once(&mut paced).await.is_some(), only_looked_brief);
        if only_looked_brief {
            drop(busy.work());
            far.write_all(BRIEF.as_bytes()).await.unwrap();
        }
        assert!(matches!(paced.wake(|_| Some(())).await, Ok(Woken::Taken(()))));
    }
}

// fault 140: one that comes while another is worked on is not the next one yet
#[tokio::test]
async fn a_request_that_looks_brief_waits_for_those_before_it() {
    let (mut paced, busy, mut far) = wide();
    far.write_all(POST.as_bytes()).await.unwrap();
    read_once(&mut paced).await.expect("the first");
    let work = busy.work();
    far.write_all(BRIEF.as_bytes()).await.unwrap();
    assert_eq!(read_once(&mut paced).await.as_deref(), Some(BRIEF), "read on, not handed on");
    drop(work);
    assert!(!busy.rests());
    let (mut paced, busy, mut far) = wide();
    let begun = "POST /x HTTP/1.1\r\nA: ";
    far.write_all(begun.as_bytes()).await.unwrap();
    assert_eq!(read_once(&mut paced).await.as_deref(), Some(begun));
    far.write_all(BRIEF.as_bytes()).await.unwrap();
    assert_eq!(read_once(&mut paced).await.as_deref(), Some(BRIEF), "inside of another");
    assert!(!busy.rests());
}

// Else the machinery went while it holds what the client has not taken, or has read on.
#[tokio::test(start_paused = true)]
async fn whoever_does_not_take_an_answer_or_asks_again_does_not_rest() {
    for is_stuck in [false, true] {
        let (mut paced, busy, _far) = narrow();
        let answer = if is_stuck { &b"twelve bytes"[..] } else { b"four" };
        let sent = timeout(QUIET, paced.send(answer)).await;
        assert_eq!((sent.is_err(), busy.is_stuck()), (is_stuck, is_stuck));
        let mut bytes = [0; 9];
        let read = AsyncReadExt::read(&mut paced, &mut bytes);
        assert!(timeout(QUIET * 2, read).await.is_err());
        assert_eq!(busy.rests(), !is_stuck);
    }
    let (mut paced, busy, mut far) = wide();
    busy.note_rest(true);
    far.write_all(POST.as_bytes()).await.unwrap();
    assert_eq!(read_once(&mut paced).await.as_deref(), Some(POST));
    assert!(!busy.rests(), "it asks again");
}

#[tokio::test]
async fn what_is_put_back_is_read_before_what_came_behind_it() {
    let (mut paced, _busy, mut far) = wide();
    far.write_all(BRIEF.as_bytes()).await.unwrap();
    assert!(matches!(paced.wake(|_| Some(())).await, Ok(Woken::Taken(()))));
    far.write_all(b"more").await.unwrap();
    let waits = timeout(Duration::from_millis(20), paced.left()).await;
    assert!(waits.is_err(), "who sends more is still there");
    paced.unread(BRIEF.as_bytes(), false);
    assert_eq!(read_once(&mut paced).await, Some(format!("{BRIEF}more")));
    drop(far);
    timeout(Duration::from_secs(5), paced.left()).await.expect("it has left");
}

/// Does what HTTP's machinery does each time it is woken.
async fn come_by(paced: &mut Paced<DuplexStream>) {
    poll_fn(|cx| {
        assert!(Pin::new(&mut *paced).poll_flush(cx).is_ready());
        Poll::<()>::Pending
    })
    .await;
}
