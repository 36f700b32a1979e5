use crate::ImageStatus;

impl ImageStatus {
    /// Whether the version has an image that can be pulled.
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Ready | Self::InUse)
    }
}

#[cfg(test)]
mod tests {
    use crate::ImageStatus;

    #[test]
    fn what_is_in_use_is_ready_too() {
        assert!(ImageStatus::Ready.is_ready());
        assert!(ImageStatus::InUse.is_ready());
        assert!(!ImageStatus::NotReady.is_ready());
        assert!(!ImageStatus::from("archived").is_ready());
    }
}
