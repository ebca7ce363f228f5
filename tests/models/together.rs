//! Refresh, report, reload and a new key at once, before an issuer that grants everything.

use std::{rc::Rc, time::Duration};

use bearerd::token::{
    handle::{Claim, Handle, Refreshed, Rejection},
    timing::RefreshSettings,
};

use crate::{
    cores::{client, explore, finish, settle, spawn},
    explore,
    world::{Eyes, World, letter},
};

/// More than the first token has left.
const WANTED: Duration = Duration::from_secs(55 * 60);

/// Reports the first token, and looks at what comes of it.
pub(crate) async fn reports_the_first(handle: Handle, first: String) {
    let mut eyes = Eyes::default();
    eyes.see(&handle.current().unwrap().0);
    match handle.reject(Claim::TokenId(&first)).await {
        Rejection::Refreshed(token) | Rejection::Stale(token) => {
            assert_ne!(token.token_id(), first);
            eyes.see(&token);
        }
        Rejection::Throttled(_) => panic!("throttled, though it is the first report"),
        Rejection::Failed | Rejection::NoToken => panic!("failed, though every mint is granted"),
    }
    eyes.see(&handle.current().unwrap().0);
}

async fn wants_more_life(handle: Handle) {
    let mut eyes = Eyes::default();
    eyes.see(&handle.current().unwrap().0);
    let (token, remaining) = handle.with_life(WANTED).await.unwrap();
    assert!(remaining >= WANTED, "{remaining:?}");
    eyes.see(&token);
    eyes.see(&handle.current().unwrap().0);
}

// faults 115, 177, 259
#[test]
fn nobody_is_forgotten_and_nobody_sees_an_older_token() {
    explore::explore("together", || {
        let world = Rc::new(World::started());
        let first = world.handle.current().unwrap().0.token_id().to_owned();
        explore();
        let handle = || world.handle.clone();
        client("first report", reports_the_first(handle(), first.clone()));
        client("second report", reports_the_first(handle(), first));
        client("who wants more life", wants_more_life(handle()));
        let asking = handle();
        client("operator", async move {
            assert!(matches!(asking.refresh().await, Refreshed::New(_)));
        });
        let reloading = Rc::clone(&world);
        spawn("reload", async move {
            let settings = RefreshSettings { at: 0.4, ..RefreshSettings::default() };
            reloading.settings.send_replace(settings);
        });
        let rotating = Rc::clone(&world);
        spawn("a new key", async move { rotating.put('B') });
        // No timer lets anybody go: each is woken by what he waits for.
        finish(Duration::ZERO);
        settle();
        assert!(world.stands_still());
        let state = world.handle.state();
        assert_eq!(letter(state.key_id.as_deref().unwrap()), 'B');
        assert_eq!((state.candidate_key_id.as_ref(), state.minting), (None, false));
        assert!(world.mints().len() <= 5, "{:?}", world.mints());
        assert_eq!(world.next_refresh(), Duration::from_secs(24 * 60), "by the new settings");
    });
}
