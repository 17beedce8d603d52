//! Defaults and overrides: what the file says becomes what holds for each listener (spec §3.1, §3.5).

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;

use super::{
    Backend, Certificate, CertificateSource, Check, Config, HttpListener, Listener, Member, MultiDomain, Protection,
    Proxies, Queue, RelayListener, Server, Timeouts, Tls,
    file::{BackendTable, CertificateTable, CheckTable, File, List, ListenerTable, MemberTable, ServerTable},
    findings::Findings,
    identity::Identity,
    machine,
    service::Service,
    setting::Setting,
    shared::{LimitKeys, SharedKeys, TimeoutKeys, TlsKeys},
    tls::{Cipher, ClientAuth, ClientCertificates, Group, TlsVersion},
};
use crate::{
    policy::balance::Order,
    proto::{
        Limits, Protocol,
        smtp::{BareNewline, DomainPattern, Guard, Hygiene, LONGEST_TRACE},
    },
};

/// A listener with what it is made of, for the rules and for [`resolve`].
pub(super) struct Plan<'f> {
    pub(super) table: &'f ListenerTable,
    /// `None` where the file does not say it, or says it wrong.
    pub(super) service: Option<Service>,
    /// `relay = true`, on a protocol that has it.
    pub(super) is_relay: bool,
    /// The listener's own keys, and the server's for those that it has not.
    pub(super) tls: TlsKeys,
    /// The listener's own, or else the server's.
    pub(super) trusted_networks: List<IpNet>,
    /// `None` where none is known (which has been reported), and where none is needed.
    pub(super) backend: Option<&'f BackendTable>,
}

impl<'f> Plan<'f> {
    /// Puts the listener `table` of `file` together with its backend and the server's defaults.
    pub(super) fn new(table: &'f ListenerTable, file: &'f File) -> Self {
        let service = table.protocol.given().map(|protocol| protocol.value);
        let is_relay = is_relay(table);
        let mut tls = table.shared.tls.or(&file.server.shared.tls);
        if is_relay {
            // What [server.tls] says of clients is not meant for the old server, which has no TLS.
            let own = &table.shared.tls;
            (tls.enable, tls.implicit, tls.require) = (own.enable.clone(), own.implicit.clone(), own.require.clone());
        }
        let trusted_networks = table.shared.trusted_networks.or(&file.server.shared.trusted_networks);
        let needs_none = is_relay || service == Some(Service::Http);
        let backend = if needs_none { None } else { backend_of(table, &file.backends) };
        Self { table, service, is_relay, tls, trusted_networks, backend }
    }

    /// The mail protocol that a backend is behind; `None` where it is not known, on HTTP and where mail is relayed.
    pub(super) fn protocol(&self) -> Option<Protocol> {
        self.service.and_then(Service::mail).filter(|_| !self.is_relay)
    }

    /// The protocol of a listener that relays.
    pub(super) fn relay_protocol(&self) -> Option<Protocol> {
        self.service.and_then(Service::mail).filter(|_| self.is_relay)
    }

    /// Whether its sessions go to a backend.
    pub(super) fn needs_backend(&self) -> bool {
        !self.is_http() && !self.is_relay
    }

    pub(super) fn is_http(&self) -> bool {
        self.service == Some(Service::Http)
    }

    /// Whether sessions have TLS, or can get it.
    pub(super) fn has_tls(&self) -> bool {
        // HTTP has no STARTTLS.
        let by_default = !self.is_relay || self.is_implicit() || self.requires_tls();
        self.tls.enable.value_or(by_default) && (self.is_implicit() || !self.is_http())
    }

    /// `tls.implicit`.
    pub(super) fn is_implicit(&self) -> bool {
        self.tls.implicit.value_or(false)
    }

    /// `tls.require`, which RFC 3207 §4 forbids a public MX to ask for.
    pub(super) fn requires_tls(&self) -> bool {
        let by_default = !self.is_relay && self.protocol() != Some(Protocol::Smtp);
        self.tls.require.value_or(self.is_implicit() || by_default)
    }
}

fn is_relay(table: &ListenerTable) -> bool {
    let is_for = |service: Service| matches!(service.mail(), Some(Protocol::Lmtp | Protocol::Smtp));
    table.relay.relay.is(&true).is_some() && table.protocol.given().is_none_or(|protocol| is_for(protocol.value))
}

