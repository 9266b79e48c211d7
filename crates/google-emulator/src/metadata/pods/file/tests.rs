//! The file and its signer.

use super::*;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{rand::SystemRandom, signature};
use serde_json::{Value, json};

fn key() -> Vec<u8> {
    signature::EcdsaKeyPair::generate_pkcs8(
        &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        &SystemRandom::new(),
    )
    .unwrap()
    .as_ref()
    .to_vec()
}

fn pem(der: &[u8]) -> String {
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("pods-file-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("key.pem"), pem(&key())).unwrap();
        Folder(path)
    }

    fn write(&self, pods: Value) -> PathBuf {
        let file = self.0.join("pods.json");
        let text = json!({"signing_key": "key.pem", "nodes": ["10.0.0.1"], "pods": pods});
        // Written beside and renamed, as one does to a file that is being read.
        fs::write(self.0.join("new"), text.to_string()).unwrap();
        fs::rename(self.0.join("new"), &file).unwrap();
        file
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn pod(annotation: Option<&str>) -> Value {
    let annotations = annotation.map_or(json!({}), |it| json!({ANNOTATION: it}));
    json!({"namespace": "mlflow", "pod": "mlflow-0", "kubernetes_sa": "mlflow", "annotations": annotations})
}

fn google_sa(pods: &PodsFile) -> Option<String> {
    match pods.find("10.0.0.7".parse().unwrap()) {
        Peer::Pod(pod) => pod.google_sa.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_address_is_a_pod_a_node_or_unknown() {
    let folder = Folder::new("who");
    let path = folder.write(json!({"10.0.0.7": pod(Some("a@b"))}));
    let pods = PodsFile::open(&path, "issuer".into(), Arc::new(clock::System)).unwrap();
    assert_eq!(google_sa(&pods).as_deref(), Some("a@b"));
    assert_eq!(pods.find("10.0.0.1".parse().unwrap()), Peer::Node);
    assert_eq!(pods.find("10.0.0.8".parse().unwrap()), Peer::Unknown);
}

#[test]
fn a_changed_annotation_is_seen_at_once_and_a_broken_file_changes_nothing() {
    let folder = Folder::new("change");
    let path = folder.write(json!({"10.0.0.7": pod(None)}));
    let pods = PodsFile::open(&path, "issuer".into(), Arc::new(clock::System)).unwrap();
    let mut changes = pods.changes();
    assert_eq!(google_sa(&pods), None);
    let Peer::Pod(before) = pods.find("10.0.0.7".parse().unwrap()) else { panic!() };
    folder.write(json!({"10.0.0.7": pod(Some("a@b.example"))}));
    assert_eq!(google_sa(&pods).as_deref(), Some("a@b.example"));
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    let Peer::Pod(after) = pods.find("10.0.0.7".parse().unwrap()) else { panic!() };
    assert_eq!(before.started, after.started, "the pod is no younger than it was");
    fs::write(&path, "{").unwrap();
    assert_eq!(google_sa(&pods).as_deref(), Some("a@b.example"));
    assert!(!changes.has_changed().unwrap());
}

#[test]
fn a_file_that_cannot_be_used_says_why() {
    let folder = Folder::new("bad");
    let path = folder.0.join("absent.json");
    let Err(error) = PodsFile::open(&path, String::new(), Arc::new(clock::System)) else {
        panic!()
    };
    assert!(error.to_string().starts_with("read `"), "{error}");
    let path = folder.write(json!({"10.0.0.7": {"namespace": "n"}}));
    let Err(error) = PodsFile::open(&path, String::new(), Arc::new(clock::System)) else {
        panic!()
    };
    assert!(error.to_string().starts_with("parse `"), "{error}");
    fs::write(folder.0.join("key.pem"), pem(b"no key")).unwrap();
    let path = folder.write(json!({}));
    let Err(error) = PodsFile::open(&path, String::new(), Arc::new(clock::System)) else {
        panic!()
    };
    assert!(error.to_string().contains("no RSA key"), "{error}");
}

#[tokio::test]
async fn a_token_is_signed_as_a_cluster_would() {
    let folder = Folder::new("token");
    let path = folder.write(json!({"10.0.0.7": pod(None)}));
    let pods = PodsFile::open(&path, "https://issuer".into(), Arc::new(clock::System)).unwrap();
    let Peer::Pod(pod) = pods.find("10.0.0.7".parse().unwrap()) else { panic!() };
    let token = pods.projected_token(&pod, "demo.svc.id.goog").await.unwrap();
    let (signed, signature_text) = token.rsplit_once('.').unwrap();
    let claims = signed.split_once('.').unwrap().1;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert_eq!(claims["sub"], "system:serviceaccount:mlflow:mlflow");
    assert_eq!(claims["aud"], json!(["demo.svc.id.goog"]));
    assert_eq!(claims["iss"], "https://issuer");
    assert_eq!(claims["kubernetes.io"]["pod"]["name"], "mlflow-0");
    let jwks = Signer::from_file(&folder.0.join("key.pem")).unwrap().jwks();
    let part = |it: &str| URL_SAFE_NO_PAD.decode(jwks["keys"][0][it].as_str().unwrap()).unwrap();
    let point = [vec![4], part("x"), part("y")].concat();
    signature::UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
        .verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature_text).unwrap())
        .unwrap();
}
