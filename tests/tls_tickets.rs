//! Session tickets: good for the same listener and name alone, over a reload too; and never for early data.

mod support;

use std::path::Path;

use support::{Gateway, Handshake, Kind, NAME, SClient};

/// Two listeners with the same certificates, one for each of two names.
fn gateway() -> Gateway {
    let tables = ["mail", "other"].map(|file| {
        format!("[certificate.{file}]\ncert = \"%{{file:{file}.crt}}%\"\nprivate-key = \"%{{file:{file}.key}}%\"\n")
    });
    Gateway::builder()
        .issue("other", &["other.example.org"], Kind::Ecdsa)
        .certificates(&format!("{}default = true\n{}", tables[0], tables[1]))
        .implicit("imaps", "imap", "embedded")
        .implicit("second", "imap", "embedded")
        .start()
}

/// Connects to a listener as `name` by one version, presenting the session in `old` if there is one, and keeps the new one in `new`.
fn connect(gateway: &Gateway, listener: &str, name: &str, version: &str, old: Option<&Path>, new: &Path) -> Handshake {
    let mut target = gateway.implicit(listener);
    target.name = name.into();
    let new = new.display().to_string();
    let mut client = SClient::at(&target, "imap").version(version).arguments(&["-sess_out", &new]);
    if let Some(old) = old {
        client = client.arguments(&["-sess_in", &old.display().to_string()]);
    }
    // The ticket of TLS 1.3 comes behind the handshake, so the client must stay to read it.
    client.converse(b"a LOGOUT\r\n")
}

/// Gets a ticket of `imaps` for [`NAME`] and presents it at `listener` for `name`: whether it was taken, which both sides must agree on.
fn resumes(gateway: &Gateway, version: &str, listener: &str, name: &str, between: impl FnOnce()) -> bool {
    let (first, second) = (gateway.scratch.join("first.sess"), gateway.scratch.join("second.sess"));
    let earlier = |listener: &str| {
        gateway.log().iter().filter(|line| line["message"] == "session" && line["listener"] == listener).count()
    };
    let number = earlier("imaps");
    assert!(!connect(gateway, "imaps", NAME, version, None, &first).resumed());
    assert_eq!(gateway.nth_session("imaps", number)["resumed"], false);
    between();
    let number = earlier(listener);
    let resumed = connect(gateway, listener, name, version, Some(&first), &second).resumed();
    let session = gateway.nth_session(listener, number);
    assert_eq!((&session["resumed"], &session["sni"]), (&resumed.into(), &name.into()), "{session}");
    resumed
}

#[test]
fn a_ticket_resumes_a_session_of_the_same_listener_and_name_in_both_versions() {
    let gateway = gateway();
    assert!(resumes(&gateway, "-tls1_3", "imaps", NAME, || {}));
    assert!(resumes(&gateway, "-tls1_2", "imaps", NAME, || {}));
}

#[test]
fn a_ticket_of_another_listener_is_not_accepted() {
    let gateway = gateway();
    assert!(!resumes(&gateway, "-tls1_3", "second", NAME, || {}));
    assert!(!resumes(&gateway, "-tls1_2", "second", NAME, || {}));
}

#[test]
fn a_ticket_for_another_name_is_not_accepted() {
    let gateway = gateway();
    assert!(!resumes(&gateway, "-tls1_3", "imaps", "other.example.org", || {}));
    assert!(!resumes(&gateway, "-tls1_2", "imaps", "other.example.org", || {}));
}

#[test]
fn tickets_survive_a_reload() {
    let gateway = gateway();
    for version in ["-tls1_3", "-tls1_2"] {
        assert!(resumes(&gateway, version, "imaps", NAME, || assert!(gateway.reload())));
    }
}

#[test]
fn a_version_that_was_disabled_by_a_reload_is_not_resumed() {
    let gateway = gateway();
    let first = gateway.scratch.join("first.sess");
    connect(&gateway, "imaps", NAME, "-tls1_2", None, &first);
    gateway.edit("[server.listener.imaps]\n", "[server.listener.imaps]\ntls.disable-protocols = \"TLSv1.2\"\n");
    assert!(gateway.reload());
    let client = SClient::at(&gateway.implicit("imaps"), "imap").version("-tls1_2");
    client.arguments(&["-sess_in", &first.display().to_string()]).run().fails().prints("alert protocol version");
}

#[test]
fn one_ticket_is_given_and_it_allows_no_early_data() {
    let gateway = gateway();
    let first = gateway.scratch.join("first.sess");
    let mut seen = connect(&gateway, "imaps", NAME, "-tls1_3", None, &first);
    assert_eq!(seen.report().matches("Post-Handshake New Session Ticket arrived").count(), 1, "{}", seen.report());
    assert!(seen.report().contains("Max Early Data: 0"), "{}", seen.report());
    // A client that tries all the same sends none: the ticket does not let it, and the session is served as any other.
    let early = gateway.scratch.write("early", "a LOGIN alice secret\r\n");
    let arguments = ["-sess_in", &first.display().to_string(), "-early_data", &early.display().to_string()];
    let client = SClient::at(&gateway.implicit("imaps"), "imap").version("-tls1_3").arguments(&arguments);
    seen = client.converse(b"b LOGOUT\r\n");
    assert!(!seen.report().contains("Early data was accepted"), "{}", seen.report());
    assert!(!seen.report().contains("a OK"), "{}", seen.report());
    assert_eq!(gateway.nth_session("imaps", 1)["user"], "");
}
