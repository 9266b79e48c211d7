//! The one question: may this caller do that on this resource, and why?

use std::fmt;

use crate::condition::Condition;
use crate::member::Member;
use crate::policy::Policy;
use crate::principal::Caller;
use crate::resource::Resource;
use crate::role::role;

/// Where policies are looked up.
pub trait Policies {
    /// The policy that was set on this very resource.
    fn policy(&self, resource: &Resource) -> Option<&Policy>;

    /// Shows resources of the same kind with their policies, for a [`NearMiss::Elsewhere`].
    ///
    /// By default there are none, and a refusal does not mention other resources.
    fn others(&self, resource: &Resource, show: &mut dyn FnMut(&Resource, &Policy)) {
        let _ = (resource, show);
    }
}

/// Who wants to do what on which resource, and when.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who asks.
    pub caller: &'a Caller,
    /// What for, `storage.objects.create`.
    pub permission: &'a str,
    /// On what.
    pub resource: &'a Resource,
    /// When, in seconds since 1970.
    pub now: i64,
}

/// The answer, with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes, because of this.
    Allowed(Grant),
    /// No, for lack of this.
    Denied(Lack),
}

/// The binding that allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose policy has the binding: the resource or an ancestor.
    pub resource: Resource,
    /// The role.
    pub role: String,
    /// The member that covers the caller.
    pub member: Member,
    /// The condition that held.
    pub condition: Option<Condition>,
}

/// What is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// Who asked.
    pub caller: Caller,
    /// The permission that no binding gives.
    pub permission: String,
    /// The resource that was asked about.
    pub resource: Resource,
    /// Bindings that come close, the closest first.
    pub near: Vec<NearMiss>,
}

/// A binding that would have allowed, if one thing were different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NearMiss {
    /// The caller has a role with the permission, but the condition is false.
    ConditionFalse(Grant),
    /// The caller has a role with the permission on another resource.
    Elsewhere(Grant),
    /// The caller has a role here that lacks the permission.
    OtherRole(Grant),
    /// Somebody else has a role with the permission here.
    OtherMember(Grant),
}

impl Decision {
    /// Whether it is a yes.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", if self.is_allowed() { "allowed" } else { "denied" })
    }
}

/// Decides one question.
pub fn decide(policies: &impl Policies, question: &Question<'_>) -> Decision {
    for resource in question.resource.ancestors() {
        let Some(policy) = policies.policy(resource) else { continue };
        let _ = policy.index();
        for binding in policy.bindings().iter().filter(|it| it.condition.is_none()) {
            if !role(&binding.role).is_some_and(|it| it.contains(question.permission)) {
                continue;
            }
            let mut members = binding.members.iter().filter_map(|it| it.parse::<Member>().ok());
            if let Some(member) = members.find(|it| it.covers(question.caller)) {
                return Decision::Allowed(Grant {
                    resource: resource.clone(),
                    role: binding.role.clone(),
                    member,
                    condition: None,
                });
            }
        }
    }
    Decision::Denied(Lack {
        caller: question.caller.clone(),
        permission: question.permission.to_owned(),
        resource: question.resource.clone(),
        near: Vec::new(),
    })
}

/// What `testIamPermissions` answers: those of the asked permissions that the caller has.
pub fn allowed_permissions(
    policies: &impl Policies,
    caller: &Caller,
    resource: &Resource,
    asked: &[&str],
    now: i64,
) -> Vec<String> {
    let may = |permission: &&&str| {
        decide(policies, &Question { caller, permission, resource, now }).is_allowed()
    };
    asked.iter().filter(may).map(|it| (*it).to_owned()).collect()
}
