//! A scrape of the metrics.

use super::Reply;

/// Holds the samples of one scrape.
pub(crate) struct Metrics(Vec<(String, f64)>);

impl Metrics {
    pub(crate) fn parse(reply: &Reply) -> Self {
        assert_eq!(reply.status, 200, "{reply:?}");
        let samples = reply.text().lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        });
        Self(samples.collect())
    }

    /// Adds up the series of a family that carry all these labels; `None` if there is none.
    pub(crate) fn find(&self, family: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let wanted: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
        let has_all = |series: &str| {
            let (name, rest) = series.split_once('{').unwrap_or((series, ""));
            let pairs: Vec<_> = rest.trim_end_matches('}').split(',').collect();
            name == family && wanted.iter().all(|pair| pairs.contains(&pair.as_str()))
        };
        let found = self.0.iter().filter(|(series, _)| has_all(series)).map(|(_, value)| *value);
        found.reduce(|sum, value| sum + value)
    }

    /// Adds up likewise; there must be at least one.
    pub(crate) fn get(&self, family: &str, labels: &[(&str, &str)]) -> f64 {
        let found = self.find(family, labels);
        found.unwrap_or_else(|| panic!("no {family} with {labels:?}"))
    }

    /// Lists the reasons of failed mints of a credential that are not zero.
    pub(crate) fn failures(&self, credential: &str) -> Vec<(String, f64)> {
        let family = "bearerd_token_refresh_failures_total{";
        let own = format!("credential=\"{credential}\"");
        let of = self.0.iter().filter(|(series, value)| {
            series.starts_with(family) && series.contains(&own) && *value > 0.0
        });
        of.map(|(series, value)| {
            let (_, reason) = series.split_once("reason=\"").unwrap();
            (reason.split('"').next().unwrap().to_owned(), *value)
        })
        .collect()
    }

    /// Counts the series.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
