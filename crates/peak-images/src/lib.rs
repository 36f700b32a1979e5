//! Client of the Peak Images service: images, versions, builds and their logs.
