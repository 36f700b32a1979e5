//! What the generated types can do beyond holding data.

mod build_status;
mod image_status;
