//! What the access model promises, through its public interface.

mod conditions;
mod decisions;
mod linear;
mod members;
mod policies;
mod properties;
mod roles;
mod world;
