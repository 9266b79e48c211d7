//! Bindings that almost allow: what somebody would look at to mend a refusal.

use super::{Asked, Grant, NearMiss, Policies};
use crate::resource::ResourceKind;
use crate::role::Permission;

/// Of each sort. A project can have hundreds; the first few tell the story.
const SHOWN: usize = 3;

impl<P: Policies> Asked<'_, P> {
    pub(super) fn near(&self) -> Vec<NearMiss> {
        let Some(permission) = self.permission else { return Vec::new() };
        let mut near = Vec::new();
        // It was not granted, so where the role has the permission, the condition is false.
        near.extend(self.of_caller(|it| it, permission).map(NearMiss::ConditionFalse));
        near.extend(self.elsewhere(permission).into_iter().map(NearMiss::Elsewhere));
        near.extend(self.of_caller(|it| !it, permission).map(NearMiss::OtherRole));
        near.extend(self.other_members(permission).into_iter().map(NearMiss::OtherMember));
        near
    }

    /// The caller's roles here, those with the permission or those without it.
    fn of_caller(
        &self,
        wanted: impl Fn(bool) -> bool,
        permission: Permission,
    ) -> impl Iterator<Item = Grant> {
        let held = self.own().flat_map(|(resource, index)| {
            self.held(index).map(move |(member, held)| (resource, member, held))
        });
        let held = held.filter(move |(_, _, it)| wanted(it.has(permission)));
        held.take(SHOWN).map(|(resource, member, held)| Grant::of(resource, held, member))
    }

    fn elsewhere(&self, permission: Permission) -> Vec<Grant> {
        let mut found = Vec::new();
        let ancestors = self.question.resource.ancestors();
        for resource in ancestors.filter(|it| it.kind() != ResourceKind::Project) {
            self.policies.others(resource, &mut |other, policy| {
                if found.len() >= SHOWN || other == resource {
                    return;
                }
                let held = self.held(policy.index()).find(|(_, it)| it.has(permission));
                found.extend(held.map(|(member, it)| Grant::of(other, it, member)));
            });
        }
        found
    }

    fn other_members(&self, permission: Permission) -> Vec<Grant> {
        let caller = self.question.caller;
        let mut found = Vec::new();
        for (resource, index) in self.own() {
            for (role, members) in index.holders().filter(|(role, _)| role.has(permission)) {
                let others = members.iter().filter(|it| !it.covers(caller));
                for member in others.take(SHOWN - found.len()) {
                    let mut held = index.held_by(member).iter();
                    let held = held.find(|it| it.role.name() == role.name());
                    found.extend(held.map(|it| Grant::of(resource, it, member)));
                }
            }
        }
        found
    }
}
