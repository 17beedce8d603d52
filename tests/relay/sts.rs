//! MTA-STS (RFC 8461), with mail.

use crate::bed::{Bed, assert_begins};
use crate::support::{Kind, MailHosts, PolicyHost, World};

/// Has a domain's policy served; the world's resolver knows that there is one.
fn serve(world: &World, domain: &str, mode: &str, mx: &[&str]) -> PolicyHost {
    let mx: String = mx.iter().map(|mx| format!("mx: {mx}\n")).collect();
    let policy = format!("version: STSv1\nmode: {mode}\n{mx}max_age: 86400\n");
    world.policy_host(&[domain], &[(domain, 200, "text/plain", &policy)])
}

#[test]
fn m6_a_policy_that_cannot_be_fetched_is_asked_for_once_and_mail_goes() {
    let bed = Bed::new("");
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    let domain = "enforce.insecure.test";
    let policies = bed.world.policy_host(&[domain], &[(domain, 500, "text/plain", "")]);
    for _ in 0..2 {
        assert_begins(&bed.send(&format!("bob@{domain}")), "250 2.0.0 [mx.insecure.test] ");
    }
    assert_eq!((policies.asked().len(), hosts.messages().len()), (1, 2));
}

#[test]
fn m7_m11_a_policy_that_is_held_applies_without_its_host_and_after_a_restart() {
    let mut bed = Bed::new("");
    let domain = "enforce.insecure.test";
    let policies = serve(&bed.world, domain, "enforce", &["mx.insecure.test"]);
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    assert_begins(&bed.send(&format!("bob@{domain}")), "250 2.0.0 [mx.insecure.test] ");
    assert_eq!(bed.attempt(domain)["outcome"], "verified");
    drop(policies);
    bed.gateway.signal("TERM");
    bed.gateway.start_again();
    // Somebody else is there now.
    let other = bed.world.authority.issue(&["other.test"], Kind::Ecdsa);
    hosts.become_those(MailHosts::builder(&bed.world).showing(&other));
    let before = bed.world.asked().len();
    assert_begins(&bed.send(&format!("bob@{domain}")), "451 4.7.5 ");
    // M11: whether there is a newer policy was asked for.
    let asked = bed.world.asked().split_off(before);
    assert!(asked.contains(&format!("TXT _mta-sts.{domain}")), "{asked:?}");
    assert_eq!(bed.attempt(domain)["verdict"], "tls/pkix");
    assert_eq!(hosts.messages().len(), 1);
}

#[test]
fn m10_m11_where_no_host_complies_mail_waits() {
    let bed = Bed::new("");
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    let domain = "pattern.insecure.test";
    let _policies = serve(&bed.world, domain, "enforce", &["*.insecure.test"]);
    assert_begins(&bed.send(&format!("bob@{domain}")), "451 4.7.5 ");
    assert!(bed.world.asked().contains(&format!("TXT _mta-sts.{domain}")));
    assert!(!hosts.verbs().contains(&"MAIL".to_owned()));
    // The default ladder would take any certificate for the second attempt, and must not here.
    assert_eq!(hosts.visits().len(), 1);
}

#[test]
fn m12_a_policy_under_test_prevents_nothing_and_what_it_would_have_is_told() {
    let bed = Bed::new("");
    let hosts = MailHosts::builder(&bed.world).clear().start(&bed.world);
    let domain = "testing.insecure.test";
    let _policies = serve(&bed.world, domain, "testing", &["mx.insecure.test"]);
    assert_begins(&bed.send(&format!("bob@{domain}")), "250 2.0.0 [stranger.insecure.test] ");
    let attempt = bed.attempt(domain);
    assert_eq!(attempt["outcome"], "clear");
    let policies = attempt["policies"].as_str().unwrap_or_default();
    assert!(policies.contains("sts") && policies.contains("starttls-not-supported"), "{attempt}");
    assert_eq!(hosts.messages().len(), 1);
}

#[test]
fn m13_hosts_that_do_not_comply_make_way_in_their_order() {
    let bed = Bed::new("");
    let hosts = MailHosts::builder(&bed.world).at(&[World::OTHER_HOSTS[0], World::MAIL_HOST]).start(&bed.world);
    let domain = "three.insecure.test";
    let _policies = serve(&bed.world, domain, "enforce", &["stranger.insecure.test", "mx.insecure.test"]);
    assert_begins(&bed.send(&format!("bob@{domain}")), "250 2.0.0 [mx.insecure.test] ");
    let names: Vec<_> = hosts.all().into_iter().filter_map(|visit| visit.tls).collect();
    assert_eq!(names, ["stranger.insecure.test", "mx.insecure.test"]);
    let told: Vec<_> = bed.attempts(domain).iter().map(|line| (line["mx"].clone(), line["outcome"].clone())).collect();
    let expected = [
        ("a.insecure.test", "failed-mta-sts"),
        ("stranger.insecure.test", "failed-tls"),
        ("mx.insecure.test", "verified"),
    ];
    assert_eq!(told, expected.map(|(mx, outcome)| (mx.into(), outcome.into())));
}

#[test]
fn m15_a_policy_saves_no_host_whose_records_do_not_match() {
    let bed = Bed::new("");
    let hosts = MailHosts::builder(&bed.world).start(&bed.world);
    let policies = serve(&bed.world, "worse.secure.test", "enforce", &["mx.bad.secure.test"]);
    assert_begins(&bed.send("bob@worse.secure.test"), "451 4.7.5 ");
    assert!(!hosts.verbs().contains(&"MAIL".to_owned()));
    drop(policies);
    // And none prevents what DANE has verified.
    let _policies = serve(&bed.world, "both.secure.test", "enforce", &["other.test"]);
    assert_begins(&bed.send("bob@both.secure.test"), "250 2.0.0 [mx.secure.test] ");
}
