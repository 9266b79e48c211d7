//! The local kind cluster.
