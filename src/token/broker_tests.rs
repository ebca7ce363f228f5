use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::process::{clock::SystemClock, secret::Secret};

type News = Result<Arc<ApiKey>, KeyTrouble>;

struct Told(UnboundedReceiver<News>);

impl Keys for Told {
    async fn next(&mut self) -> News {
        match self.0.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }

    fn look_again(&mut self) {}
}

/// Grants tokens for the good key only.
struct Choosy;

impl Issuer for Choosy {
    async fn mint(&self, key: &ApiKey) -> Outcome {
        // Its refresh comes before a refused key is tried again, so that alarm stays as it is.
        let life = Duration::from_secs(40);
        let result = match key.expose_secret() {
            "good" => Ok(Grant {
                token: Secret::copy_of(b"token"),
                lifetime: life,
                expires_at: SystemClock.wall() + life,
                team_name: "acme".to_owned(),
            }),
            _ => Err(MintError::from(Reason::Unauthorized)),
        };
        Outcome { result, observed: None, took: Duration::ZERO }
    }

    async fn refuses(&self, _: &Secret) -> bool {
        false
    }
}

fn key(secret: &str) -> News {
    let key = ApiKey::new("00000000-0000-4000-8000-000000000001", secret, None);
    Ok(Arc::new(key.unwrap()))
}

fn trouble() -> News {
    Err(KeyTrouble { label: "missing", sentence: "the key file is gone".to_owned() })
}

fn start() -> (Handle, UnboundedSender<News>) {
    let (tell, told) = unbounded_channel();
    let (seat, handle) = BrokerSeat::new("default", Arc::new(SystemClock), &Metrics::new());
    let run = async move {
        let settings = watch::Sender::new(RefreshSettings::default());
        seat.run(settings.subscribe(), Arc::new(Choosy), Told(told), Box::new(|| 0.5)).await;
    };
    tokio_util::task::TaskTracker::new().spawn(run);
    (handle, tell)
}

/// Waits for a state; everything that leads to it is ready, so that turns are enough.
async fn comes(handle: &Handle, is_it: impl Fn(&State) -> bool) -> bool {
    for _ in 0..100 {
        if is_it(&handle.state()) {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

// fault 78
#[tokio::test]
async fn a_key_file_that_is_whole_again_is_no_trouble_any_more() {
    let (handle, tell) = start();
    tell.send(key("good")).unwrap();
    tell.send(trouble()).unwrap();
    assert!(comes(&handle, |state| state.key_trouble.is_some()).await);
    tell.send(key("good")).unwrap();
    assert!(comes(&handle, |state| state.key_trouble.is_none()).await);
}

// fault 91
#[tokio::test]
async fn a_refused_key_that_is_taken_back_is_no_candidate_any_more() {
    let (handle, tell) = start();
    tell.send(key("good")).unwrap();
    assert!(comes(&handle, |state| state.key_id.is_some() && !state.minting).await);
    tell.send(key("bad")).unwrap();
    let refused = |state: &State| {
        assert_eq!(state.failing, None, "the key in use is as good as ever");
        state.candidate_key_id.is_some() && state.candidate_failing.is_some()
    };
    assert!(comes(&handle, refused).await);
    tell.send(key("good")).unwrap();
    let well = |state: &State| !state.has_trouble() && state.candidate_key_id.is_none();
    assert!(comes(&handle, well).await);
}
