//! Sizes as people read them.

use std::fmt;

/// Displays a number of bytes in binary units: `512 B`, `1.5 KiB`, `10.0 MiB`.
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        for (unit, shift) in UNITS {
            if self.0 >> shift > 0 {
                let whole = self.0 >> shift;
                // Tenths, rounded down: 10 MiB and one byte must not read as more than it is.
                let tenths = ((self.0 >> (shift - 10)) & 1023) * 10 / 1024;
                return write!(formatter, "{whole}.{tenths} {unit}");
            }
        }
        write!(formatter, "{} B", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Size;

    #[test]
    fn units_change_at_powers_of_1024() {
        let texts = [0, 1023, 1024, 1536, 10 * 1024 * 1024, 3 << 30, 1 << 40]
            .map(|bytes| Size(bytes).to_string());
        assert_eq!(
            texts,
            [
                "0 B", "1023 B", "1.0 KiB", "1.5 KiB", "10.0 MiB", "3.0 GiB", "1.0 TiB"
            ]
        );
    }
}
