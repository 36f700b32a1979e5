//! The way to a server: proxy, name, connection, TLS, and the clock; and the settings that all of them share.

use std::net::{IpAddr, SocketAddr};
use std::time::{Instant, SystemTime};

use peak_sdk::http::{
    Client, Error, ErrorKind as HttpErrorKind, Origin, Proxies, RequestBuilderExt as _,
    RequestExt as _, RetryPolicy, TlsOptions, TlsProblem, address,
};
use serde_json::json;
use tokio::net::TcpStream;
use url::Url;

use super::TIME_LIMIT;
use super::check::{Check, Group};
use crate::convert::network::{NOT_TLS, advice_on_tls, authority};
use crate::error::{CliError, ErrorKind, tidy};

/// How far our clock may be from that of a server before certificates and tokens suffer.
const LARGEST_SKEW: i64 = 60;

/// What to do where the way is through a proxy and ends there.
const ABOUT_PROXY: &str = "see that the proxy is the right one: https_proxy names it, and no_proxy the hosts to reach without it";

/// Most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 4;

/// What is set for all servers.
pub(super) fn settings() -> Vec<Check> {
    let mut checks = vec![proxies()];
    for variable in ["PEAK_CA_FILE", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
        checks.extend(certificates(variable));
    }
    checks
}

