//! What holds for every policy, every order and every text.

use iam::{
    Binding, Caller, Condition, Expression, Member, Policy, Principal, Question, Resource,
    ResourceKind, allowed_permissions, decide, roles,
};
use proptest::prelude::*;
use proptest::sample::select;

use crate::linear;
use crate::world::{NOW, NUMBER, PROJECT, World, bucket, object, only_if, pod, project};

const PERMISSIONS: [&str; 6] = [
    "storage.objects.get",
    "storage.objects.create",
    "storage.buckets.get",
    "storage.buckets.list",
    "cloudsql.instances.connect",
    "no.such.permission",
];

fn caller() -> impl Strategy<Value = Caller> {
    let email = || "[ab]@[xy]";
    prop_oneof![
        1 => Just(Caller::Anonymous),
        3 => email().prop_map(|it| Principal::user(it).into()),
        3 => email().prop_map(|it| Principal::service_account(it).into()),
        3 => ("[ab]", "[ab]").prop_map(|(a, b)| Principal::Workload(pod(&a, &b)).into()),
    ]
}

fn member() -> impl Strategy<Value = Member> {
    let pool = format!(
        "//iam.googleapis.com/projects/{NUMBER}/locations/global/workloadIdentityPools/\
         {PROJECT}.svc.id.goog"
    );
    let text = prop_oneof![
        Just("allUsers".to_owned()),
        Just("allAuthenticatedUsers".to_owned()),
        "[ab]@[xy]".prop_map(|it| format!("user:{it}")),
        "[ab]@[xy]".prop_map(|it| format!("serviceAccount:{it}")),
        "[ab]@[xy]".prop_map(|it| format!("group:{it}")),
        "[xy]".prop_map(|it| format!("domain:{it}")),
        select(vec!["projectOwner", "projectEditor", "projectViewer"])
            .prop_map(|it| format!("{it}:{PROJECT}")),
        "[ab]/[ab]".prop_map(|it| format!("serviceAccount:{PROJECT}.svc.id.goog[{it}]")),
        ("[ab]", "[ab]", Just(pool.clone()))
            .prop_map(|(ns, sa, pool)| format!("principal:{pool}/subject/ns/{ns}/sa/{sa}")),
        ("[ab]", Just(pool.clone()))
            .prop_map(|(ns, pool)| format!("principalSet:{pool}/namespace/{ns}")),
        Just(format!("principalSet:{pool}/*")),
        "[ab]@[xy]".prop_map(|it| format!("deleted:user:{it}?uid=1")),
    ];
    text.prop_map(|it| it.parse().expect("a member"))
}

fn expression() -> impl Strategy<Value = String> {
    let leaf = select(vec![
        "resource.type == 'storage.googleapis.com/Object'",
        "resource.name.startsWith('projects/_/buckets/artifacts/objects/0/')",
        "resource.service != 'storage.googleapis.com'",
        "request.time < timestamp('2026-01-01T00:00:00Z')",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(2, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || ({b})")),
            inner.prop_map(|it| format!("!({it})")),
        ]
    })
}

fn binding() -> impl Strategy<Value = Binding> {
    let names: Vec<&str> = roles().iter().map(|it| it.name()).collect();
    // Few roles for the most part, so that bindings meet each other.
    let few =
        vec!["roles/owner", "roles/viewer", "roles/storage.objectUser", "roles/cloudsql.client"];
    let role = prop_oneof![1 => select(names), 4 => select(few)];
    let condition = proptest::option::weighted(0.3, expression());
    (role, proptest::collection::vec(member(), 0..4), condition).prop_map(
        |(role, members, text)| {
            let basic = iam::role(role).is_some_and(iam::Role::is_basic);
            let binding = Binding::new(role, members);
            match text.filter(|_| !basic) {
                Some(text) => binding.when(only_if(&text)),
                None => binding,
            }
        },
    )
}

fn bindings() -> impl Strategy<Value = Vec<Binding>> {
    proptest::collection::vec(binding(), 0..8)
}

fn resource() -> impl Strategy<Value = Resource> {
    select(vec![object(), bucket(), project(), Resource::instance(PROJECT, "db")])
}

