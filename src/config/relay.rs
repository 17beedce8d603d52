//! A listener with `relay = true`: takes mail from the old server, and carries it to the recipients' own servers.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ipnet::IpNet;

use super::{Position, Protection, Proxies, Tls, file::List, host, section::Section, setting::Setting, word::one_of};
use crate::proto::{Limits, Protocol, smtp::BareNewline};

/// `[server.listener.<id>]` with `relay = true`.
#[derive(Clone, Debug)]
pub struct RelayListener {
    /// The table's name.
    pub id: String,
    /// Where it stands in the file.
    pub at: Position,
    /// `bind`.
    pub bind: Vec<SocketAddr>,
    /// `protocol`: LMTP, or SMTP.
    pub protocol: Protocol,
    /// `relay-networks`: who may send; everybody else is told so.
    pub networks: Vec<IpNet>,
    /// `multi-domain`.
    pub multi_domain: MultiDomain,
    /// `smtp-utf8`: whether SMTPUTF8 is offered to the sender.
    pub smtp_utf8: bool,
    /// `tls.*`; `None` unless `tls.enable`, `tls.implicit` or `tls.require` is true on this listener.
    pub tls: Option<Tls>,
    /// `tls.require`.
    pub require: bool,
    /// `proxy.*`.
    pub proxies: Proxies,
    /// What protects it from its clients.
    pub protection: Arc<Protection>,
    /// `max-connections`.
    pub max_connections: usize,
    /// `timeout.command`: a whole line, from the last reply.
    pub timeout: Duration,
    /// `limit.*` without `limit.message`; those for logins mean nothing here.
    pub limits: Limits,
    /// `bare-newline`, which is not to pass.
    pub bare_newline: BareNewline,
    /// `limit.message`: the largest message, in bytes.
    pub largest: Option<u64>,
    /// `limit.recipients`: the most recipients of one message.
    pub recipients: usize,
}

/// `multi-domain`: what becomes of recipients of further domains in one SMTP transaction, which has one reply for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MultiDomain {
    /// `defer`: they are told to come again (452 4.5.3), the default.
    Defer,
    /// `fan-out`: the message goes to all of them at once, and who gets a reply of his own comes again.
    FanOut,
}

impl MultiDomain {
    const ALL: [Self; 2] = [Self::Defer, Self::FanOut];

    /// The name used in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Defer => "defer",
            Self::FanOut => "fan-out",
        }
    }
}

/// What the file says.
pub(super) struct RelayKeys {
    pub(super) relay: Setting<bool>,
    pub(super) networks: List<IpNet>,
    pub(super) multi_domain: Setting<MultiDomain>,
    pub(super) smtp_utf8: Setting<bool>,
}

/// Reads the keys but `limit.recipients`.
pub(super) fn read(table: &mut Section<'_, '_>) -> RelayKeys {
    RelayKeys {
        relay: table.switch("relay"),
        networks: table.list("relay-networks", host::parse_network),
        multi_domain: table.word("multi-domain", |name| one_of(name, &MultiDomain::ALL, MultiDomain::name)),
        smtp_utf8: table.switch("smtp-utf8"),
    }
}

/// Reads `limit.recipients`.
pub(super) fn recipients(limit: &mut Section<'_, '_>) -> Setting<u64> {
    // RFC 5321 §4.5.3.1.8: 100 have to be taken. Each is kept until its message has gone.
    limit.count("recipients", 100..=100_000)
}

impl RelayKeys {
    /// Whether it was meant to relay.
    pub(super) fn may_relay(&self) -> bool {
        self.relay.is(&true).is_some() || self.relay.is_wrong()
    }

