//! A policy's bindings by member and role, so that a decision looks at few of them.

use crate::policy::Binding;

#[derive(Clone, Debug)]
pub(crate) struct Index;

impl Index {
    pub(crate) fn of(_bindings: &[Binding]) -> Self {
        Self
    }
}
