//! The harness of the tests that need containers or a cluster.
