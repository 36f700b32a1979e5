//! Apolo image names and image operations.
