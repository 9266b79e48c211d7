//! The defects of the original guide's repository: each is found in a manifest that has it.
//!
//! `overlays.rs` holds the other half: no environment of ours has a single finding.

use manifests::{
    Bundle, Code,
    findings::{self, kustomization},
};

/// A pod template as it was common when the original was written.
const POSTGRES: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: postgres, namespace: mlflow}
spec:
  selector: {matchLabels: {app: postgres}}
  template:
    metadata: {labels: {app: postgres}}
    spec:
      containers:
        - name: postgres
          image: postgres:13
          ports: [{containerPort: 5432}]
          env:
            - name: POSTGRES_PASSWORD
              valueFrom: {secretKeyRef: {name: mlflow-secrets, key: DB_PASSWORD}}
          readinessProbe: {tcpSocket: {port: 5432}}
---
apiVersion: v1
kind: Service
metadata: {name: postgres, namespace: mlflow}
spec:
  type: NodePort
  selector: {app: postgres}
  ports: [{port: 5432}]
---
apiVersion: v1
kind: Secret
metadata: {name: mlflow-secret-d885f25b6m, namespace: mlflow}
data: {DB_PASSWORD: cGFzc3dvcmQ=}
";

const MLFLOW: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: mlflow, namespace: mlflow}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: mlflow-config, namespace: mlflow}
data: {DEFAULT_ARTIFACT_ROOT: 'gs://mlflow-mlops-platform'}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: mlflow, namespace: mlflow}
spec:
  selector: {matchLabels: {app: mlflow}}
  template:
    metadata: {labels: {app: mlflow}}
    spec:
      serviceAccountName: mlflow
      containers:
        - name: mlflow
          image: example/mlflow:2.4.0
          ports: [{containerPort: 5000}]
          envFrom: [{configMapRef: {name: mlflow-config}}]
          env: [{name: DB_HOST, value: postgres}]
          readinessProbe: {tcpSocket: {port: 5000}}
---
apiVersion: v1
kind: Service
metadata: {name: mlflow, namespace: mlflow}
spec:
  type: NodePort
  selector: {app: mlflow}
  ports: [{port: 5000}]
";

const PROXY: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: {name: mlflow-cloudsql-proxy, namespace: mlflow}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cloudsql-proxy, namespace: mlflow}
spec:
  selector: {matchLabels: {app: cloudsql-proxy}}
  template:
    metadata: {labels: {app: cloudsql-proxy}}
    spec:
      serviceAccountName: mlflow-cloudsql-proxy
      containers:
        - name: proxy
          image: gcr.io/cloudsql-docker/gce-proxy:1.25.0
          command: [/cloud_sql_proxy, -instances=our-project.europe-north1.mlflow=tcp:0.0.0.0:3306, term_timeout=10s]
          ports: [{containerPort: 3306}]
          readinessProbe: {tcpSocket: {port: 3306}}
---
apiVersion: v1
kind: Service
metadata: {name: mysql, namespace: mlflow}
spec: {selector: {app: cloudsql-proxy}, ports: [{port: 3306}]}
---
apiVersion: v1
kind: Secret
metadata: {name: mlflow-secrets, namespace: mlflow}
stringData: {DB_PASSWORD: ''}
";

/// The findings of a code in a manifest: object, field and message.
fn found(code: Code, text: &str) -> Vec<String> {
    let bundle = Bundle::parse(text).expect("a manifest of this file is YAML");
    let findings = findings::check(&bundle).into_iter().filter(|it| it.code == code);
    findings.map(|it| format!("{} {}: {}", it.object, it.field, it.message)).collect()
}

#[test]
fn defect_1_a_secret_that_only_another_overlay_makes() {
    assert_eq!(
        found(Code::DanglingReference, POSTGRES),
        [
            "deployment/postgres spec.template.spec.containers[name=postgres].env[name=POSTGRES_PASSWORD]: \
             needs Secret `mlflow-secrets`, which nothing provides"
        ]
    );
    let repaired = POSTGRES.replace("mlflow-secret-d885f25b6m", "mlflow-secrets");
    assert_eq!(found(Code::DanglingReference, &repaired), [""; 0]);
}

#[test]
fn defect_2_a_password_in_git_literal_or_empty() {
    assert_eq!(
        found(Code::SecretInTheOpen, POSTGRES),
        ["secret/mlflow-secret-d885f25b6m data.DB_PASSWORD: a secret value, in the manifest"]
    );
    assert_eq!(
        found(Code::SecretInTheOpen, PROXY),
        ["secret/mlflow-secrets stringData.DB_PASSWORD: a secret value, empty"]
    );
    let bundle = Bundle::parse(POSTGRES).unwrap();
    let all: String = findings::check(&bundle).iter().map(ToString::to_string).collect();
    assert!(!all.contains("cGFzc3dvcmQ="), "a finding repeats the secret: {all}");
    let generated =
        kustomization::check("base/kustomization.yaml", "secretGenerator:\n  - name: s\n");
    assert_eq!(generated[0].code, Code::SecretInTheOpen);
}

