//! Seccomp: which system calls are answered. All others seem not to exist.
//!
//! `ENOSYS` rather than a kill: newer C libraries try newer calls first and fall back, and a daemon
//! that serves tokens does not die of a question.

use std::collections::BTreeMap;

use nix::libc::{
    self, AF_INET, AF_INET6, AF_NETLINK, AF_UNIX, CLONE_THREAD, FIOCLEX, FIONBIO, FIONREAD,
    PR_SET_NAME, TCGETS, TIOCGWINSZ, c_long,
};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule,
};

/// What a server of ours does, on every machine: files, sockets, time, memory, threads.
const PLAIN: &[c_long] = &[
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_brk,
    libc::SYS_clock_getres,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_connect,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    FCHMODAT2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_futex,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpeername,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_rm_watch,
    libc::SYS_linkat,
    libc::SYS_listen,
    libc::SYS_lseek,
    libc::SYS_madvise,
    libc::SYS_mkdirat,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_nanosleep,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_pidfd_open,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_prlimit64,
    libc::SYS_pselect6,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_recvmmsg,
    libc::SYS_recvmsg,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_sendmmsg,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_set_robust_list,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_sysinfo,
    libc::SYS_tgkill,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime,
    libc::SYS_uname,
    libc::SYS_unlinkat,
    libc::SYS_write,
    libc::SYS_writev,
];

/// `fchmodat2`, which the C library's headers do not know on every machine; its number is everywhere
/// the same, as that of every call from 424 on.
const FCHMODAT2: c_long = 452;

/// The older forms of these, which C libraries still use where they are there.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_rmdir,
    libc::SYS_select,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// Confines this thread; tells whether it worked.
pub(super) fn restrict() -> bool {
    program().is_ok_and(|program| seccompiler::apply_filter(&program).is_ok())
}

fn program() -> Result<BpfProgram, BackendError> {
    let answered = PLAIN.iter().chain(OLDER).map(|call| (*call, Vec::new()));
    let rules: BTreeMap<_, _> = answered.chain(judged()?).collect();
    let absent = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let machine = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, absent, SeccompAction::Allow, machine)?.try_into()
}

/// The calls of which only some forms are answered.
fn judged() -> Result<Vec<(c_long, Vec<SeccompRule>)>, BackendError> {
    // Local sockets, the internet, and the kernel's word on whose a connection is.
    let families = [AF_UNIX, AF_INET, AF_INET6, AF_NETLINK].map(|it| u64::from(it.unsigned_abs()));
    let thread = u64::from(CLONE_THREAD.unsigned_abs());
    // Whether a terminal is there and how wide; whether there is something to read.
    let questions = [TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIOCLEX];
    Ok(vec![
        (libc::SYS_socket, one_of(0, &families)?),
        (libc::SYS_socketpair, one_of(0, &[u64::from(AF_UNIX.unsigned_abs())])?),
        (libc::SYS_ioctl, one_of(1, &questions)?),
        // A thread's name; being readable by others again is out of the question.
        (libc::SYS_prctl, one_of(0, &[u64::from(PR_SET_NAME.unsigned_abs())])?),
        // Threads, but no processes; the newer form has its flags where no filter can look.
        (libc::SYS_clone, vec![rule(0, SeccompCmpOp::MaskedEq(thread), thread)?]),
    ])
}

fn one_of(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>, BackendError> {
    values.iter().map(|value| rule(argument, SeccompCmpOp::Eq, *value)).collect()
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    let length = SeccompCmpArgLen::Dword;
    SeccompRule::new(vec![SeccompCondition::new(argument, length, operator, value)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_can_be_made_here() {
        let program = program().unwrap();
        assert!(program.len() > PLAIN.len());
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn a_call_without_a_name_elsewhere_has_the_number_that_it_has_here() {
        assert_eq!(FCHMODAT2, libc::SYS_fchmodat2);
    }

    #[test]
    fn no_call_is_there_twice_and_none_that_runs_programs_or_looks_into_others() {
        let judged = judged().unwrap();
        let all: Vec<_> = PLAIN
            .iter()
            .chain(OLDER)
            .copied()
            .chain(judged.iter().map(|(call, _)| *call))
            .collect();
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        for never in [
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_clone3,
            libc::SYS_ptrace,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_mount,
            libc::SYS_bpf,
            libc::SYS_keyctl,
            libc::SYS_io_uring_setup,
            libc::SYS_setuid,
            libc::SYS_kill,
            libc::SYS_memfd_create,
        ] {
            assert!(!all.contains(&never), "{never}");
        }
    }
}
