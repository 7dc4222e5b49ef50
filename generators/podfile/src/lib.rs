//! The pod file: grammar, search path, merging. Reads files, decides nothing about the host.
