//! Lists: all pages, each shown before the next is asked for.

use http::{Response, header};

use super::{
    call::Call,
    pages::Walk,
    show::{Output, Row},
    way::Way,
};
use crate::{
    cli::{exit::Exit, terminal::Reader},
    okta::wire::Page,
};

/// Holds the flags of every list.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ListArgs {
    /// Objects on a page that the issuer sends [default: the issuer's, 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: Option<u16>,
    /// Begin after the object with this id
    #[arg(long, value_name = "ID")]
    offset: Option<String>,
    /// Go back from the offset instead of on, page by page
    #[arg(long)]
    prev: bool,
    /// Turn the order around
    #[arg(long)]
    descending: bool,
    /// Stop after so many objects, and ask for no further page
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print JSON, one object to a line, as the pages come
    #[arg(long)]
    json: bool,
}

impl ListArgs {
    /// Names the parameters that say which page is meant.
    pub(in crate::cli) fn query(&self) -> Vec<(&'static str, String)> {
        let flag = |set: bool| set.then(|| "true".to_owned());
        let pairs = [
            ("count", self.count.map(|count| count.to_string())),
            ("offset", self.offset.clone()),
            ("prev", flag(self.prev)),
            ("descending", flag(self.descending)),
        ];
        pairs.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// Shows all pages of the list that a call asks for.
pub(in crate::cli) async fn show<T: Row>(
    way: &Way,
    call: &Call,
    args: &ListArgs,
) -> Result<(), Exit> {
    let mut output = Output::new::<T>(args.json);
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut walk = Walk::new(call, way.origin(), &way.team_name, args.prev);
    let mut next = Some(call.target(&way.team_name));
    while let Some(target) = next {
        let answer = way.send(call, &target).await?;
        let Page { mut list } = way.read::<Page<T>>(call, answer.body())?;
        let is_empty = list.is_empty();
        list.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left = left.saturating_sub(list.len() as u64);
        if output.rows(&list, way.now())? == Reader::Left || left == 0 {
            return Ok(());
        }
        let step = walk.step(&links(&answer), is_empty);
        next = step.map_err(|astray| Exit::failed(astray.to_string()))?;
    }
    Ok(())
}

fn links<B>(answer: &Response<B>) -> String {
    let lines = answer.headers().get_all(header::LINK).iter().filter_map(|line| line.to_str().ok());
    lines.collect::<Vec<_>>().join(", ")
}
