//! Flows on a real cluster, each as a user goes through it: exit code, words, and what is really there.

mod denials;
mod deploy_twice;
mod foreign;
mod fresh;
mod google;
mod guide;
mod interrupt;
mod load;
mod missing_image;
mod node;
mod page;
mod prune;
mod setting;
mod wrong_password;
