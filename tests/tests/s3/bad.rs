//! What is wrong with a bucket, with a process's credentials, or with its machine's clock: a process that is started says it, with what to do, and ends.

use std::path::Path;

use tests::serve::{AnchorPlan, BucketsPlan, Plan, Role, World};
use tests::{clock, folder};
use throwaway_ministack::{Identity, ObjectStore, Server};
use throwaway_rados as rados;

use crate::credentials;

/// Seconds, of a year that is not short.
const YEAR: i64 = 366 * 24 * 3_600;

/// An election in buckets, with its keys in files. The anchor's is Ceph's, which looks at the time of a request as S3 does.
async fn in_buckets(folder: &Path, more: Plan, locks: bool) -> World {
    let (server, ceph) = (Server::shared(), rados::Server::shared());
    let plan = Plan {
        buckets: Some(BucketsPlan {
            endpoint: server.url(),
            published: server.bucket("public", false),
            anchors: vec![AnchorPlan {
                name: "local".to_owned(),
                bucket: ceph.bucket("anchor", locks),
                endpoint: ceph.url(),
            }],
            environment: credentials(&Identity::root()),
        }),
        ..more
    };
    let world = World::new(folder, &plan);
    crate::publish_manifest(server, &world);
    world
}

/// What `--check-config` finds wrong of one kind; a process that is started says the same, and ends.
#[track_caller]
fn refused(world: &World, role: Role, check: &str, words: &[&str]) {
    let said = world.check(role);
    assert_eq!(said.code, 1, "{said:#?}");
    let checks = said.json()["checks"].clone();
    let mut wrong = checks.as_array().unwrap().iter();
    let wrong = wrong.find(|one| one["check"] == check && one["ok"] == false);
    let wrong = wrong.unwrap_or_else(|| panic!("{role:?}: {checks:#}"));
    let message = wrong["message"].as_str().unwrap();
    let started = world.refused(role);
    assert_eq!(started.code, 1, "{started:#?}");
    // It serves nobody in between.
    assert!(!started.stderr.contains(": at http://"), "{started:#?}");
    for word in words {
        assert!(message.contains(word), "`{word}` in: {message}");
        assert!(
            started.stderr.contains(word),
            "`{word}` in: {}",
            started.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong() {
    let folder = folder();
    let mut world = in_buckets(folder.path(), Plan::default(), true).await;
    for role in world.roles() {
        let said = world.check(role);
        assert_eq!(said.code, 0, "{said:#?}");
    }
    for seconds in [3_600_i64, 60, -60, -3_600] {
        let which = if seconds > 0 { "ahead of" } else { "behind" };
        for role in world.roles() {
            let mut environment = credentials(&Identity::root());
            environment.extend(clock::off_by(seconds));
            world.environments.insert(role.folder(), environment);
            // No head is there yet to compare with, and S3 does not mind a minute.
            let that = format!("s {which} that of 127.0.0.1: set it (NTP)");
            refused(&world, role, "clock", &["this machine's clock is", &that]);
        }
        if seconds.abs() > 900 {
            let that = format!("s {which} the service's: set it (NTP)");
            refused(
                &world,
                Role::Anchor,
                "anchors",
                &["RequestTimeTooSkewed", &that],
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retention_that_has_passed() {
    let folder = folder();
    // A year after closing, where the description says nothing of it.
    let plan = Plan {
        opening: -3 * YEAR,
        closing: -2 * YEAR,
        ..Plan::default()
    };
    let world = in_buckets(folder.path(), plan, true).await;
    let words = ["the anchor local", "the manifest's retention has passed"];
    refused(&world, Role::Anchor, "anchors", &words);
    assert_eq!(world.check(Role::Tally).code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anchor_s_bucket_without_locks() {
    let folder = folder();
    let world = in_buckets(folder.path(), Plan::default(), false).await;
    let words = [
        "Object Lock is not enabled",
        "--object-lock-enabled-for-bucket",
    ];
    refused(&world, Role::Anchor, "anchors", &words);
}

/// With what is right for one service, another neither signs nor publishes, nor begins.
#[tokio::test(flavor = "multi_thread")]
async fn another_service_s_credentials() {
    let folder = folder();
    let mut world = crate::world(Server::shared(), rados::Server::shared(), folder.path()).await;
    let right = world.environments.clone();
    for (role, of, check, what) in [
        (Role::Cell(0), Role::Anchor, "key", "allow kms:GetPublicKey"),
        (Role::Cell(0), Role::Tally, "published", "s3:PutObject"),
        (
            Role::Anchor,
            Role::Cell(0),
            "anchors",
            "role s3:GetBucketObjectLockConfiguration on arn:aws:s3:::anchor",
        ),
        (
            Role::Registrar(0),
            Role::Cell(0),
            "registrar",
            "allow kms:Decrypt",
        ),
    ] {
        let environment = right[&of.folder()].clone();
        world.environments.insert(role.folder(), environment);
        refused(&world, role, check, &[what]);
        world.environments.clone_from(&right);
        let said = world.check(role);
        assert_eq!(said.code, 0, "{said:#?}");
    }
}
