//! Whether the platform can be reached, and takes the token.

use peak_sdk::http::{Client, RetryPolicy, TlsOptions, address};
use peak_sdk::images::ListImages;
use peak_sdk::images::operations::ImagesPage;
use serde_json::Value;

use super::TIME_LIMIT;
use super::check::{Check, Group};
use super::network::{Trust, way};
use crate::application::{Application, platform_variable, token_variable};
use crate::error::{CliError, ErrorKind};

const GROUP: Group = Group::Platform;
const NAME: &str = "api";

pub(super) async fn checks(application: &Application, trust: Trust) -> Vec<Check> {
    let Ok(session) = application.session_without_token() else {
        // Why is said by the check of the settings.
        let check = Check::skipped(GROUP, NAME, "where the platform is is not known");
        return vec![check.hint("correct the endpoint, above")];
    };
    let url = session.endpoint().url().clone();
    let is_local = address::is_loopback(&url);
    let is_named = application.names_a_platform() || platform_variable().is_some();
    let has_token = token_variable().is_some();
    if !(is_named || is_local || has_token) {
        // Whoever has no account there needs no way to it.
        let check = Check::skipped(
            GROUP,
            NAME,
            "not asked: there is no token, and no endpoint is set",
        );
        return vec![
            check.hint("set PEAK_AUTH_TOKEN, or PEAK_ENDPOINT_URL to a `peak local serve`"),
        ];
    }
    let tls = trust.options.clone();
    let (mut checks, reached) = way(GROUP, &url, trust).await;
    checks.push(if !reached {
        Check::skipped(GROUP, NAME, "not asked, since it does not answer")
    } else if has_token || is_local {
        api(application, tls).await
    } else {
        let hint = if url.scheme() == "https" {
            "set PEAK_AUTH_TOKEN"
        } else {
            "set PEAK_AUTH_TOKEN, and write https:// in the endpoint: no token is sent in the clear"
        };
        Check::skipped(GROUP, NAME, "not asked, since there is no token").hint(hint)
    });
    checks
}

/// Asks for a page of one image, which changes nothing.
async fn api(application: &Application, tls: TlsOptions) -> Check {
    let options = Client::builder()
        .tls(tls)
        .retry(RetryPolicy::never())
        .deadline(TIME_LIMIT);
    let Ok(session) = application.session_with(options) else {
        // Why is said by the check of the token.
        return Check::skipped(GROUP, NAME, "not asked: see platform, under Credentials");
    };
    let list = ListImages::new().page_size(1);
    let request = ImagesPage {
        list: &list,
        number: None,
    };
    let answer = tokio::time::timeout(TIME_LIMIT, session.call(&request));
    match answer.await {
        Ok(Ok(_)) => match session.token() {
            Some(_) => Check::ok(GROUP, NAME, "it answers, and takes the token"),
            None => Check::ok(GROUP, NAME, "it answers, and wants no token"),
        },
        Ok(Err(error)) => {
            let error = CliError::from(error);
            let check = Check::error(GROUP, NAME, &error)
                .detail("status", error.status.map_or(Value::Null, Value::from));
            match error.kind {
                ErrorKind::Authentication => check.hint(
                    "set PEAK_AUTH_TOKEN to an API key or a bearer token of this platform that has not run out",
                ),
                ErrorKind::NotFound => {
                    check.hint("what answers there is no Peak platform; see the endpoint, above")
                }
                _ => check,
            }
        }
        Err(_) => Check::failed(
            GROUP,
            NAME,
            format!("no answer within {} s", TIME_LIMIT.as_secs()),
        ),
    }
}