/// The proxies that the environment names, for hosts that `no_proxy` does not except.
fn proxies() -> Check {
    let (group, name) = (Group::Network, "proxy");
    let proxies = Proxies::from_environment();
    let mut used = Vec::new();
    for scheme in ["https", "http"] {
        // No host that anybody has; whatever except `*` names another one.
        let Ok(url) = Url::parse(&format!("{scheme}://peak-doctor.invalid/")) else {
            continue;
        };
        match proxies.for_url(&url) {
            Ok(None) => {}
            Ok(Some(proxy)) => used.push((scheme, proxy.to_string())),
            Err(error) => {
                let error = CliError::from_chain(ErrorKind::Usage, &error);
                return Check::error(group, name, &error).hint("write it as http://HOST:PORT");
            }
        }
    }
    let finding = match used.as_slice() {
        [] => "none is set".to_owned(),
        used => used
            .iter()
            .map(|(scheme, proxy)| format!("{scheme} goes through {proxy}"))
            .collect::<Vec<_>>()
            .join("; "),
    };
    let exceptions = ["no_proxy", "NO_PROXY"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let finding = match &exceptions {
        Some(list) if !used.is_empty() => format!("{finding}; except for {list}"),
        _ => finding,
    };
    used.into_iter()
        .fold(Check::ok(group, name, finding), |check, (scheme, proxy)| {
            check.detail(scheme, proxy)
        })
        .detail("no_proxy", json!(exceptions))
}

/// Whom to trust, where a variable says it.
fn certificates(variable: &'static str) -> Option<Check> {
    let (group, name) = (Group::Network, "certificates");
    let path = std::env::var_os(variable).filter(|value| !value.is_empty())?;
    let place = path.to_string_lossy().into_owned();
    let hint = "name a PEM file with the certificates to trust, or unset it";
    let check = if variable.ends_with("_FILE") {
        let beside = if variable == "PEAK_CA_FILE" {
            "beside"
        } else {
            "in place of"
        };
        match TlsOptions::new().with_root_certificates_file(&path) {
            Ok(_) => Check::ok(
                group,
                name,
                format!("{variable}: {place} is trusted {beside} the system's"),
            ),
            Err(error) => {
                let error = CliError::from_chain(ErrorKind::Usage, &error);
                Check::failed(group, name, format!("{variable}: {}", error.message)).hint(hint)
            }
        }
    } else {
        match std::fs::read_dir(&path) {
            Ok(_) => Check::ok(
                group,
                name,
                format!("{variable}: what is in {place} is trusted in place of the system's"),
            ),
            Err(error) => Check::failed(
                group,
                name,
                format!("{variable}: {place} cannot be read: {error}"),
            )
            .hint("name a directory of PEM files, or unset it"),
        }
    };
    Some(check.detail("variable", variable).detail("place", place))
}

/// Whom to trust on the way.
#[derive(Clone)]
pub(super) struct Trust {
    pub(super) options: TlsOptions,
    /// Whatever certificate the server shows is taken.
    is_blind: bool,
    /// What to do where the server is not trusted.
    hint: &'static str,
}

impl Trust {
    pub(super) fn new(options: TlsOptions, hint: &'static str) -> Self {
        Self {
            options,
            is_blind: false,
            hint,
        }
    }

    /// Takes any certificate of the server at this URL.
    pub(super) fn blindly(mut self, url: &Url) -> Self {
        if let Some(origin) = Origin::of(url) {
            self.options = self.options.without_verification_of(origin);
            self.is_blind = true;
        }
        self
    }
}

/// Goes to a server step by step, as far as it goes. Whether it answers is said by the second value.
pub(super) async fn way(group: Group, url: &Url, trust: Trust) -> (Vec<Check>, bool) {
    let proxies = Proxies::from_environment();
    let Ok(proxy) = proxies.for_url(url) else {
        // Why stands with the settings.
        let why = "not tried: see proxy, under Network";
        return (vec![Check::skipped(group, "connect", why)], false);
    };
    let proxy = proxy.map(|proxy| proxy.url().clone());
    let (target, whose) = match &proxy {
        Some(proxy) => (proxy, "the proxy "),
        None => (url, ""),
    };
    let mut checks = Vec::new();
    match connect(group, target, whose, &mut checks).await {
        Ok(()) => {}
        Err(check) => {
            checks.push(if proxy.is_some() {
                check.hint(ABOUT_PROXY)
            } else {
                *check
            });
            return (checks, false);
        }
    }
    let about_ca = trust.hint;
    let (answer, reached) = match ask(group, url, trust, proxies).await {
        Ok(checks) => (checks, true),
        Err(error) => {
            let is_through_proxy = proxy.is_some();
            let check = no_answer(group, url, &error, about_ca, is_through_proxy);
            (vec![check], false)
        }
    };
    checks.extend(answer);
    (checks, reached)
}

/// Finds the addresses of a host and connects to one of them.
async fn connect(
    group: Group,
    target: &Url,
    whose: &str,
    checks: &mut Vec<Check>,
) -> Result<(), Box<Check>> {
    let host = target.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = target.port_or_known_default().unwrap_or(443);
    let addresses: Vec<SocketAddr> = if let Ok(address) = host.parse::<IpAddr>() {
        vec![SocketAddr::new(address, port)]
    } else {
        let found = tokio::time::timeout(TIME_LIMIT, tokio::net::lookup_host((host, port))).await;
        let failed = |why: String| {
            let check = Check::failed(
                group,
                "name",
                format!("{whose}{host} cannot be resolved: {why}"),
            );
            Box::new(check.hint("see that the name is right; where names are resolved by a proxy only, set https_proxy"))
        };
        let addresses: Vec<_> = match found {
            Ok(Ok(addresses)) => addresses.take(MAX_ADDRESSES).collect(),
            Ok(Err(error)) => return Err(failed(error.to_string())),
            Err(_) => {
                return Err(failed(format!(
                    "no answer within {} s",
                    TIME_LIMIT.as_secs()
                )));
            }
        };
        let texts: Vec<_> = addresses.iter().map(|one| one.ip().to_string()).collect();
        checks.push(
            Check::ok(
                group,
                "name",
                format!("{whose}{host} is {}", texts.join(", ")),
            )
            .detail("addresses", texts),
        );
        addresses
    };
    let begun = Instant::now();
    let mut why = "there is no address".to_owned();
    let tried = tokio::time::timeout(TIME_LIMIT, async {
        for address in &addresses {
            match TcpStream::connect(address).await {
                Ok(_) => return Some(*address),
                Err(error) => why = format!("{address}: {}", tidy(&error.to_string())),
            }
        }
        None
    });
    match tried.await {
        Ok(Some(address)) => {
            let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
            checks.push(
                Check::ok(
                    group,
                    "connect",
                    format!("{whose}{address} takes connections"),
                )
                .detail("address", address.to_string())
                .detail("milliseconds", milliseconds),
            );
            Ok(())
        }
        Ok(None) => Err(Box::new(
            Check::failed(group, "connect", format!("no connection to {whose}{why}"))
                .hint("see that the server runs there, and that no firewall is in between"),
        )),
        Err(_) => Err(Box::new(
            Check::failed(
                group,
                "connect",
                format!(
                    "no connection to {whose}{host} within {} s",
                    TIME_LIMIT.as_secs()
                ),
            )
            .hint("a firewall may be in between; if there is a proxy, set https_proxy"),
        )),
    }
}

/// The check of how the server is spoken to.
fn scheme(url: &Url) -> &'static str {
    if url.scheme() == "https" {
        "tls"
    } else {
        "http"
    }
}

