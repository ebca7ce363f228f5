//! Threads that go in and try to get out; a thread is confined alone, so the others go on.

use std::{
    fs::{self, File},
    io::{self, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
};

use rustix::{
    net::{AddressFamily, SocketType, socket},
    process::{DumpableBehavior, set_dumpable_behavior},
    thread::{CapabilitySet, capabilities},
};

use super::*;

/// Runs `attempt` in a thread that is confined; `None`, told aloud, where the kernel cannot.
fn confined<T: Send>(reach: &Reach, attempt: impl FnOnce(Held) -> T + Send) -> Option<T> {
    let run = || {
        let held = enter(reach);
        held.missing().is_none().then(|| attempt(held))
    };
    let outcome = thread::scope(|scope| scope.spawn(run).join().unwrap());
    if outcome.is_none() {
        writeln!(io::stderr(), "SKIPPED: this kernel has no landlock or no seccomp").unwrap();
    }
    outcome
}

fn denied<T>(outcome: io::Result<T>) -> bool {
    outcome.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

// fault 221
#[test]
fn only_the_named_places_can_be_opened() {
    let home = tempfile::tempdir().unwrap();
    let place = |name: &str| home.path().join(name);
    for name in ["read", "write", "other"] {
        fs::create_dir(place(name)).unwrap();
        fs::write(place(name).join("file"), name).unwrap();
    }
    let mut reach = Reach::default();
    reach.read_below(&place("read"));
    reach.write_below(&place("write"));
    let file = |name: &str| place(name).join("file");
    confined(&reach, |_| {
        assert_eq!(fs::read(file("read")).unwrap(), b"read");
        assert!(denied(File::options().append(true).open(file("read"))));
        assert!(denied(fs::remove_file(file("read"))));
        assert!(denied(fs::write(place("read").join("new"), "")));

        assert_eq!(fs::read(file("write")).unwrap(), b"write");
        fs::write(place("write").join("draft"), "new").unwrap();
        fs::rename(place("write").join("draft"), file("write")).unwrap();
        assert_eq!(fs::read(file("write")).unwrap(), b"new");
        let link = std::os::unix::fs::symlink("/etc/shadow", place("write").join("link"));
        assert!(link.is_err());

        assert!(denied(File::open(file("other"))));
        assert!(denied(fs::read_dir(place("other"))));
        assert!(denied(fs::read_dir("/")));
        assert!(denied(File::open("/etc/passwd")));
        // Nor can what is out of reach be brought into it.
        assert!(fs::hard_link(file("other"), place("write").join("other")).is_err());
        assert!(fs::rename(file("other"), place("write").join("other")).is_err());
    });
}

// faults 221 and 239
#[test]
fn nothing_can_be_executed() {
    let home = tempfile::tempdir().unwrap();
    let mut reach = Reach::default();
    reach.read_below(Path::new("/"));
    reach.write_below(home.path());
    confined(&reach, |_| {
        assert!(Command::new("/bin/true").spawn().is_err());
        // Not even by a thread that it starts.
        let child = thread::scope(|scope| scope.spawn(|| Command::new("/bin/true").spawn()).join());
        assert!(child.unwrap().is_err());
    });
}

// faults 60 and 221
#[test]
fn only_the_named_ports_can_be_used() {
    let [named, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let address = |listener: &TcpListener| listener.local_addr().unwrap();
    let (named, other) = (address(&named), address(&other));
    let spare = TcpListener::bind("127.0.0.1:0").unwrap();
    let free = address(&spare);
    drop(spare);
    let reach =
        Reach { connect: [named.port()].into(), bind: [free.port()].into(), ..Reach::default() };
    confined(&reach, |held| {
        if held.network {
            assert!(TcpStream::connect(named).is_ok());
            assert!(denied(TcpStream::connect(other)));
            assert!(TcpListener::bind(free).is_ok());
            assert!(denied(TcpListener::bind("127.0.0.1:0")));
        }
    });
}

// faults 221 and 230
#[test]
fn calls_that_a_server_has_no_use_for_are_not_there() {
    confined(&Reach::default(), |_| {
        let absent = |outcome: rustix::io::Result<_>| outcome == Err(rustix::io::Errno::NOSYS);
        assert!(socket(AddressFamily::INET, SocketType::STREAM, None).is_ok());
        assert!(socket(AddressFamily::UNIX, SocketType::STREAM, None).is_ok());
        assert!(absent(socket(AddressFamily::PACKET, SocketType::RAW, None).map(drop)));
        assert!(absent(socket(AddressFamily::VSOCK, SocketType::STREAM, None).map(drop)));
        assert!(absent(set_dumpable_behavior(DumpableBehavior::Dumpable)));
        assert!(absent(rustix::process::set_parent_process_death_signal(None)));
        assert!(absent(rustix::fs::memfd_create("x", rustix::fs::MemfdFlags::empty()).map(drop)));
    });
}

// fault 221
#[test]
fn no_power_of_root_is_left_but_what_is_named() {
    let mut kept = Powers::default();
    kept.keep_giving_away();
    let before = capabilities(None).unwrap();
    let given_up = || {
        assert!(kept.keep_only());
        capabilities(None).unwrap()
    };
    let after = thread::scope(|scope| scope.spawn(given_up).join().unwrap());
    assert_eq!(after.permitted, before.permitted & CapabilitySet::CHOWN);
    assert_eq!(after.effective, after.permitted);
    assert!(after.inheritable.is_empty());
    // The others still have theirs.
    assert_eq!(capabilities(None).unwrap(), before);
}
