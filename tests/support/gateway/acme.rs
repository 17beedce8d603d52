//! A gateway whose certificate comes from an ACME authority.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use rcgen::CertificateParams;
use rustls::RootCertStore;

use super::authority::Kind;
use super::shown::Shown;
use super::talk::Talk;
use super::{Gateway, GatewayBuilder, NAME};
use crate::support::process::wait::eventually;
use crate::support::{Front, Pebble};

impl Gateway {
    /// A gateway with `imaps`, where this authority looks for the answer to tls-alpn-01, and a certificate from it.
    pub fn imaps_from(pebble: &Pebble) -> GatewayBuilder {
        Self::imaps_at(pebble.tls(), &pebble.directory(), &pebble.ca())
    }

    /// The same, with a front between the two.
    pub fn imaps_behind(front: &Front, pebble: &Pebble) -> GatewayBuilder {
        Self::imaps_at(pebble.tls(), &front.directory(), &front.ca())
    }

    /// A gateway with `imaps` at this address and a certificate, `main`, from the authority with this directory.
    pub fn imaps_at(address: SocketAddr, directory: &str, ca: &Path) -> GatewayBuilder {
        let bind = format!("bind = \"{address}\"");
        Self::builder().implicit("imaps", "imap", "embedded").with("imaps", &bind).acme("main", directory, ca)
    }
}

impl GatewayBuilder {
    /// Adds a certificate for [`NAME`] from the authority with this directory, whose own certificate `ca` vouches for. It is the
    /// default one, and takes the place of the one from files.
    pub fn acme(mut self, id: &str, directory: &str, ca: &Path) -> Self {
        let table = format!(
            "directory = \"{directory}\"\nca = \"{}\"\ncontact = \"postmaster@example.org\"\ndomains = [\"{NAME}\"]\n\
             cache = \"acme\"\ndefault = true\n",
            ca.display()
        );
        self.tables.push((format!("acme.{id}"), table));
        if self.certificates.is_some() { self } else { self.certificates("") }
    }

    /// Adds lines to the table of a certificate from an authority; a line for a key that is there already replaces it.
    pub fn acme_with(self, id: &str, lines: &str) -> Self {
        self.table(&format!("acme.{id}"), lines)
    }

    /// Puts a certificate for [`NAME`] into the cache, as if it had been issued: it is from the gateway's own authority, and has
    /// been valid since 1975.
    pub fn seed(self, id: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let issued = self.authority.issue_with(&[NAME], Kind::Ecdsa, change);
        self.seed_text(id, &(issued.key + &issued.chain))
    }

    /// Puts this text where the cache has key and certificate.
    pub fn seed_text(self, id: &str, text: &str) -> Self {
        let folder = self.scratch.directory("acme").join(id);
        fs::create_dir_all(&folder).expect("the scratch directory is writable");
        let file = folder.join("ecdsa-p256.pem");
        fs::write(&file, text).expect("the scratch directory is writable");
        for (path, mode) in [(folder, 0o700), (file, 0o600)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("own directory");
        }
        self
    }
}

impl Gateway {
    /// The certificate that a listener shows to a client that trusts these roots; TLS is implicit there. `None` where there is
    /// none that the client takes.
    pub fn shown(&self, listener: &str, roots: &Arc<RootCertStore>) -> Option<Shown> {
        Shown::on(Talk::to(self.address(listener)), roots)
    }

    /// Waits until a listener with implicit TLS shows a certificate that these roots vouch for.
    #[track_caller]
    pub fn shows(&self, listener: &str, roots: &Arc<RootCertStore>) -> Shown {
        self.shows_that(listener, roots, |_| true)
    }

    /// Waits until it shows another certificate than `old`.
    #[track_caller]
    pub fn shows_another(&self, listener: &str, roots: &Arc<RootCertStore>, old: &Shown) -> Shown {
        self.shows_that(listener, roots, |shown| shown.serial != old.serial)
    }

    #[track_caller]
    fn shows_that(&self, listener: &str, roots: &Arc<RootCertStore>, fits: impl Fn(&Shown) -> bool) -> Shown {
        let found = eventually(|| self.shown(listener, roots).filter(&fits));
        found.unwrap_or_else(|| panic!("shown is {:?}; certs: {}", self.shown(listener, roots), self.certs()))
    }

    /// What `mailward certs` prints.
    #[track_caller]
    pub fn certs(&self) -> String {
        self.command(&["certs"]).succeeds().text()
    }

    /// Waits until `mailward certs` prints these words.
    #[track_caller]
    pub fn certs_say(&self, words: &str) -> String {
        let said = eventually(|| Some(self.certs()).filter(|text| text.contains(words)));
        said.unwrap_or_else(|| panic!("certs does not say {words:?}: {}", self.certs()))
    }

    /// Has a certificate asked for now, by `mailward certs renew`.
    #[track_caller]
    pub fn renew(&self, id: &str) {
        self.command(&["certs", "renew", id]).succeeds();
    }
}
