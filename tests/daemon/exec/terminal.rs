//! A program at a terminal: what is typed reaches it, and it can be interrupted, stopped and resumed.

use std::{
    fs::{self, File},
    io::{Read, Write},
    os::fd::OwnedFd,
    process::{Child, Command, ExitStatus},
    sync::{Arc, Mutex},
    thread,
};

use rustix::{
    fs::{Mode, OFlags, open},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

use super::exec;
use crate::bench::{Stand, skip, until_ok};

/// With us in its place, and with us beside it.
const MODES: [&[&str]; 3] =
    [&[], &["--file", "T=raw"], &["--on-refresh", "restart", "--grace", "200ms"]];
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const CTRL_Z: &str = "\x1a";

/// A terminal with somebody at it.
struct Desk {
    keyboard: File,
    screen: Arc<Mutex<String>>,
    child: Child,
}

impl Desk {
    /// Starts a command whose terminal this is; `None`, said aloud, where there is no `setsid`.
    fn start(command: &Command) -> Option<Self> {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let end = || open(&name, flags, Mode::empty()).unwrap();
        let mut session = Command::new("setsid");
        session.arg("--ctty").arg(command.get_program()).args(command.get_args());
        session.env_clear().env("PATH", "/usr/bin:/bin").env("PS1", "ready> ");
        session.current_dir(command.get_current_dir().unwrap_or("/".as_ref()));
        let [stdin, stdout, stderr] = [(); 3].map(|()| end());
        let started = session.stdin(stdin).stdout(stdout).stderr(stderr).spawn();
        drop(session);
        let Ok(child) = started else {
            skip("there is no setsid here");
            return None;
        };
        let keyboard = File::from(master.try_clone().unwrap());
        Some(Self { keyboard, screen: watch(master), child })
    }

    fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// Waits until something has been shown since the last wipe.
    async fn shows(&self, text: &str) {
        until_ok(async || {
            let screen = self.screen.lock().unwrap().clone();
            if screen.contains(text) { Ok(()) } else { Err((text.to_owned(), screen)) }
        })
        .await;
    }

    fn wipe(&self) {
        self.screen.lock().unwrap().clear();
    }

    fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.keyboard, size).unwrap();
    }

    async fn end(&mut self) -> ExitStatus {
        until_ok(async || {
            self.child.try_wait().unwrap().ok_or_else(|| self.screen.lock().unwrap().clone())
        })
        .await
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn watch(master: OwnedFd) -> Arc<Mutex<String>> {
    let screen = Arc::new(Mutex::new(String::new()));
    let shown = Arc::clone(&screen);
    thread::spawn(move || {
        let (mut master, mut bytes) = (File::from(master), [0; 1024]);
        // At the end of the session reading fails.
        while let Ok(count @ 1..) = master.read(&mut bytes) {
            shown.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
    });
    screen
}

/// Makes a command of an interactive shell.
fn shell(stand: &Stand) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-i").current_dir(stand.home.path(""));
    shell
}

/// Spells a command that runs a script, as it is typed.
fn typed(stand: &Stand, flags: &[&str], script: &str) -> String {
    fs::write(stand.home.path("script"), script).unwrap();
    let mut command = stand.home.command(&["exec"]);
    command.args(flags).args(["--", "/bin/sh", "./script"]);
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| format!("{} ", word.display())).chain(["\n".to_owned()]).collect()
}

#[tokio::test]
async fn a_program_reads_the_terminal_and_hears_of_an_interrupt() {
    let stand = Stand::new().await;
    let _daemon = stand.start().await;
    for flags in MODES {
        let line = "n=0; trap 'n=$((n + 1)); echo interrupted' INT; echo began; while :; do \
                    read -r word && echo \"read <$word> after $n\"; \
                    test \"$word\" = end && exit 5; done";
        let Some(mut desk) = Desk::start(&exec(&stand.home, flags, line)) else { return };
        desk.shows("began").await;
        desk.types("hello\n");
        desk.shows("read <hello> after 0").await;
        desk.types(CTRL_C);
        desk.shows("interrupted").await;
        desk.types("end\n");
        desk.shows("read <end> after 1").await;
        assert_eq!(desk.end().await.code(), Some(5), "{flags:?}");
    }
}

#[tokio::test]
async fn a_program_is_told_of_a_new_size() {
    let stand = Stand::new().await;
    let _daemon = stand.start().await;
    for flags in MODES {
        let line = "trap 'stty size' WINCH; trap 'exit 5' INT; echo began; \
                    while :; do sleep 0.05; done";
        let Some(mut desk) = Desk::start(&exec(&stand.home, flags, line)) else { return };
        desk.shows("began").await;
        desk.resize(33, 99);
        desk.shows("33 99").await;
        desk.types(CTRL_C);
        assert_eq!(desk.end().await.code(), Some(5), "{flags:?}");
    }
}

#[tokio::test]
async fn a_program_is_stopped_and_resumed_by_its_shell() {
    let stand = Stand::new().await;
    let _daemon = stand.start().await;
    let script = "echo began; while read -r word; do case $word in \
                  stop) kill -TSTP $$;; *) echo \"read <$word>\";; esac; done";
    for flags in MODES {
        let Some(mut desk) = Desk::start(&shell(&stand)) else { return };
        desk.shows("ready> ").await;
        desk.types(&typed(&stand, flags, script));
        desk.shows("began").await;
        // By the terminal, which stops all of us; and by itself, as less and top stop.
        for stop in [CTRL_Z, "stop\n", CTRL_Z] {
            desk.wipe();
            desk.types(stop);
            desk.shows("ready> ").await;
            desk.types("echo I am $((1 + 1))\n");
            desk.shows("I am 2").await;
            desk.types("fg\n");
            desk.types("again\n");
            desk.shows("read <again>").await;
        }
        desk.wipe();
        desk.types(CTRL_D);
        desk.shows("ready> ").await;
        desk.types("echo ended $?\n");
        desk.shows("ended 0").await;
    }
}

// A shell takes the terminal for its jobs, and can be ended by force only.
#[tokio::test]
async fn a_restart_leaves_the_terminal_as_it_was() {
    let stand = Stand::new().await;
    let daemon = stand.start().await;
    let mut command = stand.home.command(&["exec", "--on-refresh", "restart", "--grace", "200ms"]);
    command.args(["--", "/bin/sh", "-i"]);
    let Some(mut desk) = Desk::start(&command) else { return };
    desk.shows("ready> ").await;
    desk.types("stty -icanon -echo; echo I am $((1 + 1))\n");
    for _ in 0..2 {
        desk.shows("I am 2\r\nready> ").await;
        desk.wipe();
        daemon.refresh("default").await;
        desk.shows("ready> ").await;
        desk.types("stty -a; echo I am $((1 + 1))\n");
    }
    desk.shows("I am 2\r\nready> ").await;
    let screen = desk.screen.lock().unwrap().clone();
    assert!(screen.contains(" icanon") && screen.contains(" echo "), "{screen}");
    desk.types("exit 4\n");
    assert_eq!(desk.end().await.code(), Some(4));
}
