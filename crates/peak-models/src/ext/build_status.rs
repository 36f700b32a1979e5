use crate::BuildStatus;

impl BuildStatus {
    /// Whether the build has ended and its status will not change any more.
    ///
    /// A status that nobody knows yet does not count as an end: asking once more is better than missing the rest.
    pub fn is_terminal(&self) -> bool {
        match self {
            Self::Failed | Self::Success | Self::Stopped => true,
            Self::Building | Self::Stopping | Self::Unknown(_) => false,
        }
    }

    /// Whether the build has ended with an image.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Success)
    }
}

#[cfg(test)]
mod tests {
    use crate::BuildStatus;

    #[test]
    fn a_build_ends_in_three_ways() {
        let terminal: Vec<&BuildStatus> = BuildStatus::KNOWN
            .iter()
            .filter(|status| status.is_terminal())
            .collect();
        assert_eq!(
            terminal,
            [
                &BuildStatus::Failed,
                &BuildStatus::Success,
                &BuildStatus::Stopped
            ]
        );
        assert!(!BuildStatus::from("queued").is_terminal());
    }

    #[test]
    fn only_success_is_success() {
        let successes = BuildStatus::KNOWN
            .iter()
            .filter(|status| status.is_success());
        assert_eq!(successes.count(), 1);
    }
}
