//! Which expressions are evaluated, and which are refused.

use iam::{Attributes, Condition, ConditionError, Expression};

use crate::world::{NOW, only_if};

fn of_object(now: i64) -> Attributes<'static> {
    Attributes {
        resource_name: "projects/_/buckets/b/objects/runs/1",
        resource_type: "storage.googleapis.com/Object",
        resource_service: "storage.googleapis.com",
        now,
    }
}

#[test]
fn expressions_are_evaluated() {
    for (expression, expected) in [
        (r#"resource.name == "projects/_/buckets/b/objects/runs/1""#, true),
        (r#"resource.name != "projects/_/buckets/b/objects/runs/1""#, false),
        (r#""storage.googleapis.com" == resource.service"#, true),
        (r#"'storage.googleapis.com' != resource.service"#, false),
        (r#"resource.type == 'storage.googleapis.com/Bucket'"#, false),
        (
            r#"resource.type in ["storage.googleapis.com/Bucket", "storage.googleapis.com/Object"]"#,
            true,
        ),
        (r#"resource.type in []"#, false),
        (r#"resource.name.startsWith("projects/_/buckets/b/")"#, true),
        (r#"resource.name.endsWith("/2")"#, false),
        (r#"!resource.name.endsWith("/2")"#, true),
        (r#"!!resource.name.endsWith("/2")"#, false),
        (r#"request.time < timestamp("2026-11-23T00:00:00Z")"#, false),
        (r#"request.time <= timestamp("2026-11-23T00:00:00Z")"#, true),
        (r#"request.time > timestamp("2026-11-23T00:00:00Z")"#, false),
        (r#"request.time >= timestamp("2026-11-23T00:00:00Z")"#, true),
        (r#"timestamp("2026-11-22T23:59:59.999Z") < request.time"#, true),
        (r#"timestamp("2026-11-23T02:00:00+02:00") >= request.time"#, true),
        // `&&` binds closer than `||`, and `!` closer than both.
        (
            r#"resource.type == "a" && resource.type == "b" || resource.service == "storage.googleapis.com""#,
            true,
        ),
        (
            r#"resource.type == "a" && (resource.type == "b" || resource.service == "storage.googleapis.com")"#,
            false,
        ),
        (r#"!(resource.type == "a") && !(resource.type == "b")"#, true),
        ("\n resource.type\n\t!= \"it's \\\"quoted\\\" \\\\ \"\n", true),
    ] {
        let read: Expression = expression.parse().unwrap_or_else(|it| panic!("{expression}: {it}"));
        assert_eq!(read.holds(&of_object(NOW)), expected, "{expression}");
    }
}

#[test]
fn what_google_knows_and_this_crate_does_not_is_unsupported() {
    for expression in [
        "true",
        r#"resource.name.contains("a")"#,
        r#"resource.name.matches("a")"#,
        r#"resource.name.extract("b/{x}/") == "y""#,
        r#"request.time.getHours("Europe/Helsinki") < 9"#,
        r#"request.time < timestamp("2026-01-01T00:00:00Z") + duration("1h")"#,
        r#"resource.matchTag("env", "dev")"#,
        r#"request.path == "/""#,
        r#"api.getAttribute("a", []) == "b""#,
        r#"destination.port == 443"#,
        r#"has(resource.name)"#,
        r#"resource.name == resource.type"#,
        r#"resource.name == "\u0041""#,
        r#"resource.name ? true : false"#,
    ] {
        let refused = expression.parse::<Expression>();
        assert!(
            matches!(refused, Err(ConditionError::Unsupported(_))),
            "{expression}: {refused:?}"
        );
    }
}

#[test]
fn what_is_no_expression_is_refused_with_its_place() {
    for (expression, place) in [
        ("", 0),
        ("   ", 3),
        ("resource.name", 13),
        ("resource.name ==", 16),
        ("resource.name == \"a", 17),
        ("resource.name == \"a\" &&", 23),
        ("(resource.name == \"a\"", 21),
        ("resource.name == \"a\")", 20),
        ("resource.name.startsWith \"a\"", 25),
        ("resource.name in \"a\"", 17),
        ("resource.name in [\"a\" \"b\"]", 22),
        ("request.time < timestamp(\"tomorrow\")", 25),
        ("request.time == timestamp(\"2026-01-01T00:00:00Z\")", 13),
        ("&& resource.name == \"a\"", 0),
    ] {
        match expression.parse::<Expression>() {
            Err(ConditionError::Syntax { at, .. }) => assert_eq!(at, place, "{expression}"),
            other => panic!("{expression}: {other:?}"),
        }
    }
}

#[test]
fn googles_limits_are_kept() {
    let term = "resource.type == 'a'";
    let chain = |terms: usize| vec![term; terms].join(" && ");
    assert!(chain(13).parse::<Expression>().is_ok());
    let refused = chain(14).parse::<Expression>();
    assert_eq!(refused, Err(ConditionError::TooLarge { what: "operators", limit: 12 }));
    let deep = format!("{}{term}{}", "(".repeat(100_000), ")".repeat(100_000));
    let refused = deep.parse::<Expression>();
    assert_eq!(refused, Err(ConditionError::TooLarge { what: "nesting", limit: 32 }));

    let good = only_if(term);
    assert!(good.check().is_ok());
    let untitled = Condition { title: String::new(), ..good.clone() };
    assert_eq!(untitled.check(), Err(ConditionError::Untitled));
    let long = Condition { title: "t".repeat(101), ..good.clone() };
    assert!(matches!(long.check(), Err(ConditionError::TooLarge { what: "title", .. })));
    let wordy = Condition { description: Some("d".repeat(257)), ..good };
    assert!(matches!(wordy.check(), Err(ConditionError::TooLarge { what: "description", .. })));
}
