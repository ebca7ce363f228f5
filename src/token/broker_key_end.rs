//! The end of a key, which is the end of all its tokens (section 7).

use std::time::Duration;

use super::{Broker, Event, Issuer, KeyEnd, Keys, Mint};

impl<I: Issuer, K: Keys> Broker<I, K> {
    /// Takes note of a key's end, and lets no token outlive it.
    pub(super) fn key_ends(&mut self, end: KeyEnd) {
        let wall = self.desk.shared.clock.wall();
        let left = end.ends.map(|ends| ends.since(wall));
        if let (Some(engine), Some(left)) = (&mut self.engine, left)
            && engine.current.id().eq_ignore_ascii_case(&end.key_id)
            && let Some(lease) =
                engine.policy.cut_life(self.desk.now() + left, (self.desk.chance)())
            && let Some(published) = self.desk.shared.last()
        {
            let shorter = published.shortened(lease);
            let (issued, ends) = (wall - self.desk.now().since(lease.issued), shorter.wall_end());
            self.desk.shared.metrics.set_token(issued, ends);
            self.desk.shared.shorten(shorter);
        }
        self.key_end = Some(end);
        self.step(Event::Wake, None);
    }

    /// Tells how long the key of a mint still lives; a token that has just come shows that it does.
    pub(super) fn life_of_key(&self, mint: Mint) -> Option<Duration> {
        let engine = self.engine.as_ref()?;
        let end = self.key_end.as_ref()?;
        let is_its = engine.key(mint.key).id().eq_ignore_ascii_case(&end.key_id);
        let left = end.ends?.since(self.desk.shared.clock.wall());
        Some(left).filter(|left| is_its && !left.is_zero())
    }
}
