//! When the token is over and none comes, nobody goes round and round.

use std::sync::Arc;

use bearerd::{
    config::model,
    outlet::sink::Sink,
    telemetry::metrics::Metrics,
    token::{format::Format, lease::Serial},
};

use crate::{
    cores::{Cores, is_restless, pass, settle},
    schedule::Schedule,
    world::{LIFE, World},
};

/// Runs what waits for a token after the last one has ended.
fn after_the_end(model: impl FnOnce(&World)) {
    Cores::new(Schedule::scripted(Vec::new()), 0).run(|| {
        let world = World::started();
        world.stop();
        settle();
        pass(LIFE);
        assert!(world.handle.current().is_none());
        assert_eq!(world.handle.latest(), Serial::new(1));
        model(&world);
    });
}

// fault 202
#[test]
fn who_waits_for_a_newer_token_is_not_woken_by_the_one_that_is_over() {
    after_the_end(|world| {
        let handle = world.handle.clone();
        assert!(!is_restless(async move {
            handle.changed_from(handle.latest()).await;
        }));
    });
}

// fault 202
#[test]
fn a_sink_rests_when_the_token_is_over() {
    after_the_end(|world| {
        let home = tempfile::tempdir().unwrap();
        let settings = model::Sink {
            path: home.path().join("token"),
            format: Format::Raw,
            mode: 0o600,
            owner: None,
            group: None,
            credential: "default".to_owned(),
            on_change: None,
            allow_shared_directory: false,
        };
        let writes = Metrics::new().sink("token");
        let sink = Sink::new("token", settings, world.handle.clone(), None, writes);
        assert!(!is_restless(Arc::new(sink).run()), "it wants to go on at once");
    });
}