fn world(of_bucket: Vec<Binding>, of_project: Vec<Binding>) -> World {
    World::default().with_unchecked(&bucket(), of_bucket).with_unchecked(&project(), of_project)
}

/// A read-modify-write that adds one member, tried until its etag is fresh.
fn grant(stored: &mut Policy, read: &Policy, who: &str, turn: usize) -> bool {
    let mut bindings = read.bindings().to_vec();
    bindings.push(Binding::new("roles/storage.objectViewer", [who]));
    let proposed = Policy::proposed(3, read.etag(), bindings);
    match stored.replaced_by(&proposed, format!("etag{turn}"), ResourceKind::Bucket) {
        Ok(next) => {
            *stored = next;
            true
        }
        Err(error) => {
            assert_eq!(error.code(), 409, "{error}");
            false
        }
    }
}

proptest! {
    #[test]
    fn the_index_answers_what_the_bindings_say(
        caller in caller(), resource in resource(),
        of_bucket in bindings(), of_project in bindings(),
    ) {
        let world = world(of_bucket, of_project);
        for permission in PERMISSIONS {
            let question =
                Question { caller: &caller, permission, resource: &resource, now: NOW };
            let decision = decide(&world, &question);
            prop_assert_eq!(decision.is_allowed(), linear::allowed(&world, &question), "{}", decision);
        }
    }

    #[test]
    fn a_further_binding_takes_no_permission_away(
        caller in caller(), resource in resource(),
        of_bucket in bindings(), of_project in bindings(),
        more in binding(), at in any::<prop::sample::Index>(), on_project in any::<bool>(),
    ) {
        let before = world(of_bucket.clone(), of_project.clone());
        let (mut of_bucket, mut of_project) = (of_bucket, of_project);
        let grown = if on_project { &mut of_project } else { &mut of_bucket };
        grown.insert(at.index(grown.len() + 1), more);
        let after = world(of_bucket, of_project);
        let had = allowed_permissions(&before, &caller, &resource, &PERMISSIONS, NOW);
        let has = allowed_permissions(&after, &caller, &resource, &PERMISSIONS, NOW);
        prop_assert!(had.iter().all(|it| has.contains(it)), "{:?} became {:?}", had, has);
    }

    #[test]
    fn the_order_of_bindings_and_members_changes_no_answer_and_no_reason(
        caller in caller(), resource in resource(), of_project in bindings(),
        (sorted, shuffled) in bindings().prop_flat_map(|it| {
            let reversed: Vec<Binding> = it.iter().cloned().map(|mut binding| {
                binding.members.reverse();
                binding
            }).collect();
            (Just(it), Just(reversed).prop_shuffle())
        }),
    ) {
        let one = world(sorted, of_project.clone());
        let other = world(shuffled, of_project.into_iter().rev().collect());
        for permission in PERMISSIONS {
            let question =
                Question { caller: &caller, permission, resource: &resource, now: NOW };
            prop_assert_eq!(decide(&one, &question), decide(&other, &question));
        }
    }

    #[test]
    fn what_is_set_decides_as_what_was_proposed(caller in caller(), proposed in bindings()) {
        let policy = Policy::proposed(3, "", proposed.clone());
        if let Ok(set) = Policy::default().replaced_by(&policy, "e", ResourceKind::Bucket) {
            let one = world(proposed, Vec::new());
            let other = world(set.bindings().to_vec(), Vec::new());
            let of = |it: &World| allowed_permissions(it, &caller, &object(), &PERMISSIONS, NOW);
            prop_assert_eq!(of(&one), of(&other));
            // To set what was given back changes nothing.
            let again = Policy::proposed(3, set.etag(), set.bindings().to_vec());
            let again = set.replaced_by(&again, "e", ResourceKind::Bucket);
            prop_assert_eq!(again, Ok(set));
        }
    }

    /// Each turn, one writer reads or writes; whoever is refused reads again. All writers finish,
    /// and every grant is there.
    #[test]
    fn racing_read_modify_writes_lose_no_grant(
        turns in proptest::collection::vec((0_usize..5, any::<bool>()), 0..60),
    ) {
        let mut stored = Policy::new("start", Vec::new());
        let mut reads: [Option<Policy>; 5] = Default::default();
        let mut done = [false; 5];
        let rest = (0..5).flat_map(|it| [(it, true), (it, false)]);
        for (turn, (writer, reading)) in turns.into_iter().chain(rest).enumerate() {
            let who = format!("user:w{writer}@example.com");
            if done[writer] {
                continue;
            }
            if reading || reads[writer].is_none() {
                reads[writer] = Some(stored.clone());
            } else if let Some(read) = reads[writer].take() {
                done[writer] = grant(&mut stored, &read, &who, turn);
            }
            for writer in (0..5).filter(|it| done[*it]) {
                let who = format!("user:w{writer}@example.com");
                let kept = stored.bindings().iter().any(|it| it.members.contains(&who));
                prop_assert!(kept, "the grant of {} is lost", who);
            }
        }
        prop_assert!(done.iter().all(|it| *it), "{:?}", done);
    }

    #[test]
    fn a_member_is_printed_as_it_is_read(member in member()) {
        let text = member.to_string();
        prop_assert_eq!(text.parse::<Member>(), Ok(member));
    }

    #[test]
    fn no_text_makes_the_member_parser_panic(text in text()) {
        if let Ok(member) = text.parse::<Member>() {
            // What is accepted can be given back.
            prop_assert_eq!(member.to_string().parse::<Member>(), Ok(member));
        }
    }

    #[test]
    fn no_text_makes_the_condition_parser_panic(text in text(), near in mangled()) {
        for text in [text, near] {
            let condition =
                Condition { title: text.clone(), description: None, expression: text.clone() };
            let _ = condition.check();
            let _ = text.parse::<Expression>();
        }
    }

    #[test]
    fn no_json_makes_the_policy_parser_panic(
        text in any::<String>(), role in text(), members in proptest::collection::vec(text(), 0..3),
        expression in mangled(), version in any::<i32>(), etag in text(),
    ) {
        let _ = serde_json::from_str::<Policy>(&text);
        let json = serde_json::json!({
            "version": version,
            "etag": etag,
            "bindings": [{ "role": role, "members": members, "condition": { "expression": expression } }],
            "auditConfigs": [],
        });
        let policy: Policy = serde_json::from_value(json).expect("the shape is right");
        for kind in [ResourceKind::Project, ResourceKind::Bucket, ResourceKind::Object] {
            let _ = Policy::default().replaced_by(&policy, "next", kind);
        }
        let _ = policy.for_version(version);
        let world = world(policy.bindings().to_vec(), Vec::new());
        let _ = world.ask(&Caller::Anonymous, "storage.objects.get", &object());
    }
}

