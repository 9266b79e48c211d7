//! What is asked about, and which policies apply to it: its own and those of its ancestors.

use std::fmt;
use std::iter::successors;

/// The kinds of resources that this project touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceKind {
    /// A project, the parent of everything else here.
    Project,
    /// A Cloud Storage bucket.
    Bucket,
    /// An object in a bucket.
    Object,
    /// A Google service account.
    ServiceAccount,
    /// A Cloud SQL instance.
    Instance,
    /// A database in a Cloud SQL instance.
    Database,
    /// A GKE cluster.
    Cluster,
    /// An Artifact Registry repository.
    Repository,
    /// A Google API of a project.
    Service,
}

impl ResourceKind {
    /// The API that the resource belongs to, `resource.service` of a condition.
    pub fn service(self) -> &'static str {
        match self {
            Self::Project => "cloudresourcemanager.googleapis.com",
            Self::Bucket | Self::Object => "storage.googleapis.com",
            Self::ServiceAccount => "iam.googleapis.com",
            Self::Instance | Self::Database => "sqladmin.googleapis.com",
            Self::Cluster => "container.googleapis.com",
            Self::Repository => "artifactregistry.googleapis.com",
            Self::Service => "serviceusage.googleapis.com",
        }
    }

    /// `resource.type` of a condition, such as `storage.googleapis.com/Bucket`.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Project => "cloudresourcemanager.googleapis.com/Project",
            Self::Bucket => "storage.googleapis.com/Bucket",
            Self::Object => "storage.googleapis.com/Object",
            Self::ServiceAccount => "iam.googleapis.com/ServiceAccount",
            Self::Instance => "sqladmin.googleapis.com/Instance",
            Self::Database => "sqladmin.googleapis.com/Database",
            Self::Cluster => "container.googleapis.com/Cluster",
            Self::Repository => "artifactregistry.googleapis.com/Repository",
            Self::Service => "serviceusage.googleapis.com/Service",
        }
    }

    /// Whether such a resource has a policy of its own.
    ///
    /// The others only inherit: Cloud SQL, GKE and Service Usage have no `setIamPolicy`, and an
    /// object's ACL is off in a bucket with uniform bucket-level access.
    pub fn has_policy(self) -> bool {
        matches!(self, Self::Project | Self::Bucket | Self::ServiceAccount | Self::Repository)
    }
}

/// One resource, with its ancestors.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    kind: ResourceKind,
    name: String,
    project: String,
    parent: Option<Box<Resource>>,
}

impl Resource {
    /// A project by its id.
    pub fn project(project_id: &str) -> Self {
        Self::new(ResourceKind::Project, format!("projects/{project_id}"), project_id, None)
    }

    /// A bucket; its name in conditions and errors has `_` for the project, as buckets are global.
    pub fn bucket(project_id: &str, bucket: &str) -> Self {
        let path = format!("projects/_/buckets/{bucket}");
        Self::in_project(ResourceKind::Bucket, path, project_id)
    }

    /// An object; it inherits from its bucket.
    pub fn object(project_id: &str, bucket: &str, object: &str) -> Self {
        let path = format!("projects/_/buckets/{bucket}/objects/{object}");
        let bucket = Self::bucket(project_id, bucket);
        Self::new(ResourceKind::Object, path, project_id, Some(bucket))
    }

    /// A Google service account.
    pub fn service_account(project_id: &str, email: &str) -> Self {
        let path = format!("projects/{project_id}/serviceAccounts/{email}");
        Self::in_project(ResourceKind::ServiceAccount, path, project_id)
    }

    /// A Cloud SQL instance by its bare name.
    pub fn instance(project_id: &str, instance: &str) -> Self {
        let path = format!("projects/{project_id}/instances/{instance}");
        Self::in_project(ResourceKind::Instance, path, project_id)
    }

    /// A database in a Cloud SQL instance.
    pub fn database(project_id: &str, instance: &str, database: &str) -> Self {
        let path = format!("projects/{project_id}/instances/{instance}/databases/{database}");
        let instance = Self::instance(project_id, instance);
        Self::new(ResourceKind::Database, path, project_id, Some(instance))
    }

    /// A GKE cluster; the location is a zone or a region.
    pub fn cluster(project_id: &str, location: &str, cluster: &str) -> Self {
        let path = format!("projects/{project_id}/locations/{location}/clusters/{cluster}");
        Self::in_project(ResourceKind::Cluster, path, project_id)
    }

    /// An Artifact Registry repository.
    pub fn repository(project_id: &str, location: &str, repository: &str) -> Self {
        let path = format!("projects/{project_id}/locations/{location}/repositories/{repository}");
        Self::in_project(ResourceKind::Repository, path, project_id)
    }

    /// An API of a project, such as `storage.googleapis.com`.
    pub fn service(project_id: &str, service: &str) -> Self {
        let path = format!("projects/{project_id}/services/{service}");
        Self::in_project(ResourceKind::Service, path, project_id)
    }

    /// What it is.
    pub fn kind(&self) -> ResourceKind {
        self.kind
    }

    /// The full resource name, `//storage.googleapis.com/projects/_/buckets/BUCKET`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name without its service, `projects/_/buckets/BUCKET`: `resource.name` of a condition.
    pub fn relative_name(&self) -> &str {
        // Two slashes, the service, and one more slash come first.
        &self.name[self.kind.service().len() + 3..]
    }

    /// Id of the project that owns it.
    pub fn project_id(&self) -> &str {
        &self.project
    }

    /// The resource it inherits from; a project has none here.
    pub fn parent(&self) -> Option<&Resource> {
        self.parent.as_deref()
    }

    /// The resource, its parent and so on up to the project: whose policies apply to it.
    pub fn ancestors(&self) -> impl Iterator<Item = &Resource> {
        successors(Some(self), |it| it.parent())
    }

    fn in_project(kind: ResourceKind, path: String, project_id: &str) -> Self {
        Self::new(kind, path, project_id, Some(Self::project(project_id)))
    }

    fn new(kind: ResourceKind, path: String, project_id: &str, parent: Option<Self>) -> Self {
        let name = format!("//{}/{path}", kind.service());
        Self { kind, name, project: project_id.to_owned(), parent: parent.map(Box::new) }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
