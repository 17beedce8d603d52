//! What an observation means for clients, and what the operator can change: in the backends' own words.

use std::{net::IpAddr, time::Duration};

use super::{client::Seen, report::Finding};
use crate::{
    config::{Encryption, Identity},
    inbound::backend::{Reached, Unreached},
    net::connect::BackendStream,
    policy::strategy::Requirement,
    proto::{Complaint, Protocol, smtp::DomainPattern},
    snapshot::Mail,
};

/// A greeting that takes longer is one that clients notice.
const SLOW: Duration = Duration::from_secs(5);

/// Why an address cannot be had at all.
pub(super) fn unreached(mail: &Mail, unreached: &Unreached) -> Finding {
    match unreached {
        Unreached::NotConnected(reason) => Finding::fault(
            format!("it cannot be connected to: {reason}"),
            "start the server there, open the way to it, or correct the address",
        ),
        Unreached::NotGreeted(reason) => {
            let what = format!("it takes the connection and does not greet: {reason}");
            let change = "otherwise have it greet in time (look-ups of names by address are the usual reason), or \
                          raise timeout.greeting";
            let change = format!("{}; {change}", header(mail));
            Finding::fault(what, change)
        }
        Unreached::NotSecured(reason) => Finding::fault(
            format!("no TLS comes about with it: {reason}"),
            "correct it there, or tls.* of this backend",
        ),
        Unreached::Unusable(complaint) => unusable(mail, *complaint),
    }
}

/// What to do where a server and `identity` may not agree about a PROXY header.
fn header(mail: &Mail) -> &'static str {
    if mail.backend.config().proxy_header().is_some() {
        "have it expect the PROXY header that identity sends (Postfix: smtpd_upstream_proxy_protocol = haproxy; \
         Dovecot: haproxy = yes and haproxy_trusted_networks), or take identity out"
    } else {
        "if it waits for a PROXY header (Postfix: smtpd_upstream_proxy_protocol = haproxy; Dovecot: haproxy = yes), \
         write identity = \"proxy-v2\""
    }
}

fn unusable(mail: &Mail, complaint: Complaint) -> Finding {
    match complaint {
        Complaint::IdentityRefused => Finding::fault(
            "it does not let mailward say who the client is, and without that no client is let in",
            "Postfix: smtpd_authorized_xclient_hosts; Dovecot: login_trusted_networks; or another identity",
        ),
        Complaint::SpokeUnasked => Finding::fault(
            "it says more than a greeting before it is asked anything",
            "write the address of a server of this protocol; if identity sends a PROXY header, have the server expect \
             it",
        ),
        Complaint::SpokeBeforeTls => Finding::fault(
            "before TLS it says more than it is asked for, as somebody in between does who wants his words taken for its own",
            "is the way to it safe, and is it really this protocol?",
        ),
        Complaint::Preauth => Finding::fault(
            "it greets with PREAUTH, which would log in whoever connects",
            "configure it to ask for a password",
        ),
        Complaint::OtherFamily | Complaint::NoWayBack => Finding::fault(
            "no session from a client's own address comes about",
            "the way back to clients must lead through mailward's machine (deploy/transparent.md); or another identity",
        ),
        Complaint::LoginRefusedInPlaintext => no_login(mail, None),
    }
}

/// What is not tried: there is no client whose address could be taken.
pub(super) fn untried(mail: &Mail) -> Option<Finding> {
    let is_transparent = mail.backend.config().is_told(Identity::Transparent, mail.config.protocol);
    let what = "this was from mailward's address; whether sessions from clients' addresses come about (identity = \
                \"transparent\") only they can show";
    is_transparent.then(|| Finding::note(what))
}

/// Whether a strategy that leaves TLS to the backend comes to none.
pub(super) fn in_clear(mail: &Mail, reached: &Reached) -> Option<Finding> {
    let Some(Encryption::Strategy(strategy)) = &mail.backend.config().tls else { return None };
    let is_left_to_it = strategy.starttls == Requirement::Optional && !matches!(reached.stream, BackendStream::Tls(_));
    let change =
        format!("turn TLS on there; with starttls = \"require\" in queue.tls.{} it counts as down", strategy.id);
    is_left_to_it.then(|| Finding::warning("it has no STARTTLS, and sessions go there in clear", change))
}

/// Whether it greets in time.
pub(super) fn pace(reached: &Reached) -> Option<Finding> {
    let what = || format!("it takes {} s to greet, and every client waits for it", reached.waited.as_secs());
    let change = "look-ups of names by mailward's address, and ident queries, are the usual reasons (Exim: \
                  host_lookup, rfc1413_query_timeout; Exchange: TarpitInterval)";
    (reached.waited >= SLOW).then(|| Finding::warning(what(), change))
}

/// It greets, and refuses.
pub(super) fn refuses(mail: &Mail, reached: &Reached, own: Option<IpAddr>) -> Finding {
    if reached.greeting.to_ascii_uppercase().starts_with(b"* PREAUTH") {
        return unusable(mail, Complaint::Preauth);
    }
    let what = format!("it refuses sessions of mailward's{}, and clients are told so", from(own));
    let change = "otherwise have it take connections from mailward's address, without limits of their number";
    Finding::fault(what, format!("{}; {change}", header(mail)))
}

