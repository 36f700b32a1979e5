//! The Docker Engine as a source and destination of images.
