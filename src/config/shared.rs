//! The keys that `[server]` has as the default of all listeners, and each listener for itself.

use std::time::Duration;

use ipnet::IpNet;

use super::{
    file::List,
    host,
    section::Section,
    setting::Setting,
    tls::{Cipher, ClientCertificates, Group, TlsVersion},
    word::one_of,
};
use crate::proto::smtp::{BareNewline, REFUSABLE};

/// What stands in `[server]` as the default of all listeners, or in a listener for itself.
pub(super) struct SharedKeys {
    pub(super) max_connections: Setting<u64>,
    pub(super) bare_newline: Setting<BareNewline>,
    pub(super) refuse_commands: List<&'static str>,
    pub(super) timeouts: TimeoutKeys,
    pub(super) limits: LimitKeys,
    pub(super) trusted_networks: List<IpNet>,
    pub(super) exempt_networks: List<IpNet>,
    pub(super) tls: TlsKeys,
}

/// `timeout.*`.
pub(super) struct TimeoutKeys {
    pub(super) proxy: Setting<Duration>,
    pub(super) command: Setting<Duration>,
    pub(super) login: Setting<Duration>,
    pub(super) idle: Setting<Duration>,
    pub(super) data_end: Setting<Duration>,
    pub(super) half_close: Setting<Duration>,
    pub(super) crowded: Setting<Duration>,
}

/// `limit.*`.
pub(super) struct LimitKeys {
    pub(super) line: Setting<u64>,
    pub(super) auth: Setting<u64>,
    pub(super) literal: Setting<u64>,
    pub(super) commands: Setting<u64>,
    pub(super) errors: Setting<u64>,
    pub(super) discard: Setting<u64>,
    pub(super) message: Setting<u64>,
}

/// `tls.*`.
pub(super) struct TlsKeys {
    pub(super) enable: Setting<bool>,
    pub(super) implicit: Setting<bool>,
    pub(super) require: Setting<bool>,
    pub(super) timeout: Setting<Duration>,
    pub(super) disable_protocols: List<TlsVersion>,
    pub(super) disable_ciphers: List<Cipher>,
    pub(super) disable_groups: List<Group>,
    pub(super) ignore_client_order: Setting<bool>,
    pub(super) client_auth: Setting<ClientCertificates>,
    pub(super) client_ca: List<String>,
}

/// More than any machine has descriptors for.
pub(super) const MANY: u64 = 1 << 24;

/// More than any line or literal before login needs; what is held for one session stays small.
const LONG: u64 = 1 << 24;

/// Reads them; `further_limits` takes the keys of `limit` that are the server's alone.
pub(super) fn shared<T>(
    table: &mut Section<'_, '_>,
    further_limits: impl FnOnce(&mut Section<'_, '_>) -> T,
) -> (SharedKeys, T) {
    let max_connections = table.count("max-connections", 1..=MANY);
    let bare_newline = table.word("bare-newline", |name| one_of(name, &BareNewline::ALL, BareNewline::name));
    let refuse_commands = table.set("refuse-commands", |name| one_of(name, &REFUSABLE, |name| name));
    let timeouts = table.within("timeout", timeouts);
    let (limits, further) = table.within("limit", |table| {
        let further = further_limits(table);
        (limits(table), further)
    });
    let shared = SharedKeys {
        max_connections,
        bare_newline,
        refuse_commands,
        timeouts,
        limits,
        trusted_networks: table.within("proxy", |table| table.set("trusted-networks", host::parse_network)),
        exempt_networks: table.set("exempt-networks", host::parse_network),
        tls: table.within("tls", tls),
    };
    (shared, further)
}

fn timeouts(table: &mut Section<'_, '_>) -> TimeoutKeys {
    TimeoutKeys {
        proxy: table.duration("proxy"),
        command: table.duration("command"),
        login: table.duration("login"),
        idle: table.duration("idle"),
        data_end: table.duration("data-end"),
        half_close: table.duration("half-close"),
        crowded: table.duration("crowded"),
    }
}

fn limits(table: &mut Section<'_, '_>) -> LimitKeys {
    LimitKeys {
        line: table.count("line", 1..=LONG),
        auth: table.count("auth", 1..=LONG),
        literal: table.count("literal", 1..=LONG),
        commands: table.count("commands", 1..=MANY),
        errors: table.count("errors", 1..=MANY),
        discard: table.count("discard", 1..=1 << 40),
        // RFC 5321 §4.5.3.1.7: no server may refuse a message of 64K octets for its size.
        message: table.count("message", 1 << 16..=1 << 40),
    }
}

fn tls(table: &mut Section<'_, '_>) -> TlsKeys {
    TlsKeys {
        enable: table.switch("enable"),
        implicit: table.switch("implicit"),
        require: table.switch("require"),
        timeout: table.duration("timeout"),
        disable_protocols: table.set("disable-protocols", |name| one_of(name, &TlsVersion::ALL, TlsVersion::name)),
        disable_ciphers: table.set("disable-ciphers", |name| one_of(name, &Cipher::ALL, Cipher::name)),
        disable_groups: table.set("disable-groups", |name| one_of(name, &Group::ALL, Group::name)),
        ignore_client_order: table.switch("ignore-client-order"),
        client_auth: table.word("client-auth", |name| one_of(name, &ClientCertificates::ALL, ClientCertificates::name)),
        client_ca: table.list("client-ca", |path| Ok(path.to_owned())),
    }
}

impl TlsKeys {
    /// These keys, and the `wider` table's for those that are absent.
    pub(super) fn or(&self, wider: &Self) -> Self {
        Self {
            enable: self.enable.or(&wider.enable),
            implicit: self.implicit.or(&wider.implicit),
            require: self.require.or(&wider.require),
            timeout: self.timeout.or(&wider.timeout),
            disable_protocols: self.disable_protocols.or(&wider.disable_protocols),
            disable_ciphers: self.disable_ciphers.or(&wider.disable_ciphers),
            disable_groups: self.disable_groups.or(&wider.disable_groups),
            ignore_client_order: self.ignore_client_order.or(&wider.ignore_client_order),
            client_auth: self.client_auth.or(&wider.client_auth),
            client_ca: self.client_ca.or(&wider.client_ca),
        }
    }
}

impl TimeoutKeys {
    /// These keys, and the `wider` table's for those that are absent.
    pub(super) fn or(&self, wider: &Self) -> Self {
        Self {
            proxy: self.proxy.or(&wider.proxy),
            command: self.command.or(&wider.command),
            login: self.login.or(&wider.login),
            idle: self.idle.or(&wider.idle),
            data_end: self.data_end.or(&wider.data_end),
            half_close: self.half_close.or(&wider.half_close),
            crowded: self.crowded.or(&wider.crowded),
        }
    }
}

impl LimitKeys {
    /// These keys, and the `wider` table's for those that are absent.
    pub(super) fn or(&self, wider: &Self) -> Self {
        Self {
            line: self.line.or(&wider.line),
            auth: self.auth.or(&wider.auth),
            literal: self.literal.or(&wider.literal),
            commands: self.commands.or(&wider.commands),
            errors: self.errors.or(&wider.errors),
            discard: self.discard.or(&wider.discard),
            message: self.message.or(&wider.message),
        }
    }
}
