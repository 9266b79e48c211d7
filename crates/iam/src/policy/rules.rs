//! What `setIamPolicy` accepts.

use std::collections::{BTreeMap, BTreeSet};

use super::{Binding, CONDITIONAL, Policy, PolicyError};
use crate::condition::Condition;
use crate::member::Member;
use crate::resource::ResourceKind;
use crate::role::{Role, role};

/// Google's documented quotas of a policy.
const MEMBERS: usize = 1500;
const CONDITIONS_OF_A_ROLE: usize = 20;

/// Marks a role whose condition is not shown.
const HASH: &str = "_withcond_";

pub(super) fn check(bindings: &[Binding], kind: ResourceKind) -> Result<(), PolicyError> {
    let hashed = bindings.iter().any(|it| it.role.contains(HASH));
    if hashed {
        return Err(PolicyError::ConditionHash);
    }
    let mut members = 0;
    let mut conditions: BTreeMap<(&str, Member), BTreeSet<&Condition>> = BTreeMap::new();
    for binding in bindings {
        let role = granted(&binding.role, kind)?;
        for text in &binding.members {
            let member: Member = text.parse()?;
            check_member(&member, kind)?;
            members += 1;
            if let Some(condition) = &binding.condition {
                conditions.entry((&binding.role, member)).or_default().insert(condition);
            }
        }
        if let Some(condition) = &binding.condition {
            check_condition(condition, role, &binding.members)?;
        }
    }
    if members > MEMBERS {
        return Err(PolicyError::TooMany { what: "members", limit: MEMBERS });
    }
    if conditions.values().any(|it| it.len() > CONDITIONS_OF_A_ROLE) {
        let what = "conditions of one role and member";
        return Err(PolicyError::TooMany { what, limit: CONDITIONS_OF_A_ROLE });
    }
    Ok(())
}

fn granted(name: &str, kind: ResourceKind) -> Result<&'static Role, PolicyError> {
    if name.starts_with("projects/") || name.starts_with("organizations/") {
        return Err(PolicyError::MissingRole(name.to_owned()));
    }
    let role = role(name).filter(|it| it.is_for(kind));
    role.ok_or_else(|| PolicyError::UnsupportedRole(name.to_owned()))
}

fn check_member(member: &Member, kind: ResourceKind) -> Result<(), PolicyError> {
    match member {
        // Documentation of projects.setIamPolicy: projects support neither of the two.
        Member::AllUsers | Member::AllAuthenticatedUsers if kind == ResourceKind::Project => {
            Err(PolicyError::InvalidArgument)
        }
        // The convenience values are Cloud Storage's own.
        Member::HoldersOf(..) if kind != ResourceKind::Bucket => Err(PolicyError::InvalidArgument),
        // There is no directory here, so no group exists.
        Member::Group(email) => Err(PolicyError::Missing { kind: "Group", email: email.clone() }),
        _ => Ok(()),
    }
}

/// Documentation of conditions: not on basic roles, and not for everybody.
fn check_condition(
    condition: &Condition,
    role: &Role,
    members: &[String],
) -> Result<(), PolicyError> {
    if role.is_basic() {
        return Err(PolicyError::ConditionOnBasicRole);
    }
    if members.iter().any(|it| it == "allUsers" || it == "allAuthenticatedUsers") {
        return Err(PolicyError::InvalidArgument);
    }
    condition.check()?;
    Ok(())
}

pub(super) fn check_known_version(version: i32) -> Result<(), PolicyError> {
    if matches!(version, 0 | 1 | CONDITIONAL) { Ok(()) } else { Err(PolicyError::InvalidArgument) }
}

/// Whoever touches conditions must say that it knows them.
///
/// The reference of `Policy` says it thus: version 3 is needed to add, change or remove a
/// conditional binding, and to remove any binding from a policy with conditions; but without an
/// etag, conditions that exist are lost to a policy of version 1.
pub(super) fn check_version(current: &Policy, proposed: &Policy) -> Result<(), PolicyError> {
    check_known_version(proposed.version)?;
    let overwritten = proposed.etag.is_empty();
    let needed = proposed.is_conditional() || (current.is_conditional() && !overwritten);
    if needed && proposed.version < CONDITIONAL {
        let specified = proposed.version.max(1);
        return Err(PolicyError::OldVersion { specified, existing: CONDITIONAL });
    }
    Ok(())
}

/// A deleted member may stay where it is; it cannot be given anything new.
pub(super) fn check_deleted(current: &[Binding], proposed: &[Binding]) -> Result<(), PolicyError> {
    let deleted = |bindings: &[Binding]| -> BTreeSet<(String, Member)> {
        let members = bindings.iter().flat_map(|it| {
            it.members.iter().filter_map(|member| Some((it.role.clone(), member.parse().ok()?)))
        });
        members.filter(|(_, member)| matches!(member, Member::Deleted(_))).collect()
    };
    let current = deleted(current);
    let new = deleted(proposed).into_iter().any(|it| !current.contains(&it));
    if new { Err(PolicyError::InvalidArgument) } else { Ok(()) }
}

/// One binding for each role and condition, sorted, every member once, as Google gives it back.
///
/// A binding without members grants nothing and is dropped.
pub(super) fn tidy(bindings: &[Binding]) -> Vec<Binding> {
    let mut sorted: BTreeMap<(&str, Option<&Condition>), BTreeSet<String>> = BTreeMap::new();
    for binding in bindings {
        let members = binding.members.iter().map(|text| {
            text.parse::<Member>().map_or_else(|_| text.clone(), |member| member.to_string())
        });
        sorted.entry((&binding.role, binding.condition.as_ref())).or_default().extend(members);
    }
    let full = sorted.into_iter().filter(|(_, members)| !members.is_empty());
    full.map(|((role, condition), members)| Binding {
        role: role.to_owned(),
        members: members.into_iter().collect(),
        condition: condition.cloned(),
    })
    .collect()
}

/// The binding as a caller sees it that asked for version 1.
pub(super) fn without_condition(binding: &Binding) -> Binding {
    let Some(condition) = &binding.condition else { return binding.clone() };
    let role = format!("{}{HASH}{}", binding.role, hash(&condition.expression));
    Binding { role, members: binding.members.clone(), condition: None }
}

/// Twenty hexadecimal digits, as many as Google's; which hash Google takes is not known.
fn hash(expression: &str) -> String {
    // FNV-1a with 128 bits: short, and the same on every machine and in every version.
    let fnv = expression.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    });
    format!("{fnv:032x}")[..20].to_owned()
}
