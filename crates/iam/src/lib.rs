//! May this caller do that on this Google Cloud resource, and because of which binding?

mod condition;
mod decide;
mod index;
mod member;
mod policy;
mod principal;
mod resource;
mod role;

pub use condition::{Attributes, Condition, ConditionError, Expression};
pub use decide::{
    Decision, Grant, Lack, NearMiss, Policies, Question, allowed_permissions, decide,
};
pub use member::{BasicRole, Member, MemberError, Pool};
pub use policy::{Binding, Policy, PolicyError};
pub use principal::{Caller, Principal, Workload};
pub use resource::{Resource, ResourceKind};
pub use role::{Role, is_permission, role, roles};
