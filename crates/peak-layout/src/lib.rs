//! OCI image layouts in a directory, as source and as destination.