/// Any text, and text of the right letters.
fn text() -> impl Strategy<Value = String> {
    let parts = select(vec![
        "user:",
        "serviceAccount:",
        "principal:",
        "principalSet:",
        "deleted:",
        "//iam.googleapis.com/projects/",
        "1",
        "/locations/global/workloadIdentityPools/",
        "p",
        ".svc.id.goog",
        "[",
        "]",
        "/",
        "/subject/ns/",
        "/sa/",
        "*",
        "@",
        "?uid=",
        "kubernetes.cluster/",
        "https://container.googleapis.com/v1/projects/",
        "é",
        "\0",
    ]);
    prop_oneof![any::<String>(), proptest::collection::vec(parts, 0..12).prop_map(|it| it.concat())]
}

/// Expressions that are almost right.
fn mangled() -> impl Strategy<Value = String> {
    let parts = select(vec![
        "resource.name",
        "resource.type",
        ".startsWith",
        ".endsWith",
        "request.time",
        "timestamp",
        "(",
        ")",
        "[",
        "]",
        "\"a\"",
        "'b",
        "\\",
        "==",
        "!=",
        "<=",
        ">",
        "&&",
        "||",
        "!",
        " in ",
        ",",
        "\"2026-01-01T00:00:00Z\"",
        "é",
        "1",
        "'2026-01-01T00:00:00+é2:00'",
        " ",
    ]);
    proptest::collection::vec(parts, 0..16).prop_map(|it| it.concat())
}
