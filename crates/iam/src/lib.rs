//! May this caller do that on this Google Cloud resource, and because of which binding, or for lack
//! of which?
//!
//! The crate is pure: no clock, no network, no process. The emulated cloud asks it to decide, and a
//! checker can ask it to explain.
//!
//! - A [`Caller`] is nobody, or a [`Principal`]: a user, a service account, or a pod by its
//!   Kubernetes service account ([`Workload`]).
//! - A [`Policy`] belongs to one resource. Its [`Binding`]s give a [`Role`] to [`Member`]s, some
//!   under a [`Condition`]. It is only ever replaced as a whole, by whoever knows its etag.
//! - A [`Resource`] inherits the policies of its ancestors: an object from its bucket, everything
//!   from its project.
//! - [`decide()`] answers with the [`Grant`] that allows, or with what is lacking and the bindings
//!   that come close.
//!
//! What is not emulated is refused when it is set, never ignored: conditions beyond the part of the
//! expression language in [`Condition`], members that cannot be evaluated, groups (there is no
//! directory), custom roles. Deny policies, principal access boundaries and access control lists
//! of objects cannot be expressed at all.
//!
//! ```
//! use std::collections::HashMap;
//!
//! use iam::{Binding, Decision, NearMiss, Policies, Policy, Principal, Question, Resource, decide};
//!
//! struct Cloud(HashMap<String, Policy>);
//!
//! impl Policies for Cloud {
//!     fn policy(&self, resource: &Resource) -> Option<&Policy> {
//!         self.0.get(resource.name())
//!     }
//! }
//!
//! let bucket = Resource::bucket("my-project", "artifacts");
//! let mlflow = "serviceAccount:mlflow@my-project.iam.gserviceaccount.com";
//! let policy = Policy::new("BwYZ", vec![Binding::new("roles/storage.objectViewer", [mlflow])]);
//! let cloud = Cloud(HashMap::from([(bucket.name().to_owned(), policy)]));
//!
//! let caller = Principal::service_account("mlflow@my-project.iam.gserviceaccount.com").into();
//! let object = Resource::object("my-project", "artifacts", "0/run/model.pkl");
//! let ask = |permission| {
//!     decide(&cloud, &Question { caller: &caller, permission, resource: &object, now: 0 })
//! };
//!
//! assert!(ask("storage.objects.get").is_allowed());
//! let Decision::Denied(lack) = ask("storage.objects.create") else { panic!("a viewer writes") };
//! assert!(matches!(&lack.near[..], [NearMiss::OtherRole(it)] if it.resource == bucket));
//! assert_eq!(
//!     lack.near[0].to_string(),
//!     "`serviceAccount:mlflow@my-project.iam.gserviceaccount.com` has \
//!      `roles/storage.objectViewer` on `//storage.googleapis.com/projects/_/buckets/artifacts`, \
//!      which does not have the permission"
//! );
//! ```

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
