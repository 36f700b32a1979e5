//! Platforms: operating system, architecture, variant.

mod fit;
mod names;

use std::fmt;
use std::str::FromStr;

use crate::json::{Builder, Fields, FromJson, Json, JsonError, ToJson, UnknownFields, json_serde};
use crate::text::Excerpt;
pub(crate) use fit::Fit;

/// A text that is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is not a platform; the form is `os/architecture[/variant][:os.version]`, as in `linux/arm64`",
    Excerpt(text)
)]
pub struct PlatformError {
    text: String,
}

/// What a manifest of an index is for.
///
/// As text it is `os/architecture[/variant][:os.version]`. Parsing text normalises it (see [`Platform::normalized`]);
/// a platform that was read from a manifest stays as written there.
///
/// ```
/// # fn main() -> Result<(), peak_oci::PlatformError> {
/// use peak_oci::Platform;
/// let platform: Platform = "linux/aarch64".parse()?;
/// assert_eq!(platform, Platform::new("linux", "arm64"));
/// assert_eq!(platform.to_string(), "linux/arm64");
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Platform {
    /// The operating system, `linux`.
    pub os: String,
    /// The processor architecture, `amd64`.
    pub architecture: String,
    /// The variant of the architecture, `v7`.
    pub variant: Option<String>,
    /// The version of the operating system, for Windows.
    pub os_version: Option<String>,
    /// Features of the operating system that are needed, for Windows.
    pub os_features: Vec<String>,
    /// Members that this version does not know.
    pub unknown: UnknownFields,
}

impl Platform {
    /// A platform without variant and version, as given.
    pub fn new(os: impl Into<String>, architecture: impl Into<String>) -> Self {
        Self {
            os: os.into(),
            architecture: architecture.into(),
            variant: None,
            os_version: None,
            os_features: Vec::new(),
            unknown: UnknownFields::default(),
        }
    }

    /// Sets the variant.
    #[must_use]
    pub fn with_variant(mut self, variant: impl Into<String>) -> Self {
        self.variant = Some(variant.into());
        self
    }

    /// Sets the version of the operating system.
    #[must_use]
    pub fn with_os_version(mut self, os_version: impl Into<String>) -> Self {
        self.os_version = Some(os_version.into());
        self
    }

    /// The platform this program was built for, normalised. Images on macOS are those for Linux, so there it is `linux`.
    ///
    /// It has no variant but that of 32-bit ARM, which is taken for `v7`: what the processor can do beyond what every
    /// processor of its architecture can is not looked up.
    pub fn host() -> Self {
        let os = match std::env::consts::OS {
            "macos" => "linux",
            os => os,
        };
        // Rust has one name for both byte orders of these.
        let architecture = match std::env::consts::ARCH {
            "mips" if cfg!(target_endian = "little") => "mipsle",
            "mips64" if cfg!(target_endian = "little") => "mips64le",
            "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
            architecture => architecture,
        };
        Self::new(os, architecture).normalized()
    }

    /// The same platform by its usual names, those of Go: lower case; `x86_64` is `amd64`, `aarch64` is `arm64`, `i686` is
    /// `386`, `arm` without variant is `v7`, what `uname -m` says of 32-bit ARM (`armv7l`, `armv6l`) is `arm` with the
    /// variant, and the variants that mean the plain architecture (`arm64/v8`, `amd64/v1`) are left out.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        names::normalize(&mut self);
        self
    }

    /// Whether it says what it is for. `BuildKit` lists attestations under `unknown/unknown`.
    pub fn is_known(&self) -> bool {
        let says_something = |name: &str| !name.is_empty() && name != "unknown";
        says_something(&self.os) && says_something(&self.architecture)
    }

    /// How well content for `offered` runs where this platform is wanted: 0 is exact, more is worse, `None` is not at all.
    ///
    /// What counts, the first thing most:
    ///
    /// 1. A lower variant runs on a higher one: `arm/v7` runs `v6` and `v5`, `amd64/v3` runs `v2` and plain, `arm64/v9`
    ///    runs plain. Nearer ones are better.
    /// 2. A wanted `os.version` has to be the offered one. On Windows the same build will do too
    ///    (`10.0.20348.1129` runs `10.0.20348.169`), and, as a last resort, content that says no version. Where none is
    ///    wanted, every version will do.
    /// 3. The `os.features` that the content needs have to be among those wanted. Where none are wanted, content that
    ///    needs fewer is better.
    pub fn mismatch(&self, offered: &Self) -> Option<u32> {
        self.fit(offered).map(Fit::mismatch)
    }

    /// [`Platform::mismatch`], and what decides between equal ones.
    pub(crate) fn fit(&self, offered: &Self) -> Option<Fit> {
        Fit::of(&self.clone().normalized(), &offered.clone().normalized())
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.os, self.architecture)?;
        if let Some(variant) = &self.variant {
            write!(formatter, "/{variant}")?;
        }
        if let Some(version) = &self.os_version {
            write!(formatter, ":{version}")?;
        }
        Ok(())
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let error = || PlatformError {
            text: text.chars().take(200).collect(),
        };
        let (path, version) = match text.split_once(':') {
            Some((path, version)) => (path, Some(version)),
            None => (text, None),
        };
        let mut parts = path.split('/');
        let (Some(os), Some(architecture), variant, None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(error());
        };
        if ![Some(os), Some(architecture), variant, version]
            .into_iter()
            .flatten()
            .all(is_part)
        {
            return Err(error());
        }
        let mut platform = Self::new(os, architecture);
        platform.variant = variant.map(str::to_owned);
        platform.os_version = version.map(str::to_owned);
        Ok(platform.normalized())
    }
}

fn is_part(part: &str) -> bool {
    part.len() <= 64
        && part
            .bytes()
            .next()
            .is_some_and(|byte| byte.is_ascii_alphanumeric())
        && part
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+'))
}

impl FromJson for Platform {
    fn from_json(value: Json) -> Result<Self, JsonError> {
        let mut fields = Fields::exact(value)?;
        Ok(Self {
            architecture: fields.required("architecture")?,
            os: fields.required("os")?,
            os_version: fields.optional("os.version")?,
            os_features: fields.or_default("os.features")?,
            variant: fields.optional("variant")?,
            unknown: fields.rest(),
        })
    }
}

impl ToJson for Platform {
    fn to_json(&self) -> Json {
        Builder::new()
            .member("architecture", &self.architecture)
            .member("os", &self.os)
            .optional("os.version", self.os_version.as_ref())
            .unless_default("os.features", &self.os_features)
            .optional("variant", self.variant.as_ref())
            .finish(&self.unknown)
    }
}

json_serde!(Platform);
