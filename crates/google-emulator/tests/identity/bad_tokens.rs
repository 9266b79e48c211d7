//! Tokens that must not be believed.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::scene::{Cluster, NOW, Scene, claims, exchange};

fn with(name: &str, value: &Value) -> Value {
    let mut claims = claims("mlflow", "mlflow");
    claims[name] = value.clone();
    claims
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pods_token_is_believed_only_as_the_cluster_made_it() {
    let scene = Scene::new().await;
    let header = json!({ "alg": "ES256", "kid": "k" });
    let good = scene.cluster.token("mlflow", "mlflow");
    let (signed, _) = good.rsplit_once('.').unwrap();
    let none = URL_SAFE_NO_PAD.encode(json!({ "alg": "none", "kid": "k" }).to_string());
    let unsigned = URL_SAFE_NO_PAD.encode(claims("mlflow", "mlflow").to_string());
    let sign = |claims: &Value| scene.cluster.sign(&header, claims);
    let unparsed = "Unable to parse the ID Token.";
    let badly_signed = "Invalid signature on ID Token.";
    for (why, token, words) in [
        ("another cluster's key", Cluster::new().token("mlflow", "mlflow"), badly_signed),
        (
            "alg none",
            format!("{none}.{unsigned}."),
            "Unsupported signing algorithm in ID Token: none.",
        ),
        (
            "alg HS256",
            scene.cluster.sign(&json!({ "alg": "HS256", "kid": "k" }), &claims("mlflow", "mlflow")),
            "Unsupported signing algorithm in ID Token: HS256.",
        ),
        (
            "another algorithm than the key's",
            scene.cluster.sign(&json!({ "alg": "RS256", "kid": "k" }), &claims("mlflow", "mlflow")),
            badly_signed,
        ),
        (
            "an unknown key",
            scene.cluster.sign(&json!({ "alg": "ES256", "kid": "x" }), &claims("mlflow", "mlflow")),
            badly_signed,
        ),
        ("without a signature", format!("{signed}."), badly_signed),
        ("two parts", signed.to_owned(), unparsed),
        ("nothing", String::new(), unparsed),
        (
            "another audience",
            sign(&with("aud", &json!(["https://kubernetes.default.svc"]))),
            "The audience in ID Token [https://kubernetes.default.svc] does not match the expected \
             audience.",
        ),
        (
            "another issuer",
            sign(&with("iss", &json!("https://evil"))),
            "The issuer in ID Token https://evil does not match the expected ones: \
             https://kubernetes.default.svc.cluster.local.",
        ),
        (
            "expired",
            sign(&with("exp", &json!(NOW - 61))),
            "ID Token issued at 1900000000 is stale to sign-in.",
        ),
        ("not valid yet", sign(&with("nbf", &json!(NOW + 61))), "ID Token is used too early."),
        (
            "no service account",
            sign(&with("sub", &json!("system:node:n"))),
            "The subject of the ID Token is no service account.",
        ),
        (
            "a name that is no name",
            sign(&with("sub", &json!("system:serviceaccount:a/b]:c"))),
            "The subject of the ID Token is no service account.",
        ),
    ] {
        let answer = scene.exchange(&token).await;
        let expected = json!({ "error": "invalid_grant", "error_description": words });
        assert_eq!((answer.status.as_u16(), answer.body), (400, expected), "{why}");
    }
    scene.exchange(&good).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_for_something_else_is_refused() {
    let scene = Scene::new().await;
    let good = exchange(&scene.cluster.token("mlflow", "mlflow"));
    let other = "identitynamespace:other.svc.id.goog:https://container.googleapis.com/v1/projects/\
                 other/locations/l/clusters/c";
    for (field, value, error) in [
        ("grantType", "password", "unsupported_grant_type"),
        ("audience", "//iam.googleapis.com/projects/1", "invalid_request"),
        ("audience", other, "invalid_target"),
        ("requestedTokenType", "urn:x", "invalid_request"),
        ("subjectTokenType", "urn:x", "invalid_request"),
        ("scope", " ", "invalid_request"),
    ] {
        let mut body = good.clone();
        body[field] = json!(value);
        let answer = scene.post("", "sts.googleapis.com/v1/token", &body).await.expect(400);
        assert_eq!(answer["error"], error, "{field} {value}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_access_token_ends_when_it_is_expired_revoked_forged_or_its_account_is_gone() {
    let scene = Scene::new().await;
    let url = "cloudresourcemanager.googleapis.com/v1/projects/local";
    let reason = |body: &Value| body["error"]["details"][0]["reason"].clone();
    let missing = scene.get("", url).await;
    assert_eq!(
        missing.headers["www-authenticate"],
        "Bearer realm=\"https://accounts.google.com/\""
    );
    let missing = missing.expect(401);
    assert_eq!(reason(&missing), "CREDENTIALS_MISSING");
    assert_eq!(missing["error"]["status"], "UNAUTHENTICATED");

    let token = scene.owner();
    scene.get(&token, url).await.expect(200);
    let forged = scene.get(&format!("{token}A"), url).await.expect(401);
    assert_eq!(reason(&forged), "ACCESS_TOKEN_TYPE_UNSUPPORTED");

    scene.operate("POST", "/tokens/revoke", &json!({ "token": token })).await.expect(200);
    let revoked = scene.get(&token, url).await.expect(401);
    assert_eq!(reason(&revoked), "ACCESS_TOKEN_EXPIRED");

    let other = scene.owner();
    scene.get(&other, url).await.expect(200);
    scene.operate("POST", "/tokens/revoke-all", &json!({})).await.expect(200);
    scene.get(&other, url).await.expect(401);
    // What was taken back is good for nothing in a cloud that began anew either.
    scene.operate("POST", "/reset", &Value::Null).await.expect(200);
    for replayed in [&token, &other] {
        scene.get(replayed, url).await.expect(401);
    }
    scene.clock.advance(Duration::from_micros(1));
    let token = scene.owner();
    scene.get(&token, url).await.expect(200);
    let somebody = json!({ "member": "user:somebody@example.com" });
    scene.operate("POST", "/tokens/revoke-all", &somebody).await.expect(200);
    scene.get(&token, url).await.expect(200);
    let owner = json!({ "member": "user:owner@example.com" });
    scene.operate("POST", "/tokens/revoke-all", &owner).await.expect(200);
    scene.get(&token, url).await.expect(401);
    scene.clock.advance(Duration::from_secs(2));
    let token = scene.owner();
    scene.get(&token, url).await.expect(200);
    scene.clock.advance(Duration::from_hours(1));
    let expired = scene.get(&token, url).await.expect(401);
    assert_eq!(reason(&expired), "ACCESS_TOKEN_EXPIRED");

    let account = scene.token(&iam::Principal::service_account(crate::scene::GSA));
    scene.get(&account, url).await.expect(403);
    let owner = scene.owner();
    let disable =
        format!("iam.googleapis.com/v1/projects/-/serviceAccounts/{}:disable", crate::scene::GSA);
    scene.post(&owner, &disable, &json!({})).await.expect(200);
    let disabled = scene.get(&account, url).await.expect(401);
    assert_eq!(reason(&disabled), "ACCOUNT_STATE_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn scopes_limit_what_a_token_is_good_for() {
    let scene = Scene::new().await;
    let mint = json!({
        "member": "user:owner@example.com",
        "scopes": ["https://www.googleapis.com/auth/sqlservice.login"],
    });
    let minted = scene.operate("POST", "/tokens", &mint).await.expect(200);
    let token = minted["access_token"].as_str().unwrap();
    let url = "cloudresourcemanager.googleapis.com/v1/projects/local";
    let error = scene.get(token, url).await.expect(403);
    assert_eq!(error["error"]["message"], "Request had insufficient authentication scopes.");
    assert_eq!(error["error"]["details"][0]["reason"], "ACCESS_TOKEN_SCOPE_INSUFFICIENT");
}
