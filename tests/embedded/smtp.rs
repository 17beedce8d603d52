//! SMTP and LMTP in dialogue.

use mailward::{
    embedded::{Capacity, Store},
    proto::Protocol,
};

use super::{Client, run, store};

#[test]
fn chunks_make_up_a_message_and_need_no_dots() {
    run(async {
        let store = store();
        let mut smtp = Client::smtp(&store).await;
        smtp.send("MAIL FROM:<> BODY=8BITMIME\r\nRCPT TO:<ann>\r\nBDAT 7\r\nA: b\r\n\rBDAT 6 LAST\r\n\n.\r\n\nx").await;
        for reply in ["250 2.1.0 OK", "250 2.1.5 OK", "250 2.0.0 OK", "250 2.0.0 kept"] {
            assert_eq!(smtp.line().await, reply);
        }
        let mut imap = Client::selected(&store, "ann").await;
        assert_eq!(imap.fetched(1).await, b"A: b\r\n\r\n.\r\n\nx");
    });
}

#[test]
fn a_refused_chunk_is_read_to_its_end() {
    run(async {
        let store = store();
        let mut smtp = Client::smtp(&store).await;
        assert!(smtp.one("BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n").await.starts_with("503 5.5.1"));
        assert_eq!(smtp.line().await, "250 2.0.0 OK");
        assert!(smtp.one("DATA\r\n").await.starts_with("503 5.5.1"));
    });
}

#[test]
fn a_message_with_nul_is_refused_whole() {
    run(async {
        let store = store();
        let mut smtp = Client::smtp(&store).await;
        smtp.send("MAIL FROM:<>\r\nRCPT TO:<ann>\r\nDATA\r\nA: b\r\n\r\n\0\r\n.\r\n").await;
        for reply in ["250", "250", "354", "554 5.6.0"] {
            assert!(smtp.line().await.starts_with(reply));
        }
        let mut imap = Client::imap(&store, "ann").await;
        assert_eq!(imap.ask("b STATUS INBOX (MESSAGES)\r\n", "b OK").await[0], "* STATUS INBOX (MESSAGES 0)");
    });
}

#[test]
fn commands_out_of_order_are_refused() {
    run(async {
        let mut smtp = Client::connect(&store(), Protocol::Smtp);
        smtp.line().await;
        for (command, reply) in [
            ("MAIL FROM:<>", "503 5.5.1"),
            ("LHLO x", "500 5.5.1"),
            ("HELO x", "250 "),
            ("RCPT TO:<ann>", "503 5.5.1"),
            ("MAIL FROM:<>", "250 2.1.0"),
            ("MAIL FROM:<>", "503 5.5.1"),
            ("DATA", "503 5.5.1"),
            ("RCPT TO:<ann> NOTIFY=NEVER", "555 5.5.4"),
            ("RCPT TO:<ann>", "250 2.1.5"),
            ("BDAT 0", "250 2.0.0"),
            ("DATA", "503 5.5.1"),
            ("RCPT TO:<bob>", "503 5.5.1"),
            ("EHLO x\r\nDATA", "250-mx.example.org"),
        ] {
            let said = smtp.one(&format!("{command}\r\n")).await;
            assert!(said.starts_with(reply), "{command}: {said}");
        }
    });
}

#[test]
fn lmtp_answers_for_each_recipient() {
    run(async {
        let store = Store::with_capacity("mx.example.org", Capacity { messages: 1, ..Capacity::default() });
        let mut lmtp = Client::connect(&store, Protocol::Lmtp);
        assert_eq!(lmtp.line().await, "220 mx.example.org LMTP mailward, embedded mail store");
        assert!(lmtp.one("EHLO x\r\n").await.starts_with("500 5.5.1"));
        lmtp.ask("LHLO x\r\n", "250 ").await;
        lmtp.send("MAIL FROM:<>\r\nRCPT TO:<ann@a>\r\nRCPT TO:<ann@b>\r\nRCPT TO:<bob@a>\r\nDATA\r\n").await;
        for reply in ["250 2.1.0", "250 2.1.5", "250 2.1.5", "250 2.1.5", "354 "] {
            assert!(lmtp.line().await.starts_with(reply));
        }
        lmtp.send("A: b\r\n\r\n.\r\n").await;
        assert_eq!(lmtp.line().await, "250 2.1.5 kept for ann");
        assert_eq!(lmtp.line().await, "452 4.2.2 the mailbox is full");
        assert_eq!(lmtp.line().await, "250 2.1.5 kept for bob");
        assert!(lmtp.one("MAIL FROM:<>\r\n").await.starts_with("250"));
        assert_eq!(lmtp.one("RCPT TO:<ann>\r\n").await, "452 4.2.2 the mailbox is full");
    });
}

#[test]
fn login_takes_any_password_once() {
    run(async {
        let store = store();
        let mut smtp = Client::smtp(&store).await;
        assert_eq!(smtp.one("AUTH LOGIN\r\n").await, "334 VXNlcm5hbWU6");
        assert_eq!(smtp.one("YW5u\r\n").await, "334 UGFzc3dvcmQ6");
        assert_eq!(smtp.one("eA==\r\n").await, "235 2.7.0 welcome");
        assert!(smtp.one("AUTH PLAIN AGFubgB4\r\n").await.starts_with("503"));
        let mut smtp = Client::smtp(&store).await;
        assert_eq!(smtp.one("AUTH PLAIN\r\n").await, "334 ");
        assert!(smtp.one("*\r\n").await.starts_with("501 5.7.0"));
        assert!(smtp.one("AUTH PLAIN !\r\n").await.starts_with("501 5.5.2"));
        assert!(smtp.one("AUTH PLAIN AAB4\r\n").await.starts_with("535 5.7.8"));
        assert_eq!(smtp.one("AUTH PLAIN AGFubgB4\r\n").await, "235 2.7.0 welcome");
    });
}