#[test]
fn defect_3_the_bucket_of_somebody_else() {
    assert_eq!(
        found(Code::ForeignBucket, MLFLOW),
        ["configmap/mlflow-config data.DEFAULT_ARTIFACT_ROOT: `gs://mlflow-mlops-platform` is a \
             bucket of somebody else"]
    );
    let repaired = MLFLOW.replace("mlflow-mlops-platform", "our-models");
    assert_eq!(found(Code::ForeignBucket, &repaired), [""; 0]);
}

#[test]
fn defect_4_an_instance_with_dots() {
    let bundle = Bundle::parse(PROXY).unwrap();
    let finding = findings::check(&bundle).into_iter().find(|it| it.code == Code::DottedInstance);
    assert_eq!(finding.unwrap().hint, "write our-project:europe-north1:mlflow");
    let repaired =
        PROXY.replace("our-project.europe-north1.mlflow", "our-project:europe-north1:mlflow");
    assert_eq!(found(Code::DottedInstance, &repaired), [""; 0]);
}

#[test]
fn defect_6_a_retired_proxy_that_every_pod_can_use_with_a_flag_that_does_nothing() {
    assert_eq!(found(Code::RetiredImage, PROXY).len(), 1);
    assert_eq!(
        found(Code::OpenDatabase, PROXY),
        ["deployment/cloudsql-proxy spec: is reachable by every pod of the cluster: no \
             NetworkPolicy chooses it"]
    );
    let bundle = Bundle::parse(PROXY).unwrap();
    let finding =
        findings::check(&bundle).into_iter().find(|it| it.code == Code::MalformedArgument);
    assert_eq!(finding.unwrap().hint, "write --term-timeout=10s");
}

#[test]
fn defect_6_is_not_repaired_by_a_policy_that_admits_everyone() {
    let policy = |ingress: &str| {
        format!(
            "{PROXY}---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: \
             {{name: p, namespace: mlflow}}\nspec: {{podSelector: {{matchLabels: {{app: \
             cloudsql-proxy}}}}, policyTypes: [Ingress], ingress: {ingress}}}\n"
        )
    };
    for open in ["[{}]", "[{from: [{namespaceSelector: {}}]}]", "[{from: [{podSelector: {}}]}]"] {
        assert_eq!(found(Code::OpenDatabase, &policy(open)).len(), 1, "{open}");
    }
    for closed in ["[]", "[{from: [{podSelector: {matchLabels: {app: mlflow}}}]}]"] {
        assert_eq!(found(Code::OpenDatabase, &policy(closed)), [""; 0], "{closed}");
    }
}

#[test]
fn defect_7_probes_of_a_port_and_no_order() {
    let both = format!("{POSTGRES}---{MLFLOW}");
    assert_eq!(found(Code::BlindProbe, &both).len(), 2);
    assert_eq!(
        found(Code::Order, &both),
        ["deployment/mlflow spec.template.spec.containers[name=mlflow].env[name=DB_HOST]: starts \
             no later than deployment/postgres, which it needs"]
    );
    let ordered = both.replace(
        "kind: Deployment\nmetadata: {name: mlflow,",
        "kind: Deployment\nmetadata: {annotations: {mlflow-gke.dev/wave: '1'}, name: mlflow,",
    );
    assert_eq!(found(Code::Order, &ordered), [""; 0]);
}

#[test]
fn defect_7_a_constant_is_no_better_than_a_port() {
    let constant =
        MLFLOW.replace("tcpSocket: {port: 5000}", "httpGet: {path: /health, port: 5000}");
    assert_eq!(found(Code::BlindProbe, &constant).len(), 1);
    let row = constant.replace("path: /health", "path: /api/2.0/mlflow/experiments/search");
    assert_eq!(found(Code::BlindProbe, &row), [""; 0]);
}

#[test]
fn defect_9_ports_of_the_node_old_images_old_fields_and_kinds_of_istio() {
    let both = format!("{POSTGRES}---{MLFLOW}");
    assert_eq!(found(Code::Exposure, &both).len(), 2);
    assert_eq!(found(Code::RetiredImage, &both).len(), 2);
    let old = kustomization::check(
        "k.yaml",
        "bases:\n- ../base\nconfigMapGenerator:\n- name: a\n  env: p.env\n",
    );
    assert_eq!(old.iter().map(|it| it.code).collect::<Vec<_>>(), [Code::DeprecatedField; 2]);
    let istio =
        "apiVersion: networking.istio.io/v1beta1\nkind: VirtualService\nmetadata: {name: mlflow}\n";
    assert_eq!(
        found(Code::UnservedKind, istio),
        [
            "virtualservice/mlflow apiVersion: `VirtualService` of `networking.istio.io` is not part of Kubernetes"
        ]
    );
}

