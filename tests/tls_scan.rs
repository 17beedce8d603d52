//! testssl.sh on a listener with STARTTLS and on one with TLS from the first byte: nothing at MEDIUM or worse.

mod support;

use support::{Finding, Gateway, GatewayBuilder, Kind, NAME, Target, Testssl, figure};

/// Both kinds of certificates, so that every suite is looked at.
fn builder() -> GatewayBuilder {
    let tables = ["mail", "rsa"].map(|file| {
        format!(
            "[certificate.{file}]\ncert = \"%{{file:{file}.crt}}%\"\nprivate-key = \"%{{file:{file}.key}}%\"\ndefault = true\n"
        )
    });
    Gateway::builder().issue("rsa", &[NAME, "localhost"], Kind::Rsa).certificates(&tables.concat())
}

fn scan(target: &Target, protocol: &str) -> (Vec<Finding>, Vec<Finding>) {
    let begun = std::time::Instant::now();
    let testssl = Testssl::examine(target, protocol);
    figure(&format!("testssl.sh on {protocol} took {} s", begun.elapsed().as_secs()));
    (testssl.findings().to_vec(), testssl.faults())
}

#[test]
fn testssl_finds_nothing_at_medium_or_worse_on_starttls_and_on_implicit_tls() {
    let gateway = builder().listener("smtp", "smtp", "embedded").implicit("imaps", "imap", "embedded").start();
    let (starttls, implicit) = (gateway.starttls("smtp"), gateway.implicit("imaps"));
    let both = std::thread::scope(|scope| {
        let starttls = scope.spawn(|| scan(&starttls, "smtp"));
        let implicit = scope.spawn(|| scan(&implicit, "imap"));
        [starttls, implicit].map(|scan| scan.join().expect("a scan"))
    });
    for (findings, faults) in both {
        assert!(faults.is_empty(), "{faults:#?}");
        let severity = |id: &str| findings.iter().find(|it| it.id == id).map(|it| it.severity.as_str());
        // That it saw what there is, so that no finding is missing for want of a look.
        for id in [
            "SSLv2",
            "SSLv3",
            "TLS1",
            "TLS1_1",
            "TLS1_2",
            "TLS1_3",
            "PFS",
            "heartbleed",
            "CCS",
            "ROBOT",
            "secure_renego",
        ] {
            assert!(severity(id).is_some_and(|it| ["OK", "INFO"].contains(&it)), "{id}: {findings:#?}");
        }
        assert_eq!(severity("secure_client_renego"), Some("OK"), "{findings:#?}");
        assert_eq!(severity("CRIME_TLS"), Some("OK"), "{findings:#?}");
    }
}
