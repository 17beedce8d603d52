//! A TLS strategy asks for nothing that excludes itself, is used, and is reached by the rule that names it. Remotes are
//! connected to from one address of each family.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    config::{
        Families, QueueTimeouts,
        file::File,
        findings::{Findings, Key},
        queue::{QueueTable, StrategyTable},
        section::Conditional,
        setting::Setting,
    },
    policy::strategy::{
        Because, Condition, DEFAULT, INVALID_TLS, LONGEST_MTA_STS, LONGEST_TLS, Requirement, unreachable,
    },
};

/// Checks `[queue]`.
pub(super) fn check(file: &File, found: &mut Findings) {
    let queue = &file.queue;
    for table in queue.tables() {
        contradiction(table, found);
        any_certificate(table, found);
        bounded(&table.tls_timeout, LONGEST_TLS, found);
        bounded(&table.mta_sts_timeout, LONGEST_MTA_STS, found);
        if let Some(key) = table.dane.is(&Requirement::Require).filter(|_| file.resolver.believes_nothing()) {
            let what = "cannot be had: by what is said in [resolver] there is no DNSSEC, and so no DANE";
            found.error(key, what, "set resolver.dnssec, or take this out");
        }
    }
    sources(queue, found);
    for (setting, (_, longest)) in queue.sessions.timeouts.iter().zip(QueueTimeouts::LONGEST.all()) {
        bounded(setting, longest, found);
    }
    twice_default(queue, found);
    unused(file, found);
    if let Some(given) = queue.rules.given() {
        never_reached(&given.value, found);
    }
}

fn contradiction(table: &StrategyTable, found: &mut Findings) {
    let Some(starttls) = table.starttls.is(&Requirement::Disable) else { return };
    for required in [&table.dane, &table.mta_sts].into_iter().filter_map(|setting| setting.is(&Requirement::Require)) {
        let what = format!("cannot be required while {} is disabled", starttls.path);
        found.error(required, what, "there is none without TLS: take one of the two out");
    }
}

fn any_certificate(table: &StrategyTable, found: &mut Findings) {
    let Some(key) = table.allow_invalid_certs.is(&true) else { return };
    let required = [&table.dane, &table.mta_sts].into_iter().find_map(|setting| setting.is(&Requirement::Require));
    if let Some(starttls) = table.starttls.is(&Requirement::Disable) {
        let what = format!("has no effect while {} is disabled", starttls.path);
        found.warning(key, what, "without TLS there is no certificate: take it out");
    } else if let Some(required) = required {
        let what =
            format!("has no effect while {} is required, which says what the certificate has to be", required.path);
        found.warning(key, what, "take it out");
    }
}

/// The sender waits meanwhile, and would rather give up.
fn bounded(setting: &Setting<Duration>, longest: Duration, found: &mut Findings) {
    if let Some(given) = setting.given().filter(|given| given.value > longest) {
        let seconds = longest.as_secs();
        let what = format!("is longer than the sender that waits for it can bear: {seconds}s is used");
        found.warning(&given.key, what, format!("write \"{seconds}s\" or less"));
    }
}

fn sources(queue: &QueueTable, found: &mut Findings) {
    let families = queue.sessions.ip_strategy.value_or(Families::default());
    let all = queue.sessions.source_ip.given().map_or(&[][..], |list| &list.value);
    for (index, source) in all.iter().enumerate() {
        let ip = source.value;
        let before = all.iter().take(index).find(|earlier| earlier.value.is_ipv4() == ip.is_ipv4());
        if let Some(earlier) = before {
            let what =
                format!("has {ip} beside {}: servers are connected to from one address of each family", earlier.value);
            found.error(&source.key, what, "take one of the two out");
        } else if !families.include(ip) {
            let what = format!("has no effect for {ip} while ip-strategy is \"{}\"", families.name());
            found.warning(&source.key, what, "take it out");
        }
    }
}

fn twice_default(queue: &QueueTable, found: &mut Findings) {
    let Some(outbound) = &queue.outbound else { return };
    if let Some(table) = queue.strategies.iter().find(|table| table.id == DEFAULT) {
        let what = format!("is the older spelling of {}, which is there too", table.key.path);
        found.error(&outbound.key, what, "take one of the two out");
    }
}

fn unused(file: &File, found: &mut Findings) {
    let queue = &file.queue;
    let mut named: BTreeSet<&str> = match &queue.rules {
        Setting::Given(given) => {
            let results = given.value.rules.iter().map(|rule| rule.result.value.as_str());
            results.chain([given.value.otherwise.value.as_str()]).collect()
        }
        Setting::Absent => [DEFAULT, INVALID_TLS].into(),
        Setting::Wrong => return,
    };
    let by_backends = file.backends.iter().filter_map(|backend| backend.tls.strategy.given());
    named.extend(by_backends.map(|id| id.value.as_str()));
    for table in queue.tables().filter(|table| !named.contains(table.id.as_str())) {
        let right = "name it in queue.strategy.tls or in tls.strategy of a backend, or take it out";
        found.warning(&table.key, "is used for no message, and no backend", right);
    }
}

fn never_reached(list: &Conditional<Condition, String>, found: &mut Findings) {
    let conditions: Vec<_> = list.rules.iter().map(|rule| &rule.condition).collect();
    for hidden in unreachable(&conditions) {
        let key: &Key = list.rules.get(hidden.rule).map_or(&list.otherwise.key, |rule| &rule.key);
        let is_rule = hidden.rule < list.rules.len();
        match hidden.because {
            Because::Contradiction => found.warning(key, "is never true", "mend its condition, or take it out"),
            Because::RulesBefore => {
                let what = "is never reached: one of the rules before it is true whenever it is";
                found.warning(key, what, "write it before them, or take it out");
            }
            Because::Rule(earlier) => {
                let line = list.rules.get(earlier).map_or(0, |rule| found.position(rule.key.offset).line);
                if is_rule {
                    let what =
                        format!("is never reached: the rule in line {line} is true whenever it is, and stands first");
                    found.warning(key, what, "write it before that one, or take it out");
                } else {
                    let what = format!("is never reached: the rule in line {line} is always true");
                    found.warning(key, what, "mend that condition, or write the strategy alone");
                }
            }
        }
    }
}
