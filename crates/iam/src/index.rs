//! A policy's bindings by member and role, so that a decision looks at few of them.

use std::collections::{BTreeMap, HashMap};

use crate::condition::{Attributes, Condition, Expression};
use crate::member::Member;
use crate::policy::Binding;
use crate::role::{Permission, Role, role};

/// What a policy grants, ready to be asked.
///
/// Everything that a decision can depend on is sorted, so that the order of bindings and members
/// changes no answer and no reason.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    by_member: HashMap<Member, Vec<Held>>,
    by_role: BTreeMap<&'static str, Vec<Member>>,
    /// Whether some member is `projectOwner:` or one of its kin.
    pub(crate) has_holders: bool,
}

/// A role that a member holds.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) role: &'static Role,
    pub(crate) condition: Option<Condition>,
    when: When,
}

#[derive(Clone, Debug)]
enum When {
    Always,
    If(Expression),
    /// The condition cannot be evaluated; it was never checked, and it never holds.
    Never,
}

impl Index {
    /// Members and roles that cannot be read grant nothing: see [`crate::Policy::check`].
    pub(crate) fn of(bindings: &[Binding]) -> Self {
        let mut index = Self::default();
        for binding in bindings {
            let Some(role) = role(&binding.role) else { continue };
            let when = match &binding.condition {
                None => When::Always,
                Some(condition) => condition.check().map_or(When::Never, When::If),
            };
            for member in binding.members.iter().filter_map(|it| it.parse::<Member>().ok()) {
                index.has_holders |= matches!(member, Member::HoldersOf(..));
                let holders = index.by_role.entry(role.name()).or_default();
                holders.push(member.clone());
                let held = Held { role, condition: binding.condition.clone(), when: when.clone() };
                index.by_member.entry(member).or_default().push(held);
            }
        }
        for held in index.by_member.values_mut() {
            held.sort_by(|a, b| a.order().cmp(&b.order()));
            held.dedup_by(|a, b| a.order() == b.order());
        }
        for holders in index.by_role.values_mut() {
            holders.sort();
            holders.dedup();
        }
        index
    }

    /// The roles of one member: those without a condition first.
    pub(crate) fn held_by(&self, member: &Member) -> &[Held] {
        self.by_member.get(member).map_or(&[], Vec::as_slice)
    }

    /// The roles that somebody holds, by name, with their members.
    pub(crate) fn holders(&self) -> impl Iterator<Item = (&'static Role, &[Member])> {
        self.by_role.iter().filter_map(|(name, members)| Some((role(name)?, members.as_slice())))
    }
}

impl Held {
    /// Whether the role has the permission, whatever its condition says.
    pub(crate) fn has(&self, permission: Permission) -> bool {
        self.role.has(permission)
    }

    /// Whether its condition, if there is one, is true.
    pub(crate) fn holds(&self, attributes: &Attributes<'_>) -> bool {
        match &self.when {
            When::Always => true,
            When::If(expression) => expression.holds(attributes),
            When::Never => false,
        }
    }

    /// `None` is less than any condition.
    fn order(&self) -> (Option<&Condition>, &str) {
        (self.condition.as_ref(), self.role.name())
    }
}
