//! What a registry can do.

use peak_sdk::registry::{
    Authentication, BlobUploads, Deletes, Deletion, DigestHeader, ManifestHeaders, Mounts, Paging,
    ProbeOptions, ProbeReport, Probed, Ranges, ReferrersList, Registry, RegistryError,
    TokenLifetime,
};
use serde_json::json;

use super::check::{Check, Group, Status};
use super::door::Door;
use super::network::{Trust, way};
use super::{Asked, TIME_LIMIT};
use crate::application::Application;
use crate::error::{CliError, ErrorKind};
use crate::output::human_size;
use crate::refused;

const GROUP: Group = Group::Registry;

/// Says what will be done at the registry that is more than reading.
pub(super) fn announce(application: &Application, asked: &Asked) {
    let host = &asked.host;
    let message = match asked.write_to.as_slice() {
        [] => return,
        [repository] => format!(
            "begins an upload in {host}/{repository}, ends it, and asks to delete what is not there"
        ),
        [first, second, ..] => format!(
            "begins an upload in {host}/{first}, ends it, and asks to delete what is not there; then \
             stores a blob of some bytes there, mounts it into {host}/{second}, and deletes both"
        ),
    };
    application.progress.step("doctor", &message);
}

pub(super) async fn checks(
    client: &Registry,
    asked: &Asked,
    mut trust: Trust,
    insecure: &[String],
) -> Vec<Check> {
    let host = asked.host.as_str();
    let url = match tokio::time::timeout(TIME_LIMIT, client.endpoint(host)).await {
        Ok(Ok(url)) => url,
        Ok(Err(error)) => return vec![failed("connect", error)],
        Err(_) => {
            let why = format!("no answer within {} s", TIME_LIMIT.as_secs());
            return vec![Check::failed(GROUP, "connect", why)];
        }
    };
    if insecure.iter().any(|one| one == host) {
        trust = trust.blindly(&url);
    }
    let (mut checks, reached) = way(GROUP, &url, trust).await;
    if !reached {
        checks.push(not_asked());
        return checks;
    }
    let mut options = ProbeOptions::new().time_limit(TIME_LIMIT);
    if let Some(image) = &asked.image {
        options = options.image(image);
    }
    if let Some(repository) = asked.write_to.first() {
        options = options.write_to(repository.clone());
    }
    if let Some(repository) = asked.write_to.get(1) {
        options = options.mount_into(repository.clone());
    }
    match Box::pin(client.probe(host, &options)).await {
        Ok(report) => checks.extend(told(client, report, asked).await),
        Err(error) => {
            let error = CliError::from(error);
            let error = match &error.hint {
                Some(_) => refused::with_account(client, error).await,
                None => error.with_hint(
                    "see host and port; a registry answers at /v2/ of its host, whatever else is there",
                ),
            };
            checks.push(Check::error(GROUP, "authentication", &error));
            checks.push(not_asked());
        }
    }
    checks.extend(notices(client, host));
    checks
}

fn failed(name: &'static str, error: RegistryError) -> Check {
    Check::error(GROUP, name, &CliError::from(error))
}

/// In place of all that a registry would have been asked.
fn not_asked() -> Check {
    let why = "not asked, since no registry answers";
    Check::skipped(GROUP, "capabilities", why)
}

/// What the registry has said of itself meanwhile.
fn notices(client: &Registry, host: &str) -> Vec<Check> {
    let mut checks = Vec::new();
    if let Some(limit) = client.rate_limit(host) {
        let number = |number: Option<u64>| number.map_or("?".to_owned(), |one| one.to_string());
        let finding = format!(
            "{} requests in {} s are allowed, {} are left",
            number(limit.limit),
            number(limit.window),
            number(limit.remaining)
        );
        let check = if limit.remaining == Some(0) {
            Check::warning(GROUP, "rate-limit", finding).hint("log in for more, or wait")
        } else {
            Check::ok(GROUP, "rate-limit", finding)
        };
        checks.push(
            check
                .detail("limit", json!(limit.limit))
                .detail("window_seconds", json!(limit.window))
                .detail("remaining", json!(limit.remaining)),
        );
    }
    let warnings = client.warnings(host);
    checks.extend(
        warnings
            .into_iter()
            .map(|text| Check::warning(GROUP, "warning", text)),
    );
    checks
}

