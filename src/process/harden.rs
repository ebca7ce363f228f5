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
    std::panic::set_hook(Box::new(tell_place));
}

/// Says where it was: what was said there may quote a secret (fault 228).
fn tell_place(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(place, "a task has panicked");
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

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        panic::{catch_unwind, set_hook, take_hook},
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    // fault 228
    #[test]
    fn a_panic_tells_its_place_and_nothing_else() {
        let written = Written::default();
        let writer = written.clone();
        let log = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
        let usual = take_hook();
        set_hook(Box::new(tell_place));
        let outcome = tracing::subscriber::with_default(log, || {
            catch_unwind(|| panic!("{}", ["SNTL", "secret"].join("-")))
        });
        set_hook(usual);
        assert!(outcome.is_err());
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(text.contains("src/process/harden.rs:"), "{text}");
        assert!(text.contains("a task has panicked") && !text.contains("SNTL"), "{text}");
    }
}
