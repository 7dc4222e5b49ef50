//! Images: bytes in, a verified, stored, readable image out. Knows nothing of pods.
