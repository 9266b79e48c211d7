//! A decision in sentences, for the log and for whoever has to mend a refusal.

use std::fmt;

use super::{Decision, Grant, Lack, NearMiss};
use crate::resource::ResourceKind;
use crate::role::{Role, roles};

impl Lack {
    /// The roles that would help, the smallest first, each with the resource it can be given on.
    pub fn remedies(&self) -> Vec<(&'static Role, &crate::Resource)> {
        let closest = |role: &'static Role| {
            let mut resources = self.resource.ancestors();
            resources.find(|it| role.is_for(it.kind())).map(|it| (role, it))
        };
        let with = roles().iter().filter(|it| it.contains(&self.permission));
        let mut remedies: Vec<_> = with.filter_map(closest).collect();
        // A legacy role is for old access control lists, and nobody should begin with one.
        remedies.sort_by_key(|(role, _)| {
            (role.name().contains(".legacy"), role.permissions().len(), role.name())
        });
        remedies
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed(grant) => write!(f, "allowed: {grant}"),
            Self::Denied(lack) => write!(f, "denied: {lack}"),
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { resource, role, member, condition } = self;
        write!(f, "`{member}` has `{role}` on `{resource}`")?;
        match condition {
            Some(it) => write!(f, " while `{}`", it.expression),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { caller, permission, resource, near } = self;
        let on = match resource.kind() {
            ResourceKind::Project => "on it",
            _ => "on it or above it",
        };
        write!(f, "no binding gives `{caller}` `{permission}` on `{resource}`")?;
        if near.is_empty() {
            return match self.remedies().first() {
                Some((role, on)) => write!(f, "; `{}` on `{on}` would", role.name()),
                None => write!(f, "; no known role {on} has it"),
            };
        }
        near.iter().try_for_each(|it| write!(f, "; {it}"))
    }
}

impl fmt::Display for NearMiss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConditionFalse(Grant { condition: Some(condition), .. }) => {
                let grant = self.grant().unconditional();
                write!(f, "{grant}, but its condition is false: `{}`", condition.expression)
            }
            Self::ConditionFalse(grant) => write!(f, "{grant}, but its condition is false"),
            Self::Elsewhere(grant) => write!(f, "{grant}, which is another resource"),
            Self::OtherRole(grant) => write!(f, "{grant}, which does not have the permission"),
            Self::OtherMember(grant) => write!(f, "{grant}, which is somebody else"),
        }
    }
}

impl NearMiss {
    /// The binding that comes close.
    pub fn grant(&self) -> &Grant {
        match self {
            Self::ConditionFalse(it)
            | Self::Elsewhere(it)
            | Self::OtherRole(it)
            | Self::OtherMember(it) => it,
        }
    }
}

impl Grant {
    fn unconditional(&self) -> Self {
        Self { condition: None, ..self.clone() }
    }
}
