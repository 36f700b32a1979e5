//! Sizes as people read them.

use std::fmt;

/// Displays a number of bytes in decimal units, as registries and Docker give sizes: `512 B`, `1.5 kB`, `10.4 MB`.
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u64); 4] = [
            ("TB", 1_000_000_000_000),
            ("GB", 1_000_000_000),
            ("MB", 1_000_000),
            ("kB", 1_000),
        ];
        for (name, unit) in UNITS {
            if self.0 >= unit {
                // Tenths, rounded down: what is below a limit must not read as if it were over it.
                let tenths = self.0 / (unit / 10) % 10;
                return write!(formatter, "{}.{tenths} {name}", self.0 / unit);
            }
        }
        write!(formatter, "{} B", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Size;

    #[test]
    fn units_change_at_powers_of_1000() {
        let texts = [
            0,
            999,
            1000,
            1599,
            10 * 1024 * 1024,
            3_000_000_000,
            u64::MAX,
        ]
        .map(|bytes| Size(bytes).to_string());
        assert_eq!(
            texts,
            [
                "0 B",
                "999 B",
                "1.0 kB",
                "1.5 kB",
                "10.4 MB",
                "3.0 GB",
                "18446744.0 TB"
            ]
        );
    }
}
