//! Counts the service users of a team, with a token from bearerd.

#[path = "../../bearerd.rs"]
mod bearerd;

use std::{env, error::Error, process::ExitCode};

use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};

use bearerd::Bearerd;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let okta = ClientBuilder::new(reqwest::Client::new()).with(Bearerd::default()).build();
    match count_users(&okta).await {
        Ok(count) => {
            println!("{count} service users");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn count_users(okta: &ClientWithMiddleware) -> Result<usize, Box<dyn Error>> {
    let (host, team) = (env::var("OKTAPAM_API_HOST")?, env::var("OKTAPAM_TEAM")?);
    let mut next = Some(format!("{host}/v1/teams/{team}/service_users"));
    let mut count = 0;
    while let Some(url) = next {
        let answer = okta.get(&url).send().await?;
        let (status, link) = (answer.status(), answer.headers().get("Link").cloned());
        let body = answer.text().await?;
        if !status.is_success() {
            return Err(format!("{url}: {status} {body}").into());
        }
        let page: serde_json::Value = serde_json::from_str(&body)?;
        count += page["list"].as_array().map_or(0, Vec::len);
        next = link.and_then(|link| following(link.to_str().ok()?));
    }
    Ok(count)
}

/// The page after this one: `<URL>; rel="next"`.
fn following(link: &str) -> Option<String> {
    let (before, _) = link.split_once(r#">; rel="next""#)?;
    let (_, url) = before.rsplit_once('<')?;
    Some(url.to_owned())
}
