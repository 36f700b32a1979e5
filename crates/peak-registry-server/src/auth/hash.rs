//! One password's hash, as a users file has it.

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, Params, PasswordVerifier, Version};

/// The costliest bcrypt that is used: 2^16 rounds take seconds.
const MAX_BCRYPT_COST: u32 = 16;
/// The most memory that one argon2 hash may take, in KiB: 256 MiB.
const MAX_ARGON2_MEMORY: u32 = 256 * 1024;
/// The most work that one argon2 hash may be, in KiB times passes: about a second.
const MAX_ARGON2_WORK: u64 = 1024 * 1024;
/// The most lanes of argon2.
const MAX_ARGON2_LANES: u32 = 16;

/// The hash of a password, which is known to be usable and bounded in what it costs.
#[derive(Clone)]
pub(crate) enum PasswordHash {
    /// As text: the crate takes it so.
    Bcrypt(Box<str>),
    Argon2(Box<phc::PasswordHash>),
}

/// Why a text is no hash that is used. It does not quote the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HashError {
    #[error("{kind} is refused, as it is broken in no time; make the line anew with `htpasswd -B`")]
    Weak { kind: &'static str },
    #[error(
        "this is neither a bcrypt nor an argon2 hash; make the line with `htpasswd -B` (plain text and crypt are refused)"
    )]
    Unknown,
    #[error("the hash is cut off or has characters that do not belong there")]
    Malformed,
    #[error("the bcrypt cost is {cost}; it may be 4 to {MAX_BCRYPT_COST}")]
    BcryptCost { cost: u32 },
    #[error("{variant} is refused; use argon2id")]
    Variant { variant: &'static str },
    #[error("the argon2 parameters cannot be used; m=19456,t=2,p=1 are good ones")]
    Argon2Parameters,
    #[error(
        "the argon2 parameters ask for too much; memory may be m=262144 (256 MiB), memory times passes 1048576, lanes 16"
    )]
    Argon2Cost,
}

impl PasswordHash {
    pub(crate) fn parse(text: &str) -> Result<Self, HashError> {
        let scheme = text
            .strip_prefix('$')
            .and_then(|rest| rest.split_once('$'))
            .map(|(scheme, _)| scheme);
        match scheme {
            Some("2a" | "2b" | "2y") => bcrypt_hash(text),
            Some("2x") => Err(HashError::Variant {
                variant: "bcrypt with the prefix $2x$",
            }),
            Some("argon2id" | "argon2i") => argon2_hash(text),
            Some("argon2d") => Err(HashError::Variant { variant: "argon2d" }),
            Some("apr1" | "1") => Err(HashError::Weak { kind: "MD5" }),
            Some("5" | "6") => Err(HashError::Weak { kind: "SHA crypt" }),
            _ if text.starts_with("{SHA}") => Err(HashError::Weak { kind: "SHA-1" }),
            _ => Err(HashError::Unknown),
        }
    }

    /// Whether this is the hash of the password. Takes long, on purpose.
    ///
    /// bcrypt looks at the first 72 bytes of a password, as everywhere.
    pub(crate) fn is_of(&self, password: &[u8]) -> bool {
        match self {
            Self::Bcrypt(hash) => bcrypt::verify(password, hash).unwrap_or(false),
            Self::Argon2(hash) => Argon2::default().verify_password(password, &**hash).is_ok(),
        }
    }
}

fn bcrypt_hash(text: &str) -> Result<PasswordHash, HashError> {
    let parts: bcrypt::HashParts = text.parse().map_err(|_| HashError::Malformed)?;
    let cost = parts.get_cost();
    if (4..=MAX_BCRYPT_COST).contains(&cost) {
        Ok(PasswordHash::Bcrypt(text.into()))
    } else {
        Err(HashError::BcryptCost { cost })
    }
}