fn backend_of<'f>(table: &ListenerTable, backends: &'f [BackendTable]) -> Option<&'f BackendTable> {
    match (&table.backend, backends) {
        (Setting::Absent, [only]) => Some(only),
        (Setting::Given(id), _) => backends.iter().find(|backend| backend.id == id.value),
        _ => None,
    }
}

/// The configuration that `file` and its `plans` come to. Whatever is wrong in them has been reported; it is left
/// out, or has its default.
pub(super) fn resolve(file: &File, plans: &[Plan<'_>], path: &Path, found: &Findings) -> Config {
    let listeners = plans.iter().filter_map(|plan| listener(plan, &file.server, found));
    let http = plans.iter().filter(|plan| plan.is_http()).map(|plan| http_listener(plan, &file.server, found));
    let relays = plans.iter().filter_map(|plan| relay_listener(plan, &file.server, found));
    let certificates = file.certificates.iter().filter_map(|table| certificate(table, found));
    // One certificate is its own default.
    let alone = file.certificates.len() + file.acme.len() == 1;
    let acme = file.acme.iter().filter_map(|table| table.resolve(alone, found));
    let server = server(&file.server, found);
    let queue = file.queue.resolve(&server.hostname);
    let backends = file.backends.iter().map(|table| (table.id.clone(), Arc::new(backend(table, &queue, found))));
    let backends = backends.collect();
    Config {
        path: path.to_owned(),
        http: http.map(|listener| (listener.id.clone(), listener)).collect(),
        relays: relays.map(|listener| (listener.id.clone(), listener)).collect(),
        resolver: file.resolver.resolve(found),
        queue,
        server,
        acme: acme.map(|acme| (acme.id.clone(), acme)).collect(),
        listeners: listeners.map(|listener| (listener.id.clone(), listener)).collect(),
        certificates: certificates.map(|certificate| (certificate.id.clone(), certificate)).collect(),
        backends,
    }
}

fn server(table: &ServerTable, found: &Findings) -> Server {
    let machine_name = || machine::hostname().unwrap_or_else(|| "localhost".to_owned());
    let state = found.base().join(table.state.value_or("state".to_owned()));
    let workers = table.workers.given().map_or(0, |workers| size(workers.value));
    Server {
        hostname: table.hostname.given().map_or_else(machine_name, |name| name.value.clone()),
        workers: if workers == 0 { machine::cores() } else { workers },
        drain: table.drain.value_or(Duration::from_secs(30)),
        handshakes: table.handshakes.given().map_or_else(machine::handshakes, |limit| size(limit.value)),
        control: table.control.value_or(state.join("control.sock")),
        control_named: !table.control.is_absent(),
        state,
        ca: paths(&table.ca, found),
        at: found.position(table.key.offset),
    }
}

/// The paths of a list, relative ones taken from the file's directory.
fn paths(list: &List<String>, found: &Findings) -> Vec<PathBuf> {
    list.values().iter().map(|path| found.base().join(path)).collect()
}

/// Every count is bounded far below what a word holds.
pub(super) fn size(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn listener(plan: &Plan<'_>, server_table: &ServerTable, found: &Findings) -> Option<Listener> {
    let (table, server) = (plan.table, &server_table.shared);
    let protocol = plan.protocol()?;
    let own = &table.shared;
    let max_connections = own.max_connections.or(&server.max_connections);
    let backend = plan.backend?;
    Some(Listener {
        id: table.id.clone(),
        at: found.position(table.key.offset),
        bind: table.bind.values(),
        protocol,
        backend: backend.id.clone(),
        tls: plan.has_tls().then(|| tls(&plan.tls, found)),
        require: plan.requires_tls(),
        plaintext_auth: table.plaintext_auth.value_or(false),
        proxies: proxies(plan, server),
        protection: protection(plan, server_table),
        pregreet: table.pregreet.given().map(|patience| patience.value),
        dnsbl: table.dnsbl.resolve(),
        max_connections: size(max_connections.value_or(8192)),
        timeouts: timeouts(&own.timeouts.or(&server.timeouts), protocol),
        limits: limits(&own.limits.or(&server.limits), protocol),
        guard: guard(table, protocol),
        hygiene: hygiene(own, server, backend),
    })
}

fn http_listener(plan: &Plan<'_>, server_table: &ServerTable, found: &Findings) -> HttpListener {
    let (table, server) = (plan.table, &server_table.shared);
    let own = &table.shared;
    HttpListener {
        id: table.id.clone(),
        at: found.position(table.key.offset),
        bind: table.bind.values(),
        tls: plan.has_tls().then(|| tls(&plan.tls, found)),
        redirect_https: table.redirect_https.value_or(false),
        proxies: proxies(plan, server),
        protection: protection(plan, server_table),
        max_connections: size(own.max_connections.or(&server.max_connections).value_or(8192)),
        // Nobody types a request by hand.
        timeout: own.timeouts.command.or(&server.timeouts.command).value_or(Duration::from_secs(30)),
    }
}

fn relay_listener(plan: &Plan<'_>, server_table: &ServerTable, found: &Findings) -> Option<RelayListener> {
    let (table, server) = (plan.table, &server_table.shared);
    let (protocol, own) = (plan.relay_protocol()?, &table.shared);
    Some(RelayListener {
        id: table.id.clone(),
        at: found.position(table.key.offset),
        bind: table.bind.values(),
        protocol,
        networks: table.relay.networks(),
        multi_domain: table.relay.multi_domain.value_or(MultiDomain::Defer),
        smtp_utf8: table.relay.smtp_utf8.value_or(false),
        tls: plan.has_tls().then(|| tls(&plan.tls, found)),
        require: plan.requires_tls(),
        proxies: proxies(plan, server),
        protection: protection(plan, server_table),
        max_connections: size(own.max_connections.or(&server.max_connections).value_or(8192)),
        timeout: timeouts(&own.timeouts.or(&server.timeouts), protocol).command,
        limits: limits(&own.limits.or(&server.limits), protocol),
        bare_newline: own.bare_newline.or(&server.bare_newline).value_or(BareNewline::default()),
        largest: own.limits.message.or(&server.limits.message).given().map(|limit| limit.value),
        recipients: size(table.recipients.value_or(1000)),
    })
}

fn proxies(plan: &Plan<'_>, server: &SharedKeys) -> Proxies {
    let timeout = plan.table.shared.timeouts.proxy.or(&server.timeouts.proxy);
    Proxies {
        networks: plan.trusted_networks.values(),
        // The header is the first that a proxy sends, and it knows all of it when it connects.
        timeout: timeout.value_or(Duration::from_secs(10)),
    }
}

fn protection(plan: &Plan<'_>, server: &ServerTable) -> Arc<Protection> {
    let exempt = plan.table.shared.exempt_networks.or(&server.shared.exempt_networks);
    Arc::new(server.protection.resolve(&server.auto_ban, exempt.values()))
}

fn tls(keys: &TlsKeys, found: &Findings) -> Tls {
    let ciphers = enabled_ciphers(keys);
    let versions =
        TlsVersion::ALL.into_iter().filter(|version| ciphers.iter().any(|suite| suite.version() == *version));
    Tls {
        implicit: keys.implicit.value_or(false),
        timeout: keys.timeout.value_or(minutes(1)),
        versions: versions.collect(),
        groups: left(&Group::ALL, &keys.disable_groups.values()),
        ignore_client_order: keys.ignore_client_order.value_or(true),
        client: client_auth(keys, found),
        ciphers,
    }
}

fn client_auth(keys: &TlsKeys, found: &Findings) -> Option<ClientAuth> {
    let mode = keys.client_auth.value_or(ClientCertificates::None);
    let path = |path: String| found.base().join(path);
    (mode != ClientCertificates::None).then(|| ClientAuth {
        ca: keys.client_ca.values().into_iter().map(path).collect(),
        required: mode == ClientCertificates::Require,
    })
}

/// What is left of the suites after `disable-protocols` and `disable-ciphers`.
pub(super) fn enabled_ciphers(keys: &TlsKeys) -> Vec<Cipher> {
    let disabled_versions = keys.disable_protocols.values();
    let mut ciphers = left(&Cipher::ALL, &keys.disable_ciphers.values());
    ciphers.retain(|suite| !disabled_versions.contains(&suite.version()));
    ciphers
}

/// `all` without the `disabled` ones, in the order of `all`.
pub(super) fn left<T: Copy + PartialEq>(all: &[T], disabled: &[T]) -> Vec<T> {
    all.iter().copied().filter(|one| !disabled.contains(one)).collect()
}

fn timeouts(keys: &TimeoutKeys, protocol: Protocol) -> Timeouts {
    let idle = match protocol {
        Protocol::Smtp | Protocol::Submission | Protocol::Lmtp => 10,
        // RFC 9051 §5.4 asks for 30 minutes at least.
        Protocol::Imap | Protocol::ManageSieve => 35,
        // RFC 1939 §3 asks for 10 minutes at least.
        Protocol::Pop3 => 15,
    };
    Timeouts {
        command: keys.command.value_or(minutes(5)),
        login: keys.login.value_or(minutes(3)),
        idle: keys.idle.value_or(minutes(idle)),
        // RFC 5321 §4.5.3.2.6 asks for 10 minutes at least.
        data_end: keys.data_end.value_or(minutes(15)),
        half_close: keys.half_close.value_or(Duration::from_secs(30)),
        crowded: keys.crowded.given().map(|patience| patience.value),
    }
}

const fn minutes(count: u64) -> Duration {
    Duration::from_secs(count * 60)
}

fn limits(keys: &LimitKeys, protocol: Protocol) -> Limits {
    let (line, auth) = match protocol {
        // RFC 4954 §4: a line of an AUTH exchange may have 12288 octets.
        Protocol::Smtp => (4096, 12_288),
        Protocol::Imap => (8192, 65_536),
        _ => (2048, 65_536),
    };
    Limits {
        line: size(keys.line.value_or(line)),
        auth: size(keys.auth.value_or(auth)),
        literal: size(keys.literal.value_or(65_536)),
        commands: size(keys.commands.value_or(50)),
        errors: size(keys.errors.value_or(5)),
        discard: keys.discard.value_or(100 << 20),
    }
}

fn guard(table: &ListenerTable, protocol: Protocol) -> Guard {
    let require_auth = protocol == Protocol::Submission && table.require_auth.value_or(true);
    let patterns = |texts: Vec<String>| texts.into_iter().map(domain_pattern).collect();
    Guard { require_auth, rcpt_domains: table.rcpt_domains.given().map(|_| patterns(table.rcpt_domains.values())) }
}

fn hygiene(own: &SharedKeys, server: &SharedKeys, backend: &BackendTable) -> Hygiene {
    let mut hidden = backend.hide_extensions.values();
    hidden.extend(own.refuse_commands.or(&server.refuse_commands).values().into_iter().map(str::to_owned));
    Hygiene {
        bare_newline: own.bare_newline.or(&server.bare_newline).value_or(BareNewline::default()),
        largest: own.limits.message.or(&server.limits.message).given().map(|limit| limit.value),
        hidden,
        added: if backend.identity.values().contains(&Identity::Received) { LONGEST_TRACE } else { 0 },
    }
}

fn domain_pattern(text: String) -> DomainPattern {
    match text.strip_prefix("*.") {
        _ if text == "*" => DomainPattern::Any,
        Some(domain) => DomainPattern::Below(domain.to_owned()),
        None => DomainPattern::Exact(text),
    }
}

fn certificate(table: &CertificateTable, found: &Findings) -> Option<Certificate> {
    let directory = table.directory.given().map(|path| found.base().join(&path.value));
    let source = match (table.cert.given(), table.private_key.given(), directory) {
        (Some(cert), Some(key), _) => {
            CertificateSource::Pair { cert: cert.value.clone(), private_key: key.value.clone() }
        }
        (_, _, Some(directory)) => CertificateSource::Directory(directory),
        _ => CertificateSource::SelfSigned(table.self_signed.given().map(|_| table.self_signed.values())?),
    };
    let at = found.position(table.key.offset);
    Some(Certificate { id: table.id.clone(), at, source, default: table.default.value_or(false) })
}

fn backend(table: &BackendTable, queue: &Queue, found: &Findings) -> Backend {
    Backend {
        id: table.id.clone(),
        at: found.position(table.key.offset),
        members: table.address.values().iter().map(member).collect(),
        order: table.order.value_or(Order::InOrder),
        slow_start: table.slow_start.given().map(|time| time.value),
        check: check(&table.check),
        identity: table.identity.values().into_iter().filter(|identity| *identity != Identity::None).collect(),
        tls: table.tls.resolve(queue, found),
        connect_timeout: table.connect.value_or(Duration::from_secs(10)),
        greeting_timeout: table.greeting.value_or(minutes(1)),
    }
}

fn member(table: &MemberTable) -> Member {
    let weight = u32::try_from(table.weight.value_or(1)).unwrap_or(u32::MAX);
    Member { address: table.address.clone(), weight }
}

fn check(table: &CheckTable) -> Option<Check> {
    let interval = table.interval.given()?.value;
    Some(Check { interval, timeout: table.timeout.value_or(Duration::from_secs(10)) })
}
