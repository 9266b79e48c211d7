//! The same question answered without an index, binding by binding: what the index is checked
//! against, and what the example measures it against.

use iam::{Attributes, BasicRole, Member, Policies, Question, Resource, role};

/// Whether any binding of the resource or of an ancestor allows.
pub(crate) fn allowed(policies: &impl Policies, question: &Question<'_>) -> bool {
    let resource = question.resource;
    let attributes = Attributes {
        resource_name: resource.relative_name(),
        resource_type: resource.kind().type_name(),
        resource_service: resource.kind().service(),
        now: question.now,
    };
    let mut ancestors = resource.ancestors();
    ancestors.any(|it| {
        gives(policies, it, question, &attributes, |role| role.contains(question.permission))
    })
}

fn gives(
    policies: &impl Policies,
    resource: &Resource,
    question: &Question<'_>,
    attributes: &Attributes<'_>,
    wanted: impl Fn(&iam::Role) -> bool,
) -> bool {
    let Some(policy) = policies.policy(resource) else { return false };
    policy.bindings().iter().any(|binding| {
        let held = match &binding.condition {
            None => true,
            Some(it) => it.check().is_ok_and(|it| it.holds(attributes)),
        };
        held && role(&binding.role).is_some_and(&wanted)
            && binding.members.iter().any(|member| match member.parse() {
                Ok(Member::HoldersOf(basic, project)) => {
                    project == resource.project_id() && holds_basic(policies, basic, question)
                }
                Ok(member) => member.covers(question.caller),
                Err(_) => false,
            })
    })
}

fn holds_basic(policies: &impl Policies, basic: BasicRole, question: &Question<'_>) -> bool {
    let project = Resource::project(question.resource.project_id());
    let Some(policy) = policies.policy(&project) else { return false };
    // Neither a condition nor a convenience member can stand beside a basic role of a project.
    policy.bindings().iter().any(|binding| {
        binding.role == basic.role()
            && binding.condition.is_none()
            && binding
                .members
                .iter()
                .any(|member| member.parse::<Member>().is_ok_and(|it| it.covers(question.caller)))
    })
}
