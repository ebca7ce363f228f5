//! A network of one's own, with nothing in it but what a test puts there.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    net::{IpAddr, TcpListener, UdpSocket},
    os::fd::AsFd,
    process::{Child, Command, Stdio},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::bench::{Home, skip};

/// Puts the resolver's files in place for one process, and becomes the daemon.
const ENTER: &str = "mount --bind \"$0/resolv.conf\" /etc/resolv.conf &&
    mount --bind \"$0/nsswitch.conf\" /etc/nsswitch.conf && exec \"$@\"";

/// Lives as long as the process that holds it.
pub(crate) struct Namespace {
    holder: Child,
}

impl Namespace {
    /// Makes one with a loopback; `None`, told aloud, where that is not allowed.
    pub(crate) fn new() -> Option<Self> {
        let script = "ip link set lo up && mount --bind /etc/hosts /etc/resolv.conf &&
            umount /etc/resolv.conf && iptables -w -L -n >/dev/null && ip6tables -w -L -n >/dev/null &&
            echo up && exec sleep 120";
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "--propagation=private", "sh", "-c", script]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut namespace = command.spawn().ok().map(|holder| Self { holder });
        let mut line = String::new();
        let output = namespace.as_mut().and_then(|it| it.holder.stdout.take());
        if let Some(output) = output {
            BufReader::new(output).read_line(&mut line).unwrap();
        }
        if line != "up\n" {
            skip("no network namespace with iptables is to be had here");
            return None;
        }
        namespace
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.holder.id())
    }

    /// Does something on a thread that is inside; sockets that it makes stay there.
    fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let network = File::open(self.path()).unwrap();
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network))
                    .unwrap();
                work()
            });
            inside.join().unwrap()
        })
    }

    /// Listens inside.
    pub(crate) fn listen(&self, address: &str, port: u16) -> TcpListener {
        let ip: IpAddr = address.parse().unwrap();
        let listener = self.inside(move || TcpListener::bind((ip, port)).unwrap());
        listener.set_nonblocking(true).unwrap();
        listener
    }

    /// Takes the place of the name server inside.
    pub(crate) fn name_server(&self) -> UdpSocket {
        self.inside(|| UdpSocket::bind(("127.0.0.1", 53)).unwrap())
    }

    /// Loses every packet to a port, without a word: of IPv4 (`iptables`) or IPv6 (`ip6tables`).
    pub(crate) fn lose(&self, tables: &str, port: u16) {
        let rule = ["-w", "-A", "INPUT", "-p", "tcp", "--dport", &port.to_string(), "-j", "DROP"];
        let network = format!("--net={}", self.path());
        let done = Command::new("nsenter").arg(network).arg(tables).args(rule).status();
        assert!(done.unwrap().success());
    }

    /// Makes the command that runs the daemon of a home inside.
    pub(crate) fn run(&self, home: &Home) -> Command {
        home.replace(
            "resolv.conf",
            b"nameserver 127.0.0.1\noptions timeout:20 attempts:2\n",
            0o644,
        );
        home.replace("nsswitch.conf", b"hosts: files dns\n", 0o644);
        let daemon = home.command(&["run"]);
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path()));
        command.args(["unshare", "--mount", "--propagation=private", "sh", "-c", ENTER]);
        command.arg(home.path("")).arg(daemon.get_program()).args(daemon.get_args());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.current_dir(home.path(""));
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // It may have ended already.
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}
