//! Platforms: operating system, architecture, variant.

use std::fmt;
use std::str::FromStr;

use crate::json::{Builder, Fields, FromJson, Json, JsonError, ToJson, UnknownFields, json_serde};
use crate::text::Excerpt;

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
    pub fn host() -> Self {
        let os = match std::env::consts::OS {
            "macos" => "linux",
            os => os,
        };
        Self::new(os, std::env::consts::ARCH).normalized()
    }

    /// The same platform by its usual names: lower case; `x86_64` is `amd64`, `aarch64` is `arm64`, `arm` without variant
    /// is `v7`, and the variants that mean the plain architecture (`arm64/v8`, `amd64/v1`) are left out.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        self.os = match self.os.to_ascii_lowercase() {
            os if os == "macos" => "darwin".to_owned(),
            os => os,
        };
        let variant = self
            .variant
            .map(|variant| variant.to_ascii_lowercase())
            .filter(|variant| !variant.is_empty());
        let architecture = self.architecture.to_ascii_lowercase();
        let (architecture, variant) = match architecture.as_str() {
            "x86_64" | "x86-64" | "amd64" => (
                "amd64".to_owned(),
                variant.filter(|variant| variant != "v1"),
            ),
            "i386" | "i686" | "x86" | "386" => ("386".to_owned(), variant),
            "aarch64" | "arm64" => (
                "arm64".to_owned(),
                variant.filter(|variant| !matches!(variant.as_str(), "v8" | "8")),
            ),
            "armhf" => ("arm".to_owned(), Some("v7".to_owned())),
            "armel" => ("arm".to_owned(), Some("v6".to_owned())),
            "arm" => ("arm".to_owned(), Some(normalize_arm_variant(variant))),
            "powerpc64le" => ("ppc64le".to_owned(), variant),
            _ => (architecture, variant),
        };
        self.architecture = architecture;
        self.variant = variant;
        self.os_version = self.os_version.filter(|version| !version.is_empty());
        self
    }

    /// How well content for `offered` runs where this platform is wanted: 0 is exact, more is worse, `None` is not at all.
    ///
    /// A lower variant runs on a higher one: `arm/v7` runs `v6` and `v5`, `amd64/v3` runs `v2` and plain, `arm64/v9` runs
    /// plain. A wanted `os.version` has to be the offered one; where none is wanted, every version will do.
    pub fn mismatch(&self, offered: &Self) -> Option<u32> {
        let wanted = self.clone().normalized();
        let offered = offered.clone().normalized();
        let same_version = wanted.os_version.is_none() || wanted.os_version == offered.os_version;
        if wanted.os != offered.os || wanted.architecture != offered.architecture || !same_version {
            return None;
        }
        if wanted.variant == offered.variant {
            return Some(0);
        }
        variant_level(&wanted)?
            .checked_sub(variant_level(&offered)?)
            .filter(|distance| *distance > 0)
    }
}

/// The number of an architecture's variant, where numbers are ordered so that the higher runs the lower.
fn variant_level(platform: &Platform) -> Option<u32> {
    let plain = match platform.architecture.as_str() {
        "amd64" => 1,
        "arm64" => 8,
        "arm" => 7,
        _ => return None,
    };
    match &platform.variant {
        None => Some(plain),
        Some(variant) => variant.strip_prefix('v')?.parse().ok(),
    }
}

fn normalize_arm_variant(variant: Option<String>) -> String {
    match variant {
        None => "v7".to_owned(),
        Some(variant) if matches!(variant.as_str(), "5" | "6" | "7" | "8") => format!("v{variant}"),
        Some(variant) => variant,
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
        let mut fields = Fields::of(value)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised() {
        for (written, normalised) in [
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AMD64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/i686", "linux/386"),
            ("macos/arm64", "darwin/arm64"),
            ("windows/amd64:10.0.17763.1", "windows/amd64:10.0.17763.1"),
        ] {
            assert_eq!(written.parse::<Platform>().unwrap().to_string(), normalised);
        }
    }
}
