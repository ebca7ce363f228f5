//! Two reloads within a moment: the last one holds, and nothing of the first is mixed in.

use std::{rc::Rc, time::Duration};

use bearerd::token::{handle::Refreshed, timing::RefreshSettings};

use crate::{
    cores::{client, explore, finish, pass, pause, settle, spawn},
    explore,
    world::{LIFE, World},
};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn settings(at: f64, max_lifetime: Duration) -> RefreshSettings {
    RefreshSettings { at, max_lifetime, ..RefreshSettings::default() }
}

async fn refreshes(world: Rc<World>) {
    let Refreshed::New(token) = world.handle.refresh().await else {
        panic!("every mint is granted");
    };
    assert!([LIFE, secs(3000), secs(2000)].contains(&token.lease().lifetime()));
}

// fault 259
#[test]
fn of_two_reloads_the_last_one_holds() {
    explore::explore("reload", || {
        let world = Rc::new(World::started());
        explore();
        client("operator", refreshes(Rc::clone(&world)));
        let reloading = Rc::clone(&world);
        spawn("reloads", async move {
            reloading.settings.send_replace(settings(0.2, secs(3000)));
            pause().await;
            reloading.settings.send_replace(settings(0.4, secs(2000)));
        });
        finish(Duration::ZERO);
        settle();
        pass(secs(60));
        client("operator, later", refreshes(Rc::clone(&world)));
        finish(Duration::ZERO);
        settle();
        let (token, _) = world.handle.current().unwrap();
        assert_eq!(token.lease().lifetime(), secs(2000));
        assert_eq!(world.next_refresh(), secs(800));
    });
}
