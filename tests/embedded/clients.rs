//! Independent clients over loopback TCP: Python's own and curl.

use std::{
    net::{Ipv4Addr, TcpListener},
    process::{Command, Output},
};

use mailward::{embedded, proto::Protocol};
use tokio::task::LocalSet;

use super::store;

/// Serves `protocols` of one new store, each on a port of its own.
fn serve<const N: usize>(protocols: [Protocol; N]) -> [u16; N] {
    let store = store();
    protocols.map(|protocol| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let store = store.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::task::spawn_local(embedded::serve(store.clone(), protocol, stream));
                }
            });
        });
        port
    })
}

fn python(script: &str, ports: &[u16]) {
    let mut command = Command::new("python3");
    command.args(["-c", script]).args(ports.iter().map(u16::to_string));
    check(&command.output().expect("python3 is needed"));
}

fn curl(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("curl").args(["-sS", "--max-time", "20"]).args(arguments).output();
    check(&output.expect("curl is needed"))
}

fn check(output: &Output) -> Vec<u8> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout.clone()
}

#[test]
fn python_sends_and_pop3_gets_it_back() {
    let script = r#"
import smtplib, poplib, sys
smtp, lmtp, pop3 = map(int, sys.argv[1:])
body = b"Subject: dots\r\n\r\n.one\r\n..two\r\n.\r\n\xc3\xbc\r\n" + b"x" * 900 + b"\r\n"
with smtplib.SMTP("127.0.0.1", smtp, "client", 20) as s:
    s.login("ann@example.org", "any")
    assert s.has_extn("8bitmime") and s.has_extn("pipelining") and s.esmtp_features["size"] == "67108864"
    assert s.sendmail("eve@example.net", ["ann@example.org", "bob@example.org"], body, ["BODY=8BITMIME"]) == {}
with smtplib.LMTP("127.0.0.1", lmtp, timeout=20) as s:
    assert s.sendmail("", ["ann@example.org"], body.replace(b"dots", b"more")) == {}
p = poplib.POP3("127.0.0.1", pop3, 20)
assert "SASL" in p.capa()
p.user("ann"); p.pass_("other")
count, size = p.stat()
assert count == 2 and size == 2 * len(body), (count, size, len(body))
assert b"\r\n".join(p.retr(1)[1]) + b"\r\n" == body
assert p.top(2, 1)[1] == [b"Subject: more", b"", b".one"]
first, second = [line.split()[1] for line in p.uidl()[1]]
assert first != second
p.dele(1); p.quit()
p = poplib.POP3("127.0.0.1", pop3, 20)
p.user("ann@anywhere"); p.pass_("x")
assert p.uidl()[1] == [b"1 " + second]
p.quit()
"#;
    python(script, &serve([Protocol::Submission, Protocol::Lmtp, Protocol::Pop3]));
}