/// Sends one request without credentials. Any answer will do.
async fn ask(group: Group, url: &Url, trust: Trust, proxies: Proxies) -> Result<Vec<Check>, Error> {
    let name = scheme(url);
    let answer = async {
        let client = Client::builder()
            .tls(trust.options)
            .proxies(proxies)
            .retry(RetryPolicy::never())
            .redirects(0)
            .build()?;
        let request = http::Request::get(url.as_str())
            .operation("doctor")
            .anonymous()
            .deadline(TIME_LIMIT)
            .without_body()?;
        client.send(request).await
    };
    let response = Box::pin(answer).await?;
    let status = response.status().as_u16();
    let check = if url.scheme() == "https" && trust.is_blind {
        Check::warning(group, name, "TLS, with whatever certificate it shows").hint(
            "anybody on the way can read and change it; --ca-file names a CA to trust instead",
        )
    } else if url.scheme() == "https" {
        Check::ok(group, name, "the certificate is trusted")
    } else if address::is_loopback(url) {
        Check::ok(group, name, "plain HTTP, which stays on this machine")
    } else {
        Check::warning(
            group,
            name,
            "plain HTTP: everybody on the way can read and change it",
        )
        .hint("have the server speak TLS")
    };
    Ok(vec![
        check.detail("status", status),
        clock(group, &response),
    ])
}

fn no_answer(
    group: Group,
    url: &Url,
    error: &Error,
    about_ca: &str,
    is_through_proxy: bool,
) -> Check {
    let is_not_tls = error.tls_problem() == Some(TlsProblem::NotTls);
    let finding = if is_not_tls {
        NOT_TLS.to_owned()
    } else {
        CliError::from_chain(ErrorKind::Unavailable, error).message
    };
    let hint = match error.kind() {
        HttpErrorKind::Tls if is_not_tls => match group {
            Group::Registry => "--insecure HOST lets it speak plain HTTP",
            _ => "see the port; what speaks plain HTTP is written with http://",
        },
        HttpErrorKind::Tls => advice_on_tls(error).unwrap_or(about_ca),
        HttpErrorKind::Proxy => {
            "see what the proxy allows, and whether it wants a user and password"
        }
        _ if is_through_proxy => ABOUT_PROXY,
        _ => "see that the server there is the one that is meant",
    };
    let hint = hint.replace("HOST", &authority(url).unwrap_or_default());
    Check::failed(group, scheme(url), finding)
        .hint(hint)
        .detail("kind", error.kind().as_str())
}

/// Compares our clock with the server's, which tells whole seconds.
fn clock(group: Group, response: &peak_sdk::http::Response) -> Check {
    let name = "clock";
    let theirs = response
        .headers()
        .get(http::header::DATE)
        .and_then(|value| httpdate::parse_http_date(value.to_str().ok()?).ok());
    let Some(theirs) = theirs else {
        return Check::skipped(group, name, "the server does not say its time");
    };
    let skew = seconds_between(theirs, SystemTime::now());
    let check = if skew.abs() <= LARGEST_SKEW {
        Check::ok(group, name, "ours and the server's agree")
    } else {
        let which = if skew > 0 { "ahead of" } else { "behind" };
        Check::warning(
            group,
            name,
            format!("ours is {} s {which} the server's", skew.abs()),
        )
        .hint("set the clock: certificates and tokens are good only for a time")
    };
    check.detail("skew_seconds", skew)
}

/// From one time to the other; negative where the other is earlier.
fn seconds_between(one: SystemTime, other: SystemTime) -> i64 {
    let seconds = |duration: std::time::Duration| i64::try_from(duration.as_secs());
    match other.duration_since(one) {
        Ok(after) => seconds(after).unwrap_or(i64::MAX),
        Err(before) => seconds(before.duration()).map_or(i64::MIN, |before| -before),
    }
}