fn argon2_hash(text: &str) -> Result<PasswordHash, HashError> {
    let hash = phc::PasswordHash::new(text).map_err(|_| HashError::Malformed)?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(HashError::Malformed);
    }
    Algorithm::new(hash.algorithm.as_str()).map_err(|_| HashError::Argon2Parameters)?;
    // What is not said is 0x10 in old files, and the crate would take it for 0x13.
    hash.version
        .and_then(|version| Version::try_from(version).ok())
        .ok_or(HashError::Argon2Parameters)?;
    let params = Params::try_from(&hash).map_err(|_| HashError::Argon2Parameters)?;
    let work = u64::from(params.m_cost()) * u64::from(params.t_cost());
    if params.m_cost() > MAX_ARGON2_MEMORY
        || work > MAX_ARGON2_WORK
        || params.p_cost() > MAX_ARGON2_LANES
    {
        return Err(HashError::Argon2Cost);
    }
    Ok(PasswordHash::Argon2(Box::new(hash)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `secret`, as `htpasswd -bnB -C 5` and the C library have it.
    const BCRYPT: &str = "$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";

    /// `password`, from the tests of the reference implementation.
    const ARGON2I: &str =
        "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA";
    const ARGON2ID: &str =
        "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

    fn error(text: &str) -> HashError {
        PasswordHash::parse(text).err().unwrap()
    }

    #[test]
    fn bcrypt_of_every_prefix_is_verified() {
        for prefix in ["$2a$", "$2b$", "$2y$"] {
            let hash = PasswordHash::parse(&BCRYPT.replace("$2y$", prefix)).unwrap();
            assert!(hash.is_of(b"secret"), "{prefix}");
            assert!(!hash.is_of(b"Secret") && !hash.is_of(b"") && !hash.is_of(b"secret\0"));
        }
    }

    #[test]
    fn argon2_is_verified_with_the_parameters_of_its_text() {
        for text in [ARGON2I, ARGON2ID] {
            let hash = PasswordHash::parse(text).unwrap();
            assert!(hash.is_of(b"password"), "{text}");
            assert!(!hash.is_of(b"Password") && !hash.is_of(b""), "{text}");
        }
        let mixed = ARGON2I.replace("argon2i", "argon2id");
        assert!(!PasswordHash::parse(&mixed).unwrap().is_of(b"password"));
    }

    #[test]
    fn what_is_weak_or_no_hash_is_refused_with_a_way_out() {
        for (text, expected) in [
            ("$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00", "htpasswd -B"),
            ("$1$abc$def", "MD5"),
            ("{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs=", "SHA-1"),
            ("$6$abc$def", "SHA crypt"),
            ("rl6sY0Cq0Gdbs", "neither"),
            ("secret", "neither"),
            ("", "neither"),
            ("$2x$05$abc", "$2x$"),
            ("$argon2d$v=19$m=64,t=3,p=2$c29tZSBzYWx0$AAAA", "argon2id"),
            (&BCRYPT[..59], "cut off"),
            (&format!("{BCRYPT}x"), "cut off"),
            (&BCRYPT.replace("OQiy", "OQ!y"), "cut off"),
            (&BCRYPT.replace("$05$", "$17$"), "cost is 17"),
            (&BCRYPT.replace("$05$", "$31$"), "cost is 31"),
            (&BCRYPT.replace("$05$", "$03$"), "cost is 3"),
            ("$argon2id$v=19$m=64,t=3,p=2", "cut off"),
        ] {
            let message = error(text).to_string();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }

    #[test]
    fn argon2_that_would_stall_the_registry_is_refused() {
        for parameters in [
            "m=4194304,t=1,p=1",
            "m=65536,t=1000,p=1",
            "m=4096,t=4294967295,p=1",
            "m=4096,t=1,p=100",
        ] {
            let text = ARGON2ID.replace("m=65536,t=2,p=1", parameters);
            assert_eq!(error(&text), HashError::Argon2Cost, "{parameters}");
        }
        for parameters in ["m=1,t=1,p=1", "m=64,t=0,p=1", "m=64,t=1,p=1,x=1"] {
            let text = ARGON2ID.replace("m=65536,t=2,p=1", parameters);
            assert_eq!(error(&text), HashError::Argon2Parameters, "{parameters}");
        }
        assert_eq!(
            error(&ARGON2ID.replace("$v=19", "")),
            HashError::Argon2Parameters
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(\\$(2y|2a|argon2id|argon2i)\\$(v=19\\$)?(m=[0-9]{1,10},t=[0-9]{1,10},p=[0-9]{1,10}\\$)?)?\\PC{0,70}") {
            let _ = PasswordHash::parse(&text).is_ok();
        }
    }
}
