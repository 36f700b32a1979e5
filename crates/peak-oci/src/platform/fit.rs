//! How well content for one platform runs on another.

use std::cmp::Reverse;

use super::Platform;

/// How well content fits; the least is the best. The fields are compared in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fit {
    /// How far the offered variant is below the wanted one.
    variant: u32,
    version: VersionFit,
    /// How many features are needed that nothing is known about.
    features: usize,
    /// The revision of the same Windows build: the newest has the fewest faults.
    revision: Reverse<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum VersionFit {
    /// It is the wanted one, or none was wanted.
    Exact,
    /// Another revision of the same Windows build.
    SameBuild,
    /// The content says no version, as images that run in the host's own process space do.
    Unsaid,
}

impl Fit {
    /// How `offered` runs on `wanted`, both normalised.
    pub(super) fn of(wanted: &Platform, offered: &Platform) -> Option<Self> {
        if wanted.os != offered.os || wanted.architecture != offered.architecture {
            return None;
        }
        let (version, revision) = version_fit(wanted, offered)?;
        Some(Self {
            variant: variant_distance(wanted, offered)?,
            version,
            features: unknown_features(wanted, offered)?,
            revision: Reverse(revision),
        })
    }

    /// As a number; the revision, which is no mismatch, is left out.
    pub(super) fn mismatch(self) -> u32 {
        // One digit each, so that a nearer variant counts more than everything else.
        let features = u32::try_from(self.features.min(9)).unwrap_or(9);
        self.variant
            .saturating_mul(100)
            .saturating_add(self.version as u32 * 10 + features)
    }

    /// Whether variant and version are the wanted ones, and not only good enough.
    pub(crate) fn is_same_platform(self) -> bool {
        self.variant == 0 && self.version != VersionFit::Unsaid
    }
}

fn variant_distance(wanted: &Platform, offered: &Platform) -> Option<u32> {
    if wanted.variant == offered.variant {
        return Some(0);
    }
    let (wanted_major, wanted_minor) = level(wanted)?;
    let (offered_major, offered_minor) = level(offered)?;
    let runs = match (wanted.architecture.as_str(), wanted_major, offered_major) {
        // ARMv9.x was made from ARMv8.(x + 5), so the two rows are not one line.
        ("arm64", 9, 8) => offered_minor <= wanted_minor.saturating_add(5),
        _ => (offered_major, offered_minor) < (wanted_major, wanted_minor),
    };
    let position = |major: u32, minor: u32| major.saturating_mul(100).saturating_add(minor);
    runs.then(|| {
        position(wanted_major, wanted_minor)
            .saturating_sub(position(offered_major, offered_minor))
            .max(1)
    })
}

