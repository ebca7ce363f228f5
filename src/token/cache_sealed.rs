//! What has to hold of a sealed token, whatever stands in its file.

use std::sync::LazyLock;

use super::*;

const NOW: Tick = Tick::from_boot(Duration::from_secs(5000));
/// 2026-01-31T08:00:00Z
const WALL: Wall = Wall::from_seconds(1_769_846_400);

/// A cache, its key, and a good file of theirs.
static GOOD: LazyLock<(Cache, ApiKey, Vec<u8>)> = LazyLock::new(|| {
    let cache = Cache::new(Path::new("/"), "default", "https://a.example", "acme", "boot");
    let key = ApiKey::new("0a1b2c3d-0000-4000-8000-00000000abcd", "secret", None);
    let key = key.expect("a key");
    let content = br#"{"token":"a.b.c","team_name":"acme","expires_at":1769850000000,"wall_end":1769850000000,"issued":5000000,"expires":8600000}"#;
    let sealed = seal(&cache, &key, content);
    assert!(cache.open(&key, &sealed, NOW, WALL).is_some(), "it is a good file");
    (cache, key, sealed)
});

/// Opens what nobody has sealed.
pub(crate) fn check_unsealed(content: &[u8]) {
    let (cache, key, _) = &*GOOD;
    for content in [content, &[FORMAT.as_slice(), content].concat()] {
        assert!(cache.open(key, content, NOW, WALL).is_none(), "nobody has sealed this");
    }
}

/// Opens a good file of which one byte was changed, and its beginning.
pub(crate) fn check_changed(place: usize, change: u8) {
    let (cache, key, good) = &*GOOD;
    let mut changed = good.clone();
    let place = place % changed.len();
    changed.iter_mut().skip(place).take(1).for_each(|byte| *byte ^= change);
    assert_eq!(cache.open(key, &changed, NOW, WALL).is_some(), change == 0);
    assert!(cache.open(key, good.split_at(place).0, NOW, WALL).is_none());
}

/// Opens what was sealed well and says what it likes.
pub(crate) fn check_content(content: &[u8]) {
    let (cache, key, _) = &*GOOD;
    let sealed = seal(cache, key, content);
    let Some((grant, lease)) = cache.open(key, &sealed, NOW, WALL) else { return };
    let kept: Kept<'_> = serde_json::from_slice(content).expect("only what reads well");
    let ends = [kept.expires, kept.wall_end].map(Duration::from_millis);
    assert!(lease.is_valid(NOW) && lease.issued <= NOW);
    assert!(lease.expires <= Tick::from_boot(ends[0]), "boot time ends it");
    assert!(lease.expires <= NOW + Wall::from_unix(ends[1]).since(WALL), "the wall clock ends it");
    assert_eq!(grant.token.expose(), kept.token.as_bytes());
    let published = Published::new(grant, lease, WALL);
    assert!(published.remaining(NOW, WALL) <= lease.remaining(NOW));
}

/// Seals with what need not be random here.
fn seal(cache: &Cache, key: &ApiKey, content: &[u8]) -> Vec<u8> {
    let (salt, nonce) = ([7; SALT_LEN], [9; NONCE_LEN]);
    let (mut body, aad) = (content.to_vec(), cache.aad(key));
    let sealing = sealing_key(key, &salt).expect("a key");
    let nonce_used = Nonce::assume_unique_for_key(nonce);
    let sealed = sealing.seal_in_place_append_tag(nonce_used, Aad::from(&aad), &mut body);
    sealed.expect("it is short");
    [FORMAT.as_slice(), &salt, &nonce, &body].concat()
}
