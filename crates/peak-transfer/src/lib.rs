//! Moves images from any source to any destination: streamed, verified, several blobs at once.