#[test]
fn defect_10_an_identity_that_is_not_in_the_manifest() {
    assert_eq!(found(Code::MissingIdentity, MLFLOW).len(), 1);
    assert_eq!(found(Code::MissingIdentity, PROXY).len(), 1);
    let annotated = |address: &str| {
        MLFLOW.replacen(
            "metadata: {name: mlflow,",
            &format!("metadata: {{annotations: {{iam.gke.io/gcp-service-account: {address}}}, name: mlflow,"),
            1,
        )
    };
    let address = "mlflow@our-project.iam.gserviceaccount.com";
    assert_eq!(found(Code::MissingIdentity, &annotated(address)), [""; 0]);
    assert_eq!(found(Code::MissingIdentity, &annotated("mlflow")).len(), 1);
}

#[test]
fn a_pod_that_the_namespace_would_refuse() {
    let fields = found(Code::PodSecurity, POSTGRES);
    for field in
        ["allowPrivilegeEscalation", "runAsNonRoot", "seccompProfile.type", "capabilities.drop"]
    {
        assert!(fields.iter().any(|it| it.contains(field)), "{field}: {fields:?}");
    }
    let namespace = |labels: &str| {
        format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: mlflow, labels: {{{labels}}}}}\n"
        )
    };
    assert_eq!(found(Code::PodSecurity, &namespace("")).len(), 1);
    let unpinned = "pod-security.kubernetes.io/enforce: restricted";
    assert_eq!(found(Code::PodSecurity, &namespace(unpinned)).len(), 1);
    let pinned = format!("{unpinned}, pod-security.kubernetes.io/enforce-version: v1.34");
    assert_eq!(found(Code::PodSecurity, &namespace(&pinned)), [""; 0]);
}

#[test]
fn a_pod_with_the_nodes_rights() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  hostNetwork: true\n  \
        securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}\n  \
        volumes: [{name: root, hostPath: {path: /}}]\n  containers:\n    - name: c\n      image: c:1\n      \
        ports: [{containerPort: 1, hostPort: 1}]\n      securityContext: {privileged: true, \
        runAsUser: 0, allowPrivilegeEscalation: false, capabilities: {drop: [ALL], add: [SYS_ADMIN]}}\n";
    let fields: Vec<_> = found(Code::PodSecurity, pod)
        .iter()
        .map(|it| it.split_once(": ").unwrap().0.trim_start_matches("pod/p spec.").to_owned())
        .collect();
    assert_eq!(
        fields,
        [
            "containers[name=c].securityContext.capabilities.add",
            "containers[name=c].securityContext.ports",
            "containers[name=c].securityContext.privileged",
            "containers[name=c].securityContext.runAsUser",
            "hostNetwork",
            "volumes[name=root]",
        ]
    );
    assert_eq!(found(Code::WritableRoot, pod).len(), 1);
}

#[test]
fn a_container_without_requests_or_with_an_image_that_may_change() {
    assert_eq!(found(Code::MissingResources, POSTGRES).len(), 4);
    for image in ["postgres", "postgres:latest", "localhost:5000/postgres"] {
        let text = POSTGRES.replace("postgres:13", image);
        assert_eq!(found(Code::UnpinnedImage, &text).len(), 1, "{image}");
    }
    let digest = POSTGRES.replace("postgres:13", &format!("postgres@sha256:{}", "0".repeat(64)));
    assert_eq!(found(Code::UnpinnedImage, &digest), [""; 0]);
}

#[test]
fn a_service_or_a_policy_that_chooses_nothing() {
    let service = POSTGRES.replace("selector: {app: postgres}", "selector: {app: postgre}");
    assert_eq!(found(Code::EmptySelector, &service).len(), 1);
    let port = POSTGRES.replace("ports: [{port: 5432}]", "ports: [{port: 5432, targetPort: sql}]");
    assert!(found(Code::DanglingReference, &port)[1].contains("named `sql`"));
    let own = POSTGRES.replace("matchLabels: {app: postgres}", "matchLabels: {app: x}");
    assert_eq!(found(Code::EmptySelector, &own).len(), 1);
}

#[test]
fn a_placeholder_anywhere_in_an_object() {
    let text = MLFLOW
        .replace("mlflow-mlops-platform", "BUCKET_NAME_MLFLOW")
        .replace("example/mlflow", "REGION-docker.pkg.dev/our-project/mlflow/mlflow");
    assert_eq!(found(Code::Placeholder, &text).len(), 2);
}

#[test]
fn a_version_that_the_api_server_no_longer_serves() {
    let text = "apiVersion: policy/v1beta1\nkind: PodDisruptionBudget\nmetadata: {name: p}\n";
    assert_eq!(
        found(Code::UnservedKind, text),
        ["poddisruptionbudget/p apiVersion: `policy/v1beta1` is no longer served"]
    );
}