/// The number of an architecture's variant, where numbers are ordered so that the higher runs the lower.
fn level(platform: &Platform) -> Option<(u32, u32)> {
    let plain = match platform.architecture.as_str() {
        "amd64" => 1,
        "arm64" => 8,
        "arm" => 7,
        _ => return None,
    };
    let Some(variant) = &platform.variant else {
        return Some((plain, 0));
    };
    let number = variant.strip_prefix('v')?;
    let (major, minor) = number.split_once('.').unwrap_or((number, "0"));
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// How the versions fit, and the offered revision where that can decide.
fn version_fit(wanted: &Platform, offered: &Platform) -> Option<(VersionFit, u64)> {
    let Some(wanted_version) = &wanted.os_version else {
        return Some((VersionFit::Exact, 0));
    };
    let is_windows = wanted.os == "windows";
    match &offered.os_version {
        Some(version) if version == wanted_version => Some((VersionFit::Exact, 0)),
        Some(version) if is_windows => {
            let (build, revision) = build(version)?;
            let (wanted_build, _) = self::build(wanted_version)?;
            (build == wanted_build).then_some((VersionFit::SameBuild, revision))
        }
        None if is_windows => Some((VersionFit::Unsaid, 0)),
        _ => None,
    }
}

/// Major, minor and build of a Windows version, and its revision: `10.0.17763.1339`.
fn build(version: &str) -> Option<([u64; 3], u64)> {
    let mut numbers = version.split('.').map(|number| number.parse().ok());
    let mut next = || numbers.next();
    let build = [next()??, next()??, next()??];
    let revision = next().unwrap_or(Some(0))?;
    Some((build, revision))
}

/// How many features the offered needs beyond those wanted, if that is no reason to refuse it.
fn unknown_features(wanted: &Platform, offered: &Platform) -> Option<usize> {
    if wanted.os_features.is_empty() {
        return Some(offered.os_features.len());
    }
    let has_all = offered
        .os_features
        .iter()
        .all(|feature| wanted.os_features.contains(feature));
    has_all.then_some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mismatch(wanted: &str, offered: &str) -> Option<u32> {
        let parse = |text: &str| text.parse::<Platform>().unwrap();
        parse(wanted).mismatch(&parse(offered))
    }

    /// Best first; what stands behind `!` does not run at all.
    fn check(wanted: &str, best_first: &[&str], never: &[&str]) {
        let ranks: Vec<_> = best_first
            .iter()
            .map(|offered| mismatch(wanted, offered).unwrap_or_else(|| panic!("{offered}")))
            .collect();
        assert!(
            ranks.is_sorted_by(|left, right| left < right),
            "{wanted}: {best_first:?} have {ranks:?}"
        );
        for offered in never {
            assert_eq!(mismatch(wanted, offered), None, "{offered} on {wanted}");
        }
    }

    #[test]
    fn lower_variants_run_on_higher_ones() {
        check(
            "linux/arm/v7",
            &["linux/arm", "linux/arm/v6", "linux/arm/v5"],
            &["linux/arm/v8", "linux/arm64", "linux/amd64"],
        );
        check(
            "linux/amd64/v3",
            &["linux/amd64/v3", "linux/amd64/v2", "linux/amd64/v1"],
            &["linux/amd64/v4", "linux/386"],
        );
        check("linux/amd64", &["linux/amd64/v1"], &["linux/amd64/v2"]);
        check("linux/arm64/v8", &["linux/arm64"], &["linux/arm64/v9"]);
        check(
            "linux/arm64/v9",
            &[
                "linux/arm64/v9.0",
                "linux/arm64/v8.5",
                "linux/arm64/v8.1",
                "linux/arm64",
            ],
            &["linux/arm64/v9.1", "linux/arm64/v8.6"],
        );
        check(
            "linux/s390x/z13",
            &["linux/s390x/z13"],
            &["linux/s390x", "linux/s390x/z12"],
        );
        check("linux/amd64", &["linux/amd64"], &["windows/amd64"]);
    }

    #[test]
    fn windows_runs_what_is_of_its_build() {
        check(
            "windows/amd64:10.0.20348.1129",
            &[
                "windows/amd64:10.0.20348.1129",
                "windows/amd64:10.0.20348.169",
                "windows/amd64",
            ],
            &[
                "windows/amd64:10.0.17763.1129",
                "windows/amd64:10.1.20348.1129",
                "windows/amd64:x",
            ],
        );
        check("windows/amd64", &["windows/amd64:10.0.20348.1129"], &[]);
        check(
            "windows/amd64:10.0.20348",
            &["windows/amd64:10.0.20348.7"],
            &[],
        );
        // Elsewhere a version is only itself.
        check(
            "freebsd/amd64:14.1.1.1",
            &["freebsd/amd64:14.1.1.1"],
            &["freebsd/amd64:14.1.1.2", "freebsd/amd64"],
        );
    }

    #[test]
    fn needed_features_have_to_be_there() {
        let plain = Platform::new("windows", "amd64");
        let with = |features: &[&str]| {
            let mut platform = plain.clone();
            platform.os_features = features.iter().map(|&feature| feature.to_owned()).collect();
            platform
        };
        assert_eq!(plain.mismatch(&plain), Some(0));
        assert_eq!(plain.mismatch(&with(&["win32k"])), Some(1));
        assert_eq!(with(&["win32k", "b"]).mismatch(&with(&["win32k"])), Some(0));
        assert_eq!(with(&["win32k"]).mismatch(&plain), Some(0));
        assert_eq!(with(&["b"]).mismatch(&with(&["win32k"])), None);
    }
}
