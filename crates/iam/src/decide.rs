//! The one question: may this caller do that on this resource, and why?

mod near;
mod words;

use std::cell::OnceCell;

use crate::condition::{Attributes, Condition};
use crate::index::{Held, Index};
use crate::member::{BasicRole, Member};
use crate::policy::Policy;
use crate::principal::Caller;
use crate::resource::{Resource, ResourceKind};
use crate::role::Permission;

/// Where policies are looked up.
pub trait Policies {
    /// The policy that was set on this very resource.
    fn policy(&self, resource: &Resource) -> Option<&Policy>;

    /// Shows the other resources of the same kind with their policies, so that a refusal can say
    /// that the caller's role is on one of those.
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

/// A binding that gives somebody a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Whose policy has the binding: the resource that was asked about, or an ancestor.
    pub resource: Resource,
    /// The role.
    pub role: String,
    /// The member that has it.
    pub member: Member,
    /// The condition, if there is one.
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
    /// Bindings that come close, the closest first and at most three of a sort.
    pub near: Vec<NearMiss>,
}

/// A binding that would have allowed, if one thing about it were different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NearMiss {
    /// The caller has a role with the permission, but the condition is false.
    ConditionFalse(Grant),
    /// The caller has a role with the permission, but on another resource.
    Elsewhere(Grant),
    /// The caller has a role here, but it lacks the permission.
    OtherRole(Grant),
    /// A role with the permission is given here, but to somebody else.
    OtherMember(Grant),
}

impl Decision {
    /// Whether it is a yes.
    pub fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed(_))
    }
}

/// Decides one question.
///
/// A resource's own policy is asked first, then its ancestors'; what one of them gives, no other
/// takes away. Deny policies are not emulated.
pub fn decide(policies: &impl Policies, question: &Question<'_>) -> Decision {
    let asked = Asked::new(policies, question);
    match asked.grant() {
        Some(grant) => Decision::Allowed(grant),
        None => Decision::Denied(Lack {
            caller: question.caller.clone(),
            permission: question.permission.to_owned(),
            resource: question.resource.clone(),
            near: asked.near(),
        }),
    }
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
        Asked::new(policies, &Question { caller, permission, resource, now }).grant().is_some()
    };
    asked.iter().filter(may).map(|it| (*it).to_owned()).collect()
}

/// A question, with what every step of the answer needs.
struct Asked<'a, P> {
    policies: &'a P,
    question: &'a Question<'a>,
    permission: Option<Permission>,
    /// The members that mean the caller.
    members: Vec<Member>,
    /// The convenience members that mean the caller, once some policy has any.
    holders: OnceCell<Vec<Member>>,
    attributes: Attributes<'a>,
}

impl<'a, P: Policies> Asked<'a, P> {
    fn new(policies: &'a P, question: &'a Question<'a>) -> Self {
        let resource = question.resource;
        Self {
            policies,
            question,
            permission: Permission::of(question.permission),
            members: Member::covering(question.caller),
            holders: OnceCell::new(),
            attributes: Attributes {
                resource_name: resource.relative_name(),
                resource_type: resource.kind().type_name(),
                resource_service: resource.kind().service(),
                now: question.now,
            },
        }
    }

    fn grant(&self) -> Option<Grant> {
        let permission = self.permission?;
        self.own().find_map(|(resource, index)| {
            let allows = |held: &Held| held.has(permission) && held.holds(&self.attributes);
            let found = self.held(index).find(|(_, held)| allows(held));
            found.map(|(member, held)| Grant::of(resource, held, member))
        })
    }

    /// The policies that apply: the resource's own and those of its ancestors.
    fn own(&self) -> impl Iterator<Item = (&'a Resource, &'a Index)> {
        let policies = self.policies;
        let resources = self.question.resource.ancestors();
        resources.filter_map(move |it| Some((it, policies.policy(it)?.index())))
    }

    /// The caller's roles in one policy, each with the member that gives it.
    fn held<'i>(&'i self, index: &'i Index) -> impl Iterator<Item = (&'i Member, &'i Held)> {
        let holders: &[Member] =
            if index.has_holders { self.holders.get_or_init(|| self.holders()) } else { &[] };
        let members = self.members.iter().chain(holders);
        members.flat_map(|member| index.held_by(member).iter().map(move |held| (member, held)))
    }

    /// The convenience members, `projectOwner:` and its kin, that mean the caller.
    fn holders(&self) -> Vec<Member> {
        let project = self.own().find(|(it, _)| it.kind() == ResourceKind::Project);
        let Some((project, index)) = project else { return Vec::new() };
        let has = |basic: &BasicRole| {
            self.members.iter().any(|member| {
                let mut held = index.held_by(member).iter();
                held.any(|it| it.role.name() == basic.role() && it.holds(&self.attributes))
            })
        };
        let basics = BasicRole::ALL.into_iter().filter(has);
        basics.map(|it| Member::HoldersOf(it, project.project_id().to_owned())).collect()
    }
}

impl Grant {
    fn of(resource: &Resource, held: &Held, member: &Member) -> Self {
        Self {
            resource: resource.clone(),
            role: held.role.name().to_owned(),
            member: member.clone(),
            condition: held.condition.clone(),
        }
    }
}
