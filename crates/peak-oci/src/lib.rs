//! Pure OCI types: references, digests, descriptors, manifests, indexes, configs, platforms and content traits; no I/O and no runtime.
