//! What the process gives up at its very start, before it holds a secret.

use rustix::process::{DumpableBehavior, Resource, Rlimit};

/// Forbids core files, readers of our memory, new privileges and wide file modes.
///
/// Best effort: a kernel that refuses leaves things as they were (faults 229, 230).
pub fn harden() {
    hide();
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    rustix::process::setrlimit(Resource::Core, none).ok();
    rustix::thread::set_no_new_privs(true).ok();
    restrict_new_files();
    allow_descriptors();
}

/// Forbids readers of our memory, and nothing that a program we start would inherit.
pub fn hide() {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).ok();
    std::panic::set_hook(Box::new(|panic| {
        // The payload may quote a secret; the place cannot (fault 228).
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "a task has panicked");
    }));
}

/// Raises the soft limit of descriptors to the hard one, which connections need (fault 185).
fn allow_descriptors() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let all = Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(Resource::Nofile, all).ok();
}

/// Makes new files ours alone; call it while there is one thread.
pub fn restrict_new_files() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}
