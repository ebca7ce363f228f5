//! Rotations again and again: answers that are cut anywhere, and a fleet on one key file.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::{
    bench::{
        Daemon,
        rotating::{due, fresh, key_in, rotations},
        scale, until, until_ok,
    },
    clocks::shim::Clocks,
};

/// Lets calls through to an issuer, but for the first answer about a new key: that ends after so many
/// bytes.
struct Cutter {
    address: SocketAddr,
    /// Bytes of that answer, once it has come.
    whole: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Cutter {
    async fn start(issuer: SocketAddr, most: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (whole, cuts) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (seen, mut tasks) = (Arc::clone(&whole), JoinSet::new());
        tasks.spawn(async move {
            let mut calls = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                calls.spawn(pass(client, issuer, most, Arc::clone(&seen), Arc::clone(&cuts)));
            }
        });
        Self { address, whole, _tasks: tasks }
    }
}

/// Carries one connection, which is one call: nothing of ours keeps one for a second.
async fn pass(
    mut client: TcpStream,
    issuer: SocketAddr,
    most: usize,
    whole: Arc<AtomicUsize>,
    cuts: Arc<AtomicUsize>,
) {
    let mut server = TcpStream::connect(issuer).await.unwrap();
    let mut request = vec![0; 16 * 1024];
    let mut buffer = vec![0; 16 * 1024];
    let mut is_asked = false;
    loop {
        tokio::select! {
            read = client.read(&mut request) => {
                let Some(length) = read.ok().filter(|length| *length > 0) else { return };
                let text = String::from_utf8_lossy(&request[..length]).into_owned();
                is_asked |= text.starts_with("POST ") && text.contains("/keys HTTP/1.1");
                server.write_all(&request[..length]).await.unwrap();
            }
            read = server.read(&mut buffer) => {
                let Some(length) = read.ok().filter(|length| *length > 0) else { return };
                if is_asked && cuts.fetch_add(1, Ordering::SeqCst) == 0 {
                    whole.store(length, Ordering::SeqCst);
                    client.write_all(&buffer[..length.min(most)]).await.unwrap();
                    return;
                }
                if client.write_all(&buffer[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Rotates with an answer of so many bytes; tells how many it would have had.
async fn cut_after(most: usize) -> usize {
    let mut stand = due().await;
    let cutter = Cutter::start(stand.issuer.address(), most).await;
    stand.home.set("okta.base_url", format!("http://{}", cutter.address));
    let (old, _) = stand.issuer.key();
    let daemon = stand.home.start().await;
    // The old key mints, a lost answer is told of, and one more key takes its place.
    until_ok(async || {
        let there = key_in(&stand)["key_id"].clone();
        if there == *old { Err(format!("{most}: {}", daemon.log())) } else { Ok(()) }
    })
    .await;
    until("the new key is in use", async || {
        daemon.status().await["credentials"][0]["key_id"] == key_in(&stand)["key_id"]
    })
    .await;
    assert_eq!(stand.accepts(&daemon.token().await).await, 200, "{most}");
    let whole = cutter.whole.load(Ordering::SeqCst);
    let asked = rotations(&stand).len();
    assert_eq!(asked, if most < whole { 2 } else { 1 }, "{most} of {whole}");
    let told = daemon.events("the key was not rotated").len();
    assert_eq!(told, asked - 1, "{most}: an orphan is told of");
    whole
}

// faults 46 and 100: the answer to a rotation is cut at every byte
#[tokio::test]
async fn an_answer_that_is_cut_anywhere_leaves_a_key_that_mints_and_one_orphan_at_most() {
    let whole = cut_after(usize::MAX).await;
    assert!(whole > 200, "{whole}");
    let step = scale("BEARERD_TEST_CUT_STEP", whole / 4);
    for most in (0..whole).step_by(step.max(1)) {
        cut_after(most).await;
    }
}

// faults 113 and 120: five daemons on one key file, due again and again
#[tokio::test]
async fn each_due_time_brings_one_new_key_to_a_fleet_and_none_is_lost() {
    const MONTH: i64 = 34 * 24 * 3600;
    let stand = fresh().await;
    let mut fleet = Vec::new();
    for number in 0..5 {
        let Some(clocks) = Clocks::new(&stand.home.path(&format!("clocks-{number}")), 0) else {
            return;
        };
        let mut command = stand.home.command(&["run"]);
        for (key, name) in [("listeners.apps.bind", "apps"), ("control.bind", "control")] {
            let path = stand.home.path(&format!("{name}-{number}.sock"));
            command.arg("--set").arg(format!("{key}=unix:{}", path.display()));
        }
        clocks.give_to(&mut command);
        let daemon = Daemon::start(command).await;
        daemon.until_ready().await;
        fleet.push((daemon, clocks));
    }
    let rounds = scale("BEARERD_TEST_ROTATIONS", 3);
    for round in 1..=rounds {
        let before = key_in(&stand)["key_id"].clone();
        let ahead = MONTH * i64::try_from(round).unwrap();
        stand.issuer.set_clock_skew(ahead);
        fleet.iter().for_each(|(_, clocks)| clocks.suspend(ahead));
        until_ok(async || {
            let there = key_in(&stand)["key_id"].clone();
            if there == before { Err(fleet[0].0.log()) } else { Ok(()) }
        })
        .await;
        for (daemon, _) in &fleet {
            until("all use the new key", async || {
                daemon.status().await["credentials"][0]["key_id"] == key_in(&stand)["key_id"]
            })
            .await;
        }
        assert_eq!(rotations(&stand).len(), round);
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(rotations(&stand).len(), rounds);
    for (daemon, _) in &fleet {
        assert_eq!(stand.accepts(&daemon.token().await).await, 200);
    }
}
