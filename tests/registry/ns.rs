//! In the namespace bed, on the root that has other people's programs.

mod peers;
