//! The hash functions, from the `sha2` crate or, with the feature `aws-lc-rs`, from that one. They give the same bytes.

#[cfg(feature = "aws-lc-rs")]
pub(crate) use aws_lc::State;
#[cfg(not(feature = "aws-lc-rs"))]
pub(crate) use pure::State;

#[cfg(any(test, not(feature = "aws-lc-rs")))]
mod pure {
    use sha2::Digest as _;

    use crate::digest::Algorithm;

    /// A hash that is being computed.
    #[derive(Clone)]
    pub(crate) enum State {
        Sha256(sha2::Sha256),
        Sha512(sha2::Sha512),
    }

    impl State {
        pub(crate) fn new(algorithm: Algorithm) -> Self {
            match algorithm {
                Algorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
                Algorithm::Sha512 => Self::Sha512(sha2::Sha512::new()),
            }
        }

        pub(crate) fn update(&mut self, bytes: &[u8]) {
            match self {
                Self::Sha256(state) => state.update(bytes),
                Self::Sha512(state) => state.update(bytes),
            }
        }

        pub(crate) fn finish(self) -> Vec<u8> {
            match self {
                Self::Sha256(state) => state.finalize().to_vec(),
                Self::Sha512(state) => state.finalize().to_vec(),
            }
        }
    }
}

#[cfg(feature = "aws-lc-rs")]
mod aws_lc {
    use aws_lc_rs::digest::{Context, SHA256, SHA512};

    use crate::digest::Algorithm;

    /// A hash that is being computed.
    #[derive(Clone)]
    pub(crate) struct State(Context);

    impl State {
        pub(crate) fn new(algorithm: Algorithm) -> Self {
            Self(Context::new(match algorithm {
                Algorithm::Sha256 => &SHA256,
                Algorithm::Sha512 => &SHA512,
            }))
        }

        pub(crate) fn update(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }

        pub(crate) fn finish(self) -> Vec<u8> {
            self.0.finish().as_ref().to_vec()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{State, pure};
    use crate::digest::Algorithm;

    /// With the feature this compares the two; without it, one piece with many.
    #[test]
    fn whichever_computes_it_a_hash_is_the_same() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            for length in [0_usize, 1, 63, 64, 65, 127, 128, 129, 10_000] {
                let bytes = vec![length.to_le_bytes()[0]; length];
                let mut whole = pure::State::new(algorithm);
                whole.update(&bytes);
                let mut pieces = State::new(algorithm);
                for piece in bytes.chunks(7) {
                    pieces = pieces.clone();
                    pieces.update(piece);
                }
                assert_eq!(pieces.finish(), whole.finish(), "{algorithm} of {length}");
            }
        }
    }
}
