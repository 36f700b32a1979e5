//! The access log: one event for each request.

use axum::http::Uri;

use crate::observe::Ended;

/// Also the module's name to whoever filters events.
pub(crate) const TARGET: &str = "peak_registry_server::access";

/// The longest path that is logged, in bytes.
const MAX_PATH: usize = 1024;

/// The parameters whose values may be known to whoever reads logs.
const PARAMETERS: [&str; 7] = [
    "artifactType",
    "digest",
    "from",
    "last",
    "mount",
    "n",
    "tag",
];

pub(crate) fn write(ended: &Ended<'_>) {
    let path = ended.uri.path();
    tracing::info!(
        target: TARGET,
        method = ended.method.as_str(),
        path = path.get(..MAX_PATH).unwrap_or(path),
        query = query(ended.uri),
        status = ended.status,
        complete = ended.complete,
        bytes_in = ended.bytes_in,
        bytes_out = ended.bytes_out,
        duration_ms = u64::try_from(ended.duration.as_millis()).unwrap_or(u64::MAX),
        remote = ended.remote.as_deref(),
        user = ended.user,
        request_id = ended.request_id,
        "request"
    );
}

/// Those parts of the query that say nothing secret.
fn query(uri: &Uri) -> Option<String> {
    let known: Vec<&str> = uri
        .query()?
        .split('&')
        .filter(|pair| {
            let name = pair.split('=').next().unwrap_or_default();
            PARAMETERS.contains(&name) && pair.len() <= MAX_PATH
        })
        .collect();
    (!known.is_empty()).then(|| known.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_parameters_are_logged() {
        let query = |text: &str| query(&text.parse().unwrap());
        assert_eq!(
            query("/v2/a/tags/list?n=10&signature=secret&last=b").as_deref(),
            Some("n=10&last=b")
        );
        assert_eq!(query("/v2/?account=me"), None);
        assert_eq!(query("/v2/"), None);
    }
}