    /// Who may send.
    pub(super) fn networks(&self) -> Vec<IpNet> {
        match self.networks.given() {
            Some(_) => self.networks.values(),
            None => ["127.0.0.0/8", "::1/128"].iter().filter_map(|network| network.parse().ok()).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, explain, load};

    /// What comes of a file with nothing wrong in it.
    fn read(listeners: &str) -> Config {
        let text = format!("{listeners}[certificate.main]\nself-signed = \"localhost\"\n");
        let (config, problems) = load::evaluate(&text, Path::new("proxy.toml"));
        assert!(problems.0.is_empty(), "{problems:?}");
        config
    }

    const EGRESS: &str = "[server.listener.egress]\nbind = \"127.0.0.1:24\"\nprotocol = \"lmtp\"\nrelay = true\n";

    #[test]
    fn it_takes_mail_from_this_machine_alone_and_without_tls_unless_it_says_otherwise() {
        let server = "[server.tls]\nenable = true\nimplicit = true\nrequire = true\ndisable-protocols = \"TLSv1.2\"\n";
        let config = read(&format!("{server}{EGRESS}"));
        let egress = &config.relays["egress"];
        assert!(config.listeners.is_empty() && config.backends.is_empty());
        assert_eq!(egress.protocol, Protocol::Lmtp);
        assert!(egress.tls.is_none() && !egress.require);
        assert_eq!(egress.networks.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.0/8", "::1/128"]);
        assert_eq!((egress.multi_domain, egress.bare_newline), (MultiDomain::Defer, BareNewline::Normalize));
        assert_eq!((egress.timeout, egress.largest), (Duration::from_secs(300), None));
        assert_eq!((egress.smtp_utf8, egress.recipients), (false, 1000));
    }

    #[test]
    fn its_own_keys_give_it_tls_and_everything_else() {
        let server = "[server]\nlimit.line = 1000\n[server.tls]\ndisable-protocols = \"TLSv1.2\"\n";
        let listener = "[server.listener.exchange]\nbind = \"10.0.0.1:2526\"\nprotocol = \"smtp\"\nrelay = true\n\
                        relay-networks = [\"10.0.0.5\", \"fd00::/8\"]\nmulti-domain = \"fan-out\"\n\
                        bare-newline = \"reject\"\nlimit.message = 100000\ntimeout.command = \"1m\"\nmax-connections = 20\n\
                        smtp-utf8 = true\nlimit.recipients = 100\n";
        let of = |tls: &str| read(&format!("{server}{listener}{tls}")).relays["exchange"].clone();
        let exchange = of("tls.require = true\n");
        assert_eq!(exchange.networks.len(), 2);
        assert_eq!((exchange.multi_domain, exchange.bare_newline), (MultiDomain::FanOut, BareNewline::Reject));
        assert_eq!((exchange.limits.line, exchange.largest, exchange.max_connections), (1000, Some(100_000), 20));
        assert_eq!((exchange.timeout, exchange.require), (Duration::from_secs(60), true));
        assert_eq!((exchange.smtp_utf8, exchange.recipients), (true, 100));
        assert_eq!(exchange.tls.unwrap().versions.len(), 1);
        let (enabled, implicit) = (of("tls.enable = true\n"), of("tls.implicit = true\n"));
        assert!(!enabled.require && !enabled.tls.unwrap().implicit);
        assert!(implicit.require && implicit.tls.unwrap().implicit);
    }

    #[test]
    fn a_rule_may_name_it_and_nothing_else() {
        let rules = |id: &str| {
            format!(
                "[queue.strategy]\ntls = [{{ if = \"listener == '{id}'\", then = \"'invalid-tls'\" }}, {{ else = \"'default'\" }}]\n"
            )
        };
        let config = read(&format!("{EGRESS}{}", rules("egress")));
        assert_eq!(config.queue.tls.rules.len(), 1);
        let text = format!("{EGRESS}{}", rules("egres"));
        let (_, problems) = load::evaluate(&text, Path::new("proxy.toml"));
        let last = problems.0.last().unwrap().to_string();
        assert!(
            last.ends_with("'egres' is no listener with relay = true; did you mean egress? known here: egress"),
            "{last}"
        );
    }

    #[test]
    fn explain_shows_what_holds_on_the_way_out() {
        let config = read(&format!("{EGRESS}limit.message = 70000\n[resolver]\ndnssec = \"ad\"\n"));
        let (explained, hostname) = (explain(&config), &config.server.hostname);
        let (_, outbound) = explained.split_once("\n\n").unwrap();
        let expected = format!(
            "egress: lmtp on 127.0.0.1:24
  relay-networks    127.0.0.0/8, ::1/128
  smtp-utf8         not offered
  tls               disabled
  bare-newline      normalize: becomes CRLF
  limit.message     70000
  max-connections   8192
  timeout           command 5m
  limit             line 2048, commands 50, errors 5, discard 104857600, recipients 1000

queue
  ehlo-hostname     {hostname}
  ip-strategy       ipv4-then-ipv6
  source-ip         as the system chooses
  local-targets     refused
  eight-bit         send
  immediate-retries 1
  limit             domain 20, host 20, sessions 1000
  timeout           connect 15s, greeting 30s, rcpt 1m, data 1m, block 2m, data-end 570s, place 30s, total 4m

queue.strategy.tls: the first that is true
  invalid-tls       if retry_num > 0 && last_error == 'tls'
  default           else

queue.tls.default
  dane              optional
  mta-sts           optional
  starttls          optional
  certificate       has to be valid
  timeout           tls 30s, mta-sts 20s

queue.tls.invalid-tls
  dane              optional
  mta-sts           optional
  starttls          optional
  certificate       any, but for DANE and MTA-STS
  timeout           tls 30s, mta-sts 20s

resolver
  servers           those of the system
  dnssec            ad: as the resolver says
"
        );
        assert_eq!(outbound, expected);
    }
}
