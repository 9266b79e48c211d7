//! Bindings that almost allow: what somebody would look at to mend a refusal.

use super::{Asked, Grant, NearMiss, Policies};
use crate::resource::ResourceKind;

/// Of each sort. A project can have hundreds; the first few tell the story.
const SHOWN: usize = 3;

impl<P: Policies> Asked<'_, P> {
    pub(super) fn near(&self) -> Vec<NearMiss> {
        let mut near = self.conditions();
        near.extend(self.elsewhere());
        near.extend(self.other_roles());
        near.extend(self.other_members());
        near
    }

    fn conditions(&self) -> Vec<NearMiss> {
        let Some(permission) = self.permission else { return Vec::new() };
        let mut found = Vec::new();
        for (resource, index) in self.own() {
            let held = self.held(index).into_iter().filter(|(_, it)| it.has(permission));
            found.extend(held.map(|(member, held)| {
                // It was not granted, so the condition is false.
                NearMiss::ConditionFalse(Grant::of(resource, held, &member))
            }));
        }
        found.truncate(SHOWN);
        found
    }

    fn elsewhere(&self) -> Vec<NearMiss> {
        let Some(permission) = self.permission else { return Vec::new() };
        let mut found = Vec::new();
        let ancestors = self.question.resource.ancestors();
        for resource in ancestors.filter(|it| it.kind() != ResourceKind::Project) {
            self.policies.others(resource, &mut |other, policy| {
                if found.len() >= SHOWN || other == resource {
                    return;
                }
                let held = self.held(policy.index()).into_iter();
                let first = held.filter(|(_, it)| it.has(permission)).take(1);
                found.extend(
                    first.map(|(member, it)| NearMiss::Elsewhere(Grant::of(other, it, &member))),
                );
            });
        }
        found
    }

    fn other_roles(&self) -> Vec<NearMiss> {
        let mut found = Vec::new();
        for (resource, index) in self.own() {
            let held = self.held(index).into_iter();
            let others = held.filter(|(_, it)| !self.permission.is_some_and(|asked| it.has(asked)));
            found.extend(
                others
                    .map(|(member, held)| NearMiss::OtherRole(Grant::of(resource, held, &member))),
            );
            found.truncate(SHOWN);
        }
        found
    }

    fn other_members(&self) -> Vec<NearMiss> {
        let Some(permission) = self.permission else { return Vec::new() };
        let mut found = Vec::new();
        for (resource, index) in self.own() {
            for (role, members) in index.holders().filter(|(role, _)| role.has(permission)) {
                let others = members.iter().filter(|it| !it.covers(self.question.caller));
                for member in others.take(SHOWN - found.len()) {
                    let held =
                        index.held_by(member).iter().find(|it| it.role.name() == role.name());
                    found.extend(
                        held.map(|it| NearMiss::OtherMember(Grant::of(resource, it, member))),
                    );
                }
            }
        }
        found
    }
}