async fn told(client: &Registry, report: ProbeReport, asked: &Asked) -> Vec<Check> {
    let mut door = Door::new(client);
    let authentication = authentication(&report.authentication);
    if authentication.status == Status::Failed {
        door.shut(authentication.name);
    }
    let let_in = |()| Check::ok(GROUP, "access", "it lets us in");
    let access = door.of("access", report.access, let_in).await;
    if access.status == Status::Failed {
        door.shut("access");
    }
    let mut checks = vec![
        authentication,
        door.of("token-lifetime", report.token, token).await,
        access,
    ];

    let mut reading = door.clone();
    checks.push(match report.catalog {
        Probed::Found(Paging::Refused { .. }) if reading.is_shut() => reading.refer("catalog"),
        probed => {
            reading
                .of("catalog", probed, |paging| catalog(&paging))
                .await
        }
    });
    checks.push(match report.tags {
        Probed::Found(Paging::Refused { status }) => {
            let check = reading.failed("tags", refused_tags(status.as_u16(), asked));
            check
                .await
                .detail("paging", "refused")
                .detail("status", status.as_u16())
        }
        probed => {
            reading
                .of("tags", probed, |paging| list("tags", &paging))
                .await
        }
    });
    let image = match report.manifests {
        Probed::Failed(error) => {
            if !reading.is_shut() {
                checks.push(reading.failed("image", CliError::from(error)).await);
            }
            reading.refer("digest-header")
        }
        probed => reading.of("digest-header", probed, headers).await,
    };
    checks.push(image);
    checks.push(reading.of("ranges", report.ranges, ranges).await);
    checks.push(reading.of("referrers", report.referrers, referrers).await);

    let mut writing = door;
    checks.push(writing.of("chunked-upload", report.uploads, uploads).await);
    checks.push(match report.deletion {
        Probed::Found(found) if writing.is_shut() && is_denied(found) => writing.refer("delete"),
        probed => writing.of("delete", probed, deletion).await,
    });
    checks.push(writing.of("mount", report.mounts, mounts).await);
    for check in &mut checks {
        if let Some(hint) = &mut check.hint {
            *hint = hint.replace("HOST", &asked.host);
        }
    }
    if !report.left_behind.is_empty() {
        let names = report.left_behind.join(", ");
        checks.push(
            Check::warning(GROUP, "left-behind", format!("may still be there: {names}"))
                .hint("nothing points to it; the registry removes it when it cleans up")
                .detail("blobs", report.left_behind),
        );
    }
    checks
}

fn authentication(way: &Authentication) -> Check {
    let name = "authentication";
    match way {
        Authentication::None => {
            Check::ok(GROUP, name, "none: it lets everybody in").detail("flow", "none")
        }
        Authentication::Basic { realm } => Check::ok(
            GROUP,
            name,
            "Basic: user name and password with each request",
        )
        .detail("flow", "basic")
        .detail("realm", json!(realm)),
        Authentication::Bearer { realm, service } => {
            let finding = match service {
                Some(service) => format!("Bearer: tokens from {realm} for the service {service}"),
                None => format!("Bearer: tokens from {realm}"),
            };
            Check::ok(GROUP, name, finding)
                .detail("flow", "bearer")
                .detail("realm", realm.as_str())
                .detail("service", json!(service))
        }
        Authentication::Unknown { schemes } => {
            let schemes_text = if schemes.is_empty() {
                "it does not say how".to_owned()
            } else {
                schemes.join(", ")
            };
            Check::failed(
                GROUP,
                name,
                format!("in no way that is known here: {schemes_text}"),
            )
            .hint("Basic and Bearer are known; no login helps with another")
            .detail("flow", "unknown")
            .detail("schemes", json!(schemes))
        }
        _ => Check::skipped(GROUP, name, "in a way that is not known here"),
    }
}

