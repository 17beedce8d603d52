//! What a look at changed files reads, refuses and puts in force.

use super::*;
use std::fs;

/// A folder with a configuration in it, gone at the end.
struct Bed(PathBuf);

impl Drop for Bed {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Bed {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("mailward-source-{name}-{}", std::process::id()));
        fs::create_dir_all(folder.join("hosted")).unwrap();
        Self(folder)
    }

    fn issue(&self, file: &str) {
        let issued = rcgen::generate_simple_self_signed([format!("{file}.example")]).unwrap();
        self.put(&format!("hosted/{file}.crt"), &issued.cert.pem());
        self.put(&format!("hosted/{file}.key"), &issued.signing_key.serialize_pem());
    }

    /// Puts another file in the place of one: of what is written twice into the same, a kernel may tell the same time.
    fn put(&self, file: &str, text: &str) {
        let beside = self.0.join("beside");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, self.0.join(file)).unwrap();
    }

    fn read(&self, source: &str) -> (Sources, Problems) {
        self.read_with(source, |_| {})
    }

    fn read_with(&self, source: &str, change: impl FnOnce(&mut config::Config)) -> (Sources, Problems) {
        let text = format!(
            "[server.listener.imap]\nbind = \"127.0.0.1:0\"\nprotocol = \"imap\"\nbackend = \"mail\"\n\
             [backend.mail]\naddress = \"127.0.0.1:143\"\n[certificate.main]\n{source}\n"
        );
        let (mut config, mut problems) = config::parse(&text, &self.0.join("proxy.toml")).unwrap();
        change(&mut config);
        let sources = Sources::read(&config, true, &mut problems);
        (sources, problems)
    }

    fn directory(&self) -> Sources {
        let (sources, problems) = self.read("directory = \"hosted\"\ndefault = true");
        assert!(!problems.fatal(), "{problems:?}");
        sources
    }
}

fn look(sources: &Sources) -> Option<(Sources, Looked)> {
    sources.look(SystemTime::now(), |_, _| {})
}

#[test]
fn of_many_pairs_only_the_one_that_changed_is_read() {
    let bed = Bed::new("many");
    ["one", "two", "three"].iter().for_each(|file| bed.issue(file));
    let (before, _) = bed.read("directory = \"hosted\"");
    assert!(look(&before).is_none());
    bed.issue("two");
    let (after, looked) = look(&before).unwrap();
    let same: Vec<_> = before.read.values().zip(after.read.values()).map(|(a, b)| Arc::ptr_eq(a, b)).collect();
    assert_eq!(same, [true, true, false], "one, three, two");
    assert!(looked.refused.is_empty());
    assert!(look(&after).is_none());
}

#[test]
fn a_pair_that_could_not_be_used_is_named_once_and_read_when_it_changes() {
    let bed = Bed::new("broken");
    bed.issue("one");
    let before = bed.directory();
    let key = bed.0.join("hosted/one.key");
    fs::write(&key, "no key").unwrap();
    let (broken, looked) = look(&before).unwrap();
    assert!(looked.refused[0].contains("hosted/one.crt: private key: no private key found"), "{looked:?}");
    assert_eq!(looked.renewed.unwrap().names, [""; 0]);
    assert!(look(&broken).is_none());
    bed.issue("one");
    let (_, looked) = look(&broken).unwrap();
    assert!(looked.refused.is_empty());
    assert_eq!(looked.renewed.unwrap().names, ["one.example"]);
}

#[test]
fn what_breaks_a_rule_of_the_start_does_not_come_into_force_until_it_is_mended() {
    let bed = Bed::new("defaults");
    bed.issue("one");
    let before = bed.directory();
    bed.issue("two");
    let (broken, looked) = look(&before).unwrap();
    let problems = looked.renewed.unwrap_err();
    assert!(problems.0[0].what.contains("are both the default"), "{problems:?}");
    assert!(look(&broken).is_none(), "it is said once");
    ["crt", "key"].iter().for_each(|end| fs::remove_file(bed.0.join(format!("hosted/one.{end}"))).unwrap());
    let (_, looked) = look(&broken).unwrap();
    assert_eq!(looked.renewed.unwrap().names, ["two.example"], "though its own files have not changed since");
}

#[test]
fn a_check_of_the_caller_keeps_everything_out_of_force_too() {
    let bed = Bed::new("caller");
    bed.issue("one");
    let sources = bed.directory();
    bed.issue("one");
    let at = sources.tables[0].at().clone();
    let refuse = |_: &Certificates, problems: &mut Problems| problems.error(&at, "server", "no cipher", "");
    let (refused, looked) = sources.look(SystemTime::now(), refuse).unwrap();
    assert_eq!(looked.renewed.unwrap_err().0[0].what, "no cipher");
    bed.issue("one");
    assert_eq!(look(&refused).unwrap().1.renewed.unwrap().names, ["one.example"]);
}

#[test]
fn half_a_pair_is_an_error_whichever_half_it_is() {
    for (gone, expected) in [("key", "hosted/one.key: No such file"), ("crt", "hosted/one.crt: No such file")] {
        let bed = Bed::new(gone);
        bed.issue("one");
        bed.issue("two");
        fs::remove_file(bed.0.join(format!("hosted/one.{gone}"))).unwrap();
        let (_, problems) = bed.read("directory = \"hosted\"\ndefault = true");
        assert!(problems.fatal() && problems.0[0].what.contains(expected), "{problems:?}");
    }
}

#[test]
fn a_self_signed_certificate_that_cannot_be_kept_is_tried_again_after_an_hour_and_not_before() {
    let bed = Bed::new("unwritable");
    let (sources, problems) = bed.read("self-signed = [\"localhost\"]");
    assert!(!problems.fatal(), "{problems:?}");
    let made = bed.0.join("certs");
    let look = |sources: &Sources, seconds: u64| {
        let near_its_end = SystemTime::now() + Duration::from_secs(800 * 86_400 + seconds);
        sources.look(near_its_end, |_, _| {})
    };
    assert!(sources.look(SystemTime::now(), |_, _| {}).is_none());
    // Nobody, root included, can write into a folder that is none.
    fs::remove_dir_all(&made).unwrap();
    fs::write(&made, "").unwrap();
    let (failed, looked) = look(&sources, 0).unwrap();
    assert!(looked.refused[0].contains("the self-signed certificate cannot be kept"), "{looked:?}");
    assert!(look(&failed, 2).is_none() && look(&failed, 3500).is_none());
    let (failed, _) = look(&failed, 3700).unwrap();
    fs::remove_file(&made).unwrap();
    let (mended, looked) = look(&failed, 7400).unwrap();
    assert_eq!((looked.refused.len(), looked.renewed.unwrap().names), (0, vec!["localhost".to_owned()]));
    assert!(look(&mended, 20_000).is_none());
}

mod issued;
