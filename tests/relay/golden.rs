//! The golden domains: what Postfix says of each, what `mailward probe` does, and what becomes of mail for it that goes through the
//! gateway to a real Postfix and a real Exim.

use crate::bed::{Bed, assert_begins};
use crate::support::{EximServer, Postfix, Ran, World, eventually, run};

/// A domain, and what each says of it.
struct Golden {
    domain: &'static str,
    /// What `posttls-finger -l dane` prints; `None` where it is no oracle: it takes a host that nobody vouches for at its TLSA records
    /// (row D6).
    finger: Option<&'static str>,
    /// The last line of the probe.
    probe: &'static str,
    /// The reply to LMTP; behind a success there are the words of the host.
    reply: &'static str,
    /// Of the last attempt: strategy, verdict, outcome. The first two are empty where there is no host to attempt.
    attempt: [&'static str; 3],
}

const GOLDEN: [Golden; 12] = [
    Golden {
        domain: "secure.test",
        finger: Some("Verified TLS connection"),
        probe: "mail goes to mx.secure.test: verified",
        reply: "250 2.",
        attempt: ["default", "tls/dane", "verified"],
    },
    Golden {
        domain: "impl.secure.test",
        finger: Some("Verified TLS connection"),
        probe: "mail goes to impl.secure.test: verified",
        reply: "250 2.",
        attempt: ["default", "tls/dane", "verified"],
    },
    Golden {
        domain: "cn.secure.test",
        finger: Some("Verified TLS connection"),
        probe: "mail goes to alias.cn.secure.test: verified",
        reply: "250 2.",
        attempt: ["default", "tls/dane", "verified"],
    },
    Golden {
        domain: "ci.secure.test",
        finger: Some("Verified TLS connection"),
        probe: "mail goes to alias.ci.secure.test: verified",
        reply: "250 2.",
        attempt: ["default", "tls/dane", "verified"],
    },
    Golden {
        domain: "bad.secure.test",
        finger: Some("no matching DANE TLSA records"),
        probe: "mail does not go: 451 4.7.5 mx.bad.secure.test: the certificate matches none of the TLSA records",
        reply: "451 4.7.5 ",
        attempt: ["default", "tls/dane", "failed-dane"],
    },
    Golden {
        domain: "unus.secure.test",
        finger: Some("Untrusted TLS connection"),
        probe: "mail goes to mx.unus.secure.test: encrypted",
        reply: "250 2.",
        attempt: ["invalid-tls", "tls/any", "encrypted"],
    },
    Golden {
        domain: "nodane.secure.test",
        finger: Some("Untrusted TLS connection"),
        probe: "mail goes to mx.nodane.secure.test: encrypted",
        reply: "250 2.",
        attempt: ["invalid-tls", "offered/any", "encrypted"],
    },
    Golden {
        domain: "insecure.test",
        finger: Some("Untrusted TLS connection"),
        probe: "mail goes to mx.insecure.test: encrypted",
        reply: "250 2.",
        attempt: ["invalid-tls", "offered/any", "encrypted"],
    },
    Golden {
        domain: "half.insecure.test",
        finger: None,
        probe: "mail goes to mx.secure.test: trusted",
        reply: "250 2.",
        attempt: ["default", "tls/dane", "trusted"],
    },
    Golden {
        domain: "cb.secure.test",
        finger: Some("TLSA lookup error"),
        probe: "mail does not go: 451 4.4.3 the TLSA records of mx.cb.secure.test could not be looked up",
        reply: "451 4.4.3 ",
        attempt: ["default", "skip/dns", "failed-dns"],
    },
    Golden {
        domain: "bogus.test",
        finger: Some("Host not found, try again"),
        probe: "mail does not go: 451 4.4.3 The DNS records of the recipient's domain are not to be had: bogus.test",
        reply: "451 4.4.3 ",
        attempt: ["", "", "failed-dns"],
    },
    Golden {
        domain: "null.secure.test",
        finger: Some("does not accept mail (nullMX)"),
        probe: "mail does not go: 556 5.1.10 The recipient's domain takes no mail: null.secure.test",
        reply: "556 5.1.10 ",
        attempt: ["", "", "failed-dns"],
    },
];

impl Golden {
    /// How many of the domains get mail.
    fn delivered() -> usize {
        GOLDEN.iter().filter(|golden| golden.reply.starts_with('2')).count()
    }

    fn check(&self, bed: &Bed, number: usize) {
        let Self { domain, finger, probe, reply, attempt } = *self;
        if let Some(finger) = finger {
            let mut command = bed.world.namespace.command("posttls-finger");
            run(command.args(["-c", "-l", "dane", domain]), b"").prints(finger);
        }
        let concluded = probed(bed, domain).text().lines().last().unwrap_or_default().to_owned();
        assert_begins(&concluded, probe);
        let before = bed.attempts(domain).len();
        let said = bed.send(&format!("user{number}@{domain}"));
        assert_begins(&said, reply);
        if let Some(told) = concluded.strip_prefix("mail does not go: ") {
            assert_eq!(said, told, "the probe tells what the sender is told");
        }
        let after = bed.attempts(domain).split_off(before);
        let last = after.last().unwrap_or_else(|| panic!("no attempt for {domain}"));
        let told = ["strategy", "verdict", "outcome"].map(|key| last[key].as_str().unwrap_or_default());
        assert_eq!(told, attempt, "{domain}");
    }
}

fn probed(bed: &Bed, domain: &str) -> Ran {
    let mut command = bed.world.namespace.command(env!("CARGO_BIN_EXE_mailward"));
    run(command.arg("--config").arg(bed.gateway.scratch.join("proxy.toml")).args(["probe", domain]), b"")
}

#[test]
fn d1_d6_d7_d9_to_d13_s6_golden_domains_come_to_the_same_by_postfix_by_probe_and_by_mail() {
    let bed = Bed::unbelieving();
    let domains: Vec<_> = GOLDEN.iter().map(|golden| golden.domain).collect();
    bed.world.certificate.write(&bed.world.scratch, "host");
    let (certificate, key) = (bed.world.scratch.join("host.crt"), bed.world.scratch.join("host.key"));
    let host = World::MAIL_HOST;
    let arrived = |messages: &dyn Fn() -> Vec<Vec<u8>>| {
        let all = eventually(|| Some(messages()).filter(|messages| messages.len() >= Golden::delivered()));
        let all = all.unwrap_or_else(|| panic!("{} messages arrived", messages().len()));
        let is_ours = |message: &Vec<u8>| String::from_utf8_lossy(message).contains("by gate.test with LMTP id ");
        assert_eq!(
            (all.len(), all.iter().filter(|message| is_ours(message)).count()),
            (Golden::delivered(), Golden::delivered())
        );
    };
    let postfix = Postfix::builder().mail_host(host, &certificate, &key, &domains).start_in(&bed.world.namespace);
    GOLDEN.iter().for_each(|golden| golden.check(&bed, 1));
    arrived(&|| postfix.messages());
    drop(postfix);
    let exim = EximServer::mail_host(&bed.world.namespace, host, &certificate, &key);
    // Another recipient: what is remembered of the first says nothing of it.
    GOLDEN.iter().for_each(|golden| golden.check(&bed, 2));
    arrived(&|| exim.messages());
}
