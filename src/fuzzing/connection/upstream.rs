//! The issuer behind the proxy: it echoes all that it is told, and remembers it.

use std::{
    convert::Infallible,
    net::TcpListener,
    sync::{LazyLock, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{Request, Response, header, request::Parts};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;

use super::doors::TOKEN;

/// Where a listener would forward to that does not.
pub(super) static UNHEARD: LazyLock<TcpListener> = LazyLock::new(bound);

/// The issuer of the proxy.
pub(super) static ISSUER: LazyLock<Issuer> =
    LazyLock::new(|| Issuer { listener: bound(), heard: Mutex::default() });

pub(super) struct Issuer {
    listener: TcpListener,
    heard: Mutex<Vec<Parts>>,
}

fn bound() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket can do that");
    listener
}

impl Issuer {
    pub(super) fn address(&self) -> String {
        self.listener.local_addr().expect("it is bound").to_string()
    }

    /// Answers in the runtime of whoever calls, for as long as that goes on.
    pub(super) fn start(&'static self) {
        let listener = self.listener.try_clone().expect("a descriptor");
        let listener = tokio::net::TcpListener::from_std(listener).expect("it does not block");
        let runtime = tokio::runtime::Handle::current();
        runtime.clone().spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let service = service_fn(|request| self.answer(request));
                runtime
                    .spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (parts, body) = request.into_parts();
        let body =
            body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let told = format!("{:?}", parts.headers);
        let authorization = parts.headers.get(header::AUTHORIZATION).cloned();
        self.heard().push(parts);
        let mut answer = Response::new(Full::new([told.as_bytes(), &body].concat().into()));
        if let Some(value) = authorization {
            answer.headers_mut().insert("x-echo", value);
        }
        Ok(answer)
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Vec<Parts>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn forget(&self) {
        self.heard().clear();
    }

    /// Checks what it was told since the last conversation began.
    pub(super) fn check(&self) {
        self.heard().iter().for_each(check_call);
    }
}

fn check_call(call: &Parts) {
    let path = call.uri.path();
    let is_dots = |part: &str| matches!(part, "." | "..");
    assert!(path.starts_with("/v1/teams/acme/") && !path.split('/').any(is_dots), "{path}");
    let guarded =
        |part: &str| ["keys", "service_token"].iter().any(|it| part.eq_ignore_ascii_case(it));
    assert!(!path.split('/').any(guarded), "{path}");
    let all = |name| call.headers.get_all(name).iter().collect::<Vec<_>>();
    assert_eq!(all(header::AUTHORIZATION.as_str()), [&*format!("Bearer {TOKEN}")]);
    assert_eq!(all("host"), [&*ISSUER.address()]);
    for name in ["cookie", "forwarded", "via", "x-real-ip", "x-bearerd", "expect", "upgrade", "te"]
    {
        assert!(!call.headers.contains_key(name), "{name}");
    }
    let mut names = call.headers.keys().map(http::HeaderName::as_str);
    assert!(!names.any(|it| it.starts_with("x-forwarded") || it.starts_with("proxy-")));
}