fn token(lifetime: TokenLifetime) -> Check {
    let name = "token-lifetime";
    let seconds = lifetime.said.map(|said| said.as_secs());
    match seconds {
        Some(seconds) if seconds >= 60 => Check::ok(GROUP, name, format!("{seconds} s")),
        Some(seconds) => Check::ok(GROUP, name, format!("{seconds} s, which counts as 60 s")),
        None => Check::ok(GROUP, name, "the token server does not say, so 60 s count"),
    }
    .detail("seconds", json!(seconds))
}

fn catalog(paging: &Paging) -> Check {
    match paging {
        Paging::Refused { status } => Check::ok(
            GROUP,
            "catalog",
            format!("it does not list its repositories ({})", status.as_u16()),
        )
        .detail("paging", "refused")
        .detail("status", status.as_u16()),
        paging => list("catalog", paging),
    }
}

/// Why the tags are not listed.
fn refused_tags(status: u16, asked: &Asked) -> CliError {
    let (kind, finding, hint) = match status {
        404 => (
            ErrorKind::NotFound,
            "there is no such repository, or it is hidden",
            "see the name; `peak registry catalog HOST` lists those there are, where it does",
        ),
        405 => (
            ErrorKind::Other,
            "it does not list tags",
            "name an image of the repository: peak doctor HOST/REPO:TAG",
        ),
        _ => (
            ErrorKind::Authentication,
            "access is refused",
            "log in with `peak registry login HOST`",
        ),
    };
    let error = CliError::new(kind, format!("{finding} ({status})")).with_hint(hint);
    match &asked.image {
        Some(image) if kind == ErrorKind::Authentication => {
            let place = format!("{}/{}", image.registry(), image.repository());
            error.with_refused(&place).with_status(Some(status))
        }
        _ => error,
    }
}

fn list(name: &'static str, paging: &Paging) -> Check {
    match paging {
        Paging::Links => Check::ok(GROUP, name, "in pages, each with a link to the next")
            .detail("paging", "links"),
        Paging::WithoutLinks => Check::warning(
            GROUP,
            name,
            "in pages, but nothing links to the next: long lists are cut off",
        )
        .hint("tell whoever runs the registry; the specification wants a Link header")
        .detail("paging", "without_links"),
        Paging::AllAtOnce { entries } => {
            Check::ok(GROUP, name, "all at once: it does not know pages")
                .detail("paging", "all_at_once")
                .detail("entries", *entries)
        }
        _ => Check::ok(
            GROUP,
            name,
            "listed; too few entries to tell how pages come",
        )
        .detail("paging", "too_few"),
    }
}

fn headers(found: ManifestHeaders) -> Check {
    let name = "digest-header";
    let head = if found.head {
        ""
    } else {
        "; HEAD is not known"
    };
    let (check, digest) = match found.digest {
        DigestHeader::Right => (
            Check::ok(
                GROUP,
                name,
                format!("manifests come with their digest{head}"),
            ),
            "right",
        ),
        DigestHeader::Missing => (
            Check::ok(
                GROUP,
                name,
                format!(
                    "none: digests are computed from the manifest, which is a request more{head}"
                ),
            ),
            "missing",
        ),
        _ => (
            Check::warning(
                GROUP,
                name,
                format!("it says another digest than its manifest has{head}"),
            )
            .hint("the computed one counts; other tools may trust the wrong one"),
            "wrong",
        ),
    };
    check.detail("digest", digest).detail("head", found.head)
}

