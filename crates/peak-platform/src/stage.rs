//! The platform's installations.

use std::fmt;
use std::str::FromStr;

use crate::config::SessionError;

/// The platform's installations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Stage {
    /// `https://service.peak.ai`
    #[default]
    Prod,
    /// `https://service.dev.peak.ai`
    Latest,
    /// `https://service.dev.peak.ai`
    Dev,
    /// `https://service.test.peak.ai`
    Test,
    /// `https://service.beta.peak.ai`
    Beta,
    /// `https://service.parvati.peak.ai`
    Parvati,
}

impl Stage {
    /// The names of all stages.
    pub const NAMES: [&'static str; 6] = ["prod", "latest", "dev", "test", "beta", "parvati"];

    /// The stage's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prod => "prod",
            Self::Latest => "latest",
            Self::Dev => "dev",
            Self::Test => "test",
            Self::Beta => "beta",
            Self::Parvati => "parvati",
        }
    }

    pub(crate) fn base_url(self) -> &'static str {
        match self {
            Self::Prod => "https://service.peak.ai",
            Self::Latest | Self::Dev => "https://service.dev.peak.ai",
            Self::Test => "https://service.test.peak.ai",
            Self::Beta => "https://service.beta.peak.ai",
            Self::Parvati => "https://service.parvati.peak.ai",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Stage {
    type Err = SessionError;

    fn from_str(name: &str) -> Result<Self, SessionError> {
        match name {
            "prod" => Ok(Self::Prod),
            "latest" => Ok(Self::Latest),
            "dev" => Ok(Self::Dev),
            "test" => Ok(Self::Test),
            "beta" => Ok(Self::Beta),
            "parvati" => Ok(Self::Parvati),
            _ => Err(SessionError::UnknownStage {
                name: name.to_owned(),
            }),
        }
    }
}