/// It is in the file and gets no sessions.
pub(super) fn drained() -> Finding {
    Finding::note("it gets no new sessions: weight = 0")
}

/// Whether users can log in.
pub(super) fn login(mail: &Mail, seen: &Seen, own: Option<IpAddr>) -> Option<Finding> {
    if seen.capabilities.is_empty() && seen.complaint.is_none() && mail.config.protocol != Protocol::Smtp {
        let what = "it does not answer when a client asks what it offers";
        return Some(Finding::fault(what, "look into its log"));
    }
    match seen.complaint {
        Some(Complaint::LoginRefusedInPlaintext) => Some(no_login(mail, own)),
        Some(complaint) => Some(unusable(mail, complaint)),
        None => mechanisms(mail.config.protocol, &seen.capabilities).and_then(|offered| few(mail, &offered, own)),
    }
}

/// The ways to log in that are offered; `None` where there is no login, or the filter has an eye on them itself.
fn mechanisms(protocol: Protocol, capabilities: &[String]) -> Option<Vec<String>> {
    let words = |line: &String, key: &str| {
        let line = line.to_ascii_uppercase().replace('"', "");
        line.strip_prefix(key).map(|rest| rest.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    };
    let all = |key: &str| capabilities.iter().filter_map(|line| words(line, key)).flatten().collect::<Vec<_>>();
    match protocol {
        Protocol::Submission => Some(all("AUTH ")),
        Protocol::Pop3 => {
            // USER and PASS are no mechanism, and say what PLAIN says.
            let user = capabilities.iter().any(|line| line.eq_ignore_ascii_case("USER"));
            Some(all("SASL ").into_iter().chain(user.then(|| "USER".to_owned())).collect())
        }
        Protocol::ManageSieve => Some(all("SASL ")),
        Protocol::Smtp | Protocol::Lmtp | Protocol::Imap => None,
    }
}

/// Whether most clients cannot use what is offered.
fn few(mail: &Mail, offered: &[String], own: Option<IpAddr>) -> Option<Finding> {
    if offered.is_empty() {
        return Some(no_login(mail, own));
    }
    let simple = ["PLAIN", "LOGIN", "USER", "OAUTHBEARER", "XOAUTH2"];
    if offered.iter().any(|mechanism| simple.contains(&mechanism.as_str())) {
        return None;
    }
    let what = format!(
        "it takes no passwords as they are from mailward{}: users can log in by {} alone",
        from(own),
        offered.join(" and ")
    );
    Some(Finding::warning(what, takes_passwords(mail, own)))
}

fn no_login(mail: &Mail, own: Option<IpAddr>) -> Finding {
    let what = format!("it takes no passwords from mailward{}: users cannot log in", from(own));
    Finding::fault(what, takes_passwords(mail, own))
}

/// The settings that have a backend take passwords without TLS.
fn takes_passwords(mail: &Mail, own: Option<IpAddr>) -> String {
    let own_address = own.map_or("mailward's address".to_owned(), |own| own.to_string());
    let dovecot = format!(
        "Dovecot: login_trusted_networks = {own_address}, or auth_allow_cleartext = yes \
                           (before 2.4: disable_plaintext_auth = no)"
    );
    match mail.config.protocol {
        Protocol::Submission | Protocol::Smtp | Protocol::Lmtp => format!(
            "Postfix: smtpd_sasl_auth_enable = yes and smtpd_tls_auth_only = no; Exim: server_advertise_condition of \
             the authenticators; Exchange: AuthMechanism BasicAuth without BasicAuthRequireTLS; {dovecot}"
        ),
        Protocol::Imap => {
            format!("{dovecot}; Cyrus: allowplaintext: yes; Exchange: Set-ImapSettings -LoginType PlainTextLogin")
        }
        Protocol::Pop3 => {
            format!("{dovecot}; Cyrus: allowplaintext: yes; Exchange: Set-PopSettings -LoginType PlainTextLogin")
        }
        Protocol::ManageSieve => format!("{dovecot}; Cyrus: allowplaintext: yes"),
    }
}

/// What it means that the backend relays for mailward's address, or does not.
pub(super) fn relay(mail: &Mail, relays: bool, own: Option<IpAddr>) -> Finding {
    let from = from(own);
    if !relays {
        return Finding::note(format!("it relays to no other domain for mailward{from}"));
    }
    let change = "take mailward's address out of those it relays for (Postfix: mynetworks; Exim: relay_from_hosts; \
                  Exchange: the receive connector's remote addresses)";
    let what = format!("it relays to any domain for mailward{from}");
    let guard = &mail.config.guard;
    let any = |patterns: &Vec<DomainPattern>| patterns.contains(&DomainPattern::Any);
    if guard.require_auth || guard.rcpt_domains.as_ref().is_some_and(|patterns| !any(patterns)) {
        let guarded = if guard.require_auth { "require-auth" } else { "rcpt-domains" };
        return Finding::warning(format!("{what}; {guarded} keeps others from using that"), change);
    }
    if mail.backend.config().identity.iter().any(|identity| identity.is_for(mail.config.protocol)) {
        return Finding::warning(format!("{what}; clients come with their own addresses"), change);
    }
    Finding::fault(format!("{what}, and this listener lets everybody through: an open relay"), change)
}

fn from(own: Option<IpAddr>) -> String {
    own.map_or(String::new(), |own| format!(" ({own})"))
}
