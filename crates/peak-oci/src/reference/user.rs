//! A user and a password before a host, as URLs have them and references do not.

use std::borrow::Cow;

/// What stands in place of a user and a password.
const HIDDEN: char = '…';

/// Algorithms that people write digests with, whether they can be used here or not.
const ALGORITHMS: [&str; 6] = ["sha256", "sha512", "sha384", "sha1", "md5", "blake3"];

/// A text that should be a reference or the name of a registry, fit to be shown: whatever stands before an `@` in its host
/// may be a password, and is hidden. The `@` of a digest hides nothing.
///
/// ```
/// use peak_oci::without_user;
/// assert_eq!(without_user("user:secret@registry.example/app:1"), "…@registry.example/app:1");
/// assert_eq!(without_user("registry.example/app@sha256:12ab"), "registry.example/app@sha256:12ab");
/// ```
pub fn without_user(text: &str) -> Cow<'_, str> {
    let Some(at) = user_end(text) else {
        return Cow::Borrowed(text);
    };
    let scheme = scheme_length(text);
    let (Some(scheme), Some(rest)) = (text.get(..scheme), text.get(at..)) else {
        return Cow::Borrowed("…");
    };
    Cow::Owned(format!("{scheme}{HIDDEN}{rest}"))
}

/// Whether it names a user beyond doubt. `ubuntu@latest` is rather a slip for `ubuntu:latest`.
pub(super) fn names_a_user(text: &str) -> bool {
    user_end(text).is_some_and(|at| {
        let (before, rest) = text.split_at_checked(at).unwrap_or_default();
        let is_address = before.contains(':') && rest.contains(['.', ':']);
        is_address || text.contains('/') || text.matches('@').count() > 1
    })
}

/// Where the user and the password end: at the last `@` of the host. A password may have slashes in it.
fn user_end(text: &str) -> Option<usize> {
    let start = scheme_length(text);
    let rest = text.get(start..)?;
    let name = match rest.rsplit_once('@') {
        Some((name, digest)) if is_like_a_digest(digest) => name,
        _ => rest,
    };
    let host = name.split('/').next().unwrap_or(name);
    let of_host = host.rfind('@');
    let of_password = || {
        let at = name.rfind('@')?;
        (name.get(at..)?.contains('/') || !may_be_a_host(host)).then_some(at)
    };
    of_host.max(of_password()).map(|at| start + at)
}

/// Behind the colon of a host is a port, or it is an IPv6 address.
fn may_be_a_host(text: &str) -> bool {
    text.starts_with('[')
        || text
            .split_once(':')
            .is_none_or(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
}

fn scheme_length(text: &str) -> usize {
    const SCHEMES: [&str; 4] = ["https://", "http://", "docker://", "docker-daemon:"];
    let scheme = SCHEMES.iter().find(|scheme| text.starts_with(*scheme));
    scheme.map_or(0, |scheme| scheme.len())
}

fn is_like_a_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, hash)| {
        ALGORITHMS.contains(&algorithm.to_ascii_lowercase().as_str()) && !hash.contains('/')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_password_is_hidden_and_a_digest_is_not() {
        for (text, shown) in [
            ("user:secret@host.example", "…@host.example"),
            (
                "secret@host.example:5000/app:1",
                "…@host.example:5000/app:1",
            ),
            ("http://user:secret@host.example", "http://…@host.example"),
            (
                "docker://user:secret@host.example/app",
                "docker://…@host.example/app",
            ),
            ("user:se@cret@host.example/app", "…@host.example/app"),
            ("user:se/cret@host.example/app", "…@host.example/app"),
            ("user:se/cret@host.example", "…@host.example"),
            (
                "docker-daemon:user:secret@host.example/app",
                "docker-daemon:…@host.example/app",
            ),
            ("user:secret@[::1]:5000/app", "…@[::1]:5000/app"),
            (
                "user:secret@host.example/app@sha256:12",
                "…@host.example/app@sha256:12",
            ),
            (
                "user:secret@host.example@sha256:12",
                "…@host.example@sha256:12",
            ),
            ("secret@latest", "…@latest"),
            ("@", "…@"),
        ] {
            assert_eq!(without_user(text), shown, "{text}");
        }
        for text in [
            "",
            "ubuntu",
            "ubuntu:24.04",
            "ubuntu@sha256:12",
            "ubuntu:24.04@md5:12",
            "ubuntu@SHA256:AB",
            "host.example:5000/app:1@sha256:12",
            "host.example/app@latest",
            "host.example:5000/app@latest",
            "[::1]/app@latest",
            "https://host.example/app@sha512:12",
        ] {
            assert_eq!(without_user(text), text);
        }
    }
}
