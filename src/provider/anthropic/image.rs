//! Sizes of images, read from the first bytes of the file.