#[test]
fn python_reads_marks_searches_and_removes_by_imap() {
    let script = r#"
import imaplib, smtplib, sys, time
smtp, imap = map(int, sys.argv[1:])
big = b"Subject: big\r\n\r\n" + b"0123456789abcdef" * (1 << 16) + b"\r\n"
with smtplib.SMTP("127.0.0.1", smtp, timeout=20) as s:
    for message in ["From: Eve <eve@example.net>\r\nTo: ann@example.org\r\nSubject: hello\r\n\r\nfind the needle\r\n", big]:
        s.sendmail("eve@example.net", "ann@example.org", message)
def ok(answer, wanted="OK"):
    assert answer[0] == wanted, answer
    return answer[1]
m = imaplib.IMAP4("127.0.0.1", imap, 20)
assert {"IDLE", "UIDPLUS", "MOVE", "NAMESPACE", "AUTH=PLAIN"} <= set(m.capabilities), m.capabilities
ok(m.authenticate("PLAIN", lambda _: b"\0ann@example.org\0any"))
assert ok(m.list()) == [b'() "/" INBOX']
assert ok(m.namespace()) == [b'(("" "/")) NIL NIL']
assert ok(m.select()) == [b"2"]
fetched = ok(m.fetch("1", "(UID RFC822.SIZE FLAGS ENVELOPE BODYSTRUCTURE INTERNALDATE)"))[0]
assert b'"hello"' in fetched and b'("Eve" NIL "eve" "example.net")' in fetched, fetched
assert ok(m.fetch("2", "(RFC822)"))[0][1] == big
assert imaplib.ParseFlags(ok(m.fetch("2", "(FLAGS)"))[0]) == (b"\\Seen", b"\\Recent")
assert ok(m.search(None, "UNSEEN")) == [b"1"]
assert ok(m.search("UTF-8", "FROM", "eve", "BODY", "NEEDLE")) == [b"1"]
assert ok(m.search(None, "OR", "SUBJECT", "big", "LARGER", "9999999")) == [b"2"]
assert ok(m.search(None, "SINCE", time.strftime("%d-%b-%Y", time.gmtime(time.time() - 86400)), "NOT", "SEEN")) == [b"1"]
assert ok(m.uid("SEARCH", None, "1:*")) == [b"1 2"]
assert ok(m.search("KOI8-R", "ALL"), "NO")[0].startswith(b"[BADCHARSET (UTF-8)]")
assert ok(m.store("1", "+FLAGS", r"(\Flagged $Label1)")) == [rb"1 (FLAGS (\Flagged $Label1 \Recent))"]
assert ok(m.search(None, "KEYWORD", "$label1")) == [b"1"]
ok(m.create('"Sent Items/2024"'))
date = '"17-Jul-1996 02:44:25 -0700"'
appended = ok(m.append('"Sent Items"', r"(\Seen)", date, b"Subject: sent\r\n\r\nby me\r\n"))
assert b"APPENDUID" in appended[0], appended
assert ok(m.append("Nowhere", None, None, b"x"), "NO")[0].startswith(b"[TRYCREATE]")
assert ok(m.status('"Sent Items"', "(MESSAGES UNSEEN)")) == [b'"Sent Items" (MESSAGES 1 UNSEEN 0)']
ok(m.copy("1", '"Sent Items"'))
ok(m.rename('"Sent Items"', "Sent"))
assert ok(m.list('""', "*")) == [b'() "/" INBOX', b'() "/" Sent', b'() "/" Sent/2024']
ok(m.subscribe("Sent"))
assert ok(m.lsub()) == [b'() "/" INBOX', b'() "/" Sent']
ok(m.store("2", "+FLAGS", r"(\Deleted)"))
assert ok(m.expunge()) == [b"2"]
ok(m.select("Sent"))
assert ok(m.search(None, "BEFORE", "18-Jul-1996")) == [b"1"]
assert b"17-Jul-1996 02:44:25 -0700" in ok(m.fetch("1", "INTERNALDATE"))[0]
ok(m.close())
ok(m.delete("Sent/2024")); ok(m.delete("Sent"))
m.logout()
"#;
    python(script, &serve([Protocol::Smtp, Protocol::Imap]));
}

#[test]
fn curl_sends_reads_and_lists() {
    let [smtp, imap, pop3] = serve([Protocol::Submission, Protocol::Imap, Protocol::Pop3]);
    let file = std::env::temp_dir().join(format!("mailward-embedded-{}-{smtp}.eml", std::process::id()));
    let message = b"From: eve@example.net\r\nTo: ann@example.org\r\nSubject: hello\r\n\r\n.dot\r\nbye\r\n";
    std::fs::write(&file, message).unwrap();
    let path = file.to_str().unwrap();
    let smtp = format!("smtp://127.0.0.1:{smtp}/client");
    let (from, to) = (["--mail-from", "eve@example.net"], ["--mail-rcpt", "ann@example.org"]);
    curl(&[&[smtp.as_str(), "-u", "eve:any", "-T", path], from.as_slice(), &to].concat());
    let imap = |rest: &str| format!("imap://127.0.0.1:{imap}/{rest}");
    assert_eq!(curl(&[&imap("INBOX;MAILINDEX=1"), "-u", "ann:any"]), message);
    assert_eq!(curl(&[&imap("INBOX;UID=1;SECTION=TEXT"), "-u", "ann@example.org:any"]), b".dot\r\nbye\r\n");
    curl(&[&imap("INBOX"), "-u", "ann:any", "-T", path]);
    assert_eq!(curl(&[&imap("INBOX?ALL"), "-u", "ann:any"]), b"* SEARCH 1 2\r\n");
    assert_eq!(curl(&[&format!("pop3://127.0.0.1:{pop3}/2"), "-u", "ann:any"]), message);
    assert!(curl(&[&format!("pop3://127.0.0.1:{pop3}/"), "-u", "ann:any"]).starts_with(b"1 "));
    std::fs::remove_file(&file).unwrap();
}
