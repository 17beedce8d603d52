//! mbsync, which keeps a maildir and an IMAP folder in step.

use std::process::Command;

use super::target::{Security, Target};
use crate::support::servers::dovecot::messages_in;
use crate::support::{PASSWORD, Ran, Scratch, run};

/// mbsync with an account and a maildir of its own.
#[derive(Debug)]
pub struct Mbsync {
    scratch: Scratch,
}

impl Mbsync {
    /// Sets an account up. mbsync looks the host up by its name and checks the certificate against that, so with TLS the target's
    /// name must be one that resolves to its address here: `localhost`.
    pub fn at(target: &Target, user: &str) -> Self {
        let scratch = Scratch::new("mbsync");
        scratch.directory("mail");
        scratch.write("mbsyncrc", configuration(target, user, &scratch));
        Self { scratch }
    }

    /// Brings INBOX and the maildir in step, both ways.
    pub fn sync(&self) -> Ran {
        let mut command = Command::new("mbsync");
        command.arg("--config").arg(self.scratch.join("mbsyncrc")).args(["--verbose", "channel"]);
        run(&command, b"")
    }

    /// The messages in the maildir, oldest first. mbsync stores LF line ends and adds an `X-TUID` field while it uploads.
    pub fn messages(&self) -> Vec<Vec<u8>> {
        messages_in(&self.scratch.join("mail/INBOX"))
    }

    /// Puts a message into the maildir, for the next [`Self::sync`] to upload.
    pub fn put(&self, message: &[u8]) {
        for folder in ["new", "cur", "tmp"] {
            self.scratch.directory(&format!("mail/INBOX/{folder}"));
        }
        self.scratch.write("mail/INBOX/new/1.test.localhost", message);
    }
}

fn configuration(target: &Target, user: &str, scratch: &Scratch) -> String {
    let tls = match target.security {
        Security::Plain => "SSLType None".to_owned(),
        Security::StartTls => format!("SSLType STARTTLS\nCertificateFile {}", target.authority()),
        Security::Implicit => format!("SSLType IMAPS\nCertificateFile {}", target.authority()),
    };
    let (host, port, mail) = (&target.name, target.port(), scratch.join("mail").display().to_string());
    format!(
        "IMAPAccount account\nHost {host}\nPort {port}\nUser {user}\nPass \"{PASSWORD}\"\nAuthMechs LOGIN\n{tls}\n\n\
         IMAPStore far\nAccount account\n\n\
         MaildirStore near\nPath {mail}/\nInbox {mail}/INBOX\n\n\
         Channel channel\nFar :far:\nNear :near:\nPatterns INBOX\nCreate Near\nSync All\nSyncState *\n"
    )
}
