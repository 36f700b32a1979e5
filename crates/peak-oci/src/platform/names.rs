//! The many names of operating systems and architectures.

use super::Platform;

/// Gives everything its usual name.
pub(super) fn normalize(platform: &mut Platform) {
    platform.os = match platform.os.to_ascii_lowercase() {
        os if os == "macos" => "darwin".to_owned(),
        os => os,
    };
    let written = platform.architecture.to_ascii_lowercase();
    let variant = platform
        .variant
        .take()
        .map(|variant| variant.to_ascii_lowercase())
        .filter(|variant| !variant.is_empty());
    let (architecture, implied) = architecture(&written);
    platform.variant = match architecture {
        "amd64" => variant.map(level).filter(|variant| variant != "v1"),
        "arm64" => variant.map(level).filter(|variant| variant != "v8"),
        "arm" => implied
            .map(str::to_owned)
            .or_else(|| variant.map(level))
            .or_else(|| Some("v7".to_owned())),
        _ => variant,
    };
    architecture.clone_into(&mut platform.architecture);
    platform.os_version = platform
        .os_version
        .take()
        .filter(|version| !version.is_empty());
}

/// Go's name of an architecture, and for 32-bit ARM the variant that the name implies.
fn architecture(written: &str) -> (&str, Option<&'static str>) {
    let name = match written {
        "x86_64" | "x86-64" => "amd64",
        "i386" | "i486" | "i586" | "i686" | "x86" => "386",
        "aarch64" => "arm64",
        "armel" | "armv6l" | "armv6" => return ("arm", Some("v6")),
        "armhf" | "armv7l" | "armv7" => return ("arm", Some("v7")),
        "armv8l" => return ("arm", Some("v8")),
        "armv5l" | "armv5tel" | "armv5tejl" => return ("arm", Some("v5")),
        "loongarch64" => "loong64",
        "mipsel" => "mipsle",
        "mips64el" => "mips64le",
        "powerpc64" => "ppc64",
        "powerpc64le" | "ppc64el" => "ppc64le",
        other => other,
    };
    (name, None)
}

/// A level with its letter and without a zero behind the dot: `8`, `v8` and `v8.0` are one.
fn level(variant: String) -> String {
    let variant = match variant.strip_suffix(".0") {
        Some(major) => major.to_owned(),
        None => variant,
    };
    if variant.starts_with(|first: char| first.is_ascii_digit()) {
        format!("v{variant}")
    } else {
        variant
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised() {
        for (written, normalised) in [
            ("linux/x86_64", "linux/amd64"),
            ("Linux/AMD64/v1", "linux/amd64"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("linux/amd64/3", "linux/amd64/v3"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/arm64/8", "linux/arm64"),
            ("linux/arm64/v8.0", "linux/arm64"),
            ("linux/arm64/v8.2", "linux/arm64/v8.2"),
            ("linux/arm64/v9.0", "linux/arm64/v9"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/6", "linux/arm/v6"),
            ("linux/armhf", "linux/arm/v7"),
            ("linux/armel", "linux/arm/v6"),
            ("linux/armv6l", "linux/arm/v6"),
            ("linux/armv7l", "linux/arm/v7"),
            ("linux/armv8l", "linux/arm/v8"),
            ("linux/i386", "linux/386"),
            ("linux/i686", "linux/386"),
            ("linux/ppc64el", "linux/ppc64le"),
            ("linux/riscv64", "linux/riscv64"),
            ("macos/arm64", "darwin/arm64"),
            ("windows/amd64:10.0.17763.1", "windows/amd64:10.0.17763.1"),
        ] {
            let platform: Platform = written.parse().unwrap();
            assert_eq!(platform.to_string(), normalised);
            assert_eq!(platform.clone().normalized(), platform, "{written}");
        }
    }

    #[test]
    fn empty_members_of_a_document_say_nothing() {
        let mut platform = Platform::new("linux", "arm64");
        platform.variant = Some(String::new());
        platform.os_version = Some(String::new());
        assert_eq!(platform.normalized(), Platform::new("linux", "arm64"));
        assert!(!Platform::new("unknown", "unknown").is_known());
        assert!(!Platform::new("", "").is_known());
    }
}
