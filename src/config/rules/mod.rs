//! The rules between keys (spec §3.1 to §3.3): what each value allows of the others.
//!
//! A rule speaks only of values that are good by themselves, so that one slip is one error.

use super::{
    file::File,
    findings::{Findings, Key},
    machine,
    resolve::Plan,
};

mod acme;
mod backend_tls;
mod backends;
mod certificates;
mod dns;
mod encryption;
mod guard;
mod http;
mod hygiene;
mod places;
mod plaintext;
mod proxies;
mod queue;
mod relay;
mod resolver;
mod screening;

/// Notes all that does not fit together.
pub(super) fn check(file: &File, plans: &[Plan<'_>], found: &mut Findings) {
    hostname(file, found);
    for plan in plans {
        encryption::check(plan, found);
        http::check(plan, found);
        plaintext::check(plan, found);
        guard::check(plan, found);
        hygiene::check(plan, file, found);
        backends::check_choice(plan, file, found);
        proxies::check(plan, found);
        backend_tls::check_port(plan, found);
        screening::check(plan, found);
        relay::check(plan, file, found);
    }
    places::check(plans, found);
    backends::check(file, plans, found);
    hygiene::check_backends(file, plans, found);
    certificates::check(file, plans, found);
    acme::check(file, plans, found);
    resolver::check(&file.resolver, found);
    queue::check(file, found);
}

fn hostname(file: &File, found: &mut Findings) {
    if file.server.hostname.is_absent() && machine::hostname().is_none() {
        let key = Key { path: "server.hostname".to_owned(), offset: 0 };
        let what = "is missing, and the machine has no name that could stand in a greeting";
        found.warning(&key, what, "\"localhost\" is used; write the name that clients know this server by");
    }
}

/// The key `name` of the table at `table`, which has none: it is placed at the table's front.
fn within(table: &Key, name: &str) -> Key {
    Key { path: format!("{}.{name}", table.path), offset: table.offset }
}
