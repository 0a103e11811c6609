//! A whole election over processes, from the first sign-in to the final result.

use tests::device::Device;
use tests::folder;
use tests::serve::{Plan, Role, World};

#[tokio::test]
async fn an_election_over_processes_on_sqlite() {
    an_election_over_processes(None).await;
}

#[tokio::test]
async fn an_election_over_processes_on_postgres() {
    let server = throwaway_postgres::Server::start();
    an_election_over_processes(Some(server.database("votes"))).await;
}

async fn an_election_over_processes(postgres: Option<String>) {
    let folder = folder();
    let world = World::new(
        folder.path(),
        &Plan {
            cells: 2,
            registrars: 2,
            shards: 2,
            postgres,
            ..Plan::default()
        },
    );
    for role in world.roles() {
        let said = world.check(role);
        assert_eq!(said.code, 0, "{said:#?}");
        assert_eq!(said.json()["ok"], true);
    }
    let services = world.start_all();
    let site = world.site(&services);
    for voter in 0..10 {
        let mut device = Device::new(&world.published.election);
        device.sign_in(&site, &world.codes(voter)).await;
        let vote = device.vote(
            &world.published.election,
            &[vec![u16::from(voter % 3 == 0)]],
        );
        let (status, answer) = site.cast(&vote).await;
        assert_eq!(status, 200, "{answer}");
    }
    for service in &services {
        assert_eq!(service.ready().await, (200, "active".to_owned()));
        let status = service.status().await;
        let logs = status["logs"].as_array().unwrap();
        let wanted = match service.role {
            Role::Registrar(_) => 2,
            Role::Cell(_) | Role::Anchor => 1,
            Role::Tally => 0,
        };
        assert_eq!(logs.len(), wanted, "{status}");
        for log in logs {
            assert_eq!(
                (&log["state"], &log["epoch"]),
                (&"running".into(), &1.into())
            );
        }
        while service.status().await["schedule"]["health"] != "current" {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }
    // Stopped as asked, and nothing is lost.
    for service in services {
        let role = service.role;
        let (code, said) = service.stop();
        assert_eq!(code, 0, "{role:?}: {said}");
    }
    let (code, verdict) = world.audit();
    assert_eq!((code, &verdict["votes"]), (0, &10.into()), "{verdict:#}");
}