fn ranges(found: Ranges) -> Check {
    let name = "ranges";
    match found {
        Ranges::Honoured { from: None } => Check::ok(
            GROUP,
            name,
            "blobs come in parts: downloads go on where they stopped",
        )
        .detail("ranges", "honoured"),
        Ranges::Honoured { from: Some(from) } => Check::ok(
            GROUP,
            name,
            format!("blobs come in parts, from {from}: downloads go on where they stopped"),
        )
        .detail("ranges", "honoured")
        .detail("from", from),
        Ranges::Ignored => Check::warning(
            GROUP,
            name,
            "asked for a part of a blob it sends all: downloads begin anew when they break",
        )
        .detail("ranges", "ignored"),
        Ranges::Refused { status } => Check::warning(
            GROUP,
            name,
            format!(
                "parts of blobs are refused ({}): downloads begin anew when they break",
                status.as_u16()
            ),
        )
        .detail("ranges", "refused")
        .detail("status", status.as_u16()),
        _ => Check::warning(
            GROUP,
            name,
            "another part of a blob comes than was asked for: downloads begin anew when they break",
        )
        .detail("ranges", "wrong"),
    }
}

fn referrers(found: ReferrersList) -> Check {
    let name = "referrers";
    match found {
        ReferrersList::Registry { filters } => {
            let text = if filters { ", by type where asked" } else { "" };
            Check::ok(GROUP, name, format!("the registry lists them{text}"))
                .detail("referrers", "api")
                .detail("filters", filters)
        }
        _ => Check::ok(
            GROUP,
            name,
            "the registry does not know them; clients keep the list under a tag",
        )
        .detail("referrers", "fallback_tag"),
    }
}

fn uploads(found: BlobUploads) -> Check {
    let name = "chunked-upload";
    let cancels = if found.cancels {
        "uploads can be ended"
    } else {
        "uploads cannot be ended"
    };
    let chunks = match (found.chunks, found.smallest_chunk) {
        (true, Some(least)) => format!("yes, of at least {}", human_size(least)),
        (true, None) => "yes, of any size".to_owned(),
        (false, Some(least)) => format!(
            "none so small as the one that was tried; at least {}",
            human_size(least)
        ),
        (false, None) => "none: blobs are sent whole".to_owned(),
    };
    Check::ok(GROUP, name, format!("{chunks}; {cancels}"))
        .detail("chunks", found.chunks)
        .detail("smallest_chunk", json!(found.smallest_chunk))
        .detail("cancels", found.cancels)
}

fn deletion(found: Deletion) -> Check {
    let word = |deletes| match deletes {
        Deletes::Yes => "yes",
        Deletes::No => "no",
        Deletes::Denied => "denied",
        _ => "unclear",
    };
    let (manifests, tags, blobs) = (word(found.manifests), word(found.tags), word(found.blobs));
    let finding = format!("manifests: {manifests}; tags alone: {tags}; blobs: {blobs}");
    let check = if [found.manifests, found.tags, found.blobs].contains(&Deletes::Denied) {
        Check::warning(GROUP, "delete", finding)
            .hint("deleting takes an account that may; nothing else suffers")
    } else {
        Check::ok(GROUP, "delete", finding)
    };
    check
        .detail("manifests", manifests)
        .detail("tags", tags)
        .detail("blobs", blobs)
}

/// Whether nothing at all may be deleted.
fn is_denied(found: Deletion) -> bool {
    [found.manifests, found.tags, found.blobs]
        .iter()
        .all(|deletes| *deletes == Deletes::Denied)
}

fn mounts(found: Mounts) -> Check {
    let name = "mount";
    match found {
        Mounts::Yes => Check::ok(GROUP, name, "blobs are taken from other repositories")
            .detail("mounts", "yes"),
        Mounts::Refused { status } => Check::ok(
            GROUP,
            name,
            format!("refused ({}): blobs are sent again", status.as_u16()),
        )
        .detail("mounts", "refused")
        .detail("status", status.as_u16()),
        _ => Check::ok(GROUP, name, "none: blobs are sent again").detail("mounts", "no"),
    }
}
