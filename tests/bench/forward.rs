//! The yardstick of forwarded calls: hyper at both ends, and a header put in.

use std::io;

use http::{HeaderValue, Request, Uri, header, uri::Authority};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

use crate::{options::Forward, yardstick};

/// Forwards until it is killed.
pub(crate) fn play(forward: &Forward) -> io::Result<()> {
    let upstream: Authority = forward.upstream.parse().map_err(io::Error::other)?;
    let bearer = format!("Bearer {}", forward.token);
    let bearer = HeaderValue::from_str(&bearer).map_err(io::Error::other)?;
    let client = Client::builder(TokioExecutor::new()).build_http::<Incoming>();
    yardstick::serve(
        &forward.place,
        &service_fn(move |request: Request<Incoming>| {
            let (client, upstream, bearer) = (client.clone(), upstream.clone(), bearer.clone());
            async move { Ok::<_, Failed>(client.request(aimed(request, upstream, bearer)?).await?) }
        }),
    )
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Makes the call that goes on.
fn aimed(
    mut request: Request<Incoming>,
    upstream: Authority,
    bearer: HeaderValue,
) -> Result<Request<Incoming>, Failed> {
    let mut uri = std::mem::take(request.uri_mut()).into_parts();
    (uri.scheme, uri.authority) = (Some(http::uri::Scheme::HTTP), Some(upstream));
    *request.uri_mut() = Uri::from_parts(uri)?;
    // The client puts in the one that is meant.
    request.headers_mut().remove(header::HOST);
    request.headers_mut().insert(header::AUTHORIZATION, bearer);
    Ok(request)
}
