//! What validation begins with: keys of the root zone (RFC 4033 §2, "trust anchor").

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
    sync::Arc,
};

use domain::{
    base::{Name, Rtype, ToName as _, iana::Class},
    dnssec::validator::anchor::TrustAnchors,
    zonefile::inplace::{Entry, Zonefile},
};

/// Where Debian's `dns-root-data` has the root's keys, and keeps them up to date.
const FILE: &str = "/usr/share/dns/root.key";

/// More than any root zone has keys for.
const LONGEST: u64 = 64 << 10;

/// The root's keys of 2017 and 2024, by their digests: <https://data.iana.org/root-anchors/root-anchors.xml>.
const IANA: &str = "\
. IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D
. IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16
";

/// DS or DNSKEY records of the root zone, one at least, as a zone file has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchors(Arc<str>);

impl Anchors {
    /// Those of a file.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        Self::parse(&text).map_err(|why| format!("{}: {why}", path.display()))
    }

    /// Those of the system, or where it has none those that were known when this was built.
    ///
    /// # Errors
    /// What is wrong with the system's file.
    pub fn usual() -> Result<Self, String> {
        match Path::new(FILE) {
            path if path.exists() => Self::read(path),
            _ => Self::parse(IANA).map_err(str::to_owned),
        }
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut count = 0;
        for entry in zone_file(text) {
            match entry {
                Ok(Entry::Record(record)) if !matches!(record.rtype(), Rtype::DS | Rtype::DNSKEY) => {
                    return Err("there is a record in it that is neither DS nor DNSKEY");
                }
                // What lies beyond other anchors than the root's would be neither secure nor insecure.
                Ok(Entry::Record(record)) if !record.owner().name_eq(&Name::root_slice()) => {
                    return Err("there is a record in it that is not the root's");
                }
                Ok(Entry::Record(_)) => count += 1,
                Ok(Entry::Include { .. }) => return Err("there is an $INCLUDE in it"),
                Err(_) => return Err("it is no list of records as in a zone file"),
            }
        }
        if count == 0 { Err("there is no DS or DNSKEY record in it") } else { Ok(Self(text.into())) }
    }

    /// The same for the validator.
    pub(super) fn trusted(&self) -> TrustAnchors {
        // They were parsed before; without any, nothing is secure or insecure, and everything an error.
        TrustAnchors::from_u8(self.0.as_bytes()).unwrap_or_else(|_| TrustAnchors::empty())
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LONGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST { Err(io::Error::other("it is longer than 64 KiB")) } else { Ok(text) }
}

fn zone_file(text: &str) -> Zonefile {
    let mut file = Zonefile::new();
    file.set_default_class(Class::IN);
    file.extend_from_slice(text.as_bytes());
    file.extend_from_slice(b"\n");
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_built_in_can_be_read_and_are_the_systems() {
        assert!(Anchors::parse(IANA).is_ok());
        assert!(Anchors::usual().is_ok());
        let digests = IANA.lines().filter_map(|line| line.rsplit_once(' ')).map(|(_, digest)| digest);
        assert!(digests.clone().all(|digest| digest.len() == 64));
        // Where the package is there, it says the same.
        if let Ok(theirs) = read(Path::new("/usr/share/dns/root.ds")) {
            assert!(digests.clone().all(|digest| theirs.to_uppercase().contains(digest)), "{theirs}");
        }
    }

    #[test]
    fn what_is_not_the_roots_keys_alone_is_refused() {
        let ds = IANA.lines().next().unwrap();
        for (text, why) in [
            ("", "there is no DS or DNSKEY record in it"),
            ("; nothing\n", "there is no DS or DNSKEY record in it"),
            ("hello\n", "it is no list of records as in a zone file"),
            (". 60 IN DS 20326 8 2 zz\n", "it is no list of records as in a zone file"),
            (&format!("{ds}\n. 60 IN NS a.test.\n"), "there is a record in it that is neither DS nor DNSKEY"),
            (&format!("{ds}\n{}", ds.replacen('.', "test.", 1)), "there is a record in it that is not the root's"),
            (&format!("$INCLUDE other\n{ds}\n"), "there is an $INCLUDE in it"),
        ] {
            assert_eq!(Anchors::parse(text), Err(why), "{text}");
        }
    }
}
